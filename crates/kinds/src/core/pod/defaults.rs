//! What a pod spec means where it is silent.

use crate::column::{items, string};
use crate::fields::{absent, default, default_number, each, ensure, set, within};
use coracle_api::Quantity;
use serde_json::{Value, json};

/// The address of a pod is the first of its addresses; where they differ, the one is right: older agents know only that.
fn one_address(status: &mut Value) {
    let (one, first) = (status["podIP"].clone(), status["podIPs"][0]["ip"].clone());
    if !absent(status, "podIP") && one != first {
        set(status, "podIPs", json!([{"ip": one}]));
    } else if absent(status, "podIP") && first.is_string() {
        set(status, "podIP", first);
    }
}

/// Defaults of a pod: those of its spec, and those that templates do not get.
pub fn pod(pod: &mut Value) {
    within(pod, "status", one_address);
    let spec = ensure(pod, "spec");
    pod_spec(spec);
    default(spec, "enableServiceLinks", true);
    let host_network = spec["hostNetwork"] == true;
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list, |container| {
            within(container, "resources", requests_from_limits);
            if host_network {
                each(container, "ports", |port| {
                    let number = port["containerPort"].as_i64().unwrap_or(0);
                    default_number(port, "hostPort", number);
                });
            }
        });
    }
    whole(spec);
}

/// What a pod asks for as a whole: as much as its containers, and where they ask for nothing, as much as it may have.
fn whole(spec: &mut Value) {
    let given = &spec["resources"];
    let limits_or_requests = ["limits", "requests"].map(|f| given[f].as_object().is_some_and(|m| !m.is_empty()));
    if !limits_or_requests.contains(&true) {
        return;
    }
    let shared = super::resources::of_containers(spec, "requests");
    let resources = ensure(spec, "resources");
    for (name, amount) in shared.iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")) {
        default(ensure(resources, "requests"), name, amount.to_string());
    }
    requests_from_limits(resources);
}

fn requests_from_limits(resources: &mut Value) {
    let Some(limits) = resources["limits"].as_object().filter(|l| !l.is_empty()).cloned() else { return };
    let requests = ensure(resources, "requests");
    for (name, limit) in limits {
        default(requests, &name, limit);
    }
}

/// Defaults of a pod template: those of its spec.
pub fn template(template: &mut Value) {
    pod_spec(ensure(template, "spec"));
}

fn pod_spec(spec: &mut Value) {
    // The older name of the field is kept equal for old readers.
    let account = [&spec["serviceAccountName"], &spec["serviceAccount"]].map(string);
    let account = account.into_iter().find(|s| !s.is_empty()).map(str::to_string);
    if let Some(account) = account {
        set(spec, "serviceAccountName", account.clone());
        set(spec, "serviceAccount", account);
    }
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "restartPolicy", "Always");
    default(spec, "schedulerName", "default-scheduler");
    if !spec["terminationGracePeriodSeconds"].is_number() {
        set(spec, "terminationGracePeriodSeconds", 30);
    }
    ensure(spec, "securityContext");
    each(spec, "volumes", volume);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list, container);
    }
}

fn container(container: &mut Value) {
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "imagePullPolicy", pull_policy(string(&container["image"])));
    ensure(container, "resources");
    within(container, "resources", |resources| {
        for list in ["limits", "requests"] {
            within(resources, list, rounded);
        }
    });
    each(container, "ports", |port| default(port, "protocol", "TCP"));
    each(container, "env", |env| {
        within(env, "valueFrom", |from| {
            within(from, "fieldRef", |field| default(field, "apiVersion", "v1"));
            within(from, "resourceFieldRef", |field| default(field, "divisor", "0"));
            within(from, "fileKeyRef", |file| default(file, "optional", false));
        });
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        within(container, name, probe);
    }
    within(container, "lifecycle", |lifecycle| {
        within(lifecycle, "postStart", |handler| within(handler, "httpGet", http_get));
        within(lifecycle, "preStop", |handler| within(handler, "httpGet", http_get));
    });
}

/// Amounts have no finer grain than thousandths.
fn rounded(list: &mut Value) {
    for (_, amount) in list.as_object_mut().into_iter().flatten() {
        let Some(given) = crate::amounts::amount(amount) else { continue };
        let whole = Quantity::from_millis(given.milli_value());
        if given.milli_value() < i64::MAX && given != whole {
            *amount = json!(whole.to_string());
        }
    }
}

/// `Always` for a tag that moves (`latest`, or none), `IfNotPresent` for others and for digests.
pub fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let (named, digest) = last.split_once('@').map_or((last, None), |(named, digest)| (named, Some(digest)));
    match (named.split_once(':').map(|(_, tag)| tag), digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn probe(probe: &mut Value) {
    default_number(probe, "timeoutSeconds", 1);
    default_number(probe, "periodSeconds", 10);
    default_number(probe, "successThreshold", 1);
    default_number(probe, "failureThreshold", 3);
    within(probe, "httpGet", http_get);
    within(probe, "grpc", |grpc| {
        if !grpc["service"].is_string() {
            set(grpc, "service", "");
        }
    });
}

fn http_get(action: &mut Value) {
    default(action, "path", "/");
    default(action, "scheme", "HTTP");
}

const MODE: i64 = 0o644;

fn volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|map| map.keys().all(|key| key == "name")) {
        set(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        within(volume, source, |source| default(source, "defaultMode", MODE));
    }
    within(volume, "downwardAPI", |source| each(source, "items", downward_item));
    within(volume, "projected", |projected| each(projected, "sources", projection));
    within(volume, "ephemeral", |ephemeral| {
        within(ephemeral, "volumeClaimTemplate", |template| {
            within(template, "spec", |spec| default(spec, "volumeMode", "Filesystem"));
        });
    });
    within(volume, "image", |image| default(image, "pullPolicy", pull_policy(string(&image["reference"]))));
    volume_source(volume);
}

/// Defaults of sources that volumes of pods and persistent volumes share.
pub fn volume_source(volume: &mut Value) {
    within(volume, "hostPath", |path| {
        if !path["type"].is_string() {
            set(path, "type", "");
        }
    });
    within(volume, "iscsi", |iscsi| default(iscsi, "iscsiInterface", "default"));
    within(volume, "rbd", |rbd| {
        default(rbd, "pool", "rbd");
        default(rbd, "user", "admin");
        default(rbd, "keyring", "/etc/ceph/keyring");
    });
    within(volume, "azureDisk", |disk| {
        default(disk, "cachingMode", "ReadWrite");
        default(disk, "kind", "Shared");
        default(disk, "fsType", "ext4");
        default(disk, "readOnly", false);
    });
    within(volume, "scaleIO", |io| {
        default(io, "storageMode", "ThinProvisioned");
        default(io, "fsType", "xfs");
    });
}

fn downward_item(item: &mut Value) {
    within(item, "fieldRef", |field| default(field, "apiVersion", "v1"));
    within(item, "resourceFieldRef", |field| default(field, "divisor", "0"));
}

fn projection(source: &mut Value) {
    within(source, "downwardAPI", |api| each(api, "items", downward_item));
    within(source, "serviceAccountToken", |token| {
        if absent(token, "expirationSeconds") {
            set(token, "expirationSeconds", 3600);
        }
    });
}

/// The quality of service that requests and limits ask for.
pub fn qos_class(spec: &Value) -> &'static str {
    let counted = |resources: &Value, field: &str| -> Vec<(String, Value)> {
        let map = resources[field].as_object().into_iter().flatten();
        let real = map.filter(|(name, amount)| {
            matches!(name.as_str(), "cpu" | "memory") && string(amount).parse().is_ok_and(|q: Quantity| !q.is_zero())
        });
        real.map(|(name, amount)| (name.clone(), amount.clone())).collect()
    };
    let mut any = false;
    let mut guaranteed = true;
    let whole = &spec["resources"];
    let judged: Vec<&Value> = if !counted(whole, "requests").is_empty() || !counted(whole, "limits").is_empty() {
        vec![whole]
    } else {
        let containers = items(&spec["containers"]).iter().chain(items(&spec["initContainers"]));
        containers.map(|c| &c["resources"]).collect()
    };
    for resources in judged {
        let (requests, limits) = (counted(resources, "requests"), counted(resources, "limits"));
        any |= !requests.is_empty() || !limits.is_empty();
        let same = limits.iter().all(|(name, limit)| {
            requests.iter().find(|(n, _)| n == name).is_none_or(|(_, request)| equal(request, limit))
        });
        guaranteed &= limits.len() == 2 && same;
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (string(a).parse::<Quantity>(), string(b).parse::<Quantity>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
