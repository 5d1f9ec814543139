//! What is wrong with volumes.

use super::containers::{field_ref, inner_path};
use crate::check::Check;
use crate::column::{items, string};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

const DOWNWARD: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The volumes at `path`; returns their names.
pub(super) fn validate<'a>(check: &mut Check, path: &Path, volumes: &'a Value) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (index, volume) in items(volumes).iter().enumerate() {
        let path = path.index(index);
        let name = string(&volume["name"]);
        check.required_text(path.field("name"), &volume["name"], validation::dns1123_label);
        if names.contains(&name) {
            check.push(FieldError::duplicate(path.field("name"), name));
        }
        names.push(name);
        source(check, &path, volume);
    }
    names
}

fn source(check: &mut Check, path: &Path, volume: &Value) {
    let given: Vec<&String> = volume.as_object().into_iter().flat_map(|m| m.keys()).filter(|k| *k != "name").collect();
    if given.is_empty() {
        check.required(path.clone(), "must specify a volume type");
    }
    for more in given.iter().skip(1) {
        check.forbidden(path.field(more), "may not specify more than 1 volume type");
    }
    let Some(kind) = given.first() else { return };
    let (path, source) = (path.field(kind), &volume[kind.as_str()]);
    match kind.as_str() {
        "hostPath" => host_path(check, &path, source),
        "secret" => {
            required(check, &path, source, "secretName");
            mode(check, &path, source);
            key_paths(check, &path, source);
        }
        "configMap" => {
            required(check, &path, source, "name");
            mode(check, &path, source);
            key_paths(check, &path, source);
        }
        "downwardAPI" => {
            mode(check, &path, source);
            downward(check, &path, source);
        }
        "projected" => projected(check, &path, source),
        "persistentVolumeClaim" => required(check, &path, source, "claimName"),
        "emptyDir" if source["sizeLimit"].is_string() => {
            check.amount(path.field("sizeLimit"), &source["sizeLimit"]);
        }
        "nfs" => {
            required(check, &path, source, "server");
            required(check, &path, source, "path");
        }
        "csi" => required(check, &path, source, "driver"),
        _ => {}
    }
}

fn required(check: &mut Check, path: &Path, source: &Value, field: &str) {
    if string(&source[field]).is_empty() {
        check.required(path.field(field), "");
    }
}

/// A path on the node.
pub(crate) fn host_path(check: &mut Check, path: &Path, source: &Value) {
    let at = string(&source["path"]);
    if at.is_empty() {
        check.required(path.field("path"), "");
    } else if at.split('/').any(|part| part == "..") {
        check.invalid(path.field("path"), &source["path"], "must not contain '..'");
    }
    let kinds = ["BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    check.one_of(path.field("type"), &source["type"], &kinds);
}

fn mode(check: &mut Check, path: &Path, source: &Value) {
    mode_of(check, path.field("defaultMode"), &source["defaultMode"]);
}

fn mode_of(check: &mut Check, path: Path, mode: &Value) {
    if mode.as_i64().is_some_and(|m| !(0..=0o777).contains(&m)) {
        check.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn key_paths(check: &mut Check, path: &Path, source: &Value) {
    for (index, item) in items(&source["items"]).iter().enumerate() {
        let path = path.field("items").index(index);
        required(check, &path, item, "key");
        required(check, &path, item, "path");
        inner_path(check, path.field("path"), &item["path"]);
        mode_of(check, path.field("mode"), &item["mode"]);
    }
}

fn downward(check: &mut Check, path: &Path, source: &Value) {
    for (index, item) in items(&source["items"]).iter().enumerate() {
        let path = path.field("items").index(index);
        required(check, &path, item, "path");
        inner_path(check, path.field("path"), &item["path"]);
        mode_of(check, path.field("mode"), &item["mode"]);
        match (item["fieldRef"].is_object(), item["resourceFieldRef"].is_object()) {
            (true, false) => field_ref(check, &path.field("fieldRef"), &item["fieldRef"], DOWNWARD),
            (false, false) => check.required(path, "one of fieldRef and resourceFieldRef is required"),
            (true, true) => {
                check.invalid(
                    path,
                    &json!("resource"),
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                );
            }
            (false, true) => {}
        }
    }
}

fn projected(check: &mut Check, path: &Path, source: &Value) {
    mode(check, path, source);
    for (index, projection) in items(&source["sources"]).iter().enumerate() {
        let path = path.field("sources").index(index);
        for kind in ["secret", "configMap"] {
            if projection[kind].is_object() {
                required(check, &path.field(kind), &projection[kind], "name");
                key_paths(check, &path.field(kind), &projection[kind]);
            }
        }
        if projection["downwardAPI"].is_object() {
            downward(check, &path.field("downwardAPI"), &projection["downwardAPI"]);
        }
        let token = &projection["serviceAccountToken"];
        if token.is_object() {
            let path = path.field("serviceAccountToken");
            required(check, &path, token, "path");
            if token["expirationSeconds"].as_i64().is_some_and(|n| n < 600) {
                let why = "may not specify a duration less than 10 minutes";
                check.invalid(path.field("expirationSeconds"), &token["expirationSeconds"], why);
            }
        }
        if projection.as_object().is_some_and(|m| m.len() > 1) {
            check.forbidden(path, "may not specify more than 1 volume type");
        }
    }
}
