//! Validation rules of schemas: `x-kubernetes-validations`.
//!
//! [`Rules::compile`] finds and compiles all rules of a schema, once. [`Rules::check`] says what is wrong with them, when the schema is
//! defined; [`Rules::validate`] runs them over an object. Which rules apply where follows the schema's structure; a rule sees the value
//! that its schema is for as `self`, and that value before an update as `oldSelf`.
//!
//! Sources: the Kubernetes documentation "Validation rules", and the behaviour of apiextensions-apiserver.

mod check;
mod field_path;
mod validate;

pub use field_path::NoFieldPath;
pub use validate::{Request, Verdict};

use crate::{
    decl::{Decl, Form, ListKind},
    env::{CompileError, Env, Program, on_large_stack},
    types::Type,
};
use serde_json::Value as Json;
use std::{collections::BTreeMap, sync::Arc};

/// The compiled rules of a schema.
#[derive(Debug)]
pub struct Rules {
    root: Node,
}

/// What a schema and those within it have of rules.
#[derive(Debug)]
struct Node {
    rules: Vec<Rule>,
    /// `None` if expressions cannot see such a value: then its rules cannot be compiled.
    decl: Option<Arc<Decl>>,
    /// The schema's `type`, which stands for large values in messages.
    ty: String,
    items: Option<Box<Node>>,
    values: Option<Box<Node>>,
    properties: BTreeMap<String, Node>,
    all_of: Vec<Node>,
    list: ListKind,
    /// Whether entries of this object are the same before and after an update.
    correlatable: bool,
    /// How many values of this schema an object can have, if its lists and maps are bounded.
    cardinality: Option<u64>,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    source: Json,
    rule: String,
    message: String,
    reason: Option<String>,
    /// Where the message is to point, from the value on.
    field_path: Result<String, NoFieldPath>,
    optional_old: Option<bool>,
    uses_old: bool,
    /// `None` for an empty rule.
    program: Option<Result<Program, String>>,
    message_program: Option<Result<Program, String>>,
}

impl Rules {
    /// Compiles the rules of a structural schema (JSON of a `JSONSchemaProps`) of whole objects. `None` if it has no rule.
    pub fn compile(schema: &Json) -> Option<Self> {
        Self::compile_part(schema, true)
    }

    /// The same for the schema of a part of an object; `resource` says that the part is a whole object itself.
    pub fn compile_part(schema: &Json, resource: bool) -> Option<Self> {
        if !has_rules(schema) {
            return None;
        }
        let decl = Decl::from_schema(schema, resource, "selfType");
        on_large_stack(|| Self { root: Node::compile(schema, schema, decl, Some(1)) }).ok()
    }
}

fn has_rules(schema: &Json) -> bool {
    let list = |name: &str| schema[name].as_array().into_iter().flatten();
    list("x-kubernetes-validations").next().is_some()
        || list("allOf").any(has_rules)
        || schema.get("items").is_some_and(has_rules)
        || schema.get("additionalProperties").is_some_and(has_rules)
        || schema["properties"].as_object().into_iter().flatten().any(|(_, property)| has_rules(property))
}

/// The schema of an object's values, if it is not just a yes or no.
fn values_of(schema: &Json) -> Option<&Json> {
    schema.get("additionalProperties").filter(|values| values.is_object())
}

fn child_decl(schema: &Json, from_parent: Option<&Arc<Decl>>) -> Option<Arc<Decl>> {
    let embedded = schema["x-kubernetes-embedded-resource"].as_bool().unwrap_or(false);
    from_parent.cloned().or_else(|| Decl::from_schema(schema, embedded, "selfType"))
}

impl Node {
    /// `rules` is where the rules stand: the schema itself, or one in its `allOf`.
    fn compile(rules: &Json, schema: &Json, decl: Option<Arc<Decl>>, cardinality: Option<u64>) -> Self {
        let (of_items, of_values, fields) = match decl.as_ref().map(|decl| &decl.form) {
            Some(Form::List { items, .. }) => (Some(items), None, None),
            Some(Form::Map { values }) => (None, Some(values), None),
            Some(Form::Object { fields }) => (None, None, Some(fields)),
            _ => (None, None, None),
        };
        let below = |rules: Option<&Json>, schema: Option<&Json>, known: Option<&Arc<Decl>>, count: Option<u64>| {
            let (rules, schema) = rules.filter(|rules| has_rules(rules)).zip(schema)?;
            Some(Box::new(Self::compile(rules, schema, child_decl(schema, known), count)))
        };
        let times = |name: &str| Some(cardinality?.saturating_mul(bound(schema, name)?));
        let properties = rules["properties"].as_object().into_iter().flatten().filter_map(|(name, rules)| {
            let known = fields.and_then(|fields| fields.property(name));
            let node = below(Some(rules), schema["properties"].get(name), known, cardinality)?;
            Some((name.clone(), *node))
        });
        let all_of = rules["allOf"].as_array().into_iter().flatten().filter(|part| has_rules(part));
        Self {
            rules: compile_rules(rules, schema, decl.as_ref()),
            ty: schema["type"].as_str().unwrap_or_default().into(),
            correlatable: matches!(schema["x-kubernetes-map-type"].as_str(), None | Some("granular" | "atomic")),
            list: ListKind::of(schema),
            items: below(rules.get("items"), schema.get("items"), of_items, times("maxItems")),
            values: below(values_of(rules), values_of(schema), of_values, times("maxProperties")),
            properties: properties.collect(),
            all_of: all_of.map(|part| Self::compile(part, schema, decl.clone(), cardinality)).collect(),
            decl,
            cardinality,
        }
    }

    /// The estimated number of values that rules run for.
    fn most_values(&self) -> u64 {
        let smallest = self.decl.as_ref().map_or(1, |decl| decl.min_bytes);
        self.cardinality.unwrap_or(crate::limits::REQUEST_BYTES / (smallest + 1))
    }
}

fn bound(schema: &Json, name: &str) -> Option<u64> {
    schema[name].as_i64().map(|n| u64::try_from(n).unwrap_or(0))
}

fn compile_rules(rules: &Json, schema: &Json, decl: Option<&Arc<Decl>>) -> Vec<Rule> {
    let mut found = rules["x-kubernetes-validations"].as_array().into_iter().flatten().peekable();
    if found.peek().is_none() {
        return Vec::new();
    }
    let envs = decl.map(|decl| {
        let env = Env::new().with("self", Arc::clone(decl)).with_sizes_of(Arc::clone(decl));
        let optional = Decl::of_type(Type::optional(decl.ty.clone()));
        (env.clone().with("oldSelf", Arc::clone(decl)), env.with("oldSelf", optional))
    });
    found.map(|rule| Rule::compile(rule, schema, envs.as_ref())).collect()
}

impl Rule {
    fn compile(source: &Json, schema: &Json, envs: Option<&(Env, Env)>) -> Self {
        let text = |name: &str| source[name].as_str().unwrap_or_default().to_string();
        let optional_old = source["optionalOldSelf"].as_bool();
        let env = envs.map(|(plain, optional)| if optional_old == Some(true) { optional } else { plain });
        let (rule, message) = (text("rule"), text("messageExpression"));
        let compile = |text: &str, wanted: &Type, prefix: &str, output: &str| -> Result<Program, String> {
            let env = env.ok_or("internal error: failed to retrieve type information for x-kubernetes-validations")?;
            let failed = |error: CompileError| format!("{prefix}{}", error.detail());
            let program = env.compile(text).map_err(failed)?;
            if program.output() == wanted { Ok(program) } else { Err(output.to_string()) }
        };
        let program = (!rule.trim().is_empty())
            .then(|| compile(&rule, &Type::Bool, "", "cel expression must evaluate to a bool"));
        let message_program = (!message.is_empty() && matches!(program, Some(Ok(_)))).then(|| {
            compile(&message, &Type::String, "messageExpression ", "messageExpression must evaluate to a string")
        });
        let field_path = text("fieldPath");
        Self {
            uses_old: matches!(&program, Some(Ok(program)) if program.uses("oldSelf")),
            field_path: if field_path.is_empty() { Ok(String::new()) } else { field_path::check(&field_path, schema) },
            message: text("message"),
            reason: source["reason"].as_str().map(String::from),
            source: source.clone(),
            rule,
            optional_old,
            program,
            message_program,
        }
    }

    /// The rule in messages.
    fn shown(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { self.message.trim() }
    }
}
