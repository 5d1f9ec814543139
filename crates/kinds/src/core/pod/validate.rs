//! What is wrong with a pod spec. Containers and volumes have modules of their own.

use super::{containers, volumes};
use crate::check::{Check, filled};
use crate::column::{items, string};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

/// A pod spec at `path`, of a pod or a template.
pub fn pod_spec(check: &mut Check, path: &Path, spec: &Value) {
    let known = volumes::validate(check, &path.field("volumes"), &spec["volumes"]);
    containers::validate(check, path, spec, &known);
    check.required_one_of(path.field("restartPolicy"), &spec["restartPolicy"], &["Always", "OnFailure", "Never"]);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check.required_one_of(path.field("dnsPolicy"), &spec["dnsPolicy"], &dns);
    if spec["dnsPolicy"] == "None" && items(&spec["dnsConfig"]["nameservers"]).is_empty() {
        let at = path.field("dnsConfig").field("nameservers");
        check.required(at, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    names(check, path, spec);
    if let Some(deadline) = spec["activeDeadlineSeconds"].as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&deadline)
    {
        let at = path.field("activeDeadlineSeconds");
        check.invalid(at, &spec["activeDeadlineSeconds"], "must be between 1 and 2147483647, inclusive");
    }
    tolerations(check, &path.field("tolerations"), &spec["tolerations"]);
    affinity(check, &path.field("affinity"), &spec["affinity"]);
    security(check, path, spec);
    spread(check, &path.field("topologySpreadConstraints"), &spec["topologySpreadConstraints"]);
    for (index, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        let path = path.field("hostAliases").index(index);
        check.required_text(path.field("ip"), &alias["ip"], validation::ip);
        for (index, name) in items(&alias["hostnames"]).iter().enumerate() {
            check.text(path.field("hostnames").index(index), name, validation::dns1123_subdomain);
        }
    }
}

fn names(check: &mut Check, path: &Path, spec: &Value) {
    let subdomain = ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"];
    for field in subdomain {
        check.text(path.field(field), &spec[field], validation::dns1123_subdomain);
    }
    for field in ["hostname", "subdomain"] {
        check.text(path.field(field), &spec[field], validation::dns1123_label);
    }
    check.extend(validation::validate_labels(&spec["nodeSelector"], &path.field("nodeSelector")));
    for (list, key) in [("readinessGates", "conditionType"), ("schedulingGates", "name")] {
        for (index, gate) in items(&spec[list]).iter().enumerate() {
            check.text(path.field(list).index(index).field(key), &gate[key], validation::qualified_name);
        }
    }
    check.unique(&path.field("schedulingGates"), &spec["schedulingGates"], "name");
}

/// Tolerations at `path`.
pub fn tolerations(check: &mut Check, path: &Path, tolerations: &Value) {
    for (index, toleration) in items(tolerations).iter().enumerate() {
        let path = path.index(index);
        check.text(path.field("key"), &toleration["key"], validation::qualified_name);
        let exists = toleration["operator"] == "Exists";
        if string(&toleration["key"]).is_empty() && !exists {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            check.invalid(path.field("operator"), &toleration["operator"], why);
        }
        if !toleration["tolerationSeconds"].is_null() && toleration["effect"] != "NoExecute" {
            check.invalid(
                path.field("effect"),
                &toleration["effect"],
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        if exists && filled(toleration, "value") {
            check.invalid(
                path.field("operator"),
                &toleration["value"],
                "value must be empty when `operator` is 'Exists'",
            );
        }
        check.one_of(path.field("operator"), &toleration["operator"], &["Equal", "Exists", "Lt", "Gt"]);
        check.one_of(path.field("effect"), &toleration["effect"], &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    }
}

/// A node selector at `path`.
pub fn node_selector(check: &mut Check, path: &Path, selector: &Value) {
    let at = path.field("nodeSelectorTerms");
    if items(&selector["nodeSelectorTerms"]).is_empty() {
        check.required(at, "must have at least one node selector term");
        return;
    }
    for (index, term) in items(&selector["nodeSelectorTerms"]).iter().enumerate() {
        node_term(check, &at.index(index), term);
    }
}

fn node_term(check: &mut Check, path: &Path, term: &Value) {
    for list in ["matchExpressions", "matchFields"] {
        for (index, expression) in items(&term[list]).iter().enumerate() {
            let operators = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
            check.expression(&path.field(list).index(index), expression, &operators);
        }
    }
}

fn affinity(check: &mut Check, path: &Path, affinity: &Value) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let node = &affinity["nodeAffinity"];
    let at = path.field("nodeAffinity");
    if node[REQUIRED].is_object() {
        node_selector(check, &at.field(REQUIRED), &node[REQUIRED]);
    }
    for (index, term) in items(&node[PREFERRED]).iter().enumerate() {
        let at = at.field(PREFERRED).index(index);
        weight(check, &at, term);
        node_term(check, &at.field("preference"), &term["preference"]);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let at = path.field(kind);
        for (index, term) in items(&affinity[kind][REQUIRED]).iter().enumerate() {
            pod_term(check, &at.field(REQUIRED).index(index), term);
        }
        for (index, term) in items(&affinity[kind][PREFERRED]).iter().enumerate() {
            let at = at.field(PREFERRED).index(index);
            weight(check, &at, term);
            pod_term(check, &at.field("podAffinityTerm"), &term["podAffinityTerm"]);
        }
    }
}

fn weight(check: &mut Check, path: &Path, term: &Value) {
    if !(1..=100).contains(&term["weight"].as_i64().unwrap_or(0)) {
        check.invalid(path.field("weight"), &term["weight"], "must be in the range 1-100");
    }
}

fn pod_term(check: &mut Check, path: &Path, term: &Value) {
    check.selector(&path.field("labelSelector"), &term["labelSelector"]);
    check.selector(&path.field("namespaceSelector"), &term["namespaceSelector"]);
    if string(&term["topologyKey"]).is_empty() {
        check.required(path.field("topologyKey"), "can not be empty");
    } else {
        check.text(path.field("topologyKey"), &term["topologyKey"], validation::qualified_name);
    }
}

fn security(check: &mut Check, path: &Path, spec: &Value) {
    let context = &spec["securityContext"];
    let at = path.field("securityContext");
    check.none_negative(&at, context, &["runAsUser", "runAsGroup", "fsGroup"]);
    check.one_of(at.field("fsGroupChangePolicy"), &context["fsGroupChangePolicy"], &["OnRootMismatch", "Always"]);
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        check.invalid(path.field("shareProcessNamespace"), &json!(true), why);
    }
    check.unique(&at.field("sysctls"), &context["sysctls"], "name");
}

fn spread(check: &mut Check, path: &Path, constraints: &Value) {
    let mut seen: Vec<(&Value, &Value)> = Vec::new();
    for (index, constraint) in items(constraints).iter().enumerate() {
        let path = path.index(index);
        if constraint["maxSkew"].as_i64().unwrap_or(0) <= 0 {
            check.invalid(path.field("maxSkew"), &constraint["maxSkew"], "must be greater than zero");
        }
        if string(&constraint["topologyKey"]).is_empty() {
            check.required(path.field("topologyKey"), "can not be empty");
        }
        let when = ["DoNotSchedule", "ScheduleAnyway"];
        check.required_one_of(path.field("whenUnsatisfiable"), &constraint["whenUnsatisfiable"], &when);
        check.selector(&path.field("labelSelector"), &constraint["labelSelector"]);
        let pair = (&constraint["topologyKey"], &constraint["whenUnsatisfiable"]);
        if seen.contains(&pair) {
            let shown = format!("{{{}, {}}}", string(pair.0), string(pair.1));
            check.push(FieldError::duplicate(path.field("{topologyKey, whenUnsatisfiable}"), shown));
        }
        seen.push(pair);
    }
}

/// A pod template at `path` whose labels `selector` must match.
pub fn template(check: &mut Check, path: &Path, template: &Value) {
    let metadata = path.field("metadata");
    check.extend(validation::validate_labels(&template["metadata"]["labels"], &metadata.field("labels")));
    let annotations = &template["metadata"]["annotations"];
    check.extend(validation::validate_annotations(annotations, &metadata.field("annotations")));
    pod_spec(check, &path.field("spec"), &template["spec"]);
    if !items(&template["spec"]["ephemeralContainers"]).is_empty() {
        let at = path.field("spec").field("ephemeralContainers");
        check.forbidden(at, "ephemeral containers not allowed in pod template");
    }
}
