//! Options in query strings.

use crate::{
    app::Ask,
    catalog::Served,
    registry::list::{State, Want},
    route::Query,
    watch::{Begin, Selection},
};
use coracle_api::{
    DeleteOptions, FieldError, FieldSelector, LabelSelector, Propagation, Resource, Result, Status, WriteOptions,
    options::FieldValidation,
};
use rand::Rng;
use std::time::Duration;

/// Watches without a bound end by themselves after this long, or up to twice as long, so that they do not end together.
const MIN_WATCH: u64 = 1800;

fn invalid(kind: &'static str, error: FieldError) -> Status {
    Status::invalid(&Resource::fixed("meta.k8s.io", "v1", "options", kind, false), "", &[error])
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

fn dry_run(values: &[&str]) -> Result<bool> {
    match values {
        [] | [""] => Ok(false),
        ["All"] => Ok(true),
        [other, ..] => Err(invalid("CreateOptions", FieldError::not_supported("dryRun", *other, &["All"]))),
    }
}

/// Options of create, update and patch.
///
/// # Errors
/// 422 for values that upstream does not know.
pub fn write(ask: &Ask) -> Result<WriteOptions> {
    let query = &ask.query;
    let field_validation = match query.get("fieldValidation") {
        None | Some("" | "Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let error = FieldError::not_supported("fieldValidation", other, &["Ignore", "Warn", "Strict"]);
            return Err(invalid("CreateOptions", error));
        }
    };
    let agent = || {
        let agent = ask.headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("unknown");
        agent.split('/').next().unwrap_or_default().chars().take(128).collect()
    };
    let manager = query.get("fieldManager").filter(|m| !m.is_empty()).map(ToString::to_string);
    Ok(WriteOptions {
        dry_run: dry_run(&query.all("dryRun").collect::<Vec<_>>())?,
        field_manager: manager.unwrap_or_else(agent),
        force: query.flag("force"),
        field_validation,
    })
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
    options.dry_run = if dry_run(&asked)? { vec!["All".into()] } else { Vec::new() };
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
