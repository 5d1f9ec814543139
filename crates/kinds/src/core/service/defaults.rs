//! What a Service means where it is silent.

use crate::column::{items, string};
use crate::fields::{absent, default, each, ensure, set, take, within};
use serde_json::{Value, json};

pub(super) fn service(service: &mut Value) {
    let spec = ensure(service, "spec");
    default(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "None" {
        take(spec, "sessionAffinityConfig");
    } else if spec["sessionAffinity"] == "ClientIP" {
        default(ensure(ensure(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10_800);
    }
    default(spec, "type", "ClusterIP");
    each(spec, "ports", |port| {
        default(port, "protocol", "TCP");
        if port["targetPort"].is_null() || port["targetPort"] == 0 || port["targetPort"] == "" {
            let number = port["port"].clone();
            set(port, "targetPort", number);
        }
    });
    let kind = string(&spec["type"]).to_string();
    let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !items(&spec["externalIPs"]).is_empty());
    if external {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
        within(service, "status", |status| {
            within(status, "loadBalancer", |balancer| {
                each(balancer, "ingress", |point| {
                    if !absent(point, "ip") {
                        default(point, "ipMode", "VIP");
                    }
                });
            });
        });
    }
}

/// Address families, on a cluster that has IPv4 services.
pub(super) fn families(spec: &mut Value) {
    if spec["type"] == "ExternalName" {
        return;
    }
    let headless = spec["clusterIP"] == "None";
    let selects = spec["selector"].as_object().is_some_and(|s| !s.is_empty());
    // Who writes the endpoints of a headless service themselves may use any address.
    let both = headless && !selects;
    if items(&spec["ipFamilies"]).len() == 2 {
        default(spec, "ipFamilyPolicy", if both { "RequireDualStack" } else { "SingleStack" });
        return;
    }
    default(spec, "ipFamilyPolicy", if both { "RequireDualStack" } else { "SingleStack" });
    if items(&spec["ipFamilies"]).is_empty() {
        let v6 = string(&spec["clusterIP"]).contains(':');
        set(spec, "ipFamilies", if v6 { json!(["IPv6"]) } else { json!(["IPv4"]) });
    }
    if both && spec["ipFamilyPolicy"] != "SingleStack" && items(&spec["ipFamilies"]).len() == 1 {
        let other = if spec["ipFamilies"][0] == "IPv4" { "IPv6" } else { "IPv4" };
        let first = spec["ipFamilies"][0].clone();
        set(spec, "ipFamilies", json!([first, other]));
    }
}
