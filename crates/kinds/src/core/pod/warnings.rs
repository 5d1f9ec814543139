//! What is accepted of pods and their templates, but does not do what its writer may think.
//!
//! Source: `pkg/api/pod/warnings.go`.

use super::annotations::{APP_ARMOR, SECCOMP, SECCOMP_POD};
use super::windows::containers;
use crate::column::string;
use crate::place::Place;
use crate::warn::{self, Values};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Annotations that mean nothing any more.
const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        r#"non-functional in v1.16+; use the "priorityClassName" field instead"#,
    ),
    ("security.alpha.kubernetes.io/sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
    ("security.alpha.kubernetes.io/unsafe-sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
];
/// The resources that are counted in bytes.
const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];

/// Whether it is a pod, or what pods are made from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Pod,
    Template,
}

/// A new pod.
pub(super) fn pod(pod: &Value) -> Vec<String> {
    let mut warnings: Vec<String> = warn::hostname(pod, "the Pod's hostname").into_iter().collect();
    warnings.extend(all(&Place::of(pod), Form::Pod));
    warnings
}

/// A template of pods.
pub(crate) fn template(at: &Place) -> Vec<String> {
    all(at, Form::Template)
}

fn all(at: &Place, form: Form) -> Vec<String> {
    let spec = at.field("spec");
    let mut warnings = node_labels(&spec);
    let annotations = at.field("metadata.annotations");
    let told = |(key, why): &(&str, &str)| annotation(&annotations, key, why);
    warnings.extend(OLD_ANNOTATIONS.iter().filter_map(told));
    warnings.extend(spec.field("volumes").items().flat_map(|volume| old_volume(&volume)));
    warnings.extend(spec.field("volumes").items().flat_map(|volume| super::overlaps::of(volume.value)));
    warnings.extend(twice(&spec.field("hostAliases"), "ip"));
    warnings.extend(twice(&spec.field("imagePullSecrets"), "name"));
    for secret in spec.field("imagePullSecrets").items().filter(|s| s.field("name").empty()) {
        warnings.push(format!("{}: invalid empty name \"\"", secret.field("name").path));
    }
    warnings.extend(BYTES.iter().filter_map(|bytes| warn::fraction(&spec.field("overhead"), bytes)));
    if !spec.field("securityContext.seccompProfile").given() {
        warnings.extend(annotation(&annotations, SECCOMP_POD, NO_SECCOMP));
    }
    for container in list(&spec) {
        warnings.extend(of_container(&spec, &annotations, &container, form));
    }
    warnings.extend(ports(&spec));
    if spec.field("terminationGracePeriodSeconds").number() < 0 {
        let path = spec.field("terminationGracePeriodSeconds").path;
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    warnings.extend(affinities(&spec.field("affinity")));
    warnings
}

fn list<'v>(spec: &Place<'v>) -> Vec<Place<'v>> {
    containers(spec.value, &spec.path).into_iter().map(|(path, value)| Place::at(path, value)).collect()
}

const NO_SECCOMP: &str = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
const NO_APP_ARMOR: &str = r#"deprecated since v1.30; use the "appArmorProfile" field instead"#;

fn annotation(annotations: &Place, key: &str, why: &str) -> Option<String> {
    annotations.value.get(key).map(|_| format!("{}: {why}", annotations.path.key(key)))
}

/// Old labels of nodes, in all places that select or spread by them.
fn node_labels(spec: &Place) -> Vec<String> {
    let mut warnings = warn::label_keys(&spec.field("nodeSelector"));
    let affinity = spec.field("affinity.nodeAffinity");
    for term in affinity.field("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms").items() {
        warnings.extend(warn::node_term(&term, Values::Taken));
    }
    for term in affinity.field("preferredDuringSchedulingIgnoredDuringExecution").items() {
        warnings.extend(warn::node_term(&term.field("preference"), Values::Judged));
    }
    for at in spec.field("topologySpreadConstraints").items() {
        let key = at.field("topologyKey");
        if let Some(why) = warn::old_label(key.text()) {
            warnings.push(format!("{}: {} is {why}", key.path, key.text()));
        }
        warnings.extend(no_selector(&at));
    }
    warnings
}

fn no_selector(at: &Place) -> Option<String> {
    let selector = at.field("labelSelector");
    (!selector.given()).then(|| format!("{}: a null labelSelector results in matching no pod", selector.path))
}

fn affinities(affinity: &Place) -> Vec<String> {
    let mut warnings = Vec::new();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let terms = |when: &str| affinity.field(kind).field(when).items();
        warnings.extend(terms("requiredDuringSchedulingIgnoredDuringExecution").filter_map(|t| no_selector(&t)));
        let preferred = terms("preferredDuringSchedulingIgnoredDuringExecution").map(|t| t.field("podAffinityTerm"));
        warnings.extend(preferred.filter_map(|t| no_selector(&t)));
    }
    warnings
}

fn old_volume(volume: &Place) -> Vec<String> {
    let mut warnings = warn::old_plugins(volume, &[]);
    warnings.extend(warn::claim_spec(&volume.field("ephemeral.volumeClaimTemplate.spec")));
    warnings
}

/// Entries of a list whose `key` an earlier one had.
fn twice(list: &Place, key: &str) -> Vec<String> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut warnings = Vec::new();
    for at in list.items().map(|item| item.field(key)) {
        if !seen.insert(at.text()) {
            warnings.push(format!("{}: duplicate {key} {:?}", at.path, at.text()));
        }
    }
    warnings
}

fn of_container(spec: &Place, annotations: &Place, container: &Place, form: Form) -> Vec<String> {
    let name = container.field("name").text();
    let mut warnings = Vec::new();
    if !container.field("securityContext.seccompProfile").given() {
        warnings.extend(annotation(annotations, &format!("{SECCOMP}{name}"), NO_SECCOMP));
    }
    let profile = |of: &Place| of.field("securityContext.appArmorProfile").given();
    // what a pod's own annotation says has become a field by now
    if form == Form::Template && !profile(spec) && !profile(container) {
        warnings.extend(annotation(annotations, &format!("{APP_ARMOR}{name}"), NO_APP_ARMOR));
    }
    for bytes in BYTES {
        for list in ["limits", "requests"] {
            warnings.extend(warn::fraction(&container.field("resources").field(list), bytes));
        }
    }
    warnings.extend(hidden_variables(&container.field("env")));
    warnings
}

/// Variables that hide an earlier one of their name. One that is made from the earlier one does not.
fn hidden_variables(env: &Place) -> Vec<String> {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut warnings = Vec::new();
    for at in env.items() {
        let (name, value) = (at.field("name").text(), at.field("value").text());
        if seen.insert(name) {
            continue;
        }
        let earlier = format!("$({name})");
        if at.field("valueFrom").given() || value == earlier || !value.contains(&earlier) {
            let why = "hides previous definition of";
            warnings.push(format!("{}: {why} {name:?}, which may be dropped when using apply", at.path));
        }
    }
    warnings
}

/// Ports of all containers that are the same, or may be.
fn ports(spec: &Place) -> Vec<String> {
    let mut warnings = Vec::new();
    // by number and protocol; against so many of one, and no more: an answer has no room for more warnings
    const MOST: usize = 64;
    let mut seen: HashMap<(i64, &str), Vec<Place>> = HashMap::new();
    for at in list(spec).iter().flat_map(|container| container.field("ports").items().collect::<Vec<_>>()) {
        let of = |port: &Place| (port.field("hostIP").text().to_string(), port.field("hostPort").number());
        let (ip, port) = of(&at);
        if !ip.is_empty() && port == 0 {
            warnings.push(format!("{}: hostIP set without hostPort: {}", at.path, go_port(&at)));
        }
        let same = seen.entry((at.field("containerPort").number(), string(&at.value["protocol"]))).or_default();
        for other in same.iter() {
            let (other_ip, other_port) = of(other);
            let what = match () {
                () if ip == other_ip && port == other_port => "duplicate",
                () if port == 0 || other_port == 0 => "overlapping",
                () if port == other_port && ip.is_empty() != other_ip.is_empty() => "dangerously ambiguous",
                () => continue,
            };
            warnings.push(format!("{}: {what} port definition with {}", at.path, other.path));
        }
        if same.len() < MOST {
            same.push(at);
        }
    }
    warnings
}

/// A port as Go prints upstream's inner type.
fn go_port(at: &Place) -> String {
    let number = |field: &str| at.field(field).number();
    let (name, protocol, ip) = (string(&at.value["name"]), string(&at.value["protocol"]), string(&at.value["hostIP"]));
    let (host, own) = (number("hostPort"), number("containerPort"));
    format!("{{Name:{name} HostPort:{host} ContainerPort:{own} Protocol:{protocol} HostIP:{ip}}}")
}
