//! The downward API: fields of the pod and resources of its containers as text.

use super::quantity;
use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity,
};
use std::{borrow::Cow, collections::BTreeMap};

/// What the pod's own object does not say in time: addresses of node and pod.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Of the node.
    pub host_ips: Vec<String>,
    /// Of the pod.
    pub pod_ips: Vec<String>,
}

/// The value of `fieldRef.fieldPath`; an error in upstream's words if there is no such field.
pub fn field(pod: &Pod, path: &str, addresses: &Addresses) -> Result<String, String> {
    let meta = &pod.metadata;
    if let Some((base, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = match base {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("field {path:?} is not supported")),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    let spec = super::of(pod);
    Ok(match path {
        "metadata.name" => super::name(pod).to_string(),
        "metadata.namespace" => super::namespace(pod).to_string(),
        "metadata.uid" => super::uid(pod).to_string(),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => addresses.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => addresses.host_ips.join(","),
        "status.podIP" => addresses.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => addresses.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `key="value"` lines, sorted, the value quoted as Go quotes.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let quoted = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", serde_json::Value::from(v.as_str())));
    quoted.collect::<Vec<_>>().join("\n")
}

/// The value of `resourceFieldRef`. Limits that are not set are the node's.
pub fn resource(
    pod: &Pod,
    own: &Container,
    selector: &ResourceFieldSelector,
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref().filter(|n| !n.is_empty()) {
        Some(name) => super::container(pod, name).ok_or_else(|| format!("container {name} not found"))?,
        None => Cow::Borrowed(own),
    };
    let (kind, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let resources = container.resources.as_ref();
    let limit = || {
        let limits = resources.and_then(|r| r.limits.as_ref());
        quantity::of(limits, name).or_else(|| allocatable.get(name)).cloned()
    };
    let request = || quantity::of(resources.and_then(|r| r.requests.as_ref()), name).cloned();
    let found = match kind {
        "limits" => limit(),
        "requests" => request(),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let found = found.unwrap_or_else(|| Quantity("0".into()));
    Ok(quantity::divided(&found, selector.divisor.as_ref().filter(|d| d.0 != "0" && !d.0.is_empty())).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_and_resources() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "1", "b": "x\"y"}, "annotations": {"k": "v"}},
            "spec": {"nodeName": "node", "containers": [
                {"name": "c", "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}}]},
        }))
        .unwrap();
        let addresses = Addresses { host_ips: vec!["1.1.1.1".into()], pod_ips: vec!["2.2.2.2".into()] };
        for (path, expected) in [
            ("metadata.name", Ok("p")),
            ("metadata.labels", Ok("a=\"1\"\nb=\"x\\\"y\"")),
            ("metadata.labels['a']", Ok("1")),
            ("metadata.annotations['none']", Ok("")),
            ("spec.nodeName", Ok("node")),
            ("status.podIP", Ok("2.2.2.2")),
            ("status.phase", Err("unsupported fieldPath: status.phase")),
        ] {
            let got = field(&pod, path, &addresses);
            assert_eq!(got.as_deref().map_err(String::as_str), expected);
        }
        let allocatable = BTreeMap::from([("cpu".to_string(), Quantity("4".into()))]);
        for (name, divisor, expected) in [
            ("limits.memory", "1Mi", "64"),
            ("requests.cpu", "1m", "250"),
            ("requests.cpu", "1", "1"),
            ("limits.cpu", "1", "4"),
        ] {
            let selector = ResourceFieldSelector {
                resource: name.into(),
                divisor: Some(Quantity(divisor.into())),
                ..ResourceFieldSelector::default()
            };
            assert_eq!(
                resource(&pod, &super::super::of(&pod).containers[0], &selector, &allocatable).unwrap(),
                expected
            );
        }
    }
}
