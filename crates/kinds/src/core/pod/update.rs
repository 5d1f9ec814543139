//! Which part of a pod a request may change; everything else is carried over or refused.

use super::annotations::{self, MIRROR};
use super::{scheduling, validate};
use crate::amounts::amount;
use crate::check::{Check, path};
use crate::column::{items, string};
use crate::descriptor::Part;
use crate::fields::{carry, ensure, same};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

pub(super) fn prepare(new: &mut Value, old: &Value, part: Part) {
    match part {
        Part::Main => {}
        Part::Status => {
            carry(ensure(new, "status"), &old["status"], "qosClass");
            carry(ensure(new, "metadata"), &old["metadata"], "ownerReferences");
        }
        Part::EphemeralContainers => {
            let wanted = new["spec"].clone();
            keep_metadata(new, old);
            carry(ensure(new, "spec"), &wanted, "ephemeralContainers");
        }
        Part::Resize => resize(new, old),
        Part::Approval | Part::Finalize => {}
    }
}

// Labels and the like belong to the main resource.
fn keep_metadata(new: &mut Value, old: &Value) {
    let revision = new["metadata"]["resourceVersion"].take();
    let managers = new["metadata"]["managedFields"].take();
    *new = old.clone();
    for (field, value) in [("resourceVersion", revision), ("managedFields", managers)] {
        if !value.is_null() {
            new["metadata"][field] = value;
        }
    }
}

/// Containers keep their order, names and number; their resources and how these change is what a resize writes.
fn resize(new: &mut Value, old: &Value) {
    let wanted = new["spec"].clone();
    keep_metadata(new, old);
    for list in ["containers", "initContainers"] {
        for container in new["spec"][list].as_array_mut().into_iter().flatten() {
            let Some(wanted) = items(&wanted[list]).iter().find(|c| c["name"] == container["name"]) else { continue };
            carry(container, wanted, "resources");
            carry(container, wanted, "resizePolicy");
        }
    }
    if old["spec"]["resources"].is_object() || wanted["resources"].is_object() {
        carry(&mut new["spec"], &wanted, "resources");
    }
}

/// The fields that an update may change, as its refusal lists them.
const MAY_CHANGE: &[&str] = &[
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
];

/// What is wrong with an update of a pod's main part.
pub(super) fn validate(check: &mut Check, new: &Value, old: &Value) {
    validate::whole_pod(check, new);
    let at = path("metadata").field("annotations");
    annotations::changed(check, &at, &new["metadata"]["annotations"], &old["metadata"]["annotations"]);
    let (spec, now, before) = (path("spec"), &new["spec"], &old["spec"]);
    for list in ["containers", "initContainers"] {
        if items(&now[list]).len() != items(&before[list]).len() {
            check.forbidden(spec.field(list), "pod updates may not add or remove containers");
            return;
        }
    }
    if !deadline(check, &now["activeDeadlineSeconds"], &before["activeDeadlineSeconds"]) {
        return;
    }
    tolerations(check, &spec.field("tolerations"), &now["tolerations"], &before["tolerations"]);
    gates(check, &spec.field("schedulingGates"), now, before);
    if same(now, before) {
        return;
    }
    let mut munged = now.clone();
    munge(check, &mut munged, before);
    if !same(&munged, before) {
        let why = format!(
            "pod updates may not change fields other than {}\n{}",
            MAY_CHANGE.join(","),
            changes(before, &munged)
        );
        check.push(FieldError::forbidden(spec, why));
    }
}

/// Where two values differ, in lines of `-` and `+`. (Upstream's text for this is Go's own and not stable.)
pub(crate) fn changes(old: &Value, new: &Value) -> String {
    let mut lines = Vec::new();
    differ(&Path::root(""), old, new, &mut lines);
    lines.join("\n")
}

fn differ(at: &Path, old: &Value, new: &Value, lines: &mut Vec<String>) {
    if same(old, new) {
        return;
    }
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let more = b.iter().filter(|(key, _)| !a.contains_key(*key));
            for (key, _) in a.iter().chain(more) {
                differ(&at.field(key), &old[key.as_str()], &new[key.as_str()], lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&at.index(index), a, b, lines);
            }
        }
        _ => {
            for (sign, value) in [('-', old), ('+', new)].into_iter().filter(|(_, value)| !value.is_null()) {
                lines.push(format!("{sign} {at}: {value}"));
            }
        }
    }
}

/// A deadline may come nearer, and never go away. Whether it is worth looking further.
fn deadline(check: &mut Check, new: &Value, old: &Value) -> bool {
    let at = path("spec").field("activeDeadlineSeconds");
    match (new.as_i64(), old.as_i64()) {
        (Some(now), _) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            check.invalid(at, new, format!("must be between 0 and {}, inclusive", i32::MAX));
            false
        }
        (Some(now), Some(before)) if now > before => {
            check.invalid(at, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            check.invalid(at, &json!("null"), "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn tolerations(check: &mut Check, path: &Path, new: &Value, old: &Value) {
    let alike = |new: &Value, old: &Value| {
        ["key", "operator", "value", "effect"].iter().all(|f| string(&new[*f]) == string(&old[*f]))
    };
    if items(old).iter().all(|old| items(new).iter().any(|new| alike(new, old))) {
        scheduling::tolerations(check, path, new);
    } else {
        check.forbidden(path.clone(), "existing toleration can not be modified except its tolerationSeconds");
    }
}

fn gates(check: &mut Check, path: &Path, new: &Value, old: &Value) {
    for (index, gate) in items(&new["schedulingGates"]).iter().enumerate() {
        if !items(&old["schedulingGates"]).iter().any(|had| had["name"] == gate["name"]) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{}'", string(&gate["name"]));
            check.forbidden(path.index(index).field("name"), &why);
        }
    }
}

/// Puts everything back into `spec` that may change, and judges it where that is not plain.
fn munge(check: &mut Check, spec: &mut Value, before: &Value) {
    for list in ["containers", "initContainers"] {
        if let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) {
            for (container, was) in containers.iter_mut().zip(items(&before[list])) {
                carry(container, was, "image");
            }
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        carry(spec, before, field);
    }
    if before["terminationGracePeriodSeconds"].as_i64().is_some_and(|n| n < 0)
        && spec["terminationGracePeriodSeconds"] == 1
    {
        carry(spec, before, "terminationGracePeriodSeconds");
    }
    if items(&before["schedulingGates"]).is_empty() {
        return;
    }
    // A gated pod may still be narrowed to fewer nodes.
    let (at, selector) = (path("spec").field("nodeSelector"), spec["nodeSelector"].clone());
    let kept = |(key, value): (&String, &Value)| selector.get(key) == Some(value);
    if !before["nodeSelector"].as_object().into_iter().flatten().all(kept) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        check.invalid(at, &selector, why);
    }
    carry(spec, before, "nodeSelector");
    let now = spec["affinity"]["nodeAffinity"].clone();
    if !same(&now, &before["affinity"]["nodeAffinity"]) {
        narrowed(check, &now, &before["affinity"]["nodeAffinity"]);
        carry(ensure(spec, "affinity"), &before["affinity"], "nodeAffinity");
    }
}

fn narrowed(check: &mut Check, new: &Value, old: &Value) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let at = path("spec").field("affinity").field("nodeAffinity").field(REQUIRED).field("nodeSelectorTerms");
    let before = items(&old[REQUIRED]["nodeSelectorTerms"]);
    let terms = &new[REQUIRED]["nodeSelectorTerms"];
    if before.is_empty() {
        return;
    }
    if items(terms).len() != before.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        let shown = crate::go::list(terms, crate::go::node_selector_term);
        check.push(FieldError::invalid(at, terms.clone(), why).shown_as(shown));
        return;
    }
    for (index, (new, old)) in items(terms).iter().zip(before).enumerate() {
        let lists = ["matchExpressions", "matchFields"];
        let empty = |term: &Value| lists.iter().all(|list| items(&term[*list]).is_empty());
        let grown = |list: &str| items(&new[list]).starts_with(items(&old[list]));
        if (empty(old) && !empty(new)) || !lists.into_iter().all(grown) {
            let error = FieldError::invalid(
                at.index(index),
                new.clone(),
                "only additions are allowed (no mutations or deletions)",
            );
            check.push(error.shown_as(crate::go::node_selector_term(new)));
        }
    }
}

/// What is wrong with containers that were added to look into a running pod.
pub(super) fn validate_ephemeral(check: &mut Check, new: &Value, old: &Value) {
    if is_static(old) {
        check.push(FieldError::forbidden("[]", "static pods do not support ephemeral containers"));
        return;
    }
    validate::whole_pod(check, new);
    let at = path("spec").field("ephemeralContainers");
    let now = items(&new["spec"]["ephemeralContainers"]);
    for before in items(&old["spec"]["ephemeralContainers"]) {
        let name = string(&before["name"]);
        match now.iter().rfind(|c| c["name"] == before["name"]) {
            None => {
                check.forbidden(at.clone(), &format!("existing ephemeral containers {name:?} may not be removed\n"))
            }
            Some(container) if !same(container, before) => {
                let what = changes(before, container);
                check.forbidden(
                    at.clone(),
                    &format!("existing ephemeral containers {name:?} may not be changed\n{what}"),
                );
            }
            Some(_) => {}
        }
    }
}

fn is_static(pod: &Value) -> bool {
    !pod["metadata"]["annotations"][MIRROR].is_null()
}

/// What is wrong with other amounts for a running pod.
pub(super) fn validate_resize(check: &mut Check, new: &Value, old: &Value) {
    let refused = match () {
        () if is_static(old) => Some("static pods cannot be resized"),
        () if old["spec"]["os"]["name"] == "windows" => Some("windows pods cannot be resized"),
        () => None,
    };
    if let Some(why) = refused {
        check.push(FieldError::forbidden("[]", why));
        return;
    }
    validate::whole_pod(check, new);
    let (at, now, before) = (path("spec"), &new["spec"], &old["spec"]);
    let class = match string(&old["status"]["qosClass"]) {
        "" => super::defaults::qos_class(before),
        known => known,
    };
    if class != super::defaults::qos_class(now) {
        let why = "Pod QOS Class may not change as a result of resizing";
        check.invalid(at.clone(), &json!(string(&new["status"]["qosClass"])), why);
    }
    let running = items(&old["status"]["containerStatuses"]).iter().find(|c| c["state"]["running"].is_object());
    if running.is_some_and(|c| !c["resources"].is_object()) {
        check.forbidden(at.clone(), "Pod running on node without support for resize");
    }
    let sidecar = |container: &Value| container["restartPolicy"] == "Always";
    for list in ["initContainers", "containers"] {
        for (index, (new, old)) in items(&now[list]).iter().zip(items(&before[list])).enumerate() {
            if list == "containers" || sidecar(old) {
                kept(check, &at.field(list).index(index).field("resources"), &new["resources"], &old["resources"]);
            }
        }
    }
    kept(check, &at.field("resources"), &now["resources"], &before["resources"]);
    for (new, old) in items(&now["containers"]).iter().zip(items(&before["containers"])) {
        if !same(&without_compute(new), &without_compute(old)) {
            check.forbidden(at.clone(), "only cpu and memory resources are mutable");
        }
    }
    for (new, old) in items(&now["initContainers"]).iter().zip(items(&before["initContainers"])) {
        if sidecar(old) && !same(&without_compute(new), &without_compute(old)) {
            check.forbidden(at.clone(), "only cpu and memory resources for sidecar containers are mutable");
        } else if !sidecar(old) && !same(new, old) {
            check.forbidden(at.clone(), "resources for non-sidecar init containers are immutable");
        }
    }
}

/// Requests and limits may change, not go.
fn kept(check: &mut Check, path: &Path, new: &Value, old: &Value) {
    for (list, what) in [("requests", "resource requests"), ("limits", "resource limits")] {
        let gone = old[list].as_object().into_iter().flatten().any(|(name, _)| new[list].get(name).is_none());
        if gone {
            check.forbidden(path.field(list), &format!("{what} cannot be removed"));
        }
    }
}

/// A container apart from its amounts of CPU and memory, and how it takes a change of them.
fn without_compute(container: &Value) -> Value {
    let mut rest = container.clone();
    for list in ["limits", "requests"] {
        if let Some(amounts) = rest["resources"][list].as_object_mut() {
            amounts.retain(|name, given| !matches!(name.as_str(), "cpu" | "memory") && amount(given).is_some());
        }
    }
    rest
}

/// What is wrong with a status that a node reports.
pub(super) fn validate_status(check: &mut Check, new: &Value, old: &Value) {
    let at = path("metadata").field("annotations");
    annotations::changed(check, &at, &new["metadata"]["annotations"], &old["metadata"]["annotations"]);
    annotations::validate(check, &at, &new["metadata"]["annotations"], &new["spec"]);
    let (status, now, before) = (path("status"), &new["status"], &old["status"]);
    for (index, condition) in items(&now["conditions"]).iter().enumerate() {
        // upstream looks for them beside the annotations
        let at = path("metadata").field("conditions").index(index).field("Type");
        check.word(&at, &condition["type"], validation::qualified_name);
    }
    let nominated = &now["nominatedNodeName"];
    if nominated != &before["nominatedNodeName"] {
        check.text(status.field("nominatedNodeName"), nominated, validation::dns1123_subdomain);
    }
    super::status::validate(check, &status, new, old);
}
