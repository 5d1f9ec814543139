//! Runs rules over an object.

use super::{Node, Rule, Rules};
use crate::{
    decl::ListKind,
    eval::Variables,
    fault::{Fault, Result},
    limits,
    value::Value,
};
use coracle_api::status::{FieldError, FieldErrorKind};
use serde_json::Value as Json;
use std::{fmt, sync::Arc};

/// An object to validate.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The object.
    pub object: &'a Json,
    /// The object before an update.
    pub old: Option<&'a Json>,
    /// The cost that rules may have together (usually [`limits::PER_REQUEST`]).
    pub budget: i64,
}

/// What rules say of an object.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// What is wrong.
    pub errors: Vec<FieldError>,
    /// What would be wrong, had it not been so before the update.
    pub tolerated: Vec<FieldError>,
    /// What is left of the budget; negative if it was exceeded.
    pub budget: i64,
}

impl Rules {
    /// Runs the rules. Parts that an update does not change may go on breaking rules that do not look at `oldSelf`.
    pub fn validate(&self, request: Request<'_>) -> Verdict {
        let mut run = Run { verdict: Verdict { budget: request.budget, ..Verdict::default() } };
        let before = match request.old {
            Some(old) => Before::Same { new: request.object, old, outer: None },
            None => Before::None,
        };
        // an exhausted budget ends the walk; what was found until then is the answer
        let _ = run.node(&self.root, &Place::Root, request.object, request.old, &before);
        run.verdict
    }
}

/// The walk shall end: the budget is used up.
struct Exhausted;

type Walk = std::result::Result<(), Exhausted>;

/// A place in the object; its text is made only for an error.
#[derive(Clone, Copy)]
enum Place<'p> {
    Root,
    Field(&'p Place<'p>, &'p str),
    Key(&'p Place<'p>, &'p str),
    Index(&'p Place<'p>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("<nil>"),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(outer, name) => write!(f, "{outer}.{name}"),
            Self::Key(Self::Root, key) => write!(f, "[{key}]"),
            Self::Key(outer, key) => write!(f, "{outer}[{key}]"),
            Self::Index(outer, at) => write!(f, "{outer}[{at}]"),
        }
    }
}

/// What a value was before the update, to tell whether the update changes it.
#[derive(Clone, Copy)]
enum Before<'b> {
    /// There was none, or it cannot be told which it was.
    None,
    /// It cannot be told which it was, but what is around it was this.
    Within(&'b Before<'b>),
    /// This one; and what is around it.
    Same { new: &'b Json, old: &'b Json, outer: Option<&'b Before<'b>> },
}

impl<'b> Before<'b> {
    fn unchanged(&self) -> bool {
        match self {
            Self::None => false,
            Self::Within(outer) => outer.unchanged(),
            Self::Same { new, old, .. } => new == old,
        }
    }

    fn field<'c>(&'c self, name: &str) -> Before<'c> {
        match self {
            Self::None => Before::None,
            Self::Within(outer) => Before::Within(outer),
            // versions may differ between the two without anybody changing them
            Self::Same { outer: None, .. } if matches!(name, "apiVersion" | "kind") => Before::None,
            Self::Same { new, old, .. } => match (new.get(name), old.get(name)) {
                (Some(new), Some(old)) => Before::Same { new, old, outer: Some(self) },
                _ => Before::Within(self),
            },
        }
    }

    fn element<'c>(&'c self, new: &'c Json, old: Option<&'c Json>) -> Before<'c> {
        match (self, old) {
            (Self::None, _) => Before::None,
            (Self::Within(outer), _) => Before::Within(outer),
            (Self::Same { .. }, Some(old)) => Before::Same { new, old, outer: Some(self) },
            (Self::Same { .. }, None) => Before::Within(self),
        }
    }

    /// For a part of the schema that is not spared: only an unchanged surrounding counts.
    fn outer(&self) -> Before<'b> {
        match self {
            Self::Same { outer: Some(outer), .. } => Before::Within(outer),
            Self::Same { outer: None, .. } | Self::None => Before::None,
            Self::Within(outer) => Before::Within(outer),
        }
    }
}

/// `self` and `oldSelf`.
struct Selves<'a> {
    new: Result<Value<'a>>,
    old: Option<Result<Value<'a>>>,
    optional: bool,
}

impl<'a> Variables<'a> for Selves<'a> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>>> {
        match (name, self.optional) {
            ("self", _) => Some(self.new.clone()),
            ("oldSelf", false) => self.old.clone(),
            ("oldSelf", true) => match &self.old {
                Some(old) => Some(old.clone().map(|value| Value::Optional(Some(Arc::new(value))))),
                None => Some(Ok(Value::Optional(None))),
            },
            _ => None,
        }
    }
}

struct Run {
    verdict: Verdict,
}

impl Run {
    fn node(&mut self, node: &Node, place: &Place<'_>, value: &Json, old: Option<&Json>, before: &Before<'_>) -> Walk {
        // nulls are the business of what is around them
        if value.is_null() {
            return Ok(());
        }
        self.rules(node, place, value, old.filter(|old| !old.is_null()), before)?;
        for part in &node.all_of {
            self.node(part, place, value, old, &before.outer())?;
        }
        match value {
            Json::Array(items) => self.list(node, place, items, old, before),
            Json::Object(object) => self.object(node, place, object, old, before),
            _ => Ok(()),
        }
    }

    fn list(
        &mut self,
        node: &Node,
        place: &Place<'_>,
        items: &[Json],
        old: Option<&Json>,
        before: &Before<'_>,
    ) -> Walk {
        let Some(inner) = &node.items else { return Ok(()) };
        for (at, item) in items.iter().enumerate() {
            let old = old.and_then(Json::as_array).and_then(|old| correlated(&node.list, old, item));
            self.node(inner, &Place::Index(place, at), item, old, &before.element(item, old))?;
        }
        Ok(())
    }

    fn object(
        &mut self,
        node: &Node,
        place: &Place<'_>,
        object: &serde_json::Map<String, Json>,
        old: Option<&Json>,
        before: &Before<'_>,
    ) -> Walk {
        let old = old.filter(|_| node.correlatable);
        let old = |name: &str| old.and_then(|old| old.get(name));
        if let Some(values) = &node.values {
            for (key, value) in object {
                self.node(values, &Place::Key(place, key), value, old(key), &before.field(key))?;
            }
        }
        for (name, property) in &node.properties {
            if let Some(value) = object.get(name) {
                self.node(property, &Place::Field(place, name), value, old(name), &before.field(name))?;
            }
        }
        Ok(())
    }

    fn rules(&mut self, node: &Node, place: &Place<'_>, value: &Json, old: Option<&Json>, before: &Before<'_>) -> Walk {
        if node.rules.is_empty() {
            return Ok(());
        }
        if self.verdict.budget <= 0 {
            return self.exhausted(node, place, OUT_OF_BUDGET.into());
        }
        let Some(decl) = &node.decl else {
            self.error(
                node,
                place,
                "rule compiler initialization error: failed to convert to declType for CEL validation rules".into(),
            );
            return Ok(());
        };
        let mut selves = Selves {
            new: Value::from_json(value, decl),
            old: old.map(|old| Value::from_json(old, decl)),
            optional: false,
        };
        for rule in &node.rules {
            selves.optional = rule.optional_old == Some(true);
            // a transition rule needs something to compare with
            if rule.uses_old && old.is_none() && !selves.optional {
                continue;
            }
            self.rule(rule, node, place, value, &selves, before)?;
        }
        Ok(())
    }

    fn rule(
        &mut self,
        rule: &Rule,
        node: &Node,
        place: &Place<'_>,
        value: &Json,
        selves: &Selves<'_>,
        before: &Before<'_>,
    ) -> Walk {
        let program = match &rule.program {
            Some(Ok(program)) => program,
            Some(Err(why)) => {
                self.error(node, place, format!("rule compile error: {why}"));
                return Ok(());
            }
            None => return Ok(()),
        };
        let outcome = program.run(selves, limits::PER_CALL);
        if self.spend(outcome.cost).is_none() {
            return self.exhausted(node, place, OUT_OF_BUDGET.into());
        }
        let shown = rule.shown();
        match outcome.result {
            Ok(Value::Bool(true)) => return Ok(()),
            Ok(_) => {}
            Err(Fault::NoSuchOverload) => {
                let what = "call arguments did not match a supported operator, function or macro signature for rule";
                self.error(node, place, format!("'no such overload': {what}: {shown}"));
                return Ok(());
            }
            Err(fault @ Fault::CostLimit) => {
                let what = "no further validation rules will be run due to call cost exceeds limit for rule";
                return self.exhausted(node, place, format!("'{fault}': {what}: {shown}"));
            }
            Err(fault) => {
                self.error(node, place, format!("{fault} evaluating rule: {shown}"));
                return Ok(());
            }
        }
        let path = match rule.field_path.as_deref() {
            Ok("") | Err(_) => place.to_string(),
            Ok(below) => match (place, below.starts_with('[')) {
                (Place::Root, _) => below.to_string(),
                (_, true) => format!("{place}{below}"),
                (_, false) => format!("{place}.{below}"),
            },
        };
        let message = match self.message(rule, selves) {
            Ok(message) => message,
            Err(why) => {
                self.verdict.budget = -1;
                let error = FieldError::invalid(path, node.ty.as_str(), why);
                self.failed(rule, before, error);
                return Err(Exhausted);
            }
        };
        self.failed(rule, before, broken(rule, path, value, message));
        Ok(())
    }

    /// The message of a broken rule. An error means that nothing more can be run.
    fn message(&mut self, rule: &Rule, selves: &Selves<'_>) -> Result<String, String> {
        let default = || match rule.message.is_empty() {
            true => format!("failed rule: {}", rule.shown()),
            false => rule.message.trim().to_string(),
        };
        let Some(Ok(program)) = &rule.message_program else { return Ok(default()) };
        let expression = rule.source["messageExpression"].as_str().unwrap_or_default();
        let outcome = program.run(selves, limits::PER_CALL);
        if self.spend(outcome.cost).is_none() {
            let why = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
            return Err(why.into());
        }
        match outcome.result {
            Ok(Value::String(text)) => {
                let text = text.trim();
                let usable = !text.is_empty() && !text.contains('\n') && text.len() <= limits::MESSAGE_BYTES;
                Ok(if usable { text.to_string() } else { default() })
            }
            Err(Fault::CostLimit) => {
                let why =
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression";
                Err(format!("{why}: {expression:?}"))
            }
            _ => Ok(default()),
        }
    }

    /// Takes a cost from the budget; `None` if there is not enough.
    fn spend(&mut self, cost: u64) -> Option<()> {
        let cost = i64::try_from(cost).ok().filter(|cost| *cost <= self.verdict.budget)?;
        self.verdict.budget -= cost;
        Some(())
    }

    fn error(&mut self, node: &Node, place: &Place<'_>, why: String) {
        self.verdict.errors.push(FieldError::invalid(place, node.ty.as_str(), why));
    }

    fn exhausted(&mut self, node: &Node, place: &Place<'_>, why: String) -> Walk {
        self.error(node, place, why);
        self.verdict.budget = -1;
        Err(Exhausted)
    }

    fn failed(&mut self, rule: &Rule, before: &Before<'_>, error: FieldError) {
        match !rule.uses_old && before.unchanged() {
            true => self.verdict.tolerated.push(error),
            false => self.verdict.errors.push(error),
        }
    }
}

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The error of a broken rule, by its reason.
fn broken(rule: &Rule, path: String, value: &Json, message: String) -> FieldError {
    let large = value.is_object() || value.is_array();
    match rule.reason.as_deref() {
        Some("FieldValueForbidden") => FieldError::forbidden(path, message),
        Some("FieldValueRequired") => FieldError::required(path, message),
        Some("FieldValueDuplicate") if large => FieldError::new(path, FieldErrorKind::DuplicateHidden, ""),
        Some("FieldValueDuplicate") => FieldError::duplicate(path, value.clone()),
        _ if large => FieldError::new(path, FieldErrorKind::InvalidHidden, message),
        _ => FieldError::invalid(path, value.clone(), message),
    }
}

/// The element of a list before the update that is the same as this one.
fn correlated<'o>(kind: &ListKind, old: &'o [Json], new: &Json) -> Option<&'o Json> {
    let ListKind::Map(keys) = kind else { return None };
    old.iter().find(|old| keys.iter().all(|key| old.get(key) == new.get(key)))
}
