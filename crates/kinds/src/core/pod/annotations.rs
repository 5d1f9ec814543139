//! Annotations of pods that mean something to the server.

use super::scheduling;
use super::windows::containers;
use crate::check::Check;
use crate::column::string;
use crate::core::volume_sources::descending;
use coracle_api::{FieldError, Path};
use serde_json::{Value, json};

/// Marks the image of a static pod.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
pub(super) const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub(super) const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub(super) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Those at `path` of a pod or template with `spec`.
pub(super) fn validate(check: &mut Check, path: &Path, annotations: &Value, spec: &Value) {
    let Some(all) = annotations.as_object().filter(|all| !all.is_empty()) else { return };
    if all.contains_key(MIRROR) && string(&spec["nodeName"]).is_empty() {
        check.invalid(path.key(MIRROR), &annotations[MIRROR], "must set spec.nodeName if mirror pod annotation is set");
    }
    if let Some(text) = annotations[TOLERATIONS].as_str().filter(|text| !text.is_empty()) {
        match serde_json::from_str::<Value>(text) {
            Ok(list) => scheduling::tolerations(check, &path.field(TOLERATIONS), &list),
            Err(error) => check.invalid(path.clone(), &json!(TOLERATIONS), error),
        }
    }
    if let Some(text) = annotations[DELETION_COST].as_str()
        && !is_cost(text)
    {
        check.invalid(path.key(DELETION_COST), &annotations[DELETION_COST], "must be a 32bit integer");
    }
    if all.contains_key(SECCOMP_POD) {
        seccomp(check, &path.field(SECCOMP_POD), &annotations[SECCOMP_POD]);
    }
    for (key, value) in all.iter().filter(|(key, _)| key.starts_with(SECCOMP)) {
        seccomp(check, &path.field(key), value);
    }
    for (key, value) in all {
        let Some(name) = key.strip_prefix(APP_ARMOR) else { continue };
        if !containers(spec, path).iter().any(|(_, c)| c["name"] == name) {
            check.invalid(path.key(key), &json!(name), "container not found");
        }
        let text = string(value);
        if !matches!(text, "" | "runtime/default" | "unconfined") && !text.starts_with("localhost/") {
            check.invalid(path.key(key), value, format!("invalid AppArmor profile name: {text:?}"));
        }
    }
}

/// A whole number without plus sign or leading zeros.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !text.starts_with('+') && (digits == "0" || !digits.starts_with('0')) && text.parse::<i32>().is_ok()
}

fn seccomp(check: &mut Check, path: &Path, profile: &Value) {
    let text = string(profile);
    if matches!(text, "runtime/default" | "docker/default" | "unconfined") {
        return;
    }
    match text.strip_prefix("localhost/") {
        Some(file) => descending(check, path, &json!(file)),
        None => check.invalid(path.clone(), profile, "must be a valid seccomp profile"),
    }
}

/// What an update may not do to those at `path`.
pub(super) fn changed(check: &mut Check, path: &Path, new: &Value, old: &Value) {
    let guarded = |key: &str| match key {
        MIRROR => Some("mirror pod annotation"),
        _ if key.starts_with(APP_ARMOR) => Some("AppArmor annotations"),
        _ => None,
    };
    for (key, value) in old.as_object().into_iter().flatten() {
        if let Some(what) = guarded(key).filter(|_| new.get(key) != Some(value)) {
            check.forbidden(path.key(key), &format!("may not remove or update {what}"));
        }
    }
    for (key, _) in new.as_object().into_iter().flatten() {
        if let Some(what) = guarded(key).filter(|_| old.get(key).is_none()) {
            check.forbidden(path.key(key), &format!("may not add {what}"));
        }
    }
}

/// Annotations that came before fields must not contradict them; `path` is the spec's.
pub(super) fn agree(check: &mut Check, path: &Path, annotations: &Value, spec: &Value) {
    if !annotations.is_object() {
        return;
    }
    let one = |check: &mut Check, at: Path, word: &str, key: &str, profile: &Value| {
        let Some(said) = annotations.get(key).and_then(Value::as_str) else { return };
        if let Some((field, what)) = contradicts(said, profile) {
            let why = format!("{word} {what} in annotation and field must match");
            check.push(FieldError::forbidden(at.field(field), why));
        }
    };
    let context = path.field("securityContext");
    one(check, context.field("seccompProfile"), "seccomp", SECCOMP_POD, &spec["securityContext"]["seccompProfile"]);
    let all = containers(spec, path);
    for (at, container) in &all {
        let key = format!("{SECCOMP}{}", string(&container["name"]));
        let at = at.field("securityContext").field("seccompProfile");
        one(check, at, "seccomp", &key, &container["securityContext"]["seccompProfile"]);
    }
    if spec["os"]["name"] == "windows" {
        return;
    }
    for (at, container) in &all {
        let own = &container["securityContext"]["appArmorProfile"];
        let profile = if own.is_object() { own } else { &spec["securityContext"]["appArmorProfile"] };
        let key = format!("{APP_ARMOR}{}", string(&container["name"]));
        let at = at.field("securityContext").field("appArmorProfile");
        one(check, at, "apparmor", &key, profile);
    }
}

fn contradicts(said: &str, profile: &Value) -> Option<(&'static str, &'static str)> {
    const TYPE: (&str, &str) = ("type", "type");
    match string(&profile["type"]) {
        "Unconfined" if said != "unconfined" => Some(TYPE),
        "RuntimeDefault" if !matches!(said, "runtime/default" | "docker/default") => Some(TYPE),
        "Localhost" => match said.strip_prefix("localhost/") {
            None => Some(TYPE),
            Some(file) if profile["localhostProfile"] != file => Some(("localhostProfile", "profile")),
            Some(_) => None,
        },
        _ => None,
    }
}
