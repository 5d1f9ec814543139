//! What is wrong with a pod or a pod template. Its parts have modules of their own.
//!
//! Source: `ValidatePodSpec`, `ValidatePodCreate`, `ValidatePodTemplateSpec` in `pkg/apis/core/validation`; the order of errors is theirs.

use super::containers::{Shared, trimmed_image};
use super::{annotations, containers, resources, scheduling, security, volumes, windows};
use crate::amounts;
use crate::check::{Check, path};
use crate::column::{items, string};
use coracle_api::{FieldError, FieldErrorKind, Path, validation};
use serde_json::{Value, json};

pub use super::scheduling::node_selector;

/// What a spec is part of.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The metadata of a pod; nothing for a template.
    pub pod: Option<&'a Value>,
}

/// A pod that is about to be created.
pub(super) fn new_pod(check: &mut Check, pod: &Value) {
    whole_pod(check, pod);
    let (at, spec) = (path("spec"), &pod["spec"]);
    if !items(&spec["ephemeralContainers"]).is_empty() {
        check.forbidden(at.field("ephemeralContainers"), "cannot be set on create");
    }
    if !string(&spec["nodeName"]).is_empty() && !items(&spec["schedulingGates"]).is_empty() {
        check.forbidden(at.field("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    annotations::agree(check, &at, &pod["metadata"]["annotations"], spec);
}

/// A pod, new or not; metadata apart, but for annotations with a meaning.
pub(super) fn whole_pod(check: &mut Check, pod: &Value) {
    let (at, spec) = (path("spec"), &pod["spec"]);
    let metadata = &pod["metadata"];
    annotations::validate(check, &path("metadata").field("annotations"), &metadata["annotations"], spec);
    pod_spec(check, &at, spec, Scope { pod: Some(metadata) });
    if string(&spec["serviceAccountName"]).is_empty() {
        for (index, volume) in items(&spec["volumes"]).iter().enumerate() {
            let sources = at.field("volumes").index(index).field("projected").field("sources");
            for (index, source) in items(&volume["projected"]["sources"]).iter().enumerate() {
                if source["serviceAccountToken"].is_object() {
                    let at = sources.index(index).field("serviceAccountToken");
                    check.forbidden(at, "must not be specified when serviceAccountName is not set");
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in items(&spec[list]).iter().enumerate() {
            trimmed_image(check, &at.field(list).index(index), container);
        }
    }
}

/// A pod template at `path`.
pub fn template(check: &mut Check, path: &Path, template: &Value) {
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    // upstream leaves `metadata` out of these paths
    check.labels(&path.field("labels"), &metadata["labels"]);
    let at = path.field("annotations");
    check.extend(validation::validate_annotations(&metadata["annotations"], &at));
    annotations::validate(check, &at, &metadata["annotations"], spec);
    pod_spec(check, &path.field("spec"), spec, Scope { pod: None });
    annotations::agree(check, &path.field("spec"), &metadata["annotations"], spec);
    if !items(&spec["ephemeralContainers"]).is_empty() {
        let at = path.field("spec").field("ephemeralContainers");
        check.forbidden(at, "ephemeral containers not allowed in pod template");
    }
}

fn pod_spec(check: &mut Check, path: &Path, spec: &Value, scope: Scope<'_>) {
    if spec["terminationGracePeriodSeconds"].is_null() {
        check.required(path.field("terminationGracePeriodSeconds"), "");
    }
    let volumes = volumes::validate(check, &path.field("volumes"), &spec["volumes"], &scope);
    resources::claims(check, &path.field("resourceClaims"), &spec["resourceClaims"]);
    let claims = items(&spec["resourceClaims"]).iter().map(|c| string(&c["name"])).filter(|name| !name.is_empty());
    let shared = Shared { spec, volumes, claims: claims.collect() };
    containers::validate(check, path, &shared);
    resources::of_pod(check, &path.field("resources"), spec);
    host_network(check, path, spec, scope);
    check.required_one_of(path.field("restartPolicy"), &spec["restartPolicy"], &["Always", "OnFailure", "Never"]);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check.required_one_of(path.field("dnsPolicy"), &spec["dnsPolicy"], &policies);
    check.labels(&path.field("nodeSelector"), &spec["nodeSelector"]);
    security::of_pod(check, spec, &path.field("securityContext"));
    scheduling::affinity(check, &path.field("affinity"), &spec["affinity"]);
    dns(check, &path.field("dnsConfig"), spec);
    scheduling::gates(check, path, spec);
    scheduling::spread(check, &path.field("topologySpreadConstraints"), &spec["topologySpreadConstraints"]);
    windows::host_process(check, path, spec);
    host_users(check, path, spec);
    names(check, path, spec);
    if spec["overhead"].is_object() {
        let overhead = json!({"limits": spec["overhead"]});
        amounts::requirements(check, &path.field("overhead"), &overhead, amounts::container_name, &[]);
    }
    windows::system(check, path, spec);
}

/// Names of other things and of the pod itself, in upstream's order.
fn names(check: &mut Check, path: &Path, spec: &Value) {
    for field in ["serviceAccountName", "nodeName"] {
        check.text(path.field(field), &spec[field], validation::dns1123_subdomain);
    }
    check.between(path.field("activeDeadlineSeconds"), &spec["activeDeadlineSeconds"], 1, i64::from(i32::MAX));
    for field in ["hostname", "subdomain"] {
        check.text(path.field(field), &spec[field], validation::dns1123_label);
    }
    hostname_override(check, &path.field("hostnameOverride"), spec);
    scheduling::tolerations(check, &path.field("tolerations"), &spec["tolerations"]);
    for (index, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        let path = path.field("hostAliases").index(index);
        check.word(&path.field("ip"), &alias["ip"], validation::ip);
        for (index, name) in items(&alias["hostnames"]).iter().enumerate() {
            check.word(&path.field("hostnames").index(index), name, validation::dns1123_subdomain);
        }
    }
    check.text(path.field("priorityClassName"), &spec["priorityClassName"], validation::dns1123_subdomain);
    if spec["runtimeClassName"].is_string() {
        check.word(&path.field("runtimeClassName"), &spec["runtimeClassName"], validation::dns1123_subdomain);
    }
    if spec["preemptionPolicy"].is_string() {
        let policies = ["PreemptLowerPriority", "Never"];
        check.required_one_of(path.field("preemptionPolicy"), &spec["preemptionPolicy"], &policies);
    }
}

fn hostname_override(check: &mut Check, path: &Path, spec: &Value) {
    const LONGEST: usize = 64;
    let Some(name) = spec["hostnameOverride"].as_str() else { return };
    let shown = &spec["hostnameOverride"];
    if spec["hostNetwork"] == true {
        check.invalid(path.clone(), shown, "may not be specified when hostNetwork is true");
    }
    if spec["setHostnameAsFQDN"] == true {
        check.invalid(path.clone(), shown, "may not be specified when setHostnameAsFQDN is true");
    }
    check.messages(path, shown, validation::dns1123_subdomain(name));
    if name.len() > LONGEST {
        check.push(FieldError::new(path, FieldErrorKind::TooLong(LONGEST), ""));
    }
}

/// Ports in the host's network are the host's.
fn host_network(check: &mut Check, path: &Path, spec: &Value, scope: Scope<'_>) {
    if spec["hostNetwork"] != true {
        return;
    }
    for (index, container) in items(&spec["containers"]).iter().enumerate() {
        let ports = path.field("containers").index(index).field("ports");
        for (index, port) in items(&container["ports"]).iter().enumerate() {
            let [host, own] = ["hostPort", "containerPort"].map(|f| port[f].as_i64().unwrap_or(0));
            // a template's are filled in when its pods are made
            if (scope.pod.is_some() || host != 0) && host != own {
                let why = "must match `containerPort` when `hostNetwork` is true";
                check.invalid(ports.index(index).field("hostPort"), &json!(host), why);
            }
        }
    }
}

fn host_users(check: &mut Check, path: &Path, spec: &Value) {
    if spec["hostUsers"] != false {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec[field] == true {
            check.forbidden(path.field(shown), "when `pod.Spec.HostUsers` is false");
        }
    }
}

fn dns(check: &mut Check, path: &Path, spec: &Value) {
    const SERVERS: usize = 3;
    const SEARCHES: usize = 32;
    const SEARCH_CHARACTERS: usize = 2048;
    let config = &spec["dnsConfig"];
    let (servers, searches) = (items(&config["nameservers"]), items(&config["searches"]));
    if spec["dnsPolicy"] == "None" {
        if !config.is_object() {
            check.required(path.clone(), "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            check.required(path.field("nameservers"), why);
            return;
        }
    }
    if servers.len() > SERVERS {
        let why = format!("must not have more than {SERVERS} nameservers");
        check.invalid(path.field("nameservers"), &config["nameservers"], why);
    }
    for (index, server) in servers.iter().enumerate() {
        check.word(&path.field("nameservers").index(index), server, validation::ip);
    }
    let at = path.field("searches");
    if searches.len() > SEARCHES {
        check.invalid(at.clone(), &config["searches"], format!("must not have more than {SEARCHES} search paths"));
    }
    let length = searches.iter().map(|s| string(s).len() + 1).sum::<usize>().saturating_sub(1);
    if length > SEARCH_CHARACTERS {
        let why =
            format!("must not have more than {SEARCH_CHARACTERS} characters (including spaces) in the search list");
        check.invalid(at.clone(), &config["searches"], why);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let name = string(search).strip_suffix('.').unwrap_or(string(search));
        check.messages(&at.index(index), &json!(name), validation::dns1123_subdomain_with_underscore(name));
    }
    for (index, option) in items(&config["options"]).iter().enumerate() {
        if string(&option["name"]).is_empty() {
            check.required(path.field("options").index(index), "must not be empty");
        }
    }
}
