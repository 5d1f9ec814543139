//! What is wrong with rules, when their schema is defined: they do not compile, cost too much, look at what they cannot.

use super::{Node, Rule, Rules};
use crate::{env::Program, limits};
use coracle_api::status::{FieldError, Path};
use serde_json::Value as Json;

const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// The costs of all rules together, and the most expensive among them.
#[derive(Default)]
struct Total {
    cost: u64,
    expensive: Vec<(u64, Path)>,
}

impl Total {
    fn add(&mut self, cost: u64, path: &Path) {
        self.cost = self.cost.saturating_add(cost);
        if cost >= limits::ESTIMATED_PER_SCHEMA / 100 {
            self.expensive.push((cost, path.clone()));
            self.expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
            self.expensive.truncate(4);
        }
    }
}

impl Rules {
    /// What is wrong with the rules, for the schema at `path`. The schema itself is expected to be sound.
    pub fn check(&self, path: &Path) -> Vec<FieldError> {
        let mut errors = Vec::new();
        self.root.lint(path, &mut errors);
        if !errors.is_empty() {
            return errors;
        }
        let mut total = Total::default();
        self.root.check(path, None, &mut total, &mut errors);
        if total.cost > limits::ESTIMATED_PER_SCHEMA {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.extend(total.expensive.iter().map(|(_, path)| FieldError::forbidden(path, why)));
            let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
            errors.push(FieldError::forbidden(path, too_expensive(what, total.cost, limits::ESTIMATED_PER_SCHEMA)));
        }
        errors
    }
}

impl Node {
    /// All schemas with rules, with their paths, those within first.
    fn visit<'n>(&'n self, path: &Path, visit: &mut dyn FnMut(&'n Node, &Path)) {
        for (name, node) in &self.properties {
            node.visit(&path.field("properties").key(name), visit);
        }
        if let Some(node) = &self.values {
            node.visit(&path.field("additionalProperties"), visit);
        }
        if let Some(node) = &self.items {
            node.visit(&path.field("items"), visit);
        }
        for (at, node) in self.all_of.iter().enumerate() {
            node.visit(&path.field("allOf").index(at), visit);
        }
        visit(self, path);
    }

    /// What is wrong with the rules' fields, without looking into the expressions.
    fn lint(&self, path: &Path, errors: &mut Vec<FieldError>) {
        self.visit(path, &mut |node, path| {
            for (at, rule) in node.rules.iter().enumerate() {
                rule.lint(&path.field("x-kubernetes-validations").index(at), errors);
            }
        });
    }

    /// `uncorrelated` is the outermost schema around this one whose parts cannot be told to be the same after an update.
    fn check(&self, path: &Path, uncorrelated: Option<&Path>, total: &mut Total, errors: &mut Vec<FieldError>) {
        let within_object = uncorrelated.or((!self.correlatable).then_some(path));
        for (name, node) in &self.properties {
            node.check(&path.field("properties").key(name), within_object, total, errors);
        }
        if let Some(node) = &self.values {
            node.check(&path.field("additionalProperties"), within_object, total, errors);
        }
        if let Some(node) = &self.items {
            let by_key = matches!(self.list, crate::decl::ListKind::Map(_));
            let within_list = uncorrelated.or((!by_key).then_some(path));
            node.check(&path.field("items"), within_list, total, errors);
        }
        for (at, node) in self.all_of.iter().enumerate() {
            node.check(&path.field("allOf").index(at), uncorrelated, total, errors);
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let path = path.field("x-kubernetes-validations").index(at);
            rule.check(&path, uncorrelated, self.most_values(), total, errors);
        }
    }
}

fn has_line_break(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

impl Rule {
    fn lint(&self, path: &Path, errors: &mut Vec<FieldError>) {
        let text = |name: &str| self.source[name].as_str().unwrap_or_default();
        let (rule, message) = (self.rule.trim(), self.message.trim());
        if rule.is_empty() {
            errors.push(FieldError::required(path.field("rule"), "rule is not specified"));
        } else if !self.message.is_empty() && message.is_empty() {
            errors.push(FieldError::invalid(path.field("message"), text("message"), "must be non-empty if specified"));
        } else if has_line_break(message) {
            errors.push(FieldError::invalid(path.field("message"), text("message"), "must not contain line breaks"));
        } else if has_line_break(rule) && message.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(path.field("message"), why));
        }
        let expression = text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(path.field("messageExpression"), why));
        }
        if let Some(reason) = self.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            errors.push(FieldError::not_supported(path.field("reason"), reason, REASONS));
        }
        self.lint_field_path(text("fieldPath"), &path.field("fieldPath"), errors);
    }

    fn lint_field_path(&self, field_path: &str, path: &Path, errors: &mut Vec<FieldError>) {
        if field_path.is_empty() {
            return;
        }
        if field_path.trim().is_empty() {
            errors.push(FieldError::invalid(path, field_path, "must be non-empty if specified"));
        }
        if has_line_break(field_path) {
            errors.push(FieldError::invalid(path, field_path, "must not contain line breaks"));
        }
        if self.field_path.is_err() {
            errors.push(FieldError::invalid(path, field_path, "must be a valid path"));
        }
    }

    fn check(
        &self,
        path: &Path,
        uncorrelated: Option<&Path>,
        values: u64,
        total: &mut Total,
        errors: &mut Vec<FieldError>,
    ) {
        let at = path.field("rule");
        match &self.program {
            Some(Ok(program)) => {
                let cost = program.estimated_cost().max.saturating_mul(values);
                affordable("estimated rule cost", cost, &at, total, errors);
            }
            Some(Err(why)) => errors.push(FieldError::invalid(&at, self.source.clone(), why)),
            None => {}
        }
        let at_message = path.field("messageExpression");
        match &self.message_program {
            Some(Ok(program)) => message_affordable(program, &at_message, total, errors),
            Some(Err(why)) => errors.push(FieldError::invalid(&at_message, self.source.clone(), why)),
            None => {}
        }
        match (self.uses_old, uncorrelated, self.optional_old) {
            (true, Some(within), _) => {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {within}");
                errors.push(FieldError::invalid(at, Json::from(self.rule.as_str()), why));
            }
            (false, _, Some(optional)) if matches!(self.program, Some(Ok(_))) => {
                let why = "may not be set if oldSelf is not used in rule";
                errors.push(FieldError::invalid(path.field("optionalOldSelf"), optional, why));
            }
            _ => {}
        }
    }
}

/// A message is made at most once for a request, whatever the number of values.
fn message_affordable(program: &Program, path: &Path, total: &mut Total, errors: &mut Vec<FieldError>) {
    affordable("estimated messageExpression cost", program.estimated_cost().max, path, total, errors);
}

fn affordable(what: &str, cost: u64, path: &Path, total: &mut Total, errors: &mut Vec<FieldError>) {
    if cost > limits::ESTIMATED_PER_RULE {
        errors.push(FieldError::forbidden(path, too_expensive(what, cost, limits::ESTIMATED_PER_RULE)));
    }
    total.add(cost, path);
}

fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let times = cost as f64 / limit as f64;
    let factor = match times {
        // such an estimate says no more than that there is no bound
        t if t > 100.0 => "more than 100x".to_string(),
        t if t < 1.5 => format!("{t:.6}x"),
        t => format!("{t:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
