//! The beta and alpha versions of kinds: served only on request (`--runtime-config`), and stored as the stable version.

use crate::descriptor::{Kind, StoredAs};
use crate::fields::{take, within};
use crate::{admissionregistration, certificates, coordination, resource, storagemigration};
use serde_json::{Map, Value, json};

/// A version of a kind, by the module and the name of its type.
macro_rules! version {
    ($stored:expr, $group:ident, $version:ident, $kind:ident) => {{
        static KIND: Kind = Kind::version::<k8s_openapi::api::$group::$version::$kind>(
            $stored,
            concat!("io.k8s.api.", stringify!($group), ".", stringify!($version), ".", stringify!($kind)),
        );
        &KIND
    }};
}

pub(crate) static OPTIONAL: &[&Kind] = &[
    version!(SAME_MAP, admissionregistration, v1beta1, MutatingAdmissionPolicy),
    version!(SAME_MAP_BINDING, admissionregistration, v1beta1, MutatingAdmissionPolicyBinding),
    version!(SAME_MAP, admissionregistration, v1alpha1, MutatingAdmissionPolicy),
    version!(SAME_MAP_BINDING, admissionregistration, v1alpha1, MutatingAdmissionPolicyBinding),
    version!(StoredAs::same(&certificates::CLUSTER_TRUST_BUNDLE), certificates, v1beta1, ClusterTrustBundle),
    version!(StoredAs::same(&certificates::POD_CERTIFICATE_REQUEST), certificates, v1beta1, PodCertificateRequest),
    &coordination::LEASE_CANDIDATE,
    version!(StoredAs::same(&coordination::LEASE_CANDIDATE), coordination, v1alpha2, LeaseCandidate),
    version!(StoredAs::same(&resource::DEVICE_CLASS), resource, v1beta2, DeviceClass),
    version!(StoredAs::same(&resource::DEVICE_TAINT_RULE), resource, v1beta2, DeviceTaintRule),
    version!(StoredAs::same(&resource::RESOURCE_CLAIM), resource, v1beta2, ResourceClaim),
    version!(StoredAs::same(&resource::RESOURCE_CLAIM_TEMPLATE), resource, v1beta2, ResourceClaimTemplate),
    version!(StoredAs::same(&resource::RESOURCE_SLICE), resource, v1beta2, ResourceSlice),
    version!(StoredAs::same(&resource::DEVICE_CLASS), resource, v1beta1, DeviceClass),
    version!(
        StoredAs { kind: &resource::RESOURCE_CLAIM, to_storage: gather_claim, from_storage: flatten_claim },
        resource,
        v1beta1,
        ResourceClaim
    ),
    version!(
        StoredAs {
            kind: &resource::RESOURCE_CLAIM_TEMPLATE,
            to_storage: gather_template,
            from_storage: flatten_template,
        },
        resource,
        v1beta1,
        ResourceClaimTemplate
    ),
    version!(
        StoredAs { kind: &resource::RESOURCE_SLICE, to_storage: flatten_devices, from_storage: wrap_devices },
        resource,
        v1beta1,
        ResourceSlice
    ),
    version!(StoredAs::same(&resource::DEVICE_TAINT_RULE), resource, v1alpha3, DeviceTaintRule),
    version!(
        StoredAs::same(&storagemigration::STORAGE_VERSION_MIGRATION),
        storagemigration,
        v1beta1,
        StorageVersionMigration
    ),
];

const SAME_MAP: StoredAs = StoredAs::same(&admissionregistration::MUTATING_ADMISSION_POLICY);
const SAME_MAP_BINDING: StoredAs = StoredAs::same(&admissionregistration::MUTATING_ADMISSION_POLICY_BINDING);

/// What a request of `resource.k8s.io/v1beta1` says itself; later versions say it in `exactly`.
const EXACTLY: &[&str] = &[
    "adminAccess",
    "allocationMode",
    "capacity",
    "count",
    "derivedAttributes",
    "deviceClassName",
    "selectors",
    "tolerations",
];

fn gather_claim(claim: &mut Value) {
    each(claim, "/spec/devices/requests", |request| {
        let said: Map<String, Value> =
            EXACTLY.iter().filter_map(|field| Some((field.to_string(), take(request, field)?))).collect();
        if !said.is_empty() {
            request["exactly"] = Value::Object(said);
        }
    });
}

fn flatten_claim(claim: &mut Value) {
    each(claim, "/spec/devices/requests", |request| spread(request, "exactly"));
}

fn gather_template(template: &mut Value) {
    within(template, "spec", gather_claim);
}

fn flatten_template(template: &mut Value) {
    within(template, "spec", flatten_claim);
}

fn flatten_devices(slice: &mut Value) {
    each(slice, "/spec/devices", |device| spread(device, "basic"));
}

fn wrap_devices(slice: &mut Value) {
    each(slice, "/spec/devices", |device| {
        let name = take(device, "name").unwrap_or_default();
        let basic = device.take();
        *device = json!({"name": name, "basic": basic});
    });
}

fn each(object: &mut Value, list: &str, change: impl FnMut(&mut Value)) {
    object.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten().for_each(change);
}

/// Puts the fields of a part beside it.
fn spread(object: &mut Value, part: &str) {
    if let (Some(Value::Object(said)), Some(object)) = (take(object, part), object.as_object_mut()) {
        object.extend(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(version: &str, plural: &str) -> &'static Kind {
        crate::find("resource.k8s.io", version, plural).unwrap()
    }

    #[test]
    fn every_version_has_a_type_and_is_like_what_it_is_stored_as() {
        for kind in OPTIONAL {
            assert!(kind.type_of().is_some(), "{}", kind.resource);
            let stored = kind.storage();
            assert_eq!(
                (
                    &kind.resource.group,
                    &kind.resource.plural,
                    &kind.resource.kind,
                    kind.resource.namespaced,
                    kind.status
                ),
                (
                    &stored.resource.group,
                    &stored.resource.plural,
                    &stored.resource.kind,
                    stored.resource.namespaced,
                    stored.status
                )
            );
        }
    }

    #[test]
    fn versions_turn_into_each_other() {
        let requests = json!([
            {"name": "a", "deviceClassName": "c", "count": 2, "selectors": [{"cel": {"expression": "true"}}]},
            {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "c"}]},
        ]);
        let exact = json!({"deviceClassName": "c", "count": 2, "selectors": [{"cel": {"expression": "true"}}]});
        let stored = json!([{"name": "a", "exactly": exact}, requests[1]]);
        let spec = |requests: &Value| json!({"devices": {"requests": requests}});
        let device = json!({"name": "d", "attributes": {"a": {"int": 1}}, "allNodes": true});
        let basic = json!({"name": "d", "basic": {"attributes": {"a": {"int": 1}}, "allNodes": true}});
        for (plural, before, after) in [
            ("resourceclaims", spec(&requests), spec(&stored)),
            ("resourceclaimtemplates", json!({"spec": spec(&requests)}), json!({"spec": spec(&stored)})),
            ("resourceslices", json!({"devices": [basic]}), json!({"devices": [device]})),
        ] {
            let kind = find("v1beta1", plural);
            let object = |version: &str, spec: Value| json!({"apiVersion": format!("resource.k8s.io/{version}"), "kind": kind.resource.kind, "spec": spec});
            let mut value = object("v1beta1", before.clone());
            kind.to_storage(&mut value);
            assert_eq!(value, object("v1", after));
            kind.from_storage(&mut value);
            assert_eq!(value, object("v1beta1", before));
        }
    }
}
