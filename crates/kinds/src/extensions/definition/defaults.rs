//! Defaults in the schemas of a definition: they must be what the schemas admit, their rules in CEL included.
//!
//! Source: apiextensions-apiserver `pkg/apiserver/schema/defaulting/validation.go`.

use super::schema::META;
use coracle_api::{FieldError, Path};
use coracle_cel::{
    limits,
    rules::{Request, Rules},
};
use coracle_structural::{Malformed, Place, Schema, Validation, coerce, embedded, prune_at, validate};
use serde_json::Value;

/// What is wrong with the defaults of a schema, which is also given as it was written.
pub fn errors(schema: &Schema, written: &Value, path: &Path) -> Vec<FieldError> {
    let mut walk = Walk { errors: Vec::new(), budget: limits::PER_REQUEST };
    walk.schema(schema, written, Kind::Root, &Place::At(&path.to_string()), Meta::Outside);
    walk.errors
}

/// Whether a default is one of a resource's metadata.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meta {
    Outside,
    Inside,
}

/// What a schema is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Root,
    Part,
}

struct Walk {
    errors: Vec<FieldError>,
    /// What rules may still cost, for all defaults together.
    budget: i64,
}

impl Walk {
    fn schema(&mut self, s: &Schema, written: &Value, kind: Kind, at: &Place<'_>, meta: Meta) {
        if let Some(value) = &s.default {
            let place = at.field("default").to_string();
            self.default(value, s, written, &place, meta);
        }
        // below additionalProperties defaults are not looked at, as upstream
        if let Some(items) = &s.items {
            self.schema(items, &written["items"], Kind::Part, &at.field("items"), meta);
        }
        let properties = at.field("properties");
        for (name, property) in &s.properties {
            let inside = (s.embedded || kind == Kind::Root) && META.contains(&name.as_str());
            let meta = if inside { Meta::Inside } else { meta };
            let meta = if property.embedded { Meta::Outside } else { meta };
            self.schema(property, &written["properties"][name], Kind::Part, &properties.key(name), meta);
        }
    }

    fn default(&mut self, value: &Value, s: &Schema, written: &Value, place: &str, meta: Meta) {
        let before = self.errors.len();
        if meta == Meta::Outside {
            let mut pruned = value.clone();
            prune_at(&mut pruned, s);
            if pruned != *value {
                self.errors.push(FieldError::invalid(place, value.clone(), "must not have unknown fields"));
            }
            if s.embedded {
                match coerce(&mut value.clone(), s, Malformed::Refuse) {
                    Err(error) => return self.errors.push(error),
                    Ok(_) => self.errors.extend(embedded(value, s)),
                }
            }
        }
        self.errors.extend(validate(value, s, Validation::Create, &Place::At(place)));
        if self.errors.len() == before && self.budget >= 0 {
            self.rules(value, s, written, place);
        }
    }

    /// A default comes where there was none, and where it was before: rules must hold for both.
    fn rules(&mut self, value: &Value, s: &Schema, written: &Value, place: &str) {
        let Some(rules) = Rules::compile_part(written, s.embedded) else { return };
        let run = |old| rules.validate(Request { object: value, old, budget: self.budget });
        let kept = run(Some(value));
        let mut budget = kept.budget;
        // what an unchanged value may break is tolerated in the first run only
        let found = if kept.errors.is_empty() {
            let new = run(None);
            budget = budget.min(new.budget);
            new.errors
        } else {
            kept.errors
        };
        self.budget = budget;
        self.errors.extend(found.into_iter().map(|mut error| {
            error.path = within(place, &error.path);
            error
        }));
    }
}

/// The path of what is at `path` in a value, which itself is at `place`.
fn within(place: &str, path: &str) -> String {
    match path {
        "<nil>" | "" => place.to_string(),
        path if path.starts_with('[') => format!("{place}{path}"),
        path => format!("{place}.{path}"),
    }
}
