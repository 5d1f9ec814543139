//! What ends a Job early: rules for failed pods, rules for success, and the texts that name indexes.
//!
//! Source: `pkg/apis/batch/validation`.

use crate::check::Check;
use crate::column::{items, string};
use crate::go::{self, Field, Show};
use crate::place::Place;
use coracle_api::status::quoted;
use coracle_api::{FieldError, validation};
use serde_json::{Value, json};

const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;
const LONGEST_INDEXES: usize = 64 * 1024;
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

const SUCCESS_RULE: &[Field] =
    &[Field("SucceededIndexes", "succeededIndexes", Show::Null), Field("SucceededCount", "succeededCount", Show::Null)];

/// One of a few words; which ones is also said when there is none.
fn word_of(check: &mut Check, at: &Place, words: &[&str]) {
    let all: Vec<String> = words.iter().map(|w| quoted(w)).collect();
    if check.needs(at, &format!("valid values: [{}]", all.join(" "))) {
        check.among(at, words);
    }
}

/// `podFailurePolicy` of the job spec at a place.
pub(super) fn failure(check: &mut Check, spec: &Place) {
    let rules = spec.field("podFailurePolicy.rules");
    check.fits(&rules, MOST_RULES);
    for rule in rules.items() {
        let action = rule.field("action");
        if action.text() != "FailIndex" {
            word_of(check, &action, ACTIONS);
        } else if !spec.field("backoffLimitPerIndex").given() {
            check.bad(&action, "requires the backoffLimitPerIndex to be set");
        }
        let (codes, conditions) = (rule.field("onExitCodes"), rule.field("onPodConditions"));
        if codes.given() {
            exit_codes(check, &codes, spec);
        }
        pod_conditions(check, &conditions);
        let why = match (codes.given(), !conditions.empty()) {
            (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        check.push(FieldError::invalid(&rule.path, Value::Null, why).shown_as(""));
    }
}

fn pod_conditions(check: &mut Check, conditions: &Place) {
    check.fits(conditions, MOST_RULES);
    for pattern in conditions.items() {
        check.keeps(&pattern.field("type"), validation::qualified_name);
        word_of(check, &pattern.field("status"), STATUSES);
    }
}

fn exit_codes(check: &mut Check, at: &Place, spec: &Place) {
    word_of(check, &at.field("operator"), OPERATORS);
    let container = at.field("containerName");
    let named = |list: &str| items(spec.field("template.spec").field(list).value).iter().map(|c| string(&c["name"]));
    if container.given() && !named("containers").chain(named("initContainers")).any(|name| name == container.text()) {
        check.bad(&container, "must be one of the container or initContainer names in the pod template");
    }
    let values = at.field("values");
    if values.empty() {
        check.bad(&values, "at least one value is required");
    } else {
        check.fits(&values, MOST_CODES);
    }
    let mut seen: Vec<i64> = Vec::new();
    for value in values.items() {
        let code = value.number();
        if at.field("operator").text() == "In" && code == 0 {
            check.bad(&value, "must not be 0 for the In operator");
        }
        if seen.contains(&code) {
            check.twice(&value);
        }
        seen.push(code);
    }
    if !seen.is_sorted() {
        check.bad(&values, "must be ordered");
    }
}

/// `successPolicy` of the job spec at a place.
pub(super) fn success(check: &mut Check, spec: &Place) {
    let policy = spec.field("successPolicy");
    if spec.field("completionMode").text() != "Indexed" {
        let shown = format!("{{\"Rules\":{}}}", go::list(&policy.value["rules"], |rule| go::show(rule, SUCCESS_RULE)));
        let wrong = FieldError::invalid(&policy.path, policy.value.clone(), "requires indexed completion mode");
        check.push(wrong.shown_as(shown));
        return;
    }
    let rules = policy.field("rules");
    check.needs(&rules, "at least one rules must be specified when the successPolicy is specified");
    check.fits(&rules, MOST_RULES);
    for rule in rules.items() {
        success_rule(check, &rule, spec.field("completions").number());
    }
}

fn success_rule(check: &mut Check, rule: &Place, completions: i64) {
    let (count, indexes) = (rule.field("succeededCount"), rule.field("succeededIndexes"));
    if !count.given() && !indexes.given() {
        check.required(rule.path.clone(), "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = 0;
    if indexes.given() {
        check.no_longer(&indexes, LONGEST_INDEXES);
        match count_indexes(indexes.text(), completions) {
            Ok(counted) => total = counted,
            Err(why) => check.bad(&indexes, format!("error parsing succeededIndexes: {why}")),
        }
    }
    check.natural(&count);
    if count.number() > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        check.bad(&count, why);
    }
    if count.given() && indexes.given() && count.number() > total {
        let of = "the number of indexes in the specified succeededIndexes field";
        check.bad(&count, format!("must be less than or equal to {total} ({of})"));
    }
}

/// How many indexes a text like `1,3-5` names.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub(super) fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let index = |text: &str| match text.parse::<i64>() {
        Err(_) => Err(format!("cannot convert string to integer for index: {}", quoted(text))),
        Ok(index) if index >= completions => Err(format!("too large index: {}", quoted(text))),
        Ok(index) => Ok(index),
    };
    let parts: Vec<&str> = text.split('-').collect();
    match parts[..] {
        [one] => index(one).map(|index| (index, index)),
        [first, last] => match (index(first)?, index(last)?) {
            (first, last) if first >= last => Err(format!("non-increasing order, previous: {first}, current: {last}")),
            both => Ok(both),
        },
        _ => Err(format!(
            "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
            quoted(text)
        )),
    }
}

/// The first index that two texts share; what cannot be read shares none.
pub(super) fn overlap(one: &str, other: &str, completions: i64) -> Option<i64> {
    let read = |text: &str| text.split(',').filter_map(|part| interval(part, completions).ok()).collect::<Vec<_>>();
    let (one, other) = (read(one), read(other));
    let shared = one.iter().flat_map(|a| other.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))));
    shared.filter(|(first, last)| first <= last).map(|(first, _)| first).min()
}

/// A uid is counted once, in one of two lists.
pub(super) fn uncounted(check: &mut Check, at: &Place) {
    let mut seen: Vec<&str> = Vec::new();
    for uid in ["succeeded", "failed"].iter().flat_map(|list| at.field(list).items()) {
        if uid.text().is_empty() {
            check.invalid(uid.path.clone(), &json!(""), "must not be empty");
        } else if seen.contains(&uid.text()) {
            check.twice(&uid);
        }
        seen.push(uid.text());
    }
}
