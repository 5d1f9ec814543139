//! Options in query strings.

mod listing;

pub use listing::{get, list, watch};

use crate::{app::Ask, http::negotiate, route::Query};
use ::http::HeaderMap;
use coracle_api::{
    DeleteOptions, FieldError, PatchKind, Path, Propagation, Resource, Result, Status, WriteOptions,
    options::FieldValidation,
    validation::{MAX_MANAGER, field_manager, printable},
};
use serde_json::json;

fn options_resource(kind: &'static str) -> Resource {
    Resource::fixed("meta.k8s.io", "v1", "options", kind, false)
}

fn invalid(kind: &'static str, error: FieldError) -> Status {
    Status::invalid(&options_resource(kind), "", &[error])
}

/// A number in a query.
fn number(query: &Query, key: &str) -> Result<Option<i64>> {
    match query.get(key) {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            let digits = text.trim_start_matches(['-', '+']).bytes().all(|b| b.is_ascii_digit());
            let why = if digits { "value out of range" } else { "invalid syntax" };
            Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
        }),
    }
}

/// A truth value in a query, as upstream reads it: what is there and not denied is true.
fn boolean(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "false" | "0")
}

fn dry_run(kind: &'static str, values: &[&str]) -> Result<bool> {
    let values: Vec<&str> = values.iter().copied().filter(|v| !v.is_empty()).collect();
    if values.iter().all(|v| *v == "All") {
        return Ok(!values.is_empty());
    }
    Err(invalid(kind, FieldError::not_supported("dryRun", json!(values), &["All"])))
}

/// Options of create, update and patch.
///
/// # Errors
/// 422 for values that upstream does not know.
pub fn write(ask: &Ask) -> Result<WriteOptions> {
    let query = &ask.query;
    let kind = match ask.info.verb.as_str() {
        "create" => "CreateOptions",
        "patch" => "PatchOptions",
        _ => "UpdateOptions",
    };
    let manager = query.get("fieldManager").unwrap_or_default();
    let mut errors = Vec::new();
    if kind == "PatchOptions" {
        let apply = negotiate::patch_kind(&ask.headers)? == PatchKind::Apply;
        if apply && manager.is_empty() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        if !apply && query.get("force").is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
    }
    errors.extend(field_manager(manager, &Path::root("fieldManager")));
    let field_validation = match query.get("fieldValidation") {
        None | Some("" | "Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            errors.push(FieldError::not_supported("fieldValidation", other, &["", "Ignore", "Strict", "Warn"]));
            FieldValidation::Warn
        }
    };
    if !errors.is_empty() {
        return Err(Status::invalid(&options_resource(kind), "", &errors));
    }
    Ok(WriteOptions {
        dry_run: dry_run(kind, &query.all("dryRun").collect::<Vec<_>>())?,
        field_manager: if manager.is_empty() { agent(&ask.headers) } else { manager.to_string() },
        force: query.flag("force"),
        field_validation,
    })
}

/// The manager of those who name none: what stands before the slash in their `User-Agent`.
fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(::http::header::USER_AGENT).map(|v| String::from_utf8_lossy(v.as_bytes()));
    let mut out = String::new();
    for c in agent.as_deref().unwrap_or_default().split('/').next().unwrap_or_default().chars() {
        if printable(c) {
            if out.len() + c.len_utf8() > MAX_MANAGER {
                break;
            }
            out.push(c);
        }
    }
    out
}

/// Options of delete: those in the query count where the body has none.
///
/// # Errors
/// 422 for values that upstream does not know.
pub fn delete(query: &Query, options: &mut DeleteOptions) -> Result<()> {
    if options.grace_period_seconds.is_none() {
        options.grace_period_seconds = number(query, "gracePeriodSeconds")?;
    }
    if options.grace_period_seconds.is_some_and(|g| g < 0) {
        // as upstream: a negative period is one second
        options.grace_period_seconds = Some(1);
    }
    if options.propagation_policy.is_none() {
        options.propagation_policy = match query.get("propagationPolicy") {
            None | Some("") => None,
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                let known = ["Foreground", "Background", "Orphan"];
                return Err(invalid("DeleteOptions", FieldError::not_supported("propagationPolicy", other, &known)));
            }
        };
    }
    if options.orphan_dependents.is_none() && query.get("orphanDependents").is_some() {
        options.orphan_dependents = Some(query.flag("orphanDependents"));
    }
    let asked: Vec<&str> = options.dry_run.iter().map(String::as_str).chain(query.all("dryRun")).collect();
    options.dry_run = if dry_run("DeleteOptions", &asked)? { vec!["All".into()] } else { Vec::new() };
    Ok(())
}
