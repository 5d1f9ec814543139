//! `cases/endpoints.txt`: a Service, its pods and slices, and what is written for it.

use super::{lists, mirror, pack, slices};
use crate::testing::{self, Line};
use coracle_client::Typed;
use k8s_openapi::api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
};
use serde_json::{Value, json};
use std::fmt::Write;

/// `name:number[:target]`, comma-separated.
fn ports(text: &str, target: bool) -> Vec<Value> {
    let one = |part: &str| {
        let mut parts = part.split(':');
        let (name, number) = (parts.next().unwrap(), parts.next().unwrap().parse::<i32>().unwrap());
        let mut port = json!({"name": name, "port": number, "protocol": "TCP"});
        if target {
            let to = parts.next().map_or(json!(number), |t| t.parse::<i32>().map_or(json!(t), |n| json!(n)));
            port["targetPort"] = to;
        }
        port
    };
    text.split(',').filter(|part| !part.is_empty()).map(one).collect()
}

/// `service [headless] [publish] [noselector] [families=IPv4,IPv6] [ports=…] [distribution=…] [label=V]`
fn service(line: &Line<'_>) -> Typed<Service> {
    let ip = if line.is("headless") { "None" } else { "10.96.0.7" };
    testing::typed(json!({
        "metadata": {"name": "web", "labels": {"team": line.text("label")}},
        "spec": {
            "clusterIP": ip,
            "selector": (!line.is("noselector")).then(|| json!({"app": "web"})),
            "ports": ports(line.text("ports").unwrap_or(""), true),
            "ipFamilies": line.text("families").map(|f| f.split(',').collect::<Vec<_>>()),
            "publishNotReadyAddresses": line.is("publish").then_some(true),
            "trafficDistribution": line.text("distribution"),
        },
    }))
}

/// `pod NAME [ip=…] [ip6=…] [ready] [deleting] [finished] [node=…] [port=name:number] [hostname=…]`
fn pod(line: &Line<'_>) -> Typed<Pod> {
    let ips: Vec<Value> = ["ip", "ip6"].iter().filter_map(|k| line.text(k)).map(|ip| json!({"ip": ip})).collect();
    let ready = if line.is("ready") { "True" } else { "False" };
    testing::typed(json!({
        "metadata": {
            "name": line.name(), "labels": {"app": "web"},
            "deletionTimestamp": line.is("deleting").then_some("2023-11-14T22:13:20Z"),
        },
        "spec": {
            "nodeName": line.text("node").unwrap_or("n1"),
            "hostname": line.text("hostname"), "subdomain": line.text("hostname").map(|_| "web"),
            "containers": [{"name": "c", "ports": ports_of_container(line)}],
        },
        "status": {
            "phase": if line.is("finished") { "Succeeded" } else { "Running" },
            "podIP": ips.first().map(|ip| ip["ip"].clone()), "podIPs": ips,
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }))
}

fn ports_of_container(line: &Line<'_>) -> Value {
    let ports = line.text("port").into_iter().flat_map(|text| text.split(','));
    let one = |text: &str| {
        let (name, number) = text.split_once(':').unwrap();
        json!({"name": name, "containerPort": number.parse::<i32>().unwrap(), "protocol": "TCP"})
    };
    Value::Array(ports.map(one).collect())
}

fn show_ports(ports: &[EndpointPort]) -> String {
    let one = |p: &EndpointPort| format!("{}:{}", p.name.clone().unwrap_or_default(), p.port.unwrap_or_default());
    ports.iter().map(one).collect::<Vec<_>>().join(",")
}

fn show_endpoint(e: &Endpoint) -> String {
    let mut out = e.addresses.join("+");
    let conditions = e.conditions.clone().unwrap_or_default();
    let all = [("ready", conditions.ready), ("serving", conditions.serving), ("terminating", conditions.terminating)];
    for (name, value) in all {
        match value {
            Some(true) => drop(write!(out, " {name}")),
            Some(false) if name == "ready" => out.push_str(" not-ready"),
            _ => {}
        }
    }
    let target = e.target_ref.as_ref().and_then(|t| t.name.clone());
    for (name, value) in [("node", &e.node_name), ("zone", &e.zone), ("hostname", &e.hostname), ("target", &target)] {
        if let Some(value) = value {
            let _ = write!(out, " {name}={value}");
        }
    }
    if let Some(hints) = &e.hints {
        let zones = hints.for_zones.iter().flatten().map(|z| z.name.as_str());
        let nodes = hints.for_nodes.iter().flatten().map(|n| n.name.as_str());
        let _ = write!(out, " for={}", zones.chain(nodes).collect::<Vec<_>>().join(","));
    }
    out
}

fn show(out: &mut String, actions: &[pack::Action]) {
    for action in actions {
        let (verb, slice) = match action {
            pack::Action::Create(slice) => ("create".to_string(), slice),
            pack::Action::Update(place, slice) => (format!("update {place}"), slice),
            pack::Action::Delete(place) => {
                let _ = writeln!(out, "delete {place}");
                continue;
            }
        };
        let labels = slice.labels.iter().filter(|(k, _)| !k.ends_with("service-name") && !k.ends_with("managed-by"));
        let labels: String = labels.map(|(k, v)| format!(" {k}={v}")).collect();
        let _ = writeln!(out, "{verb} {} ports={}{labels}", slice.address_type, show_ports(&slice.ports));
        for endpoint in &slice.endpoints {
            let _ = writeln!(out, "  {}", show_endpoint(endpoint));
        }
    }
}

/// Applies actions to what exists, so that `again` can be asked to do nothing.
fn after(existing: &[pack::Slice], actions: &[pack::Action]) -> Vec<pack::Slice> {
    let mut all: Vec<Option<pack::Slice>> = existing.iter().cloned().map(Some).collect();
    for action in actions {
        match action {
            pack::Action::Create(slice) => all.push(Some(slice.clone())),
            pack::Action::Update(place, slice) => all[*place] = Some(slice.clone()),
            pack::Action::Delete(place) => all[*place] = None,
        }
    }
    all.into_iter().flatten().collect()
}

fn zone(node: &str) -> Option<Option<String>> {
    match node {
        "gone" => None,
        "n1" => Some(Some("a".into())),
        _ => Some(None),
    }
}

/// The slices are made in steps: `---` of a case follows from the last; `then` separates steps.
fn found(text: &str) -> String {
    let mut slices_there: Vec<pack::Slice> = Vec::new();
    let mut out = String::new();
    for step in text.split("then\n") {
        out.clear();
        let lines = Line::all(step);
        let line = lines.iter().find(|l| l.what == "service").expect("a service");
        let service = service(line);
        if let Some(made) = lines.iter().find(|l| l.what == "endpoints") {
            let endpoints = hand_made(made);
            let (actions, skipped) = mirror::plan(&endpoints, Some(&service), &slices_there);
            show(&mut out, &actions);
            if skipped > 0 {
                let _ = writeln!(out, "skipped {skipped}");
            }
            slices_there = after(&slices_there, &actions);
            continue;
        }
        let pods: Vec<_> = lines.iter().filter(|l| l.what == "pod").map(pod).collect();
        let actions = slices::plan(&service, &pods, &zone, &slices_there);
        show(&mut out, &actions);
        slices_there = after(&slices_there, &actions);
        assert!(slices::plan(&service, &pods, &zone, &slices_there).is_empty(), "not stable: {step}");
        if line.is("endpoints") {
            let endpoints = lists::plan(&service, &pods, None).unwrap();
            let _ = writeln!(out, "endpoints {}", json!(endpoints.subsets));
        }
    }
    if out.is_empty() { "nothing".into() } else { out }
}

/// `endpoints [skip] [ports=…] [ready=ip,ip] [unready=ip]`
fn hand_made(line: &Line<'_>) -> Typed<Endpoints> {
    let list = |key: &str| {
        let ips = line.text(key).into_iter().flat_map(|text| text.split(','));
        Value::Array(ips.map(|ip| json!({"ip": ip})).collect())
    };
    testing::typed(json!({
        "metadata": {"name": "web", "labels": {
            "endpointslice.kubernetes.io/skip-mirror": line.is("skip").then_some("true"), "note": "kept"}},
        "subsets": [{"addresses": list("ready"), "notReadyAddresses": list("unready"),
                     "ports": ports(line.text("ports").unwrap_or(""), false)}],
    }))
}

#[test]
fn cases() {
    testing::check("endpoints.txt", found);
}

/// Existing slices as numbers of endpoints (`a-c d`), the endpoints wanted, and what is written, with room for three in a slice.
#[test]
fn as_few_writes_as_possible() {
    let endpoint = |c: char| Endpoint { addresses: vec![format!("10.0.0.{:03}", c as u32)], ..Endpoint::default() };
    let slice = |text: &str| pack::Slice {
        address_type: "IPv4".into(),
        endpoints: text.chars().map(endpoint).collect(),
        ..pack::Slice::default()
    };
    let name =
        |e: &Endpoint| e.addresses[0].rsplit('.').next().and_then(|n| n.parse().ok()).and_then(char::from_u32).unwrap();
    let check = |existing: &str, wanted: &str, expected: &str| {
        let existing: Vec<_> = existing.split_whitespace().map(slice).collect();
        let group = pack::Group {
            address_type: "IPv4".into(),
            endpoints: wanted.chars().map(endpoint).collect(),
            ..pack::Group::default()
        };
        let actions = pack::pack(&existing, vec![group], &["IPv4"], &pack::Header::default(), 3);
        let show = |slice: &pack::Slice| slice.endpoints.iter().map(name).collect::<String>();
        let shown: Vec<String> = actions
            .iter()
            .map(|action| match action {
                pack::Action::Create(slice) => format!("+{}", show(slice)),
                pack::Action::Update(place, slice) => format!("{place}={}", show(slice)),
                pack::Action::Delete(place) => format!("-{place}"),
            })
            .collect();
        assert_eq!(shown.join(" "), expected, "{wanted}");
    };
    check("", "abcd", "+abc +d");
    check("abc d", "abcd", "");
    check("abc d", "abcde", "1=de");
    check("abc def", "abdefgh", "0=abg +h");
    check("ab cd", "abcdxy", "+xy");
    check("a bc", "abcx", "1=bcx");
    check("abc d", "abc", "-1");
    check("abc", "", "0=");
    check("", "", "+");
    check("abc def", "xyz", "0=xyz -1");
}

/// What the API server stores reads back as what was written.
#[test]
fn a_written_slice_reads_back_the_same() {
    let service = service(&Line::all("service ports=http:80:8080 headless")[0]);
    let pods = [pod(&Line::all("pod a ip=10.244.0.2 ready")[0])];
    let actions = slices::plan(&service, &pods, &zone, &[]);
    let [pack::Action::Create(made)] = actions.as_slice() else { panic!("{actions:?}") };
    let stored: Typed<EndpointSlice> = testing::typed(json!({
        "metadata": {"name": "web-x", "labels": made.labels},
        "addressType": made.address_type, "endpoints": made.endpoints, "ports": made.ports,
    }));
    assert!(slices::plan(&service, &pods, &zone, &[slices::content(&stored)]).is_empty());
}
