//! What is wrong with what pods say of their operating system, and with what only Windows knows.

use crate::check::Check;
use crate::column::{items, string};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// All containers of a spec with their paths, in the order in which upstream visits them.
pub(super) fn containers<'a>(spec: &'a Value, path: &Path) -> Vec<(Path, &'a Value)> {
    let of = |list: &'static str| {
        let at = path.field(list);
        items(&spec[list]).iter().enumerate().map(move |(index, container)| (at.index(index), container))
    };
    LISTS.into_iter().flat_map(of).collect()
}

/// Fields that only mean something on Linux, of a pod's context and of the spec beside it.
const LINUX_CONTEXT: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "^hostUsers",
    "^hostPID",
    "^hostIPC",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "^shareProcessNamespace",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];

/// The same of a container.
const LINUX_CONTAINER: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// `spec.os`, and that nothing of the other system is said.
pub(super) fn system(check: &mut Check, path: &Path, spec: &Value) {
    if !spec["os"].is_object() {
        return;
    }
    match string(&spec["os"]["name"]) {
        "" => check.required(path.field("os").field("name"), "cannot be empty"),
        "linux" => {
            const WHY: &str = "windows options cannot be set for a linux pod";
            let options = |path: &Path| path.field("securityContext").field("windowsOptions");
            if spec["securityContext"]["windowsOptions"].is_object() {
                check.forbidden(options(path), WHY);
            }
            for (at, container) in containers(spec, path) {
                if container["securityContext"]["windowsOptions"].is_object() {
                    check.forbidden(options(&at), WHY);
                }
            }
        }
        "windows" => {
            const WHY: &str = "cannot be set for a windows pod";
            for field in LINUX_CONTEXT {
                match field.strip_prefix('^') {
                    Some(field) => {
                        // two of them are plain flags
                        let given = if matches!(field, "hostPID" | "hostIPC") {
                            spec[field] == true
                        } else {
                            !spec[field].is_null()
                        };
                        if given {
                            check.forbidden(path.field(field), WHY);
                        }
                    }
                    None if !spec["securityContext"][*field].is_null() => {
                        check.forbidden(path.field("securityContext").field(field), WHY);
                    }
                    None => {}
                }
            }
            for (at, container) in containers(spec, path) {
                for field in LINUX_CONTAINER.iter().filter(|field| !container["securityContext"][**field].is_null()) {
                    check.forbidden(at.field("securityContext").field(field), WHY);
                }
            }
        }
        other => check.push(FieldError::not_supported(path.field("os"), other, &["linux", "windows"])),
    }
}

/// Containers that are processes of the host: all or none.
pub(super) fn host_process(check: &mut Check, path: &Path, spec: &Value) {
    let own = |context: &Value| context["windowsOptions"]["hostProcess"].as_bool();
    let pod = own(&spec["securityContext"]);
    let all = containers(spec, path);
    let mut count = 0;
    for (at, container) in &all {
        let mine = own(&container["securityContext"]);
        if let (Some(pod), Some(mine)) = (pod, mine)
            && pod != mine
        {
            let at = at.field("securityContext").field("windowsOptions").field("hostProcess");
            let why = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            check.invalid(at, &json!(mine), why);
        }
        if mine.or(pod) == Some(true) {
            count += 1;
        }
    }
    if count == 0 {
        return;
    }
    if count != all.len() {
        let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        check.invalid(path.clone(), &json!(""), why);
    }
    if spec["hostNetwork"] != true {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        check.invalid(path.field("hostNetwork"), &json!(false), why);
    }
}

/// `windowsOptions` at `path`.
pub(super) fn options(check: &mut Check, path: &Path, options: &Value) {
    const SPEC_KIB: usize = 64;
    if !options.is_object() {
        return;
    }
    let (field, name) = ("gmsaCredentialSpecName", &options["gmsaCredentialSpecName"]);
    if let Some(text) = name.as_str() {
        check.messages(&path.field(field), name, validation::dns1123_subdomain(text));
    }
    let (at, spec) = (path.field("gmsaCredentialSpec"), &options["gmsaCredentialSpec"]);
    match spec.as_str().map(str::len) {
        Some(0) => check.invalid(at, spec, "gmsaCredentialSpec cannot be an empty string"),
        Some(length) if length > SPEC_KIB << 10 => {
            check.invalid(at, spec, format!("gmsaCredentialSpec size must be under {SPEC_KIB} KiB"));
        }
        _ => {}
    }
    let (at, user) = (path.field("runAsUserName"), &options["runAsUserName"]);
    if let Some(text) = user.as_str() {
        for why in user_name(text) {
            check.invalid(at.clone(), user, why);
        }
    }
}

/// `DOMAIN\user`.
fn user_name(text: &str) -> Vec<String> {
    let one = |why: &str| vec![format!("runAsUserName {why}")];
    if text.is_empty() {
        return one("cannot be an empty string");
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        return one("cannot contain control characters");
    }
    let parts: Vec<&str> = text.split('\\').collect();
    let (domain, user) = match parts[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return one("cannot contain more than one backslash"),
    };
    let mut wrong = Vec::new();
    if domain.is_some_and(|d| d.len() >= 256) {
        wrong.push("runAsUserName's Domain length must be under 256 characters".to_string());
    }
    if domain.is_some_and(|d| !is_net_bios(d) && !is_dns(d)) {
        wrong.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".into());
    }
    if user.is_empty() {
        wrong.push("runAsUserName's User cannot be empty".into());
    } else if user.len() > 104 {
        wrong.push("runAsUserName's User length must not be longer than 104 characters".into());
    }
    if !user.is_empty() && user.chars().all(|c| c == '.' || c == ' ') {
        wrong.push("runAsUserName's User cannot contain only periods or spaces".into());
    }
    if user.contains(|c| r#""/\:;|=,+*?<>@[]"#.contains(c)) {
        wrong.push(r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#.into());
    }
    wrong
}

fn is_net_bios(domain: &str) -> bool {
    let count = domain.chars().count();
    (1..=15).contains(&count) && !domain.starts_with('.') && !domain.contains(|c| r#"\/:*?"<>|"#.contains(c))
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let bytes = label.as_bytes();
        bytes.len() <= 63
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    })
}
