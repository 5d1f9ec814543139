//! Admission policies in CEL and their bindings.

use super::expressions::Expressions;
use super::matching::{self, is_there};
use crate::check::Check;
use crate::descriptor::{Part, Rules};
use crate::fields::{default, ensure, same, within};
use crate::place::Place;
use coracle_api::{FieldError, Status, validation};
use serde_json::{Value, json};

/// Rules of both kinds of policies.
pub struct Policy {
    /// Whether it changes objects.
    pub mutates: bool,
}

/// Rules of both kinds of bindings.
pub struct Binding {
    /// Whether its policy changes objects.
    pub mutates: bool,
}

fn default_constraints(object: &mut Value, field: &str) {
    within(object, field, |constraints| {
        matching::default_matching(constraints);
        for list in ["resourceRules", "excludeResourceRules"] {
            matching::default_scopes(constraints, list);
        }
    });
}

impl Rules for Policy {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        let spec = ensure(object, "spec");
        default(spec, "failurePolicy", "Fail");
        default_constraints(spec, "matchConstraints");
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| self.spec(check, &Place::of(object), true))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Status {
            return Check::run(|check| status(check, &Place::of(new).field("status")));
        }
        let moved = |field: &str| !same(&new["spec"][field], &old["spec"][field]);
        Check::run(|check| self.spec(check, &Place::of(new), moved("paramKind") || moved("matchConditions")))
    }
}

impl Policy {
    fn spec(&self, check: &mut Check, policy: &Place, new_conditions: bool) {
        let at = policy.field("spec");
        if check.needs(&at.field("failurePolicy"), "") {
            check.among(&at.field("failurePolicy"), matching::FAILURE_POLICIES);
        }
        let params = at.field("paramKind").given();
        if params {
            param_kind(check, &at.field("paramKind"));
        }
        let constraints = at.field("matchConstraints");
        if constraints.given() {
            matching::resources(check, &constraints);
            check.needs(&constraints.field("resourceRules"), "");
            if self.mutates {
                matching::only_writes(check, &constraints);
            }
        } else {
            check.required(constraints.path, "");
        }
        if new_conditions {
            matching::conditions(check, &at.field("matchConditions"), params);
        }
        let mut expressions = Expressions::new(params);
        at.field("variables").items().for_each(|at| variable(check, &at, &mut expressions));
        if self.mutates {
            mutations(check, &at, &expressions);
        } else {
            verdicts(check, &at, policy.field("metadata.name").text(), &expressions);
        }
    }
}

fn group_version(check: &mut Check, at: &Place) {
    let text = at.text();
    let (group, version) = match text.matches('/').count() {
        0 => ("", text),
        1 => text.split_once('/').unwrap_or_default(),
        _ => return check.bad(at, format!("unexpected GroupVersion string: {text}")),
    };
    let mut part = |part: &str, rule: fn(&str) -> Vec<String>| {
        let wrong = rule(part);
        if !wrong.is_empty() {
            check.invalid(at.path.clone(), &json!(part), wrong.join(","));
        }
    };
    if !group.is_empty() {
        part(group, validation::dns1123_subdomain);
    }
    if !version.is_empty() {
        part(version, validation::dns1035_label);
    }
    if version.is_empty() {
        check.bad(at, "version must be specified");
    }
}

fn param_kind(check: &mut Check, at: &Place) {
    let (version, kind) = (at.field("apiVersion"), at.field("kind"));
    if check.needs(&version, "") {
        group_version(check, &version);
    }
    if check.needs(&kind, "") {
        let wrong = validation::dns1035_label(&kind.text().to_lowercase());
        if !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            check.bad(&kind, why);
        }
    }
}

fn is_cel_identifier(text: &str) -> bool {
    validation::c_identifier(text).is_empty() && !coracle_cel::is_keyword(text)
}

fn variable(check: &mut Check, at: &Place, expressions: &mut Expressions) {
    let name = at.field("name");
    if name.text().trim().is_empty() {
        check.required(name.path.clone(), "name is not specified");
    } else if !is_cel_identifier(name.text()) {
        check.bad(&name, "name is not a valid CEL identifier");
    }
    if is_there(check, &at.field("expression"), "expression is not specified") {
        expressions.variable(check, name.text(), &at.field("expression"));
    }
}

const MOST_ANNOTATIONS: usize = 20;
const LONGEST_VALUE: usize = 5 * 1024;

fn verdicts(check: &mut Check, at: &Place, policy: &str, expressions: &Expressions) {
    let (validations, annotations) = (at.field("validations"), at.field("auditAnnotations"));
    if validations.empty() && annotations.empty() {
        for list in [validations, annotations] {
            check.required(list.path, "validations or auditAnnotations must contain at least one item");
        }
        return;
    }
    validations.items().for_each(|at| verdict(check, &at, expressions));
    if annotations.len() > MOST_ANNOTATIONS {
        check.bad(&annotations, format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations"));
    }
    let mut seen: Vec<&str> = Vec::new();
    for at in annotations.items() {
        let (key, value) = (at.field("key"), at.field("valueExpression"));
        let whole = format!("{policy}/{}", key.text());
        for message in validation::qualified_name(&whole) {
            check.invalid(key.path.clone(), &json!(whole), message);
        }
        if value.text().trim().len() > LONGEST_VALUE {
            check.required(value.path, &format!("must not exceed {LONGEST_VALUE} bytes in length"));
        } else if is_there(check, &value, "valueExpression is not specified") {
            expressions.annotation(check, &value);
        }
        if seen.contains(&key.text()) {
            check.push(FieldError::duplicate(&key.path, key.text()));
        }
        seen.push(key.text());
    }
}

fn verdict(check: &mut Check, at: &Place, expressions: &Expressions) {
    if is_there(check, &at.field("expression"), "expression is not specified") {
        expressions.verdict(check, &at.field("expression"));
    }
    let (from, message) = (at.field("messageExpression"), at.field("message"));
    if !from.empty() && from.text().trim().is_empty() {
        check.bad(&from, "must be non-empty if specified");
    } else if !from.empty() {
        expressions.message(check, &from);
    }
    if !message.empty() && message.text().trim().is_empty() {
        check.bad(&message, "message must be non-empty if specified");
    } else if message.text().trim().contains(['\n', '\r']) {
        check.bad(&message, "message must not contain line breaks");
    }
    check.may_be(&at.field("reason"), &["Forbidden", "Invalid", "RequestEntityTooLarge"]);
}

fn mutations(check: &mut Check, at: &Place, expressions: &Expressions) {
    check.needs(&at.field("mutations"), "mutations must contain at least one item");
    at.field("mutations").items().for_each(|at| mutation(check, &at, expressions));
    if check.needs(&at.field("reinvocationPolicy"), "") {
        check.among(&at.field("reinvocationPolicy"), matching::REINVOCATION_POLICIES);
    }
}

fn mutation(check: &mut Check, at: &Place, expressions: &Expressions) {
    let kind = at.field("patchType");
    if !check.needs(&kind, "") {
        return;
    }
    let (own, other) = match kind.text() {
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        _ => return check.among(&kind, &["ApplyConfiguration", "JSONPatch"]),
    };
    if at.field(own).given() {
        let expression = at.field(own).field("expression");
        match (is_there(check, &expression, ""), own) {
            (true, "jsonPatch") => expressions.patch(check, &expression),
            (true, _) => expressions.configuration(check, &expression),
            (false, _) => {}
        }
    } else {
        check.required(at.path.field(own), &format!("must be specified when patchType is {}", kind.text()));
    }
    if at.field(other).given() {
        let why = format!("must not be specified when patchType is {}", kind.text());
        check.invalid(at.path.field(other), &json!(format!("{{{other}}}")), why);
    }
}

fn status(check: &mut Check, at: &Place) {
    for warning in at.field("typeChecking.expressionWarnings").items() {
        check.needs(&warning.field("warning"), "");
        if warning.field("fieldRef").text().trim().is_empty() {
            check.required(warning.path.field("fieldRef"), "");
        }
    }
    check.conditions(&at.field("conditions"));
}

impl Rules for Binding {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        within(object, "spec", |spec| {
            default_constraints(spec, "matchResources");
            within(spec, "paramRef", |reference| default(reference, "parameterNotFoundAction", "Deny"));
        });
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| self.spec(check, &Place::of(object).field("spec")))
    }
}

impl Binding {
    fn spec(&self, check: &mut Check, at: &Place) {
        let (policy, reference, resources) = (at.field("policyName"), at.field("paramRef"), at.field("matchResources"));
        let named = if self.mutates { check.needs(&policy, "") } else { check.declared(&policy) };
        if named {
            check.keeps(&policy, validation::dns1123_subdomain);
        }
        if reference.given() {
            param_ref(check, &reference);
        }
        if resources.given() && self.mutates {
            matching::resources(check, &resources);
            matching::only_writes(check, &resources);
        } else if resources.given() {
            // upstream writes the field so
            matching::resources(check, &at.called("matchResouces", resources.value));
        }
        if !self.mutates {
            actions(check, &at.field("validationActions"));
        }
    }
}

fn param_ref(check: &mut Check, at: &Place) {
    const ONE: &str = "name and selector are mutually exclusive";
    let (name, selector, action) = (at.field("name"), at.field("selector"), at.field("parameterNotFoundAction"));
    check.may_keep(&name, validation::path_segment);
    if !name.empty() && selector.given() {
        check.barred(&name, ONE);
    }
    if selector.given() {
        check.selects(&selector);
        if !name.empty() {
            check.barred(&selector, ONE);
        }
    }
    if name.empty() && !selector.given() {
        check.required(at.path.clone(), "one of name or selector must be specified");
    }
    if check.needs(&action, "") {
        check.among(&action, &["Deny", "Allow"]);
    }
}

fn actions(check: &mut Check, list: &Place) {
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        check.among(&at, &["Audit", "Deny", "Warn"]);
        if seen.contains(&at.text()) {
            check.twice(&at);
        }
        seen.push(at.text());
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        check.bad(list, why);
    }
    check.declared(list);
}
