//! What a definition may say, its schemas apart: names, scope, versions, subresources, columns, selectable fields.
//!
//! What all versions say alike is reported as upstream reports it: at `spec.validation`, `spec.subresources` and so on.

use super::{conversion, schema};
use crate::check::IMMUTABLE;
use crate::column::{items, string};
use crate::custom::is_true;
use coracle_api::{FieldError, FieldErrorKind, Path, validation};
use coracle_structural::Schema;
use serde_json::{Value, json};

const MAX_SELECTABLE: usize = 8;
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 9] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "name", "password"];
const APPROVED: &str = "api-approved.kubernetes.io";

/// The name follows from the spec.
pub fn name_errors(object: &Value) -> Vec<FieldError> {
    let (spec, name) = (&object["spec"], string(&object["metadata"]["name"]));
    let wanted = format!("{}.{}", string(&spec["names"]["plural"]), string(&spec["group"]));
    let wrong = (name != wanted)
        .then(|| FieldError::invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group"));
    wrong.into_iter().collect()
}

/// Everything in `spec`, and the approval of groups of the Kubernetes project.
pub fn errors(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &object["spec"];
    let path = Path::root("spec");
    let mut errors = group_and_scope(spec, &path);
    errors.extend(versions(spec, old, &path));
    let names = &spec["names"];
    for field in ["plural", "singular", "kind", "listKind"] {
        if string(&names[field]).is_empty() {
            errors.push(FieldError::required(path.field("names").field(field), ""));
        }
    }
    errors.extend(names_errors(names, "spec.names"));
    errors.extend(conversion::errors(spec, old, &path.field("conversion")));
    errors.extend(approval(object, old));
    if spec["preserveUnknownFields"] == true && old.is_none_or(|old| old["spec"]["preserveUnknownFields"] != true) {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(path.field("preserveUnknownFields"), true, why));
    }
    errors
}

fn group_and_scope(spec: &Value, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let group = string(&spec["group"]);
    let wrong = validation::dns1123_subdomain(group);
    let place = path.field("group");
    if group.is_empty() {
        errors.push(FieldError::required(place, ""));
    } else if !wrong.is_empty() {
        errors.push(FieldError::invalid(place, group, wrong.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(place, group, "should be a domain with at least one dot"));
    }
    match string(&spec["scope"]) {
        "" => errors.push(FieldError::required(path.field("scope"), "")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(FieldError::not_supported(path.field("scope"), other, &["Cluster", "Namespaced"])),
    }
    errors
}

/// Whether all versions say the same of `field`; then it counts as said once.
fn shared(versions: &[Value], field: &str) -> bool {
    let first = versions.first().map(|v| &v[field]);
    first.is_some_and(|first| {
        !first.is_null()
            && first.as_array().is_none_or(|l| !l.is_empty())
            && versions.iter().all(|v| v[field] == *first)
    })
}

/// (what one or all versions say, its place): once if they say it alike.
fn each<'v>(versions: &'v [Value], field: &str, name: &str, path: &Path) -> Vec<(&'v Value, Path)> {
    if shared(versions, field) {
        return versions.first().map(|v| (v, path.field(name))).into_iter().collect();
    }
    let place = |i| path.field("versions").index(i).field(field);
    versions.iter().enumerate().map(|(i, v)| (v, place(i))).collect()
}

fn versions(spec: &Value, old: Option<&Value>, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let versions = items(&spec["versions"]);
    let place = path.field("versions");
    for (i, version) in versions.iter().enumerate() {
        let at = place.index(i);
        let name = string(&version["name"]);
        let wrong = validation::dns1035_label(name);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(at.field("name"), name, wrong.join(",")));
        }
        if version["schema"]["openAPIV3Schema"].is_null() {
            errors.push(FieldError::required(at.field("schema").field("openAPIV3Schema"), ""));
        }
        for why in deprecation_errors(version) {
            errors.push(FieldError::invalid(
                at.field("deprecationWarning"),
                version["deprecationWarning"].clone(),
                why,
            ));
        }
    }
    let status = versions.iter().any(|v| !v["subresources"]["status"].is_null());
    for (version, at) in each(versions, "schema", "validation", path) {
        errors.extend(schema::errors(&version["schema"], status, old, &at));
    }
    for (version, at) in each(versions, "subresources", "subresources", path) {
        errors.extend(subresource_errors(&version["subresources"], &at));
    }
    for (version, at) in each(versions, "additionalPrinterColumns", "additionalPrinterColumns", path) {
        let columns = items(&version["additionalPrinterColumns"]).iter().enumerate();
        errors.extend(columns.flat_map(|(i, column)| column_errors(column, &at.index(i))));
    }
    for (version, at) in each(versions, "selectableFields", "selectableFields", path) {
        errors.extend(selectable_errors(version, old, &at));
    }
    let shown = || json!(versions);
    let names: Vec<&str> = versions.iter().map(|v| string(&v["name"])).collect();
    if names.iter().enumerate().any(|(i, name)| names[..i].contains(name)) {
        errors.push(FieldError::invalid(&place, shown(), "must contain unique version names"));
    }
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(&place, shown(), why));
    }
    errors
}

fn deprecation_errors(version: &Value) -> Vec<String> {
    let Some(warning) = version["deprecationWarning"].as_str() else { return Vec::new() };
    if version["deprecated"] != true {
        return vec!["can only be set for deprecated versions".into()];
    }
    let mut errors = Vec::new();
    if warning.len() > 256 {
        errors.push("must be <= 256 characters long".into());
    }
    if warning.is_empty() {
        errors.push("must not be an empty string".into());
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let what = "must only contain printable UTF-8 characters; non-printable character found at index";
        errors.push(format!("{what} {at}"));
    }
    errors
}

/// Names of resources, in `spec` or as they were accepted.
pub fn names_errors(names: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::root(at);
    let mut check = |place: Path, value: &str, checked: &str, prefix: &str| {
        let wrong = validation::dns1035_label(checked);
        if !value.is_empty() && !wrong.is_empty() {
            errors.push(FieldError::invalid(place, value, format!("{prefix}{}", wrong.join(","))));
        }
    };
    for field in ["plural", "singular"] {
        let name = string(&names[field]);
        check(path.field(field), name, name, "");
    }
    for field in ["kind", "listKind"] {
        let name = string(&names[field]);
        check(path.field(field), name, &name.to_lowercase(), "may have mixed case, but should otherwise match: ");
    }
    for list in ["shortNames", "categories"] {
        for (i, name) in items(&names[list]).iter().enumerate() {
            // an empty one is wrong, too
            let wrong = validation::dns1035_label(string(name));
            if !wrong.is_empty() {
                errors.push(FieldError::invalid(path.field(list).index(i), name.clone(), wrong.join(",")));
            }
        }
    }
    if !string(&names["kind"]).is_empty() && names["kind"] == names["listKind"] {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(path.field("listKind"), names["listKind"].clone(), why));
    }
    errors
}

fn subresource_errors(given: &Value, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let scale = &given["scale"];
    if !scale.is_object() {
        return errors;
    }
    for (field, roots, told, required) in [
        ("specReplicasPath", &[".spec."][..], ".spec", true),
        ("statusReplicasPath", &[".status."][..], ".status", true),
        ("labelSelectorPath", &[".spec.", ".status."][..], "either .spec or .status", false),
    ] {
        let (value, place) = (string(&scale[field]), path.field(&format!("scale.{field}")));
        if value.is_empty() {
            if required {
                errors.push(FieldError::required(place, ""));
            }
        } else if !value.starts_with('.') {
            errors.push(FieldError::invalid(place, value, "must be a simple json path starting with ."));
        } else if !roots.iter().any(|root| value.starts_with(root)) {
            errors.push(FieldError::invalid(place, value, format!("should be a json path under {told}")));
        }
    }
    errors
}

fn column_errors(column: &Value, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let field = |name: &str| string(&column[name]);
    if field("name").is_empty() {
        errors.push(FieldError::required(path.field("name"), ""));
    }
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    match field("type") {
        "" => errors.push(FieldError::required(path.field("type"), types)),
        known if COLUMN_TYPES.contains(&known) => {}
        other => errors.push(FieldError::invalid(path.field("type"), other, types)),
    }
    let format = field("format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.push(FieldError::invalid(path.field("format"), format, why));
    }
    let place = path.field("JSONPath");
    match field("jsonPath") {
        "" => errors.push(FieldError::required(place, "")),
        path if path.starts_with('.') => {}
        other => errors.push(FieldError::invalid(place, other, "must be a simple json path starting with .")),
    }
    errors
}

fn selectable_errors(version: &Value, old: Option<&Value>, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let fields = items(&version["selectableFields"]);
    let schema = Schema::parse(&version["schema"]["openAPIV3Schema"]);
    let mut seen: Vec<&str> = Vec::new();
    for (i, given) in fields.iter().enumerate() {
        let (place, field) = (path.index(i).field("jsonPath"), string(&given["jsonPath"]));
        if field.is_empty() {
            errors.push(FieldError::required(place, ""));
            continue;
        }
        let found = match schema::follow(&schema, field) {
            Ok(found) => found,
            Err(why) => {
                errors.push(FieldError::invalid(place, field, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if field == ".metadata" || field.starts_with(".metadata.") {
            errors.push(FieldError::invalid(place.clone(), field, "must not point to fields in metadata"));
        }
        if !matches!(found.kind.as_str(), "string" | "boolean" | "integer") {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(place.clone(), field, why));
        }
        if seen.contains(&field) {
            errors.push(FieldError::duplicate(place, field));
        } else {
            seen.push(field);
        }
    }
    let before = old.and_then(|old| items(&old["spec"]["versions"]).iter().find(|v| v["name"] == version["name"]));
    let unchanged = before.is_some_and(|before| before["selectableFields"] == version["selectableFields"]);
    if seen.len() > MAX_SELECTABLE && !unchanged {
        errors.push(FieldError::new(path, FieldErrorKind::TooMany(seen.len(), MAX_SELECTABLE), ""));
    }
    errors
}

/// What must not change: once established, what the storage depends on; the name of the resource always.
pub fn immutable_errors(new: &Value, old: &Value) -> Vec<FieldError> {
    let (established, new, old) = (is_true(old, "Established"), &new["spec"], &old["spec"]);
    let mut errors = Vec::new();
    let mut fixed = |path: &str, new: &Value, old: &Value| {
        if new != old {
            errors.push(FieldError::invalid(path, new.clone(), IMMUTABLE));
        }
    };
    if established {
        fixed("spec.scope", &new["scope"], &old["scope"]);
        fixed("spec.names.kind", &new["names"]["kind"], &old["names"]["kind"]);
    }
    fixed("spec.group", &new["group"], &old["group"]);
    fixed("spec.names.plural", &new["names"]["plural"], &old["names"]["plural"]);
    errors
}

/// The names that were accepted, and the versions that objects are stored in.
pub fn status_errors(object: &Value) -> Vec<FieldError> {
    let status = &object["status"];
    let mut errors = names_errors(&status["acceptedNames"], "status.acceptedNames");
    let path = Path::root("status").field("storedVersions");
    let (stored, versions) = (items(&status["storedVersions"]), items(&object["spec"]["versions"]));
    if stored.is_empty() {
        errors.push(FieldError::invalid(path, json!([]), "must have at least one stored version"));
        return errors;
    }
    for version in versions.iter().filter(|v| v["storage"] == true && !stored.contains(&v["name"])) {
        let why = format!("must have the storage version {}", string(&version["name"]));
        errors.push(FieldError::invalid(&path, json!(stored), why));
    }
    for (i, name) in stored.iter().enumerate().filter(|(_, name)| versions.iter().all(|v| v["name"] != **name)) {
        let shown = string(name);
        let why = format!(
            "missing from spec.versions; {shown} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {shown} and removes {shown} from status.storedVersions"
        );
        errors.push(FieldError::invalid(path.index(i), name.clone(), why));
    }
    errors
}

/// Whether a group belongs to the Kubernetes project.
pub fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|ours| group == *ours || group.ends_with(&format!(".{ours}")))
}

/// How a definition in a protected group says that it was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// By a URL.
    Approved,
    /// It says that it was not.
    Bypassed,
    /// Not at all.
    Missing,
    /// In some other way.
    Invalid,
}

/// How a definition was approved, and in words.
pub fn approval_of(object: &Value) -> (Approval, String) {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let given = string(&object["metadata"]["annotations"][APPROVED]);
    let is_url = given.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/') && !given.contains(' ')
    });
    match given {
        "" => (Approval::Missing, format!("protected groups must have approval annotation \"{APPROVED}\", {SEE}")),
        text if text.starts_with("unapproved") => (Approval::Bypassed, format!("not approved: {text:?}")),
        text if is_url => (Approval::Approved, format!("approved in {text}")),
        _ => (
            Approval::Invalid,
            format!(
                "protected groups must have approval annotation \"{APPROVED}\" with either a URL or a reason starting with \"unapproved\", {SEE}"
            ),
        ),
    }
}

fn approval(object: &Value, old: Option<&Value>) -> Option<FieldError> {
    if !is_protected(string(&object["spec"]["group"])) {
        return None;
    }
    let (state, why) = approval_of(object);
    if old.is_some_and(|old| approval_of(old).0 == state) {
        return None;
    }
    let place = format!("metadata.annotations[{APPROVED}]");
    match state {
        Approval::Missing => Some(FieldError::required(place, why)),
        Approval::Invalid => Some(FieldError::invalid(place, object["metadata"]["annotations"][APPROVED].clone(), why)),
        Approval::Approved | Approval::Bypassed => None,
    }
}
