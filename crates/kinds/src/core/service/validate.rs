//! What a Service may say, and what of it may change.
//!
//! Source: `ValidateService`, `ValidateServiceUpdate` in `pkg/apis/core/validation`; the order of errors is theirs.

use super::update::{external, is_balanced};
use crate::check::{Check, dual_stack, filled, path};
use crate::column::{items, number, string};
use crate::go;
use crate::place::Place;
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};
use std::net::IpAddr;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";
/// Most seconds of session affinity: a day.
const MAX_AFFINITY: i64 = 86_400;

fn headless(spec: &Value) -> bool {
    items(&spec["clusterIPs"]) == [json!("None")]
}

/// A service, new or not.
pub(super) fn service(check: &mut Check, service: &Value) {
    let (at, spec) = (path("spec"), &service["spec"]);
    topology(check, &service["metadata"]["annotations"]);
    if items(&spec["ports"]).is_empty() && !headless(spec) && spec["type"] != "ExternalName" {
        check.required(at.field("ports"), "");
    }
    kind(check, &at, spec);
    ports(check, &at.field("ports"), spec);
    check.labels(&at.field("selector"), &spec["selector"]);
    affinity(check, &at, spec);
    addresses(check, &at, spec);
    for (index, ip) in items(&spec["externalIPs"]).iter().enumerate() {
        let at = at.field("externalIPs").index(index);
        let wrong = validation::ip(string(ip));
        if wrong.is_empty() {
            check.no_special_ip(&Place::at(at.clone(), ip));
        }
        check.messages(&at, ip, wrong);
    }
    check.required_one_of(at.field("type"), &spec["type"], TYPES);
    twice(check, &at.field("ports"), spec);
    ranges(check, &at, service);
    if !spec["allocateLoadBalancerNodePorts"].is_null() && !is_balanced(spec) {
        check.forbidden(at.field("allocateLoadBalancerNodePorts"), ONLY_BALANCED);
    }
    balancer_class(check, spec);
    traffic(check, &at, spec);
}

fn topology(check: &mut Check, annotations: &Value) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    const MODE: &str = "service.kubernetes.io/topology-mode";
    let (hints, mode) = (&annotations[HINTS], &annotations[MODE]);
    if hints.is_string() && mode.is_string() && hints != mode {
        let at = path("metadata").field("annotations").key(MODE);
        check.invalid(at, mode, format!("must match annotations[{HINTS}] when both are specified"));
    }
}

fn kind(check: &mut Check, at: &Path, spec: &Value) {
    match string(&spec["type"]) {
        kind @ ("LoadBalancer" | "NodePort") if headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            check.invalid(at.field("clusterIPs").index(0), &json!("None"), why);
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if filled(spec, field) {
                    check.forbidden(at.field(field), "may not be set for ExternalName services");
                }
            }
            let name = string(&spec["externalName"]);
            let name = json!(name.strip_suffix('.').unwrap_or(name));
            check.required_text(at.field("externalName"), &name, validation::dns1123_subdomain);
        }
        _ => {}
    }
}

fn ports(check: &mut Check, list: &Path, spec: &Value) {
    let ports = items(&spec["ports"]);
    let mut names: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let (at, name) = (list.index(index), string(&port["name"]));
        if !name.is_empty() {
            check.word(&at.field("name"), &port["name"], validation::dns1123_label);
            if names.contains(&name) {
                check.duplicate(at.field("name"), name);
            }
            names.push(name);
        } else if ports.len() > 1 {
            check.required(at.field("name"), "");
        }
        check.port(at.field("port"), &json!(number(&port["port"])));
        check.required_one_of(at.field("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        check.port_or_name(at.field("targetPort"), &port["targetPort"]);
        if port["appProtocol"].is_string() {
            check.word(&at.field("appProtocol"), &port["appProtocol"], validation::qualified_name);
        }
    }
}

/// Node ports that a type has none of, and ports that stand there twice.
fn twice(check: &mut Check, list: &Path, spec: &Value) {
    let ports = items(&spec["ports"]);
    if spec["type"] == "ClusterIP" {
        for (index, _) in ports.iter().enumerate().filter(|(_, port)| number(&port["nodePort"]) != 0) {
            let why = "may not be used when `type` is 'ClusterIP'";
            check.forbidden(list.index(index).field("nodePort"), why);
        }
    }
    let repeated = |index: usize, field: &str| {
        let key = |port: &Value| (string(&port["protocol"]).to_string(), number(&port[field]));
        ports[..index].iter().any(|other| key(other) == key(&ports[index]))
    };
    for (index, port) in ports.iter().enumerate() {
        if number(&port["nodePort"]) != 0 && repeated(index, "nodePort") {
            check.duplicate(list.index(index).field("nodePort"), port["nodePort"].clone());
        }
    }
    for (index, port) in ports.iter().enumerate().filter(|(index, _)| repeated(*index, "port")) {
        let error = FieldError::duplicate(list.index(index), port.clone());
        check.push(error.shown_as(go::show(port, go::SERVICE_PORT)));
    }
}

fn affinity(check: &mut Check, at: &Path, spec: &Value) {
    const NEEDED: &str = "when session affinity type is ClientIP";
    check.required_one_of(at.field("sessionAffinity"), &spec["sessionAffinity"], &["ClientIP", "None"]);
    let (at, config) = (at.field("sessionAffinityConfig"), &spec["sessionAffinityConfig"]);
    match string(&spec["sessionAffinity"]) {
        "ClientIP" => {
            let (client, seconds) = (at.field("clientIP"), &config["clientIP"]["timeoutSeconds"]);
            match (config.is_object(), config["clientIP"].is_object(), seconds.as_i64()) {
                (false, ..) => check.required(at, NEEDED),
                (_, false, _) => check.required(client, NEEDED),
                (.., None) => check.required(client.field("timeoutSeconds"), NEEDED),
                (.., Some(n)) if !(1..=MAX_AFFINITY).contains(&n) => {
                    let why = format!("must be greater than 0 and less than {MAX_AFFINITY}");
                    check.invalid(client.field("timeoutSeconds"), seconds, why);
                }
                _ => {}
            }
        }
        "None" if config.is_object() => {
            check.forbidden(at, "must not be set when session affinity is None");
        }
        _ => {}
    }
}

/// Cluster addresses and their families.
fn addresses(check: &mut Check, at: &Path, spec: &Value) {
    if spec["type"] == "ExternalName" {
        return;
    }
    let (list, ips) = (at.field("clusterIPs"), items(&spec["clusterIPs"]));
    match (string(&spec["clusterIP"]), ips.first()) {
        ("", Some(_)) => {
            let why = "must be empty when `clusterIP` is not specified";
            check.invalid(list.clone(), &spec["clusterIPs"], why);
        }
        (one, Some(first)) if first != one => {
            check.invalid(list.clone(), &spec["clusterIPs"], "first value must match `clusterIP`");
        }
        (one, None) if !one.is_empty() => check.required(list.clone(), ""),
        _ => {}
    }
    let families = items(&spec["ipFamilies"]);
    for (index, family) in families.iter().enumerate() {
        let at = at.field("ipFamilies").index(index);
        check.exactly_one_of(at.clone(), family, &["IPv4", "IPv6"]);
        if families[..index].contains(family) {
            check.duplicate(at, family.clone());
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    check.exactly_one_of(at.field("ipFamilyPolicy"), &spec["ipFamilyPolicy"], &policies);
    let before = check.count();
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 && ip == "None" {
            if ips.len() > 1 {
                check.invalid(list.clone(), &spec["clusterIPs"], "'None' must be the first and only value");
            }
            continue;
        }
        check.word(&list.index(index), ip, validation::ip);
    }
    let bad = check.count() > before;
    if ips.len() > 2 {
        check.invalid(list.clone(), &spec["clusterIPs"], "may only hold up to 2 values");
    }
    if bad {
        return;
    }
    if ips.len() > 1 && !dual_stack(ips.iter().map(string)) {
        check.invalid(list.clone(), &spec["clusterIPs"], "may specify no more than one IP for each IP family");
    }
    for (index, (ip, family)) in ips.iter().zip(families).enumerate().filter(|_| !headless(spec)) {
        let six = string(ip).parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        if (family == "IPv4" && six) || (family == "IPv6" && !six) {
            let why = format!("expected an {} value as indicated by `ipFamilies[{index}]`", string(family));
            check.invalid(list.index(index), ip, why);
        }
    }
}

fn ranges(check: &mut Check, at: &Path, service: &Value) {
    const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let spec = &service["spec"];
    let given = items(&spec["loadBalancerSourceRanges"]);
    if !given.is_empty() {
        let at = at.field("LoadBalancerSourceRanges");
        if !is_balanced(spec) {
            check.forbidden(at.clone(), ONLY_BALANCED);
        }
        for (index, range) in given.iter().enumerate() {
            check.word(&at.index(index), &json!(string(range).trim()), validation::cidr);
        }
    } else if let Some(text) = service["metadata"]["annotations"][ANNOTATION].as_str() {
        let at = path("metadata").field("annotations").key(ANNOTATION);
        if !is_balanced(spec) {
            check.forbidden(at.clone(), ONLY_BALANCED);
        }
        for range in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            check.word(&at, &json!(range.trim()), validation::cidr);
        }
    }
}

fn balancer_class(check: &mut Check, spec: &Value) {
    let (at, class) = (path("spec").field("loadBalancerClass"), &spec["loadBalancerClass"]);
    match (class.is_string(), is_balanced(spec)) {
        (true, true) => check.word(&at, class, validation::qualified_name),
        (true, false) => check.forbidden(at, ONLY_BALANCED),
        (false, _) => {}
    }
}

fn traffic(check: &mut Check, at: &Path, spec: &Value) {
    let (field, policy) = (at.field("externalTrafficPolicy"), &spec["externalTrafficPolicy"]);
    if external(spec) {
        check.required_one_of(field, policy, POLICIES);
    } else if !string(policy).is_empty() {
        check.invalid(field, policy, "may only be set for externally-accessible services");
    }
    let (field, port) = (at.field("healthCheckNodePort"), &spec["healthCheckNodePort"]);
    if is_balanced(spec) && policy == "Local" {
        if number(port) == 0 {
            check.required(field, "");
        } else {
            check.port(field, port);
        }
    } else if number(port) != 0 {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        check.invalid(field, port, why);
    }
    let (field, policy) = (at.field("internalTrafficPolicy"), &spec["internalTrafficPolicy"]);
    if policy.is_null() && matches!(string(&spec["type"]), "ClusterIP" | "NodePort" | "LoadBalancer") {
        check.required(field.clone(), "");
    }
    check.exactly_one_of(field, policy, POLICIES);
    let (field, near) = (at.field("trafficDistribution"), &spec["trafficDistribution"]);
    check.exactly_one_of(field, near, &["PreferClose", "PreferSameNode", "PreferSameZone"]);
}

/// What an update may not do.
pub(super) fn changed(check: &mut Check, new: &Value, old: &Value) {
    const SET: &str = "may not change once set";
    let at = path("spec");
    if new["type"] != "ExternalName" && old["type"] != "ExternalName" {
        let (list, now, before) = (at.field("clusterIPs"), items(&new["clusterIPs"]), items(&old["clusterIPs"]));
        if !(headless(new) && headless(old)) {
            if now.is_empty() && !before.is_empty() {
                check.invalid(list.index(0), &new["clusterIPs"], "primary clusterIP can not be unset");
            }
            let same_length = now.len() == before.len();
            for (index, (a, b)) in now.iter().zip(before).enumerate() {
                if a != b && (same_length || index == 0) {
                    check.invalid(list.index(index), &new["clusterIPs"], SET);
                }
            }
            released(check, &at, new, (now.len(), before.len()), "clusterIP");
        }
        let (now, before) = (items(&new["ipFamilies"]), items(&old["ipFamilies"]));
        if !headless(new) && !headless(old) {
            let same_length = now.len() == before.len();
            for (index, (a, b)) in now.iter().zip(before).enumerate() {
                if a != b && (same_length || index == 0) {
                    let shown = if same_length { &new["ipFamilies"] } else { &new["clusterIPs"] };
                    check.invalid(at.field("ipFamilies").index(0), shown, SET);
                }
            }
            released(check, &at, new, (now.len(), before.len()), "ipFamily");
        }
    }
    if is_balanced(new) && is_balanced(old) {
        let (class, before) = (&new["loadBalancerClass"], &old["loadBalancerClass"]);
        if class != before {
            let shown = if class.is_null() { &json!("null") } else { class };
            check.invalid(at.field("loadBalancerClass"), shown, SET);
        }
        let local = |spec: &Value| spec["externalTrafficPolicy"] == "Local";
        if local(new) && local(old) && number(&new["healthCheckNodePort"]) != number(&old["healthCheckNodePort"]) {
            check.forbidden(at.field("healthCheckNodePort"), "field is immutable");
        }
    }
}

/// Who gives up the second of two must say that one is enough.
fn released(check: &mut Check, at: &Path, new: &Value, (now, before): (usize, usize), what: &str) {
    let policy = &new["ipFamilyPolicy"];
    if now == 1 && before > 1 && policy != "SingleStack" {
        let shown = if policy.is_null() { &json!("null") } else { policy };
        let why = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        check.invalid(at.field("ipFamilyPolicy"), shown, why);
    }
}

/// What a load balancer reports of itself.
pub(super) fn status(check: &mut Check, new: &Value) {
    let at = path("status").field("loadBalancer").field("ingress");
    let ingress = items(&new["status"]["loadBalancer"]["ingress"]);
    if !is_balanced(&new["spec"]) && !ingress.is_empty() {
        check.forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for (index, point) in ingress.iter().enumerate() {
        let (at, ip, mode) = (at.index(index), string(&point["ip"]), &point["ipMode"]);
        check.text(at.field("ip"), &point["ip"], validation::ip);
        match (mode.is_null(), ip.is_empty()) {
            (true, false) => check.required(at.field("ipMode"), "must be specified when `ip` is set"),
            (false, true) => check.forbidden(at.field("ipMode"), "may not be specified when `ip` is not set"),
            (false, false) => check.exactly_one_of(at.field("ipMode"), mode, &["Proxy", "VIP"]),
            (true, true) => {}
        }
        check.text(at.field("hostname"), &point["hostname"], validation::dns1123_subdomain);
        if string(&point["hostname"]).parse::<IpAddr>().is_ok() {
            check.invalid(at.field("hostname"), &point["hostname"], "must be a DNS name, not an IP address");
        }
    }
}
