//! Options in query strings.

use crate::{
    app::Ask,
    catalog::Served,
    http::negotiate,
    registry::list::{State, Want},
    route::Query,
    watch::{Begin, Selection},
};
use ::http::HeaderMap;
use coracle_api::{
    DeleteOptions, FieldError, FieldErrorKind, FieldSelector, LabelSelector, PatchKind, Propagation, Resource, Result,
    Status, WriteOptions, options::FieldValidation,
};
use rand::Rng;
use serde_json::json;
use std::time::Duration;

/// Watches without a bound end by themselves after this long, or up to twice as long, so that they do not end together.
const MIN_WATCH: u64 = 1800;

/// Names of field managers are no longer than this.
const MAX_MANAGER: usize = 128;

fn options_resource(kind: &'static str) -> Resource {
    Resource::fixed("meta.k8s.io", "v1", "options", kind, false)
}

fn invalid(kind: &'static str, error: FieldError) -> Status {
    Status::invalid(&options_resource(kind), "", &[error])
}

fn number<T: std::str::FromStr>(query: &Query, key: &str) -> Result<Option<T>> {
    match query.get(key) {
        None | Some("") => Ok(None),
        Some(text) => {
            let bad = || Status::bad_request(format!("invalid value for {key}: {text:?} is not a number"));
            text.parse().map(Some).map_err(|_| bad())
        }
    }
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
    manager_errors(manager, &mut errors);
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

/// What is wrong with the name of a field manager.
fn manager_errors(manager: &str, errors: &mut Vec<FieldError>) {
    if manager.len() > MAX_MANAGER {
        errors.push(FieldError::new("fieldManager", FieldErrorKind::TooLong(MAX_MANAGER), ""));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| !printable(*c)) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(FieldError::invalid("fieldManager", manager, why));
    }
}

/// As Go's `unicode.IsPrint` sees it, of what may stand in names.
fn printable(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}'))
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

fn selection(served: &Served, query: &Query) -> Result<Selection> {
    let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?;
    let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())?;
    Selection::new(served, &labels, &fields)
}

fn revision(query: &Query) -> Result<Option<u64>> {
    match query.get("resourceVersion") {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            invalid("ListOptions", FieldError::invalid("resourceVersion", text, "must be an unsigned integer"))
        }),
    }
}

/// Options of list (and of deletecollection).
///
/// # Errors
/// 400 and 422 for options that do not go together.
pub fn list(served: &Served, query: &Query) -> Result<Want> {
    let forbidden = |field: &str, why: &str| Err(invalid("ListOptions", FieldError::forbidden(field, why)));
    let asked = revision(query)?;
    let limit: usize = number(query, "limit")?.unwrap_or(0);
    let continue_token = query.get("continue").unwrap_or_default().to_string();
    let rule = query.get("resourceVersionMatch").unwrap_or_default();
    if query.get("sendInitialEvents").is_some() {
        return forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    if !continue_token.is_empty() {
        if !rule.is_empty() {
            return forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
        }
        if asked.is_some_and(|r| r > 0) {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
    }
    let state = match (rule, asked) {
        ("", Some(0) | None) => State::Newest,
        // with a limit a list from a revision shows that very state, else any that is not older
        ("", Some(revision)) if limit > 0 => State::Exactly(revision),
        ("" | "NotOlderThan", Some(revision)) => State::NotOlderThan(revision),
        ("Exact", Some(0)) => {
            return forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
        ("Exact", Some(revision)) => State::Exactly(revision),
        ("Exact" | "NotOlderThan", None) => {
            return forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        (other, _) => {
            let error = FieldError::not_supported("resourceVersionMatch", other, &["Exact", "NotOlderThan", ""]);
            return Err(invalid("ListOptions", error));
        }
    };
    Ok(Want { selection: selection(served, query)?, limit, continue_token, state })
}

/// Options of watch.
///
/// # Errors
/// 400 and 422 for options that do not go together.
pub fn watch(served: &Served, namespace: &str, query: &Query) -> Result<crate::watch::Want> {
    let forbidden = |field: &str, why: &str| Err(invalid("ListOptions", FieldError::forbidden(field, why)));
    let bookmarks = query.flag("allowWatchBookmarks");
    let rule = query.get("resourceVersionMatch").unwrap_or_default();
    let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
    let asked = revision(query)?;
    let begin = match initial {
        None if !rule.is_empty() => {
            return forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        None => asked.filter(|r| *r > 0).map_or(Begin::Existing, Begin::After),
        Some(_) if rule != "NotOlderThan" => {
            return forbidden(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            );
        }
        Some(true) if bookmarks => Begin::ExistingThenBookmark,
        Some(true) => Begin::Existing,
        Some(false) => asked.filter(|r| *r > 0).map_or(Begin::Now, Begin::After),
    };
    let timeout: Option<u64> = number(query, "timeoutSeconds")?;
    let timeout = timeout.filter(|t| *t > 0).unwrap_or_else(|| MIN_WATCH + rand::rng().random_range(0..MIN_WATCH));
    Ok(crate::watch::Want {
        prefix: served.prefix(namespace),
        selection: selection(served, query)?,
        begin,
        bookmarks,
        timeout: Duration::from_secs(timeout),
    })
}
