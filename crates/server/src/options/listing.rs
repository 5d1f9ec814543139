//! Options of list and watch in query strings: which state, how much of it, and which combinations upstream refuses.
//!
//! Source: apimachinery `internalversion/validation`, apiserver `storage.ValidateListOptions`; the table is in upstream's API concepts,
//! "Semantics for get and list".

use super::{boolean, number, options_resource};
use crate::{
    catalog::Served,
    registry::list::{State, Want},
    route::Query,
    watch::{Begin, Selection},
};
use coracle_api::{FieldError, FieldSelector, LabelSelector, Result, Status};
use rand::Rng;
use std::{sync::Arc, time::Duration};

/// Watches without a bound end by themselves after this long, or up to twice as long, so that they do not end together.
const MIN_WATCH: u64 = 1800;

/// `resourceVersionMatch`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    None,
    Exact,
    NotOlderThan,
}

/// The options that say which state is meant.
struct Asked<'q> {
    version: &'q str,
    matching: &'q str,
    token: &'q str,
    initial: Option<bool>,
}

impl<'q> Asked<'q> {
    fn new(query: &'q Query) -> Self {
        let text = |key: &str| query.get(key).unwrap_or_default();
        Self {
            version: text("resourceVersion"),
            matching: text("resourceVersionMatch"),
            token: text("continue"),
            initial: query.get("sendInitialEvents").map(boolean),
        }
    }

    fn matching(&self) -> Match {
        match self.matching {
            "Exact" => Match::Exact,
            "NotOlderThan" => Match::NotOlderThan,
            _ => Match::None,
        }
    }

    fn list_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let forbidden = |why: &str| FieldError::forbidden("resourceVersionMatch", why);
        if !self.matching.is_empty() {
            if self.version.is_empty() {
                errors.push(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"));
            }
            if !self.token.is_empty() {
                errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
            }
            if self.matching() == Match::None {
                let known = ["Exact", "NotOlderThan", ""];
                errors.push(FieldError::not_supported("resourceVersionMatch", self.matching, &known));
            }
            if self.matching() == Match::Exact && self.version == "0" {
                errors.push(forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
            }
        }
        if self.initial.is_some() {
            errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        errors
    }

    fn watch_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let forbidden = |why: &str| FieldError::forbidden("resourceVersionMatch", why);
        if self.initial.is_some() && self.matching() != Match::NotOlderThan {
            errors.push(forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }
        if !self.matching.is_empty() {
            if self.initial.is_none() {
                errors.push(forbidden(
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            if self.matching() != Match::NotOlderThan {
                errors.push(FieldError::not_supported("resourceVersionMatch", self.matching, &["NotOlderThan"]));
            }
            if !self.token.is_empty() {
                errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
            }
        }
        errors
    }

    /// The revision; `None` if none is given. The error is a field's.
    fn revision(&self) -> Result<Option<u64>, FieldError> {
        parse_revision(self.version)
    }
}

/// A resourceVersion; `None` if it is empty.
fn parse_revision(text: &str) -> Result<Option<u64>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().map(Some).map_err(|_| {
        let why = if digits { "value out of range" } else { "invalid syntax" };
        FieldError::invalid("resourceVersion", text, format!("strconv.ParseUint: parsing {text:?}: {why}"))
    })
}

/// The revision that a get must not be older than.
///
/// # Errors
/// 400 when it is no number.
pub fn get(query: &Query) -> Result<Option<u64>> {
    parse_revision(query.get("resourceVersion").unwrap_or_default())
        .map_err(|e| Status::bad_request(format!("invalid resource version: {e}")))
}

/// Options of list (and of deletecollection).
///
/// # Errors
/// 400 and 422 for options that do not go together.
pub fn list(served: &Arc<Served>, query: &Query) -> Result<Want> {
    let limit: i64 = number(query, "limit")?.unwrap_or(0);
    let asked = Asked::new(query);
    let errors = asked.list_errors();
    if !errors.is_empty() {
        return Err(Status::invalid(&options_resource("ListOptions"), "", &errors));
    }
    let selection = selection(served, query)?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let continue_token = asked.token.to_string();
    if !continue_token.is_empty() {
        if !matches!(asked.version, "" | "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        return Ok(Want { selection, limit, continue_token, state: State::Newest });
    }
    let revision = asked.revision().map_err(|e| Status::bad_request(format!("invalid resource version: {e}")))?;
    let state = match (asked.matching(), revision) {
        (_, None | Some(0)) => State::Newest,
        (Match::Exact, Some(revision)) => State::Exactly(revision),
        // of old, pages show the very state that is named, and a whole list any that is not older
        (Match::None, Some(revision)) if limit > 0 => State::Exactly(revision),
        (_, Some(revision)) => State::NotOlderThan(revision),
    };
    Ok(Want { selection, limit, continue_token, state })
}

/// Options of watch.
///
/// # Errors
/// 400 and 422 for options that do not go together.
pub fn watch(served: &Arc<Served>, namespace: &str, query: &Query) -> Result<crate::watch::Want> {
    let timeout: Option<i64> = number(query, "timeoutSeconds")?;
    let asked = Asked::new(query);
    let errors = asked.watch_errors();
    if !errors.is_empty() {
        return Err(Status::invalid(&options_resource("ListOptions"), "", &errors));
    }
    let selection = selection(served, query)?;
    let revision = asked.revision().map_err(|e| Status::invalid(&of_whole_kind(served), "", &[e]))?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let revision = revision.filter(|r| *r > 0);
    let begin = match (asked.initial, revision) {
        (None, Some(revision)) => Begin::After(revision),
        (Some(false), revision) => revision.map_or(Begin::Now, Begin::After),
        // a watch from nowhere has always begun with what exists; upstream treats it as one that says so
        (None, None) | (Some(true), _) if bookmarks => Begin::ExistingThenBookmark(revision.unwrap_or(0)),
        (None, None) | (Some(true), _) => Begin::Existing(revision.unwrap_or(0)),
    };
    let timeout = timeout.and_then(|t| u64::try_from(t).ok()).filter(|t| *t > 0);
    let timeout = timeout.unwrap_or_else(|| MIN_WATCH + rand::rng().random_range(0..MIN_WATCH));
    let prefix = served.prefix(namespace);
    Ok(crate::watch::Want { prefix, selection, begin, bookmarks, timeout: Duration::from_secs(timeout) })
}

/// Upstream names the resource where a kind belongs when a watch's version is wrong.
fn of_whole_kind(served: &Arc<Served>) -> coracle_api::Resource {
    coracle_api::Resource { kind: served.resource.plural.clone(), ..served.resource.clone() }
}

fn selection(served: &Arc<Served>, query: &Query) -> Result<Selection> {
    let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?;
    let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())?;
    Selection::new(served, &labels, &fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    fn list_of(query: &str) -> String {
        let pods = Catalog::default().find("", "v1", "pods").unwrap();
        match list(&pods, &Query::parse(query)) {
            Ok(want) => format!("{:?} limit {} continue {:?}", want.state, want.limit, want.continue_token),
            Err(status) => format!("{} {}", status.code, status.message),
        }
    }

    fn watch_of(query: &str) -> String {
        let pods = Catalog::default().find("", "v1", "pods").unwrap();
        match watch(&pods, "", &Query::parse(query)) {
            Ok(want) => format!("{:?} {}", want.begin, if want.bookmarks { "bookmarks" } else { "" }).trim().into(),
            Err(status) => format!("{} {}", status.code, status.message),
        }
    }

    #[test]
    fn lists_by_version_match_limit_and_continue() {
        let refused = "422 ListOptions.meta.k8s.io \"\" is invalid: ";
        let needs =
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
        let paged = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided";
        let exact =
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        for (query, expected) in [
            ("", "Newest limit 0 continue \"\"".to_string()),
            ("limit=5", "Newest limit 5 continue \"\"".into()),
            ("limit=-5", "Newest limit 0 continue \"\"".into()),
            ("limit=x", "400 strconv.ParseInt: parsing \"x\": invalid syntax".into()),
            ("resourceVersion=0", "Newest limit 0 continue \"\"".into()),
            ("resourceVersion=0&limit=5", "Newest limit 5 continue \"\"".into()),
            ("resourceVersion=7", "NotOlderThan(7) limit 0 continue \"\"".into()),
            ("resourceVersion=7&limit=5", "Exactly(7) limit 5 continue \"\"".into()),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan", "NotOlderThan(7) limit 0 continue \"\"".into()),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5", "NotOlderThan(7) limit 5 continue \"\"".into()),
            ("resourceVersion=0&resourceVersionMatch=NotOlderThan", "Newest limit 0 continue \"\"".into()),
            ("resourceVersion=7&resourceVersionMatch=Exact", "Exactly(7) limit 0 continue \"\"".into()),
            ("resourceVersion=7&resourceVersionMatch=Exact&limit=5", "Exactly(7) limit 5 continue \"\"".into()),
            ("resourceVersion=0&resourceVersionMatch=Exact", format!("{refused}{exact}")),
            ("resourceVersionMatch=Exact", format!("{refused}{needs}")),
            ("resourceVersionMatch=NotOlderThan&limit=5", format!("{refused}{needs}")),
            (
                "resourceVersion=7&resourceVersionMatch=Other",
                format!("{refused}resourceVersionMatch: Unsupported value: \"Other\": supported values: \"Exact\", \"NotOlderThan\", \"\""),
            ),
            ("continue=t", "Newest limit 0 continue \"t\"".into()),
            ("continue=t&limit=5&resourceVersion=0", "Newest limit 5 continue \"t\"".into()),
            ("continue=t&resourceVersion=7", "400 specifying resource version is not allowed when using continue".into()),
            ("continue=t&resourceVersion=7&resourceVersionMatch=Exact", format!("{refused}{paged}")),
            ("continue=t&resourceVersionMatch=NotOlderThan", format!("{refused}[{needs}, {paged}]")),
            ("sendInitialEvents=false", format!("{refused}sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list")),
            (
                "resourceVersion=x",
                "400 invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax".into(),
            ),
            ("fieldSelector=spec.image%3Dx", "400 field label not supported: spec.image".into()),
        ] {
            assert_eq!(list_of(query), expected, "{query}");
        }
    }

    #[test]
    fn watches_by_version_and_initial_events() {
        let refused = "422 ListOptions.meta.k8s.io \"\" is invalid: ";
        let without = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        let requires =
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        let unsupported = "resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"";
        for (query, expected) in [
            ("", "Existing(0)".to_string()),
            ("allowWatchBookmarks=true", "ExistingThenBookmark(0) bookmarks".into()),
            ("resourceVersion=0", "Existing(0)".into()),
            ("resourceVersion=7", "After(7)".into()),
            ("resourceVersion=7&allowWatchBookmarks=1", "After(7) bookmarks".into()),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "Existing(0)".into()),
            (
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=7",
                "ExistingThenBookmark(7) bookmarks".into(),
            ),
            ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan", "Now".into()),
            ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=7", "After(7)".into()),
            ("sendInitialEvents=true", format!("{refused}{requires}")),
            ("sendInitialEvents=false&resourceVersionMatch=Exact", format!("{refused}[{requires}, {unsupported}]")),
            ("resourceVersionMatch=NotOlderThan", format!("{refused}{without}")),
            ("resourceVersionMatch=Exact", format!("{refused}[{without}, {unsupported}]")),
            (
                "resourceVersion=x",
                "422 pods \"\" is invalid: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax".into(),
            ),
            ("timeoutSeconds=x", "400 strconv.ParseInt: parsing \"x\": invalid syntax".into()),
        ] {
            assert_eq!(watch_of(query), expected, "{query}");
        }
    }
}
