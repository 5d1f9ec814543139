//! Which requests a webhook or policy is about: rules over groups, versions, resources and operations; selectors; conditions.
//!
//! Source: `pkg/apis/admissionregistration/validation`.

use super::expressions::Expressions;
use crate::check::Check;
use crate::fields::{default, each, ensure};
use crate::place::Place;
use coracle_api::validation;
use serde_json::Value;

pub const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const MOST_CONDITIONS: usize = 64;

/// What webhooks and match constraints have in common.
pub fn default_matching(object: &mut Value) {
    default(object, "matchPolicy", "Equivalent");
    ensure(object, "namespaceSelector");
    ensure(object, "objectSelector");
}

/// The scope of rules.
pub fn default_scopes(object: &mut Value, list: &str) {
    each(object, list, |rule| default(rule, "scope", "*"));
}

/// `matchPolicy` as far as it is given.
pub fn match_policy(check: &mut Check, at: &Place) {
    check.may_be(&at.field("matchPolicy"), MATCH_POLICIES);
}

/// `namespaceSelector` and `objectSelector`.
pub fn selectors(check: &mut Check, at: &Place) {
    check.selects(&at.field("namespaceSelector"));
    check.selects(&at.field("objectSelector"));
}

/// MatchResources of a policy or binding.
pub fn resources(check: &mut Check, at: &Place) {
    if check.needs(&at.field("matchPolicy"), "") {
        match_policy(check, at);
    }
    selectors(check, at);
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in at.field(list).items() {
            let names = rule.field("resourceNames");
            let mut seen: Vec<&str> = Vec::new();
            for name in names.items() {
                check.keeps(&name, validation::path_segment);
                if seen.contains(&name.text()) {
                    check.twice(&name);
                }
                seen.push(name.text());
            }
            self::rule(check, &rule);
        }
    }
}

/// The operations of a mutating policy's rules are those that have something to mutate.
pub fn only_writes(check: &mut Check, at: &Place) {
    let path = at.path.field("resourceRules").field("operations");
    for rule in at.field("resourceRules").items() {
        for operation in rule.field("operations").items() {
            check.among(&Place::at(path.clone(), operation.value), &["CREATE", "UPDATE"]);
        }
    }
}

fn has_star(list: &Place) -> bool {
    list.items().any(|item| item.text() == "*")
}

fn star_alone(check: &mut Check, list: &Place, others: &str) {
    if list.len() > 1 && has_star(list) {
        check.bad(list, format!("if '*' is present, must not specify other {others}"));
    }
}

/// RuleWithOperations.
pub fn rule(check: &mut Check, at: &Place) {
    let operations = at.field("operations");
    check.needs(&operations, "");
    star_alone(check, &operations, "operations");
    operations.items().for_each(|at| check.among(&at, OPERATIONS));
    check.needs(&at.field("apiGroups"), "");
    star_alone(check, &at.field("apiGroups"), "API groups");
    let versions = at.field("apiVersions");
    check.needs(&versions, "");
    star_alone(check, &versions, "API versions");
    for version in versions.items() {
        check.needs(&version, "");
    }
    resource_names(check, &at.field("resources"));
    check.may_be(&at.field("scope"), &["*", "Cluster", "Namespaced"]);
}

// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`, `*/*`; none may say what another one says already
fn resource_names(check: &mut Check, list: &Place) {
    check.needs(list, "");
    let (mut whole, mut everywhere): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut plain = false;
    for at in list.items() {
        let text = at.text();
        if !check.needs(&at, "") {
            continue;
        }
        let Some((resource, sub)) = text.split_once('/') else {
            plain = text != "*";
            continue;
        };
        if whole.contains(&resource) {
            check.bad(&at, format!("if '{resource}/*' is present, must not specify {text}"));
        }
        if everywhere.contains(&sub) {
            check.bad(&at, format!("if '*/{sub}' is present, must not specify {text}"));
        }
        if sub == "*" {
            whole.push(resource);
        }
        if resource == "*" {
            everywhere.push(sub);
        }
    }
    if list.len() > 1 && list.items().any(|at| at.text() == "*/*") {
        check.bad(list, "if '*/*' is present, must not specify other resources");
    }
    if has_star(list) && plain {
        check.bad(list, "if '*' is present, must not specify other resources without subresources");
    }
}

/// `matchConditions`, of something that has a parameter or not.
pub fn conditions(check: &mut Check, list: &Place, params: bool) {
    let expressions = Expressions::new(params);
    check.fits(list, MOST_CONDITIONS);
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        if is_there(check, &at.field("expression"), "") {
            expressions.condition(check, &at.field("expression"));
        }
        let name = at.field("name");
        check.must_keep(&name, validation::qualified_name);
        if !name.empty() && seen.contains(&name.text()) {
            check.twice(&name);
        }
        seen.push(name.text());
    }
}

/// Whether an expression is there.
pub fn is_there(check: &mut Check, at: &Place, why: &str) -> bool {
    let there = !at.text().trim().is_empty();
    if !there {
        check.required(at.path.clone(), why);
    }
    there
}
