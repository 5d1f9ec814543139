//! Names and metadata: the checks that every kind shares.

use crate::descriptor::{Kind, NameRule};
use coracle_api::FieldError;
use serde_json::Value;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
     and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
     and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// What is wrong with `name` by `rule`; `prefix`: it is a `generateName`.
pub fn check(rule: NameRule, name: &str, prefix: bool) -> Vec<String> {
    // A prefix may end in a dash: what is generated goes after it.
    let shown = if prefix && name.ends_with('-') { format!("{}a", &name[..name.len() - 1]) } else { name.to_string() };
    let mut errors = Vec::new();
    let mut bound = |max: usize| {
        if shown.len() > max {
            errors.push(format!("must be no more than {max} characters"));
        }
    };
    match rule {
        NameRule::None => return errors,
        NameRule::PathSegment => return path_segment(name, prefix),
        NameRule::DnsSubdomain => bound(253),
        NameRule::DnsLabel | NameRule::Dns1035Label => bound(63),
    }
    let (ok, message) = match rule {
        NameRule::DnsSubdomain => (shown.split('.').all(is_label), SUBDOMAIN),
        NameRule::DnsLabel => (is_label(&shown), LABEL),
        _ => (is_label(&shown) && shown.starts_with(|c: char| c.is_ascii_lowercase()), LABEL_1035),
    };
    if !ok {
        errors.push(message.into());
    }
    errors
}

fn is_label(s: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = s.as_bytes();
    bytes.iter().all(|&b| inner(b) || b == b'-')
        && bytes.first().is_some_and(|&b| inner(b))
        && bytes.last().is_some_and(|&b| inner(b))
}

fn path_segment(name: &str, prefix: bool) -> Vec<String> {
    let mut errors = Vec::new();
    if !prefix && (name == "." || name == "..") {
        errors.push(format!("may not be '{name}'"));
    }
    errors.extend(["/", "%"].iter().filter(|c| name.contains(**c)).map(|c| format!("may not contain '{c}'")));
    errors
}

/// What is wrong with a new object's metadata.
pub fn metadata_errors(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or("");
    let generate = metadata["generateName"].as_str().unwrap_or("");
    if kind.name_rule == NameRule::None {
        return errors;
    }
    if !generate.is_empty() {
        let wrong = check(kind.name_rule, generate, true);
        errors.extend(wrong.into_iter().map(|e| FieldError::invalid("metadata.generateName", generate, e)));
    }
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        let wrong = check(kind.name_rule, name, false);
        errors.extend(wrong.into_iter().map(|e| FieldError::invalid("metadata.name", name, e)));
    }
    errors
}

/// What is wrong with a change of metadata.
pub fn metadata_update_errors(_kind: &Kind, new: &Value, old: &Value) -> Vec<FieldError> {
    let fixed = ["name", "namespace", "uid", "creationTimestamp"];
    let changed = fixed.iter().filter(|f| new["metadata"][**f] != old["metadata"][**f]);
    changed
        .map(|f| FieldError::invalid(format!("metadata.{f}"), new["metadata"][*f].clone(), "field is immutable"))
        .collect()
}
