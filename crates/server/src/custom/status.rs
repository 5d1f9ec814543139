//! What the status of a definition has to say: which names it got, and its conditions. Pure.
//!
//! Source: apiextensions-apiserver `pkg/controller/{status,establish,nonstructuralschema,apiapproval}`.

use coracle_api::Path;
use coracle_kinds::extensions::{Approval, approval_of, is_bundle, is_protected, set_condition};
use coracle_structural::{Schema, structural_errors};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;

/// The status that a definition should have; `None` if it has it. `group` are the other definitions of its group.
pub fn plan<'a>(definition: &Value, group: impl IntoIterator<Item = &'a Value>, now: Timestamp) -> Option<Value> {
    let mut status = definition["status"].clone();
    if !is_named(definition) {
        names(definition, group, &mut status, now);
    }
    establish(definition, &mut status, now);
    shape(definition, &mut status, now);
    approve(definition, &mut status, now);
    (status != definition["status"]).then_some(status)
}

/// Whether a definition has the names that it wants: then nobody else's matter.
pub fn is_named(definition: &Value) -> bool {
    definition["spec"]["names"] == definition["status"]["acceptedNames"] && has(&definition["status"], "NamesAccepted")
}

fn has(status: &Value, condition: &str) -> bool {
    status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == condition)
}

fn is(status: &Value, condition: &str) -> bool {
    status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == condition && c["status"] == "True")
}

/// Names that others of the group have.
#[derive(Default)]
struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

impl Taken {
    fn of<'a>(definitions: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut taken = Self::default();
        for definition in definitions {
            let names = &definition["status"]["acceptedNames"];
            let text = |field: &str| names[field].as_str().map(String::from);
            taken.resources.extend(["plural", "singular"].into_iter().filter_map(text));
            let short = names["shortNames"].as_array().into_iter().flatten();
            taken.resources.extend(short.filter_map(|s| s.as_str().map(String::from)));
            taken.kinds.extend(["kind", "listKind"].into_iter().filter_map(text));
        }
        taken
    }
}

fn names<'a>(definition: &Value, group: impl IntoIterator<Item = &'a Value>, status: &mut Value, now: Timestamp) {
    let wanted = &definition["spec"]["names"];
    let taken = Taken::of(group);
    let accepted = status["acceptedNames"].clone();
    let mut got = accepted.clone();
    let mut conflict: Option<(&str, String)> = None;
    let in_use = |name: &str| format!("{name:?} is already in use");
    for (field, reason, used) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        let (want, have) = (&wanted[field], &accepted[field]);
        let clash: Vec<String> = match want {
            same if same == have => Vec::new(),
            Value::Array(list) => {
                let own = |name: &Value| have.as_array().is_some_and(|have| have.contains(name));
                let names = list.iter().filter(|n| !own(n)).filter_map(Value::as_str);
                names.filter(|n| used.contains(*n)).map(in_use).collect()
            }
            other => other.as_str().filter(|n| used.contains(*n)).map(in_use).into_iter().collect(),
        };
        match clash.as_slice() {
            [] => put(&mut got, field, want),
            [one] => conflict = Some((reason, one.clone())),
            many => conflict = Some((reason, format!("[{}]", many.join(", ")))),
        }
    }
    put(&mut got, "categories", &wanted["categories"]);
    status["acceptedNames"] = got;
    match conflict {
        Some((reason, message)) => set_condition(status, "NamesAccepted", "False", reason, &message, now),
        None => set_condition(status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
    }
    if !has(status, "Established") {
        set_condition(status, "Established", "False", "NotAccepted", "not all names are accepted", now);
    }
}

fn put(names: &mut Value, field: &str, value: &Value) {
    match value {
        Value::Null => {
            names.as_object_mut().map(|m| m.remove(field));
        }
        value => names[field] = value.clone(),
    }
}

fn establish(definition: &Value, status: &mut Value, now: Timestamp) {
    if !is(status, "NamesAccepted") || is(status, "Established") {
        return;
    }
    let bundle = definition["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    if !bundle.is_empty() && !is_bundle(bundle) {
        let why = "The conversion webhook CABundle is invalid";
        return set_condition(status, "Established", "False", "InvalidCABundle", why, now);
    }
    let why = "the initial names have been accepted";
    set_condition(status, "Established", "True", "InitialNamesAccepted", why, now);
}

fn shape(definition: &Value, status: &mut Value, now: Timestamp) {
    const CONDITION: &str = "NonStructuralSchema";
    let spec = &definition["spec"];
    let mut errors: Vec<String> = Vec::new();
    if spec["preserveUnknownFields"] == true {
        errors.push("spec.preserveUnknownFields: Invalid value: true: must be false".into());
    }
    for (i, version) in spec["versions"].as_array().into_iter().flatten().enumerate() {
        let given = &version["schema"]["openAPIV3Schema"];
        if !given.is_null() {
            let place = Path::root("spec").field("versions").index(i).field("schema").field("openAPIV3Schema");
            let found = structural_errors(&Schema::parse(given), &place.to_string());
            errors.extend(found.iter().map(ToString::to_string));
        }
    }
    match errors.as_slice() {
        [] => {
            if let Some(conditions) = status["conditions"].as_array_mut() {
                conditions.retain(|c| c["type"] != CONDITION);
            }
        }
        [one] => set_condition(status, CONDITION, "True", "Violations", one, now),
        many => set_condition(status, CONDITION, "True", "Violations", &format!("[{}]", many.join(", ")), now),
    }
}

fn approve(definition: &Value, status: &mut Value, now: Timestamp) {
    if !is_protected(definition["spec"]["group"].as_str().unwrap_or_default()) {
        return;
    }
    let (state, why) = approval_of(definition);
    let (is, reason) = match state {
        Approval::Approved => ("True", "ApprovedAnnotation"),
        Approval::Bypassed => ("False", "UnapprovedAnnotation"),
        Approval::Missing => ("False", "MissingAnnotation"),
        Approval::Invalid => ("False", "InvalidAnnotation"),
    };
    set_condition(status, "KubernetesAPIApprovalPolicyConformant", is, reason, &why, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        json!({
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {
                "group": "example.com",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"), "shortNames": short},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
            "status": {"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": ["v1"]},
        })
    }

    fn accepted(mut definition: Value) -> Value {
        definition["status"]["acceptedNames"] = definition["spec"]["names"].clone();
        definition
    }

    #[test]
    fn names_are_given_to_who_comes_first() {
        let first = accepted(definition("foos", "Foo", &["f"]));
        for (name, second, expected) in [
            (
                "nothing in common",
                definition("bars", "Bar", &["b"]),
                "NamesAccepted=True/NoConflicts Established=True/InitialNamesAccepted Bar",
            ),
            (
                "the same kind",
                definition("bars", "Foo", &[]),
                "NamesAccepted=False/ListKindConflict Established=False/NotAccepted ",
            ),
            (
                "the same short name",
                definition("bars", "Bar", &["f"]),
                "NamesAccepted=False/ShortNamesConflict Established=False/NotAccepted Bar",
            ),
        ] {
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let status = plan(&second, [&first], now).unwrap();
            let conditions: Vec<String> = status["conditions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| {
                    format!(
                        "{}={}/{}",
                        c["type"].as_str().unwrap(),
                        c["status"].as_str().unwrap(),
                        c["reason"].as_str().unwrap()
                    )
                })
                .collect();
            assert_eq!(
                format!("{} {}", conditions.join(" "), status["acceptedNames"]["kind"].as_str().unwrap()),
                expected,
                "{name}"
            );
            let mut done = second.clone();
            done["status"] = status;
            assert_eq!(plan(&done, [&first], now), None, "{name}: planning again changes nothing");
        }
    }
}
