//! What is wrong with containers.

use super::{env, handlers, mounts, security};
use crate::amounts;
use crate::check::{Check, filled};
use crate::column::{items, string};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

/// What the containers of a spec share.
pub(super) struct Shared<'a> {
    pub spec: &'a Value,
    /// Its volumes that are well formed.
    pub volumes: Vec<&'a Value>,
    /// The names of its claims.
    pub claims: Vec<&'a str>,
}

impl Shared<'_> {
    fn grace(&self) -> Option<i64> {
        self.spec["terminationGracePeriodSeconds"].as_i64()
    }
}

/// All containers of the spec at `path`.
pub(super) fn validate(check: &mut Check, path: &Path, shared: &Shared<'_>) {
    main(check, &path.field("containers"), shared);
    init(check, &path.field("initContainers"), shared);
    ephemeral(check, &path.field("ephemeralContainers"), shared);
}

fn main(check: &mut Check, list: &Path, shared: &Shared<'_>) {
    let containers = items(&shared.spec["containers"]);
    if containers.is_empty() {
        check.required(list.clone(), "");
        return;
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let path = list.index(index);
        common(check, &path, container, shared);
        unique(check, &path, container, &mut names);
        handlers::validate(check, &path, container, shared.grace(), &shared.spec["os"]);
        restart_rules(check, &path, container);
    }
    let mut taken = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        host_ports(check, &list.index(index), container, &mut taken);
    }
}

fn init(check: &mut Check, list: &Path, shared: &Shared<'_>) {
    let mut names: Vec<&str> = items(&shared.spec["containers"]).iter().map(|c| string(&c["name"])).collect();
    for (index, container) in items(&shared.spec["initContainers"]).iter().enumerate() {
        let path = list.index(index);
        common(check, &path, container, shared);
        restart_rules(check, &path, container);
        unique(check, &path, container, &mut names);
        // init containers run one by one, so that each may have the ports of the others
        host_ports(check, &list.index(0), container, &mut Vec::new());
        if container["restartPolicy"] == "Always" {
            handlers::validate(check, &path, container, shared.grace(), &shared.spec["os"]);
        } else {
            let why = "may not be set for init containers without restartPolicy=Always";
            handlers::forbid(check, &path, container, why);
        }
    }
}

fn ephemeral(check: &mut Check, list: &Path, shared: &Shared<'_>) {
    let others: Vec<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| items(&shared.spec[list]))
        .map(|c| string(&c["name"]))
        .collect();
    let mut names = others.clone();
    for (index, container) in items(&shared.spec["ephemeralContainers"]).iter().enumerate() {
        let path = list.index(index);
        common(check, &path, container, shared);
        trimmed_image(check, &path, container);
        unique(check, &path, container, &mut names);
        let target = &container["targetContainerName"];
        if !string(target).is_empty() && !others.contains(&string(target)) {
            check.not_found(path.field("targetContainerName"), target);
        }
        let forbidden = [
            "ports",
            "resources",
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ];
        for field in forbidden.into_iter().filter(|field| filled(container, field)) {
            check.forbidden(path.field(field), NOT_EPHEMERAL);
        }
        for (index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
            for field in ["subPath", "subPathExpr"].into_iter().filter(|field| filled(mount, field)) {
                check.forbidden(path.field("volumeMounts").index(index).field(field), NOT_EPHEMERAL);
            }
        }
    }
}

fn unique<'a>(check: &mut Check, path: &Path, container: &'a Value, names: &mut Vec<&'a str>) {
    let name = string(&container["name"]);
    if names.contains(&name) {
        check.duplicate(path.field("name"), name);
    } else if !name.is_empty() {
        names.push(name);
    }
}

/// What all kinds of containers have in common.
fn common(check: &mut Check, path: &Path, container: &Value, shared: &Shared<'_>) {
    check.required_text(path.field("name"), &container["name"], validation::dns1123_label);
    if string(&container["image"]).is_empty() {
        check.required(path.field("image"), "");
    }
    let messages = ["File", "FallbackToLogsOnError"];
    check.required_one_of(path.field("terminationMessagePolicy"), &container["terminationMessagePolicy"], &messages);
    ports(check, &path.field("ports"), &container["ports"]);
    env::validate(check, path, container, &shared.volumes);
    mounts::validate(check, path, container, &shared.volumes);
    let pulls = ["Always", "IfNotPresent", "Never"];
    check.required_one_of(path.field("imagePullPolicy"), &container["imagePullPolicy"], &pulls);
    let resources = &container["resources"];
    amounts::requirements(check, &path.field("resources"), resources, amounts::container_name, &shared.claims);
    resize_policies(check, &path.field("resizePolicy"), container, shared);
    security::of_container(check, &path.field("securityContext"), container, shared.spec);
}

/// Only pods are strict about blanks: old templates may hold them.
pub(super) fn trimmed_image(check: &mut Check, path: &Path, container: &Value) {
    let image = string(&container["image"]);
    if image.trim() != image {
        check.invalid(path.field("image"), &container["image"], "must not have leading or trailing whitespace");
    }
}

fn ports(check: &mut Check, list: &Path, ports: &Value) {
    let mut names: Vec<&str> = Vec::new();
    for (index, port) in items(ports).iter().enumerate() {
        let (path, name) = (list.index(index), string(&port["name"]));
        if !name.is_empty() {
            let wrong = validation::port_name(name);
            if !wrong.is_empty() {
                check.messages(&path.field("name"), &port["name"], wrong);
            } else if names.contains(&name) {
                check.duplicate(path.field("name"), name);
            } else {
                names.push(name);
            }
        }
        if port["containerPort"].as_i64().unwrap_or(0) == 0 {
            check.required(path.field("containerPort"), "");
        } else {
            check.port(path.field("containerPort"), &port["containerPort"]);
        }
        if port["hostPort"].as_i64().unwrap_or(0) != 0 {
            check.port(path.field("hostPort"), &port["hostPort"]);
        }
        check.required_one_of(path.field("protocol"), &port["protocol"], PROTOCOLS);
    }
}

fn host_ports(check: &mut Check, path: &Path, container: &Value, taken: &mut Vec<String>) {
    for (index, port) in items(&container["ports"]).iter().enumerate() {
        let host = port["hostPort"].as_i64().unwrap_or(0);
        if host == 0 {
            continue;
        }
        let key = format!("{}/{}/{host}", string(&port["protocol"]), string(&port["hostIP"]));
        if taken.contains(&key) {
            check.duplicate(path.field("ports").index(index).field("hostPort"), key.as_str());
        } else {
            taken.push(key);
        }
    }
}

fn resize_policies(check: &mut Check, path: &Path, container: &Value, shared: &Shared<'_>) {
    let mut seen: Vec<&Value> = Vec::new();
    for (index, policy) in items(&container["resizePolicy"]).iter().enumerate() {
        let (resource, restart) = (&policy["resourceName"], &policy["restartPolicy"]);
        if seen.contains(&resource) {
            check.duplicate(path.index(index), string(resource));
        }
        seen.push(resource);
        check.required_one_of(path.clone(), resource, &["cpu", "memory"]);
        check.required_one_of(path.clone(), restart, &["NotRequired", "RestartContainer"]);
        if shared.spec["restartPolicy"] == "Never" && restart != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            check.invalid(path.clone(), &json!(string(restart)), why);
        }
    }
}

/// A container's own restart policy, and its rules by exit code.
fn restart_rules(check: &mut Check, path: &Path, container: &Value) {
    const MOST: usize = 20;
    check.exactly_one_of(path.field("restartPolicy"), &container["restartPolicy"], &["Always", "Never", "OnFailure"]);
    let (list, rules) = (path.field("restartPolicyRules"), items(&container["restartPolicyRules"]));
    if rules.is_empty() {
        return;
    }
    if container["restartPolicy"].is_null() {
        check.required(path.field("restartPolicy"), "must specify restartPolicy when restart rules are used");
    }
    if rules.len() > MOST {
        check.push(FieldError::new(&list, coracle_api::FieldErrorKind::TooMany(rules.len(), MOST), ""));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = list.index(index);
        check.required_one_of(path.field("action"), &rule["action"], &["Restart", "RestartAllContainers"]);
        let codes = &rule["exitCodes"];
        if !codes.is_object() {
            check.required(path.field("exitCodes"), "must be specified");
            continue;
        }
        let at = path.field("exitCodes");
        check.required_one_of(at.field("operator"), &codes["operator"], &["In", "NotIn"]);
        if items(&codes["values"]).len() > 255 {
            let found = items(&codes["values"]).len();
            check.push(FieldError::new(at.field("values"), coracle_api::FieldErrorKind::TooMany(found, 255), ""));
        }
    }
}
