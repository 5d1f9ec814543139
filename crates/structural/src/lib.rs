//! Structural schemas: what a CustomResourceDefinition says of its objects, and all that follows from it.
//!
//! A [`Schema`] is parsed once from a version's `openAPIV3Schema`. It then checks itself ([`structural_errors`]), and for the objects it
//! [prunes](prune), [coerces metadata](coerce), [fills in defaults](default), [validates](validate), checks the uniqueness that
//! [list types](list_types) promise, and gives the table that server-side apply walks ([`table`]) and what OpenAPI [publishes](publish).
//!
//! Invariants: values in, values and errors out; no I/O, no clock. Messages are upstream's, because clients show and match them.
//!
//! Source: apiextensions-apiserver `pkg/apiserver/{schema,validation}`, kube-openapi `pkg/validation`.

mod check;
mod defaults;
mod formats;
mod lists;
mod meta;
mod pattern;
mod place;
mod prune;
mod publish;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod validate;

pub use check::{blank_metadata, structural_errors};
pub use defaults::{default, prune_nulls};
pub use formats::is_known as is_known_format;
pub use lists::list_types;
pub use meta::{Malformed, coerce, embedded};
pub use place::Place;
pub use prune::{prune, prune_at};
pub use publish::{v2, v3};
pub use schema::{Additional, ListType, Rule, Schema, Unsupported};
pub use table::table;
pub use validate::{Validation, validate};

use serde_json::Value;

/// Takes a value as JSON that Go would have read and written: numbers without a fraction are whole numbers.
pub fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0) {
                *value = Value::from(float as i64);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
