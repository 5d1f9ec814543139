//! The few facts that neither crate states, as upstream's OpenAPI document has them.

use super::Type;
use std::collections::BTreeMap;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const CORE: &str = "io.k8s.api.core.v1";
const APPS: &str = "io.k8s.api.apps.v1";

/// (type, field, patch strategy and merge key)
const PATCH: &[(&str, &str, &str, &str)] = &[
    (META, "ObjectMeta", "finalizers", "merge"),
    (META, "ObjectMeta", "ownerReferences", "merge:uid"),
    (CORE, "PodSpec", "volumes", "merge,retainKeys:name"),
    (CORE, "PodSpec", "containers", "merge:name"),
    (CORE, "PodSpec", "initContainers", "merge:name"),
    (CORE, "PodSpec", "ephemeralContainers", "merge:name"),
    (CORE, "PodSpec", "evictionResponders", "merge:name"),
    (CORE, "PodSpec", "imagePullSecrets", "merge:name"),
    (CORE, "PodSpec", "hostAliases", "merge:ip"),
    (CORE, "PodSpec", "topologySpreadConstraints", "merge:topologyKey"),
    (CORE, "PodSpec", "resourceClaims", "merge,retainKeys:name"),
    (CORE, "PodStatus", "conditions", "merge:type"),
    (CORE, "PodStatus", "podIPs", "merge:ip"),
    (CORE, "PodStatus", "hostIPs", "merge:ip"),
    (CORE, "Container", "env", "merge:name"),
    (CORE, "Container", "ports", "merge:containerPort"),
    (CORE, "Container", "volumeMounts", "merge:mountPath"),
    (CORE, "Container", "volumeDevices", "merge:devicePath"),
    (CORE, "ServiceSpec", "ports", "merge:port"),
    (CORE, "ServiceAccount", "secrets", "merge:name"),
    (CORE, "NodeSpec", "podCIDRs", "merge"),
    (CORE, "NodeStatus", "addresses", "merge:type"),
    (CORE, "NodeStatus", "conditions", "merge:type"),
    (APPS, "DeploymentSpec", "strategy", "retainKeys"),
];

/// Types that server-side apply owns as one value.
const ATOMIC: &[(&str, &str)] = &[
    (META, "LabelSelector"),
    (META, "OwnerReference"),
    (CORE, "LocalObjectReference"),
    (CORE, "ObjectReference"),
    (CORE, "SecretReference"),
    (CORE, "SecretKeySelector"),
    (CORE, "ConfigMapKeySelector"),
    (CORE, "ObjectFieldSelector"),
    (CORE, "ResourceFieldSelector"),
    (CORE, "NodeSelector"),
    (CORE, "NodeSelectorTerm"),
    (CORE, "TypedLocalObjectReference"),
    (CORE, "TopologySelectorTerm"),
];

/// (type, field, JSON default): defaults of the keys of list maps, by which apply finds an item that leaves them out.
const DEFAULTS: &[(&str, &str, &str, &str)] =
    &[(CORE, "ContainerPort", "protocol", "\"TCP\""), (CORE, "ServicePort", "protocol", "\"TCP\"")];

/// Applies the overrides.
pub fn add(types: &mut BTreeMap<String, Type>) {
    for (package, name, field, patch) in PATCH {
        if let Some(field) = types.get_mut(&format!("{package}.{name}")).and_then(|t| t.fields.get_mut(*field)) {
            field.patch = (*patch).to_string();
        }
    }
    // an ephemeral container has a container's fields inlined
    let container: Vec<_> = types.get(&format!("{CORE}.Container")).map_or(Vec::new(), |c| {
        c.fields.iter().map(|(name, f)| (name.clone(), f.shape.clone(), f.patch.clone())).collect()
    });
    if let Some(ephemeral) = types.get_mut(&format!("{CORE}.EphemeralContainer")) {
        for (name, shape, patch) in container {
            if let Some(field) = ephemeral.fields.get_mut(&name) {
                (field.shape, field.patch) = (shape, patch);
            }
        }
    }
    for (package, name, field, default) in DEFAULTS {
        if let Some(field) = types.get_mut(&format!("{package}.{name}")).and_then(|t| t.fields.get_mut(*field)) {
            field.default = (*default).to_string();
        }
    }
    for (package, name) in ATOMIC {
        if let Some(kind) = types.get_mut(&format!("{package}.{name}")) {
            kind.atomic = true;
        }
    }
}
