//! What is wrong with the security contexts of pods and containers.

use super::windows;
use crate::check::Check;
use crate::column::{items, string};
use crate::core::volume_sources::descending;
use crate::go;
use coracle_api::{FieldError, FieldErrorKind, Path};
use serde_json::{Value, json};

/// The pod's own, and what of the spec belongs to it in upstream's eyes.
pub(super) fn of_pod(check: &mut Check, spec: &Value, path: &Path) {
    let context = &spec["securityContext"];
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        check.id(path.field(field), &context[field]);
    }
    for (index, group) in items(&context["supplementalGroups"]).iter().enumerate() {
        check.id(path.field("supplementalGroups").index(index), group);
    }
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        check.invalid(path.field("shareProcessNamespace"), &json!(true), why);
    }
    sysctls(check, &path.field("sysctls"), spec);
    let (policy, policies) = ("fsGroupChangePolicy", ["Always", "OnRootMismatch"]);
    check.exactly_one_of(path.field(policy), &context[policy], &policies);
    seccomp(check, &path.field("seccompProfile"), &context["seccompProfile"]);
    windows::options(check, &path.field("windowsOptions"), &context["windowsOptions"]);
    app_armor(check, &path.field("appArmorProfile"), &context["appArmorProfile"]);
    let groups = "supplementalGroupsPolicy";
    check.exactly_one_of(path.field(groups), &context[groups], &["Merge", "Strict"]);
    let labels = "seLinuxChangePolicy";
    check.exactly_one_of(path.field(labels), &context[labels], &["MountOption", "Recursive"]);
}

/// A container's, in a pod of `spec`.
pub(super) fn of_container(check: &mut Check, path: &Path, container: &Value, spec: &Value) {
    let context = &container["securityContext"];
    if !context.is_object() {
        return;
    }
    for field in ["runAsUser", "runAsGroup"] {
        check.id(path.field(field), &context[field]);
    }
    check.exactly_one_of(path.field("procMount"), &context["procMount"], &["Default", "Unmasked"]);
    if context["procMount"] == "Unmasked" && spec["hostUsers"] != false {
        let why = "`hostUsers` must be false to use `Unmasked`";
        check.invalid(path.field("procMount"), &context["procMount"], why);
    }
    seccomp(check, &path.field("seccompProfile"), &context["seccompProfile"]);
    if context["allowPrivilegeEscalation"] == false {
        let mut wrong = |why: &str| {
            let error = FieldError::invalid(path, context.clone(), why);
            check.push(error.shown_as(go::show(context, go::SECURITY_CONTEXT)));
        };
        if context["privileged"] == true {
            wrong("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        for _ in items(&context["capabilities"]["add"]).iter().filter(|c| *c == "CAP_SYS_ADMIN") {
            wrong("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    windows::options(check, &path.field("windowsOptions"), &context["windowsOptions"]);
    app_armor(check, &path.field("appArmorProfile"), &context["appArmorProfile"]);
}

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(check: &mut Check, path: &Path, profile: &Value) {
    if !profile.is_object() {
        return;
    }
    let (at, kind) = (path.field("type"), &profile["type"]);
    if string(kind).is_empty() {
        check.required(at, "type is required when seccompProfile is set");
    } else {
        check.one_of(at, kind, PROFILES);
    }
    let (at, local) = (path.field("localhostProfile"), &profile["localhostProfile"]);
    match (kind == "Localhost", local.is_null()) {
        (true, true) => check.required(at, "must be set when seccomp type is Localhost"),
        (true, false) => descending(check, &at, local),
        (false, false) => check.push(
            FieldError::invalid(at, profile.clone(), "can only be set when seccomp type is Localhost")
                .shown_as(go::show(profile, go::SECCOMP_PROFILE)),
        ),
        (false, true) => {}
    }
}

fn app_armor(check: &mut Check, path: &Path, profile: &Value) {
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    const LONGEST: usize = 4095;
    if !profile.is_object() {
        return;
    }
    let (at, local) = (path.field("localhostProfile"), &profile["localhostProfile"]);
    match string(&profile["type"]) {
        "Localhost" => {
            let Some(text) = local.as_str() else {
                check.required(at, NEEDED);
                return;
            };
            if text.trim() != text {
                check.invalid(at.clone(), local, "must not be padded with whitespace");
            } else if text.is_empty() {
                check.required(at.clone(), NEEDED);
            }
            if text.len() > LONGEST {
                check.push(FieldError::new(at, FieldErrorKind::TooLong(LONGEST), ""));
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if !local.is_null() {
                check.invalid(at, local, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => check.required(path.field("type"), "type is required when appArmorProfile is set"),
        other => check.push(FieldError::not_supported(path.field("type"), other, PROFILES)),
    }
}

fn sysctls(check: &mut Check, path: &Path, spec: &Value) {
    const RULE: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let mut seen: Vec<&str> = Vec::new();
    for (index, sysctl) in items(&spec["securityContext"]["sysctls"]).iter().enumerate() {
        let (at, name) = (path.index(index).field("name"), string(&sysctl["name"]));
        if name.is_empty() {
            check.required(at.clone(), "");
        } else if !is_sysctl(name) {
            check.invalid(at.clone(), &sysctl["name"], RULE);
        } else if seen.contains(&name) {
            check.duplicate(at.clone(), name);
        }
        match namespace(name) {
            Some("net") if spec["hostNetwork"] == true => {
                check.invalid(at, &sysctl["name"], "may not be specified when 'hostNetwork' is true");
            }
            Some("ipc") if spec["hostIPC"] == true => {
                check.invalid(at, &sysctl["name"], "may not be specified when 'hostIPC' is true");
            }
            _ => {}
        }
        seen.push(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let bytes = part.as_bytes();
            bytes.first().is_some_and(edge)
                && bytes.last().is_some_and(edge)
                && bytes.iter().all(|b| edge(b) || matches!(b, b'-' | b'_'))
        })
}

/// The namespace that a kernel setting belongs to. A slash as first separator means that dots are part of names.
fn namespace(name: &str) -> Option<&'static str> {
    let slashes = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let name = if slashes { name.replace('.', "\u{0}").replace('/', ".") } else { name.to_string() };
    let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."];
    match () {
        () if name == "kernel.sem" || ipc.iter().any(|prefix| name.starts_with(prefix)) => Some("ipc"),
        () if name.starts_with("net.") => Some("net"),
        () => None,
    }
}
