//! What is wrong with containers.

use crate::check::{Check, filled};
use crate::column::{items, string};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Main,
    Init,
    Sidecar,
    Ephemeral,
}

/// All containers of the spec at `path`; `volumes` are the names that mounts may use.
pub(super) fn validate(check: &mut Check, path: &Path, spec: &Value, volumes: &[&str]) {
    if items(&spec["containers"]).is_empty() {
        check.required(path.field("containers"), "");
    }
    let mut names: Vec<&str> = Vec::new();
    let mut ports: Vec<String> = Vec::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in items(&spec[list]).iter().enumerate() {
            let path = path.field(list).index(index);
            let role = match list {
                "containers" => Role::Main,
                "ephemeralContainers" => Role::Ephemeral,
                _ if container["restartPolicy"] == "Always" => Role::Sidecar,
                _ => Role::Init,
            };
            let name = string(&container["name"]);
            if names.contains(&name) {
                check.push(FieldError::duplicate(path.field("name"), name));
            }
            names.push(name);
            one(check, &path, container, volumes, role);
            host_ports(check, &path, spec, container, &mut ports);
        }
    }
}

fn host_ports(check: &mut Check, path: &Path, spec: &Value, container: &Value, taken: &mut Vec<String>) {
    for (index, port) in items(&container["ports"]).iter().enumerate() {
        let at = path.field("ports").index(index);
        let host = port["hostPort"].as_i64().unwrap_or(0);
        if host == 0 {
            continue;
        }
        if spec["hostNetwork"] == true && host != port["containerPort"].as_i64().unwrap_or(0) {
            check.invalid(
                at.field("containerPort"),
                &port["containerPort"],
                "must match `hostPort` when `hostNetwork` is true",
            );
        }
        let key = format!("{}/{}/{host}", string(&port["protocol"]), string(&port["hostIP"]));
        if taken.contains(&key) {
            check.push(FieldError::duplicate(at.field("hostPort"), key.clone()));
        }
        taken.push(key);
    }
}

fn one(check: &mut Check, path: &Path, container: &Value, volumes: &[&str], role: Role) {
    check.required_text(path.field("name"), &container["name"], validation::dns1123_label);
    let image = string(&container["image"]);
    if image.is_empty() {
        check.required(path.field("image"), "");
    } else if image.trim() != image {
        check.invalid(path.field("image"), &container["image"], "must not have leading or trailing whitespace");
    }
    let pulls = ["Always", "IfNotPresent", "Never"];
    check.required_one_of(path.field("imagePullPolicy"), &container["imagePullPolicy"], &pulls);
    let messages = ["File", "FallbackToLogsOnError"];
    check.required_one_of(path.field("terminationMessagePolicy"), &container["terminationMessagePolicy"], &messages);
    check.one_of(path.field("restartPolicy"), &container["restartPolicy"], &["Always", "OnFailure", "Never"]);
    container_ports(check, &path.field("ports"), &container["ports"]);
    env(check, path, container);
    mounts(check, path, container, volumes);
    resources(check, &path.field("resources"), &container["resources"]);
    security(check, path, container);
    handlers(check, path, container, role);
}

fn container_ports(check: &mut Check, path: &Path, ports: &Value) {
    for (index, port) in items(ports).iter().enumerate() {
        let path = path.index(index);
        check.text(path.field("name"), &port["name"], validation::port_name);
        if port["containerPort"].as_i64().unwrap_or(0) == 0 {
            check.required(path.field("containerPort"), "");
        } else {
            check.port(path.field("containerPort"), &port["containerPort"]);
        }
        if port["hostPort"].as_i64().unwrap_or(0) != 0 {
            check.port(path.field("hostPort"), &port["hostPort"]);
        }
        check.required_one_of(path.field("protocol"), &port["protocol"], &["TCP", "UDP", "SCTP"]);
    }
    check.unique(path, ports, "name");
}

const FIELD_PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.hostname",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn env(check: &mut Check, path: &Path, container: &Value) {
    for (index, env) in items(&container["env"]).iter().enumerate() {
        let path = path.field("env").index(index);
        check.required_text(path.field("name"), &env["name"], validation::env_var_name);
        let from = &env["valueFrom"];
        if !from.is_object() {
            continue;
        }
        let path = path.field("valueFrom");
        let sources = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
        let given: Vec<&str> = sources.into_iter().filter(|s| from[*s].is_object()).collect();
        if given.is_empty() {
            let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            check.invalid(path.clone(), &json!(""), why);
        } else if filled(env, "value") {
            check.invalid(path.clone(), &json!(""), "may not be specified when `value` is not empty");
        } else if given.len() > 1 {
            check.invalid(path.clone(), &json!(""), "may not have more than one field specified at a time");
        }
        for source in ["configMapKeyRef", "secretKeyRef"] {
            if from[source].is_object() {
                let key = &from[source]["key"];
                check.required_text(path.field(source).field("key"), key, validation::config_map_key);
            }
        }
        if from["fieldRef"].is_object() {
            field_ref(check, &path.field("fieldRef"), &from["fieldRef"], FIELD_PATHS);
        }
    }
    for (index, from) in items(&container["envFrom"]).iter().enumerate() {
        let path = path.field("envFrom").index(index);
        check.text(path.field("prefix"), &from["prefix"], validation::env_var_name);
        let sources: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|s| from[*s].is_object()).collect();
        match sources[..] {
            [] => check.invalid(path, &json!(""), "must specify one of: `configMapRef` or `secretRef`"),
            [one] => {
                let name = &from[one]["name"];
                check.required_text(path.field(one).field("name"), name, validation::dns1123_subdomain);
            }
            _ => check.invalid(path, &json!(""), "may not have more than one field specified at a time"),
        }
    }
}

/// A reference to a field of the pod.
pub(super) fn field_ref(check: &mut Check, path: &Path, field: &Value, allowed: &[&str]) {
    let name = string(&field["fieldPath"]);
    if name.is_empty() {
        check.required(path.field("fieldPath"), "");
    } else if let Some((map, _)) = name.split_once("['") {
        if !matches!(map, "metadata.labels" | "metadata.annotations") {
            check.invalid(path.field("fieldPath"), &field["fieldPath"], "does not support subscript");
        }
    } else if !allowed.contains(&name) {
        check.push(FieldError::not_supported(path.field("fieldPath"), name, allowed));
    }
}

fn mounts(check: &mut Check, path: &Path, container: &Value, volumes: &[&str]) {
    let mut places: Vec<&str> = Vec::new();
    for (list, place) in [("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")] {
        for (index, mount) in items(&container[list]).iter().enumerate() {
            let path = path.field(list).index(index);
            let name = string(&mount["name"]);
            if name.is_empty() {
                check.required(path.field("name"), "");
            } else if !volumes.contains(&name) {
                check.not_found(path.field("name"), &mount["name"]);
            }
            let at = string(&mount[place]);
            if at.is_empty() {
                check.required(path.field(place), "");
            } else if places.contains(&at) {
                check.invalid(path.field(place), &mount[place], "must be unique");
            }
            places.push(at);
            for field in ["subPath", "subPathExpr"] {
                inner_path(check, path.field(field), &mount[field]);
            }
            if filled(mount, "subPath") && filled(mount, "subPathExpr") {
                check.invalid(
                    path.field("subPathExpr"),
                    &mount["subPathExpr"],
                    "subPathExpr and subPath are mutually exclusive",
                );
            }
            let propagation = ["Bidirectional", "HostToContainer", "None"];
            check.one_of(path.field("mountPropagation"), &mount["mountPropagation"], &propagation);
            if mount["mountPropagation"] == "Bidirectional" && container["securityContext"]["privileged"] != true {
                let why = "Bidirectional mount propagation is available only to privileged containers";
                check.forbidden(path.field("mountPropagation"), why);
            }
        }
    }
}

/// A path that stays inside its volume.
pub(super) fn inner_path(check: &mut Check, path: Path, value: &Value) {
    let text = string(value);
    if text.starts_with('/') {
        check.invalid(path.clone(), value, "must be a relative path");
    }
    if text.split('/').any(|part| part == "..") {
        check.invalid(path, value, "must not contain '..'");
    }
}

/// Requests and limits at `path`.
pub fn resources(check: &mut Check, path: &Path, resources: &Value) {
    for list in ["limits", "requests"] {
        for (name, value) in resources[list].as_object().into_iter().flatten() {
            let at = path.field(list).key(name);
            check.amount(at.clone(), value);
            let standard =
                matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
            if name.contains('/') {
                check.text(at, &json!(name), validation::qualified_name);
            } else if !standard {
                check.invalid(at, &json!(name), "must be a standard resource type or fully qualified");
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        let exact = name.contains('/') || name.starts_with("hugepages-");
        let (Ok(wanted), Ok(most)) =
            (string(request).parse::<coracle_api::Quantity>(), string(limit).parse::<coracle_api::Quantity>())
        else {
            if exact && limit.is_null() {
                check.required(path.field("limits"), "Limit must be set for non overcommitable resources");
            }
            continue;
        };
        if exact && wanted != most {
            check.invalid(path.field("requests"), request, format!("must be equal to {name} limit of {most}"));
        } else if wanted > most {
            let why = format!("must be less than or equal to {name} limit of {most}");
            check.invalid(path.field("requests"), request, why);
        }
    }
}

fn security(check: &mut Check, path: &Path, container: &Value) {
    let context = &container["securityContext"];
    let path = path.field("securityContext");
    check.none_negative(&path, context, &["runAsUser", "runAsGroup"]);
    if context["allowPrivilegeEscalation"] == false && context["privileged"] == true {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        check.invalid(path.clone(), context, why);
    }
    let adds_admin = items(&context["capabilities"]["add"]).iter().any(|c| c == "CAP_SYS_ADMIN");
    if context["allowPrivilegeEscalation"] == false && adds_admin {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        check.invalid(path, context, why);
    }
}

fn handlers(check: &mut Check, path: &Path, container: &Value, role: Role) {
    const PLAIN_INIT: &str = "may not be set for init containers without restartPolicy=Always";
    const EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
    let forbidden = match role {
        Role::Init => Some(PLAIN_INIT),
        Role::Ephemeral => Some(EPHEMERAL),
        Role::Main | Role::Sidecar => None,
    };
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        match forbidden {
            Some(why) if container[field].is_object() => check.forbidden(path.field(field), why),
            None if container[field].is_object() && field != "lifecycle" => {
                probe(check, &path.field(field), &container[field], field);
            }
            _ => {}
        }
    }
    if role == Role::Ephemeral && filled(container, "ports") {
        check.forbidden(path.field("ports"), EPHEMERAL);
    }
    if forbidden.is_none() {
        for hook in ["postStart", "preStop"] {
            if container["lifecycle"][hook].is_object() {
                let sources = ["exec", "httpGet", "tcpSocket", "sleep"];
                handler(check, &path.field("lifecycle").field(hook), &container["lifecycle"][hook], &sources);
            }
        }
    }
}

fn probe(check: &mut Check, path: &Path, probe: &Value, name: &str) {
    handler(check, path, probe, &["exec", "httpGet", "tcpSocket", "grpc"]);
    let numbers = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    check.none_negative(path, probe, &numbers);
    if name != "readinessProbe" && probe["successThreshold"].as_i64().unwrap_or(1) != 1 {
        check.invalid(path.field("successThreshold"), &probe["successThreshold"], "must be 1");
    }
    let grace = &probe["terminationGracePeriodSeconds"];
    if name == "readinessProbe" && !grace.is_null() {
        check.invalid(path.field("terminationGracePeriodSeconds"), grace, "must not be set for readinessProbes");
    } else if grace.as_i64().is_some_and(|n| n <= 0) {
        check.invalid(path.field("terminationGracePeriodSeconds"), grace, "must be greater than 0");
    }
}

fn handler(check: &mut Check, path: &Path, handler: &Value, kinds: &[&str]) {
    let none = "must specify a handler type";
    let Some(kind) = check.exactly_one(path, handler, kinds, none, "may not specify more than 1 handler type") else {
        return;
    };
    let (path, action) = (path.field(kind), &handler[kind]);
    match kind {
        "exec" if items(&action["command"]).is_empty() => check.required(path.field("command"), ""),
        "httpGet" => {
            if string(&action["path"]).is_empty() {
                check.required(path.field("path"), "");
            }
            check.port_or_name(path.field("port"), &action["port"]);
            check.one_of(path.field("scheme"), &action["scheme"], &["HTTP", "HTTPS"]);
        }
        "tcpSocket" => check.port_or_name(path.field("port"), &action["port"]),
        "grpc" => check.port(path.field("port"), &action["port"]),
        _ => {}
    }
}
