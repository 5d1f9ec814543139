//! What a Service may say, and what of it may change.

use crate::check::{Check, filled, path};
use coracle_api::validation;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TYPES: &[&str] = &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
const POLICIES: &[&str] = &["Cluster", "Local"];
/// Most seconds of session affinity: a day.
const MAX_AFFINITY: i64 = 86_400;

pub(super) fn service(check: &mut Check, spec: &Value) {
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let headless = spec["clusterIP"] == "None";
    check.required_one_of(path("spec.type"), &spec["type"], TYPES);
    check.one_of(path("spec.sessionAffinity"), &spec["sessionAffinity"], &["None", "ClientIP"]);
    check.one_of(path("spec.externalTrafficPolicy"), &spec["externalTrafficPolicy"], POLICIES);
    check.one_of(path("spec.internalTrafficPolicy"), &spec["internalTrafficPolicy"], POLICIES);
    selector(check, &spec["selector"]);
    addresses(check, spec, kind, headless);
    affinity(check, spec);
    for (index, range) in items(&spec["loadBalancerSourceRanges"]).enumerate() {
        check.text(path("spec.loadBalancerSourceRanges").index(index), range, validation::cidr);
    }
    if kind == "ExternalName" {
        let name = spec["externalName"].as_str().unwrap_or_default().trim_end_matches('.');
        check.required_text(path("spec.externalName"), &json!(name), validation::dns1123_subdomain);
    } else {
        ports(check, &spec["ports"], kind, headless);
    }
    if filled(spec, "externalTrafficPolicy")
        && !matches!(kind, "NodePort" | "LoadBalancer")
        && !filled(spec, "externalIPs")
    {
        check.invalid(
            path("spec.externalTrafficPolicy"),
            &spec["externalTrafficPolicy"],
            "may only be set for externally-accessible services",
        );
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn selector(check: &mut Check, selector: &Value) {
    for (key, value) in selector.as_object().into_iter().flatten() {
        check.text(path("spec.selector"), &json!(key), validation::qualified_name);
        check.text(path("spec.selector"), value, validation::label_value);
    }
}

fn addresses(check: &mut Check, spec: &Value, kind: &str, headless: bool) {
    if kind == "ExternalName" {
        if filled(spec, "clusterIP") {
            check.forbidden(path("spec.clusterIPs"), "may not be set when `type` is 'ExternalName'");
        }
    } else if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        let why = format!("may not be set to 'None' for {kind} services");
        check.invalid(path("spec.clusterIPs").index(0), &spec["clusterIP"], why);
    }
    if !headless {
        check.text(path("spec.clusterIP"), &spec["clusterIP"], validation::ip);
    }
    for (index, ip) in items(&spec["clusterIPs"]).enumerate() {
        if ip != "None" {
            check.text(path("spec.clusterIPs").index(index), ip, validation::ip);
        }
    }
    if let Some(first) = spec["clusterIPs"].get(0)
        && *first != spec["clusterIP"]
    {
        check.invalid(path("spec.clusterIPs"), &spec["clusterIPs"], "first value must match `clusterIP`");
    }
    for (index, ip) in items(&spec["externalIPs"]).enumerate() {
        check.text(path("spec.externalIPs").index(index), ip, validation::ip);
    }
}

fn affinity(check: &mut Check, spec: &Value) {
    let seconds = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if spec["sessionAffinity"] == "ClientIP" {
        if let Some(n) = seconds.as_i64()
            && !(1..=MAX_AFFINITY).contains(&n)
        {
            let why = format!("must be greater than 0 and less than {MAX_AFFINITY}");
            check.invalid(path("spec.sessionAffinityConfig.clientIP.timeoutSeconds"), seconds, why);
        }
    } else if !spec["sessionAffinityConfig"].is_null() {
        check.forbidden(path("spec.sessionAffinityConfig"), "must not be set when session affinity is None");
    }
}

fn ports(check: &mut Check, ports: &Value, kind: &str, headless: bool) {
    let at = path("spec.ports");
    let count = items(ports).count();
    if count == 0 && !headless {
        check.required(at.clone(), "");
    }
    let (mut names, mut numbers, mut node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in items(ports).enumerate() {
        let at = at.clone().index(index);
        if filled(port, "name") || count > 1 {
            check.required_text(at.clone().field("name"), &port["name"], validation::dns1123_label);
            if filled(port, "name") && !names.insert(port["name"].to_string()) {
                check.push(coracle_api::FieldError::duplicate(at.clone().field("name"), port["name"].clone()));
            }
        }
        check.port(at.clone().field("port"), &port["port"]);
        check.required_one_of(at.clone().field("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        check.port_or_name(at.clone().field("targetPort"), &port["targetPort"]);
        if !numbers.insert((port["protocol"].to_string(), port["port"].as_i64())) {
            check.push(coracle_api::FieldError::duplicate(at.clone(), port.clone()));
        }
        let Some(node_port) = port["nodePort"].as_i64().filter(|n| *n != 0) else { continue };
        if kind == "ClusterIP" {
            check.forbidden(at.clone().field("nodePort"), "may not be used when `type` is 'ClusterIP'");
        } else if !node_ports.insert((port["protocol"].to_string(), node_port)) {
            check.push(coracle_api::FieldError::duplicate(at.field("nodePort"), port["nodePort"].clone()));
        }
    }
}

/// An address stays for as long as the Service has one, unless its type changes to or from `ExternalName`.
pub(super) fn changed(check: &mut Check, new: &Value, old: &Value) {
    if new["type"] == "ExternalName" || old["type"] == "ExternalName" || !filled(old, "clusterIP") {
        return;
    }
    if new["clusterIP"] != old["clusterIP"] {
        check.invalid(path("spec.clusterIPs").index(0), &new["clusterIPs"], "may not change once set");
    }
    let family = |spec: &Value| spec["ipFamilies"][0].clone();
    if !family(old).is_null() && family(new) != family(old) {
        check.invalid(path("spec.ipFamilies").index(0), &family(new), "may not change once set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Value), wanted: &[&str]) {
        let mut spec = json!({"type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "sessionAffinity": "None",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]});
        change(&mut spec);
        let found: Vec<String> = Check::run(|c| service(c, &spec)).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), wanted.len(), "{found:?} for {spec}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.contains(wanted), "{found} lacks {wanted}");
        }
    }

    #[test]
    fn specs() {
        check(|_| {}, &[]);
        check(|s| s["type"] = json!("Ingress"), &["spec.type: Unsupported value: \"Ingress\""]);
        check(|s| s["ports"] = json!([]), &["spec.ports: Required value"]);
        check(
            |s| s["ports"][0]["port"] = json!(70_000),
            &["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535"],
        );
        check(|s| s["ports"][0]["nodePort"] = json!(30_000), &["spec.ports[0].nodePort: Forbidden"]);
        check(|s| s["ports"][0]["targetPort"] = json!("a_"), &["spec.ports[0].targetPort: Invalid value"]);
        let two = json!([{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 80, "protocol": "TCP", "targetPort": 81, "name": "b"}]);
        check(|s| s["ports"] = two, &["spec.ports[0].name: Required value", "spec.ports[1]: Duplicate value"]);
        check(|s| s["selector"] = json!({"a b": "c"}), &["spec.selector: Invalid value: \"a b\""]);
        check(|s| s["sessionAffinityConfig"] = json!({}), &["spec.sessionAffinityConfig: Forbidden"]);
        check(|s| s["externalTrafficPolicy"] = json!("Local"), &["spec.externalTrafficPolicy: Invalid value"]);
        check(
            |s| *s = json!({"type": "NodePort", "clusterIP": "None", "ports": s["ports"]}),
            &["may not be set to 'None' for NodePort services"],
        );
        check(|s| *s = json!({"type": "ExternalName"}), &["spec.externalName: Required value"]);
        check(|s| *s = json!({"type": "ExternalName", "externalName": "db.example.com."}), &[]);
    }

    #[test]
    fn an_address_stays() {
        let check = |new: Value, old: Value, errors: usize| {
            assert_eq!(Check::run(|c| changed(c, &new, &old)).len(), errors, "{old} to {new}");
        };
        let with =
            |ip: &str, kind: &str| json!({"type": kind, "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"]});
        check(with("10.0.0.1", "NodePort"), with("10.0.0.1", "ClusterIP"), 0);
        check(with("10.0.0.2", "ClusterIP"), with("10.0.0.1", "ClusterIP"), 1);
        check(with("", "ExternalName"), with("10.0.0.1", "ClusterIP"), 0);
        check(
            json!({"type": "ClusterIP", "clusterIP": "10.0.0.2", "ipFamilies": ["IPv6"]}),
            with("10.0.0.1", "ClusterIP"),
            2,
        );
    }
}
