//! What is wrong with environment variables and with references to fields.

use crate::amounts::amount;
use crate::check::{Check, filled};
use crate::column::{items, string};
use crate::core::volume_sources::own_path;
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

const FIELD_PATHS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Paths that can be asked for somewhere, if not here.
const CONVERTIBLE: &[&str] =
    &["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];

const NO_SOURCE: &str =
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";

/// `env` and `envFrom` of the container at `path`; `volumes` are those of its pod.
pub(super) fn validate(check: &mut Check, path: &Path, container: &Value, volumes: &[&Value]) {
    for (index, variable) in items(&container["env"]).iter().enumerate() {
        let path = path.field("env").index(index);
        check.required_text(path.field("name"), &variable["name"], validation::env_var_name);
        if variable["valueFrom"].is_object() {
            source(check, &path.field("valueFrom"), variable, volumes);
        }
    }
    let list = path.field("envFrom");
    for (index, from) in items(&container["envFrom"]).iter().enumerate() {
        let path = list.index(index);
        check.text(path.field("prefix"), &from["prefix"], validation::env_var_name);
        let given: Vec<&str> = ["configMapRef", "secretRef"].into_iter().filter(|s| from[*s].is_object()).collect();
        for source in &given {
            let (at, name) = (path.field(source).field("name"), &from[*source]["name"]);
            if string(name).is_empty() {
                check.required(at, "");
            } else {
                check.messages(&at, name, validation::subdomain_name(string(name), true));
            }
        }
        match given.len() {
            0 => check.invalid(list.clone(), &json!(""), "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => check.invalid(list.clone(), &json!(""), "may not have more than one field specified at a time"),
        }
    }
}

fn source(check: &mut Check, path: &Path, variable: &Value, volumes: &[&Value]) {
    let from = &variable["valueFrom"];
    let kinds = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| from[*kind].is_object()).collect();
    for kind in &given {
        let (at, reference) = (path.field(kind), &from[*kind]);
        match *kind {
            "fieldRef" => field_ref(check, &at, reference, FIELD_PATHS),
            "resourceFieldRef" => resource_field_ref(check, &at, reference, false),
            "fileKeyRef" => file_ref(check, &at, reference, volumes),
            _ => {
                check.word(&at.field("name"), &reference["name"], validation::dns1123_subdomain);
                check.required_text(at.field("key"), &reference["key"], validation::config_map_key);
            }
        }
    }
    let why = match (given.len(), filled(variable, "value")) {
        (0, _) => NO_SOURCE,
        (_, true) => "may not be specified when `value` is not empty",
        (1, false) => return,
        (_, false) => "may not have more than one field specified at a time",
    };
    check.invalid(path.clone(), &json!(""), why);
}

/// A key of a file in a volume of the pod.
fn file_ref(check: &mut Check, path: &Path, reference: &Value, volumes: &[&Value]) {
    check.required_text(path.field("key"), &reference["key"], validation::env_var_name);
    let name = &reference["volumeName"];
    if string(name).is_empty() {
        check.required(path.field("volumeName"), "");
    } else {
        match volumes.iter().find(|v| v["name"] == *name) {
            None => check.not_found(path.field("volumeName"), name),
            Some(volume) if !volume["emptyDir"].is_object() => {
                check.invalid(path.field("volumeName"), name, "referenced volume must be of type emptyDir");
            }
            Some(_) => {}
        }
    }
    if string(&reference["path"]).is_empty() {
        check.required(path.field("path"), "");
    } else {
        own_path(check, &path.field("path"), &reference["path"]);
    }
}

/// A reference to a field of the pod.
pub(super) fn field_ref(check: &mut Check, path: &Path, field: &Value, allowed: &[&str]) {
    for needed in ["apiVersion", "fieldPath"] {
        if string(&field[needed]).is_empty() {
            check.required(path.field(needed), "");
            return;
        }
    }
    let name = string(&field["fieldPath"]);
    let subscripted = name.strip_suffix("']").and_then(|rest| rest.split_once("['"));
    let known = match subscripted {
        Some((map, _)) => matches!(map, "metadata.annotations" | "metadata.labels"),
        None => FIELD_PATHS.contains(&name) || CONVERTIBLE.contains(&name),
    };
    if field["apiVersion"] != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {}", string(&field["apiVersion"]));
        check.invalid(path.field("fieldPath"), &field["fieldPath"], why);
        return;
    }
    match subscripted {
        Some(_) if !known => {
            let why = format!("error converting fieldPath: field label does not support subscript: {name}");
            check.invalid(path.field("fieldPath"), &field["fieldPath"], why);
        }
        Some((map, key)) => {
            let folded = if map == "metadata.annotations" { key.to_lowercase() } else { key.to_string() };
            check.messages(path, &json!(folded), validation::qualified_name(&folded));
        }
        None if !known => {
            let why = format!("error converting fieldPath: field label not supported: {name}");
            check.invalid(path.field("fieldPath"), &field["fieldPath"], why);
        }
        None if !allowed.contains(&name) => {
            check.push(FieldError::not_supported(path.field("fieldPath"), name, allowed));
        }
        None => {}
    }
}

const DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A reference to requests or limits of a container, which a `volume` must name.
pub(super) fn resource_field_ref(check: &mut Check, path: &Path, field: &Value, volume: bool) {
    let name = string(&field["resource"]);
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if volume && string(&field["containerName"]).is_empty() {
        check.required(path.field("containerName"), "");
    } else if name.is_empty() {
        check.required(path.field("resource"), "");
    } else if !RESOURCE_FIELDS.contains(&name) && !huge {
        check.push(FieldError::not_supported(path.field("resource"), name, RESOURCE_FIELDS));
    }
    let Some(divisor) = amount(&field["divisor"]).filter(|d| !d.is_zero()) else { return };
    let (allowed, of) = match name {
        "limits.cpu" | "requests.cpu" => (&["1m", "1"][..], "cpu"),
        "limits.memory" | "requests.memory" => (DIVISORS, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (DIVISORS, "local ephemeral storage"),
        _ if huge => (DIVISORS, "hugepages"),
        _ => return,
    };
    if !allowed.contains(&divisor.to_string().as_str()) {
        let why = if of == "cpu" {
            "only divisor's values 1m and 1 are supported with the cpu resource".to_string()
        } else {
            format!("only divisor's values {} are supported with the {of} resource", DIVISORS.join(", "))
        };
        check.invalid(path.field("divisor"), &json!(name), why);
    }
}
