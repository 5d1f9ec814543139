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

/// Structs that are fields by value, so that they are there even when nothing is said of them; beside these all required
/// structs, and what kinds call `metadata`, `spec` and `status`. Server-side apply does not own their presence.
const EMBEDDED: &[(&str, &str, &[&str])] = &[
    (APPS, "DaemonSetSpec", &["updateStrategy"]),
    (APPS, "DeploymentSpec", &["strategy"]),
    (APPS, "ReplicaSetSpec", &["template"]),
    (APPS, "StatefulSetSpec", &["updateStrategy"]),
    (CORE, "Container", &["resources"]),
    (CORE, "ContainerStatus", &["lastState", "state"]),
    (CORE, "EphemeralContainer", &["resources"]),
    (CORE, "Event", &["source"]),
    (CORE, "NodeDaemonEndpoints", &["kubeletEndpoint"]),
    (CORE, "NodeStatus", &["daemonEndpoints", "nodeInfo"]),
    (CORE, "PersistentVolumeClaimSpec", &["resources"]),
    (CORE, "PodTemplate", &["template"]),
    (CORE, "ServiceStatus", &["loadBalancer"]),
    ("io.k8s.api.discovery.v1", "Endpoint", &["conditions"]),
    ("io.k8s.api.events.v1", "Event", &["deprecatedSource", "regarding"]),
    ("io.k8s.api.networking.v1", "IngressServiceBackend", &["port"]),
    ("io.k8s.api.networking.v1", "IngressStatus", &["loadBalancer"]),
    ("io.k8s.api.networking.v1", "NetworkPolicySpec", &["podSelector"]),
    ("io.k8s.api.resource.v1", "AllocationResult", &["devices"]),
    ("io.k8s.api.resource.v1", "ResourceClaimSpec", &["devices"]),
];
/// What looks like one of those and is not: behind a pointer.
const NOT_EMBEDDED: &[(&str, &str, &str)] = &[("io.k8s.api.resource.v1alpha3", "ResourcePoolStatusRequest", "status")];

fn embed(types: &mut BTreeMap<String, Type>) {
    for (type_name, kind) in types.iter_mut() {
        let Some((package, short)) = type_name.rsplit_once('.') else { continue };
        let named = EMBEDDED.iter().find(|(p, t, _)| (*p, *t) == (package, short)).map_or(&[][..], |(.., f)| *f);
        for (name, field) in kind.fields.iter_mut().filter(|(_, f)| f.shape.starts_with('@')) {
            let usual = matches!(name.as_str(), "metadata" | "spec" | "status");
            let pointer = NOT_EMBEDDED.contains(&(package, short, name)) || field.shape.ends_with(".LabelSelector");
            field.embedded = named.contains(&name.as_str()) || ((field.required || usual) && !pointer);
        }
    }
}

/// Applies the overrides.
pub fn add(types: &mut BTreeMap<String, Type>) {
    embed(types);
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
