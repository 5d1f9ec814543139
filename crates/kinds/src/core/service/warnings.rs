//! What is accepted of a Service, but is ignored, or means something else elsewhere.
//!
//! Source: `pkg/api/service/warnings.go`.

use crate::place::Place;
use crate::warn;
use serde_json::Value;

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// The warnings of a Service, new or changed.
pub(super) fn service(service: &Value) -> Vec<String> {
    let spec = Place::of(service).field("spec");
    let (named, external) = (spec.field("type").text() == "ExternalName", spec.field("externalIPs"));
    let headless = spec.field("type").text() == "ClusterIP" && spec.field("clusterIP").text() == "None";
    let mut said = Vec::new();
    if service["metadata"]["annotations"].get(HINTS).is_some() {
        said.push(format!("annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"));
    }
    if !matches!(spec.field("clusterIP").text(), "" | "None") {
        said.extend(spec.field("clusterIPs").items().filter_map(|ip| warn::ip(&ip)));
    }
    if headless {
        let affinity = spec.field("sessionAffinity").text();
        for (field, given) in [
            ("loadBalancerIP", !spec.field("loadBalancerIP").empty()),
            ("externalIPs", !external.empty()),
            ("SessionAffinity", affinity != "None"),
        ] {
            said.extend(given.then(|| format!("spec.{field} is ignored for headless services")));
        }
    }
    said.extend(external.items().filter_map(|ip| warn::ip(&ip)));
    if !external.empty() && !headless && !named {
        said.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    said.extend(warn::ip(&spec.field("loadBalancerIP")));
    said.extend(spec.field("loadBalancerSourceRanges").items().flat_map(|range| warn::cidr(&range)));
    if named && !external.empty() {
        said.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !named && !spec.field("externalName").empty() {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if spec.field("trafficDistribution").text() == "PreferClose" {
        said.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    said
}
