//! Pruning: fields that the schema does not know do not exist.

use crate::{place::Place, schema::Schema};
use serde_json::Value;

const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops what the schema of a resource does not know; the paths of what was dropped, sorted.
pub fn prune(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut dropped = Vec::new();
    walk(object, Some(&schema.as_root()), &Place::Root, &mut dropped);
    // what every resource has is no unknown field, even where it is not kept
    dropped.retain(|path| !META.contains(&path.as_str()));
    dropped.sort();
    dropped
}

/// The same for a value below the root.
pub fn prune_at(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut dropped = Vec::new();
    walk(value, Some(schema), &Place::Root, &mut dropped);
    dropped.sort();
    dropped
}

fn walk(value: &mut Value, schema: Option<&Schema>, at: &Place<'_>, dropped: &mut Vec<String>) {
    let keeps = schema.is_some_and(Schema::preserves_unknown);
    match value {
        Value::Object(map) => {
            let Some(schema) = schema else {
                dropped.extend(map.keys().map(|name| at.field(name).to_string()));
                map.clear();
                return;
            };
            map.retain(|name, inner| {
                if schema.embedded && META.contains(&name.as_str()) {
                    return true;
                }
                let place = at.field(name);
                if let Some(property) = schema.properties.get(name) {
                    walk(inner, Some(property), &place, dropped);
                } else if schema.additional.is_some() {
                    walk(inner, schema.entry(), &place, dropped);
                } else if !keeps {
                    dropped.push(place.to_string());
                    return false;
                }
                true
            });
        }
        Value::Array(list) => {
            let item = schema.and_then(|s| s.items.as_deref());
            for (i, inner) in list.iter_mut().enumerate() {
                match (keeps, item) {
                    // below unknown lists nothing is known, so nothing is dropped
                    (true, None) => {}
                    (true, Some(item)) => skip(inner, item, &at.index(i), dropped),
                    (false, item) => walk(inner, item, &at.index(i), dropped),
                }
            }
        }
        _ => {}
    }
}

/// Within a list that keeps what is unknown, its items do so too; what their schema knows further down is pruned as usual.
fn skip(value: &mut Value, schema: &Schema, at: &Place<'_>, dropped: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if schema.embedded && META.contains(&name.as_str()) {
                    continue;
                }
                let place = at.field(name);
                if let Some(property) = schema.properties.get(name) {
                    walk(inner, Some(property), &place, dropped);
                } else if schema.additional.is_some() {
                    walk(inner, schema.entry(), &place, dropped);
                }
            }
        }
        Value::Array(list) => {
            let Some(item) = &schema.items else { return };
            list.iter_mut().enumerate().for_each(|(i, inner)| skip(inner, item, &at.index(i), dropped));
        }
        _ => {}
    }
}
