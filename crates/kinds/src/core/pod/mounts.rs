//! What is wrong with where volumes are mounted.

use crate::check::{Check, filled};
use crate::column::{items, string};
use crate::core::volume_sources::descending;
use coracle_api::{FieldError, Path};
use serde_json::Value;

/// Mounts and devices of the container at `path`; `volumes` are those of its pod that are well formed.
pub(super) fn validate(check: &mut Check, path: &Path, container: &Value, volumes: &[&Value]) {
    mounts(check, &path.field("volumeMounts"), container, volumes);
    devices(check, &path.field("volumeDevices"), container, volumes);
}

fn find<'a>(volumes: &[&'a Value], name: &Value) -> Option<&'a Value> {
    volumes.iter().copied().find(|v| v["name"] == *name)
}

fn has(list: &Value, field: &str, value: &Value) -> bool {
    items(list).iter().any(|entry| string(&entry[field]) == string(value))
}

fn mounts(check: &mut Check, list: &Path, container: &Value, volumes: &[&Value]) {
    let mut places: Vec<&str> = Vec::new();
    for (index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let path = list.index(index);
        let (name, place) = (&mount["name"], &mount["mountPath"]);
        if string(name).is_empty() {
            check.required(path.field("name"), "");
        }
        if find(volumes, name).is_none() {
            check.push(FieldError::new(path.field("name"), not_found(name), ""));
        }
        if string(place).is_empty() {
            check.required(path.field("mountPath"), "");
        }
        if places.contains(&string(place)) {
            check.invalid(path.field("mountPath"), place, "must be unique");
        }
        places.push(string(place));
        if has(&container["volumeDevices"], "name", name) {
            check.invalid(path.field("name"), name, "must not already exist in volumeDevices");
        }
        if has(&container["volumeDevices"], "devicePath", place) {
            check.invalid(path.field("mountPath"), place, "must not already exist as a path in volumeDevices");
        }
        // from here on upstream mostly names the list, not the entry
        for field in ["subPath", "subPathExpr"].into_iter().filter(|field| filled(mount, field)) {
            if field == "subPathExpr" && filled(mount, "subPath") {
                let why = "subPathExpr and subPath are mutually exclusive";
                check.invalid(path.field(field), &mount[field], why);
            }
            descending(check, &list.field(field), &mount[field]);
        }
        propagation(check, list, container, mount);
    }
}

fn not_found(name: &Value) -> coracle_api::FieldErrorKind {
    coracle_api::FieldErrorKind::NotFound(serde_json::json!(string(name)))
}

fn propagation(check: &mut Check, list: &Path, container: &Value, mount: &Value) {
    let (at, mode) = (list.field("mountPropagation"), &mount["mountPropagation"]);
    check.exactly_one_of(at.clone(), mode, &["Bidirectional", "HostToContainer", "None"]);
    if mode == "Bidirectional" && container["securityContext"]["privileged"] != true {
        check.forbidden(at, "Bidirectional mount propagation is available only to privileged containers");
    }
    let (at, recursive) = (list.field("recursiveReadOnly"), &mount["recursiveReadOnly"]);
    match recursive.as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount["readOnly"] != true {
                check.forbidden(at.clone(), "may only be specified when readOnly is true");
            }
            if !mode.is_null() && mode != "None" {
                let why = "may only be specified when mountPropagation is None or not specified";
                check.forbidden(at, why);
            }
        }
        Some(other) => {
            check.push(FieldError::not_supported(at, other, &["Disabled", "Enabled", "IfPossible"]));
        }
    }
}

fn devices(check: &mut Check, list: &Path, container: &Value, volumes: &[&Value]) {
    let (mut names, mut places): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (index, device) in items(&container["volumeDevices"]).iter().enumerate() {
        let path = list.index(index);
        let (name, place) = (&device["name"], &device["devicePath"]);
        if string(name).is_empty() {
            check.required(path.field("name"), "");
        }
        if names.contains(&string(name)) {
            check.invalid(path.field("name"), name, "must be unique");
        }
        match find(volumes, name) {
            None => check.push(FieldError::new(path.field("name"), not_found(name), "")),
            Some(volume) if !volume["persistentVolumeClaim"].is_object() && !volume["ephemeral"].is_object() => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                check.invalid(path.field("name"), name, why);
            }
            Some(_) => {}
        }
        if string(place).is_empty() {
            check.required(path.field("devicePath"), "");
        }
        if places.contains(&string(place)) {
            check.invalid(path.field("devicePath"), place, "must be unique");
        }
        if string(place).split('/').any(|part| part == "..") {
            check.invalid(path.field("devicePath"), place, "can not contain backsteps ('..')");
        } else {
            places.push(string(place));
        }
        if has(&container["volumeMounts"], "name", name) {
            check.invalid(path.field("name"), name, "must not already exist in volumeMounts");
        }
        if has(&container["volumeMounts"], "mountPath", place) {
            check.invalid(path.field("devicePath"), place, "must not already exist as a path in volumeMounts");
        }
        if !string(name).is_empty() {
            names.push(string(name));
        }
    }
}
