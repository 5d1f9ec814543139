//! The rules of custom resources: what their schema says, and what holds for all of them.
//!
//! Source: apiextensions-apiserver `pkg/registry/customresource/{strategy,status_strategy,validator}.go`.

use crate::column::items;
use crate::descriptor::{Part, Rules, Verdict};
use crate::fields::{at, set, take};
use crate::made::{CustomType, ScalePaths};
use coracle_api::{FieldError, FieldErrorKind, Status};
use coracle_cel::{
    limits,
    rules::{Request, Rules as Validations},
};
use coracle_structural::{Place, Validation, default, embedded, list_types, prune_nulls, validate};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// The rules of one version.
pub(super) struct CustomRules {
    pub of: Arc<CustomType>,
    /// Whether `status` is a subresource.
    pub status: bool,
    pub scale: Option<ScalePaths>,
    /// `openAPIV3Schema`, which may have rules in CEL.
    pub published: Value,
    /// They, compiled when first needed.
    pub validations: OnceLock<Option<Validations>>,
}

impl Rules for CustomRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        prune_nulls(object, &self.of.schema);
        default(object, &self.of.schema);
        Ok(())
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        if part != Part::Status {
            return;
        }
        // of metadata a status write changes nothing but who manages what
        let managed = take(&mut new["metadata"], "managedFields");
        new["metadata"] = old["metadata"].clone();
        match managed {
            Some(managed) => set(&mut new["metadata"], "managedFields", managed),
            None => drop(take(&mut new["metadata"], "managedFields")),
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let schema = &self.of.schema;
        let mut errors = validate(object, schema, Validation::Create, &Place::Root);
        errors.extend(self.scale_errors(object, Part::Main));
        errors.extend(embedded(object, schema));
        errors.extend(list_types(object, schema));
        errors.extend(self.validations(object, None, &errors).errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        self.judge_update(new, old, part).errors
    }

    fn judge_update(&self, new: &Value, old: &Value, part: Part) -> Verdict {
        let schema = &self.of.schema;
        let mut errors = match part {
            Part::Status => match (new.get("status"), schema.properties.get("status")) {
                (Some(status), Some(of)) => {
                    let before = old.get("status").map_or(Validation::Create, Validation::Update);
                    validate(status, of, before, &Place::At("status"))
                }
                _ => Vec::new(),
            },
            _ => validate(new, schema, Validation::Update(old), &Place::Root),
        };
        errors.extend(self.scale_errors(new, part));
        if part != Part::Status {
            errors.extend(embedded(new, schema));
        }
        // lists that were wrong before may stay so
        let lists = list_types(new, schema);
        if !lists.is_empty() && list_types(old, schema).is_empty() {
            errors.extend(lists);
        }
        let by_rules = self.validations(new, Some(old), &errors);
        errors.extend(by_rules.errors);
        Verdict { errors, tolerated: by_rules.tolerated }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        self.update_warnings(object, &Value::Null)
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        let before = items(&old["metadata"]["finalizers"]);
        let added = items(&new["metadata"]["finalizers"]).iter().filter(|f| !before.contains(f));
        let mut added: Vec<&str> = added.filter_map(Value::as_str).collect();
        added.sort_unstable();
        added.into_iter().filter_map(odd_finalizer).collect()
    }

    fn desired_state_changed(&self, new: &Value, old: &Value) -> bool {
        let counts = |name: &str| name != "metadata" && !(self.status && name == "status");
        let differs = |a: &Value, b: &Value| {
            a.as_object().into_iter().flatten().any(|(name, value)| counts(name) && b.get(name) != Some(value))
        };
        differs(new, old) || differs(old, new)
    }
}

impl CustomRules {
    /// Runs the rules in CEL; they see values that the schema admits only, and so nothing if there are `errors` of some kinds.
    fn validations(&self, object: &Value, old: Option<&Value>, errors: &[FieldError]) -> Verdict {
        let compiled = self.validations.get_or_init(|| Validations::compile(&self.published));
        let Some(rules) = compiled else { return Verdict::default() };
        let blocks = |error: &FieldError| {
            matches!(
                error.kind,
                FieldErrorKind::NotSupported(..)
                    | FieldErrorKind::Required
                    | FieldErrorKind::TooLong(_)
                    | FieldErrorKind::TooMany(..)
                    | FieldErrorKind::TypeInvalid(_)
            )
        };
        if errors.iter().any(blocks) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            return Verdict { errors: vec![FieldError::invalid("<nil>", "null", why)], tolerated: Vec::new() };
        }
        let found = rules.validate(Request { object, old, budget: limits::PER_REQUEST });
        Verdict { errors: found.errors, tolerated: found.tolerated }
    }

    /// What is wrong with the fields that `scale` shows.
    fn scale_errors(&self, object: &Value, part: Part) -> Vec<FieldError> {
        let Some(paths) = &self.scale else { return Vec::new() };
        let count = |path: &str| -> Option<FieldError> {
            let (field, value) = (format!(".{path}"), at(object, path));
            match value {
                Value::Null => None,
                value => match value.as_i64() {
                    Some(n) if n < 0 => Some(FieldError::invalid(field, n, "should be a non-negative integer")),
                    Some(n) if n > i64::from(i32::MAX) => {
                        let why = format!("should be less than or equal to {}", i32::MAX);
                        Some(FieldError::invalid(field, n, why))
                    }
                    Some(_) => None,
                    None => {
                        let why = format!(
                            "{field} accessor error: {value} is of the type {}, expected int64",
                            go_type(value)
                        );
                        Some(FieldError::invalid(field, 0, why))
                    }
                },
            }
        };
        let mut errors = Vec::new();
        if part != Part::Status {
            errors.extend(count(&paths.spec));
        }
        errors.extend(count(&paths.status));
        let selector = at(object, &paths.selector);
        if !paths.selector.is_empty() && !selector.is_null() && !selector.is_string() {
            let field = format!(".{}", paths.selector);
            let why =
                format!("{field} accessor error: {selector} is of the type {}, expected string", go_type(selector));
            errors.push(FieldError::invalid(field, "", why));
        }
        errors
    }
}

/// What may go wrong with a finalizer of that name.
fn odd_finalizer(name: &str) -> Option<String> {
    if name.contains('/') || matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
        return None;
    }
    let path = if name.contains('.') { " including a path (/)" } else { "" };
    Some(format!(
        "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
    ))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
