//! Fields of features that are off: who sets them is not refused, they are dropped; objects that have them already keep them.
//!
//! Source: the API's own documentation of v1.37 (`+featureGate` with alpha fields), `DropDisabledFields` and its like upstream. What only
//! devices have is dropped where devices are (`resource`).

use coracle_api::schema::{Field, Schema, Shape, Type};
use serde_json::Value;
use std::{collections::HashSet, sync::LazyLock};

/// A feature, and its fields: (type, field).
struct Gate(&'static [(&'static str, &'static str)]);

/// The features that are off.
const OFF: &[Gate] = &[
    // EmptyDirVolumeMode
    Gate(&[("io.k8s.api.core.v1.EmptyDirVolumeSource", "mode")]),
    // AtomicWriteVolumeUserFields
    Gate(&[
        ("io.k8s.api.core.v1.SecretVolumeSource", "defaultUser"),
        ("io.k8s.api.core.v1.ConfigMapVolumeSource", "defaultUser"),
        ("io.k8s.api.core.v1.ProjectedVolumeSource", "defaultUser"),
        ("io.k8s.api.core.v1.DownwardAPIVolumeSource", "defaultUser"),
        ("io.k8s.api.core.v1.ServiceAccountTokenProjection", "user"),
        ("io.k8s.api.core.v1.ClusterTrustBundleProjection", "user"),
        ("io.k8s.api.core.v1.PodCertificateProjection", "user"),
        ("io.k8s.api.core.v1.KeyToPath", "user"),
        ("io.k8s.api.core.v1.DownwardAPIVolumeFile", "user"),
    ]),
    // VolumeBindMountOptions
    Gate(&[("io.k8s.api.core.v1.VolumeMount", "bindMountOptions")]),
    // H2CContainerProbe
    Gate(&[("io.k8s.api.core.v1.HTTPGetAction", "protocol")]),
    // GRPCContainerProbeTLS
    Gate(&[("io.k8s.api.core.v1.GRPCAction", "mode")]),
    // EvictionRequestAPI
    Gate(&[("io.k8s.api.core.v1.PodSpec", "evictionResponders")]),
    // CSIVolumeHealth
    Gate(&[
        ("io.k8s.api.core.v1.PersistentVolumeClaimStatus", "healthStatus"),
        ("io.k8s.api.core.v1.PodStatus", "volumeHealth"),
    ]),
    // InPlacePodVerticalScalingSchedulerPreemption
    Gate(&[("io.k8s.api.core.v1.NodeSpec", "podPreemptionPolicy")]),
    // WorkloadWithJob
    Gate(&[("io.k8s.api.batch.v1.JobSpec", "scheduling")]),
];

/// The types that have such a field, or a type within that has one.
static REACHING: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let mut reaching: HashSet<&str> = OFF.iter().flat_map(|gate| gate.0).map(|(of, _)| *of).collect();
    loop {
        let reaches = |field: Field<'_>| object_in(field.shape()).is_some_and(|of| reaching.contains(of.name()));
        let more: Vec<&str> = Schema::builtin()
            .types()
            .filter(|of| !reaching.contains(of.name()) && of.fields().any(reaches))
            .map(Type::name)
            .collect();
        if more.is_empty() {
            return reaching;
        }
        reaching.extend(more);
    }
});

/// The type of a field's objects, be they in lists or maps.
fn object_in(shape: Shape<'_>) -> Option<Type<'_>> {
    match shape {
        Shape::Object(of) => Some(of),
        Shape::List(list) => object_in(list.item()),
        Shape::Map(map) => object_in(map.item()),
        Shape::Scalar(_) => None,
    }
}

/// Drops from `new` the fields of features that are off, unless `old` has some of the same feature.
pub fn drop_disabled(new: &mut Value, old: Option<&Value>, of: Type<'_>) {
    if !REACHING.contains(of.name()) {
        return;
    }
    let found = used(new, of);
    if found.is_empty() {
        return;
    }
    let kept = old.map(|old| used(old, of)).unwrap_or_default();
    let gone: Vec<usize> = found.into_iter().filter(|gate| !kept.contains(gate)).collect();
    remove(new, Shape::Object(of), &gone);
}

/// The gates of which an object has fields.
fn used(value: &Value, of: Type<'_>) -> Vec<usize> {
    fn walk(value: &Value, shape: Shape<'_>, found: &mut Vec<usize>) {
        match (value, shape) {
            (Value::Object(map), Shape::Object(of)) if REACHING.contains(of.name()) => {
                for (at, gate) in OFF.iter().enumerate() {
                    if gate.0.iter().any(|(owner, field)| *owner == of.name() && map.contains_key(*field)) {
                        found.push(at);
                    }
                }
                for (name, inner) in map {
                    if let Some(field) = of.field(name) {
                        walk(inner, field.shape(), found);
                    }
                }
            }
            (Value::Object(map), Shape::Map(of)) => map.values().for_each(|inner| walk(inner, of.item(), found)),
            (Value::Array(list), Shape::List(of)) => list.iter().for_each(|inner| walk(inner, of.item(), found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, Shape::Object(of), &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn remove(value: &mut Value, shape: Shape<'_>, gates: &[usize]) {
    match (value, shape) {
        (Value::Object(map), Shape::Object(of)) if REACHING.contains(of.name()) => {
            for (_, field) in gates.iter().flat_map(|at| OFF[*at].0).filter(|(owner, _)| *owner == of.name()) {
                map.remove(*field);
            }
            for (name, inner) in map {
                if let Some(field) = of.field(name) {
                    remove(inner, field.shape(), gates);
                }
            }
        }
        (Value::Object(map), Shape::Map(of)) => map.values_mut().for_each(|inner| remove(inner, of.item(), gates)),
        (Value::Array(list), Shape::List(of)) => list.iter_mut().for_each(|inner| remove(inner, of.item(), gates)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_gated_field_exists() {
        for (of, field) in OFF.iter().flat_map(|gate| gate.0) {
            let of = Schema::builtin().type_named(of).unwrap_or_else(|| panic!("no type {of}"));
            assert!(of.field(field).is_some(), "{}.{field}", of.name());
        }
    }

    #[test]
    fn what_is_off_is_dropped_and_what_was_there_stays() {
        let pod = |volumes: Value, probe: Value| json!({"spec": {"containers": [{"name": "c", "livenessProbe": probe}], "volumes": volumes}});
        let plain = json!({"httpGet": {"port": 80}});
        let h2c = json!({"httpGet": {"port": 80, "protocol": "H2C"}});
        let secret = |user: Value| json!([{"name": "v", "secret": {"secretName": "s", "defaultUser": user}}]);
        let bare = json!([{"name": "v", "secret": {"secretName": "s"}}]);
        let items = json!([{"name": "v", "secret": {"items": [{"key": "k", "path": "p", "user": 7}]}}]);
        // (new, old, what becomes of it)
        for (new, old, expected) in [
            (pod(secret(json!(1)), h2c.clone()), None, pod(bare.clone(), plain.clone())),
            (pod(bare.clone(), plain.clone()), None, pod(bare.clone(), plain.clone())),
            // in use is in use, whichever field of the feature it is
            (pod(secret(json!(1)), h2c.clone()), Some(pod(items, plain.clone())), pod(secret(json!(1)), plain)),
            (pod(bare.clone(), h2c.clone()), Some(pod(bare.clone(), h2c.clone())), pod(bare, h2c)),
        ] {
            let check = |version: &str, kind: &str, within: fn(Value) -> Value| {
                let of = Schema::builtin().type_of_api_version(version, kind).unwrap();
                let mut object = within(new.clone());
                drop_disabled(&mut object, old.clone().map(within).as_ref(), of);
                assert_eq!(object, within(expected.clone()), "{kind}");
            };
            check("v1", "Pod", |pod| pod);
            check("apps/v1", "Deployment", |pod| json!({"spec": {"template": pod}}));
            check("batch/v1", "CronJob", |pod| json!({"spec": {"jobTemplate": {"spec": {"template": pod}}}}));
        }
    }
}
