//! Defaults, and nulls that stand where no null may stand.

use crate::schema::Schema;
use serde_json::Value;

/// Fills in the defaults of `schema`.
pub fn default(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(given) = &property.default else { continue };
                if map.get(name).is_none_or(|found| found.is_null() && !property.nullable) {
                    map.insert(name.clone(), given.clone());
                }
            }
            for (name, inner) in map {
                if let Some(property) = schema.properties.get(name) {
                    default(inner, property);
                } else if let Some(entry) = schema.entry() {
                    replace_null(inner, entry);
                    default(inner, entry);
                }
            }
        }
        Value::Array(list) => {
            let Some(item) = &schema.items else { return };
            for inner in list {
                replace_null(inner, item);
                default(inner, item);
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, schema: &Schema) {
    if value.is_null()
        && !schema.nullable
        && let Some(given) = &schema.default
    {
        *value = given.clone();
    }
}

/// Drops nulls that may not stand where they stand and that no default replaces; the others wait for [`default`].
pub fn prune_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => map.retain(|name, inner| {
            let Some(child) = schema.child(name) else { return true };
            if inner.is_null() && !child.nullable && child.default.is_none() {
                return false;
            }
            prune_nulls(inner, child);
            true
        }),
        Value::Array(list) => {
            let Some(item) = &schema.items else { return };
            list.iter_mut().for_each(|inner| prune_nulls(inner, item));
        }
        _ => {}
    }
}
