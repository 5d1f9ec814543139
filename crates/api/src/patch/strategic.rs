//! Strategic merge patch: a merge patch that knows which lists are merged, and by which key.
//!
//! Semantics, including the order of merged lists, follow upstream's "Strategic Merge Patch" page and `kubectl apply`'s use of it.

use crate::{
    schema::{Field, Shape, Type},
    status::{Result, Status},
};
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

pub(super) fn apply(current: Value, patch: &Value, of: Type<'_>) -> Result<Value> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else {
        return Err(bad("Invalid JSON patch: a strategic merge patch is an object"));
    };
    Ok(Value::Object(merge_map(current, patch, Some(Shape::Object(of)))?))
}

fn bad(message: impl std::fmt::Display) -> Status {
    Status::bad_request(message)
}

/// How a field is patched. Fields that the schema does not know are replaced or, if objects, merged key by key.
#[derive(Clone, Copy)]
struct Plan<'s> {
    shape: Option<Shape<'s>>,
    merges: bool,
    replaces: bool,
    key: &'s str,
}

impl<'s> Plan<'s> {
    fn of(parent: Option<Shape<'s>>, name: &str) -> Self {
        match parent {
            Some(Shape::Object(of)) => of.field(name).map_or(Self::NONE, Self::field),
            Some(Shape::Map(map)) => Self { shape: Some(map.item()), ..Self::NONE },
            _ => Self::NONE,
        }
    }

    const NONE: Self = Self { shape: None, merges: false, replaces: false, key: "" };

    fn field(field: Field<'s>) -> Self {
        Self { shape: Some(field.shape()), merges: field.merges(), replaces: field.replaces(), key: field.merge_key() }
    }

    fn item(self) -> Option<Shape<'s>> {
        match self.shape {
            Some(Shape::List(list)) => Some(list.item()),
            _ => None,
        }
    }
}

fn merge_map(
    mut current: Map<String, Value>,
    patch: &Map<String, Value>,
    shape: Option<Shape<'_>>,
) -> Result<Map<String, Value>> {
    match patch.get(PATCH).map(|d| d.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            return Ok(patch.iter().filter(|(k, _)| *k != PATCH).map(|(k, v)| (k.clone(), v.clone())).collect());
        }
        Some("delete") => return Ok(Map::new()),
        Some(other) => return Err(bad(format!("Unknown patch type found: {other}"))),
    }
    retain_keys(&mut current, patch)?;
    for (name, doomed) in directives(patch, DELETE_FROM) {
        let doomed = doomed.as_array().ok_or_else(|| bad(format!("{DELETE_FROM}{name} is no list")))?;
        if let Some(Value::Array(list)) = current.get_mut(name) {
            list.retain(|item| !doomed.contains(item));
        }
    }
    for (name, change) in patch.iter().filter(|(name, _)| !is_directive(name)) {
        let plan = Plan::of(shape, name);
        match (current.remove(name), change) {
            (_, Value::Null) => {}
            (Some(Value::Object(old)), Value::Object(change)) if !plan.replaces => {
                current.insert(name.clone(), Value::Object(merge_map(old, change, plan.shape)?));
            }
            (Some(Value::Array(old)), Value::Array(change)) if plan.merges => {
                current.insert(name.clone(), Value::Array(merge_list(old, change, plan)?));
            }
            (_, change) => {
                current.insert(name.clone(), fresh(change, plan)?);
            }
        }
    }
    for (name, order) in directives(patch, SET_ORDER) {
        let order = order.as_array().ok_or_else(|| bad(format!("{SET_ORDER}{name} is no list")))?;
        let plan = Plan::of(shape, name);
        if let Some(Value::Array(list)) = current.get_mut(name).filter(|_| plan.merges) {
            let server = list.clone();
            *list = in_order(std::mem::take(list), order, &server, plan.key);
        }
    }
    Ok(current)
}

fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(SET_ORDER) || name.starts_with(DELETE_FROM)
}

fn directives<'p>(patch: &'p Map<String, Value>, prefix: &'p str) -> impl Iterator<Item = (&'p str, &'p Value)> {
    patch.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value)))
}

fn retain_keys(current: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<()> {
    let Some(retain) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let retain = retain.as_array().ok_or_else(|| bad(format!("{RETAIN_KEYS} is no list")))?;
    let kept = |name: &str| retain.iter().any(|k| k == name);
    if let Some(other) = patch.iter().find(|(k, v)| !is_directive(k) && !v.is_null() && !kept(k)) {
        return Err(bad(format!("{RETAIN_KEYS} directive does not contain the key {} of the patch", other.0)));
    }
    current.retain(|name, _| kept(name));
    Ok(())
}

/// A patch's value where there was none: without directives and nulls.
fn fresh(change: &Value, plan: Plan<'_>) -> Result<Value> {
    match change {
        Value::Object(map) if !plan.replaces => Ok(Value::Object(merge_map(Map::new(), map, plan.shape)?)),
        Value::Array(list) if plan.merges => Ok(Value::Array(merge_list(Vec::new(), list, plan)?)),
        Value::Array(list) => {
            let item = Plan { shape: plan.item(), ..Plan::NONE };
            list.iter().map(|v| fresh(v, item)).collect::<Result<_>>().map(Value::Array)
        }
        other => Ok(other.clone()),
    }
}

fn merge_list(current: Vec<Value>, patch: &[Value], plan: Plan<'_>) -> Result<Vec<Value>> {
    let server = current.clone();
    let is_map = current.iter().chain(patch).any(Value::is_object);
    if !is_map {
        let mut merged = current;
        for item in patch {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(in_order(merged, patch, &server, ""));
    }
    if plan.key.is_empty() {
        return Err(bad("cannot merge lists without merge key"));
    }
    let (mut merged, ordinary) = special_items(current, patch, plan.key)?;
    for change in &ordinary {
        let at = merged.iter().position(|item| item.get(plan.key) == change.get(plan.key));
        let (Value::Object(change_map), shape) = (change, plan.item()) else { continue };
        match at {
            Some(at) => {
                if let Value::Object(old) = merged[at].take() {
                    merged[at] = Value::Object(merge_map(old, change_map, shape)?);
                }
            }
            None => merged.push(Value::Object(merge_map(Map::new(), change_map, shape)?)),
        }
    }
    Ok(in_order(merged, &ordinary, &server, plan.key))
}

/// Handles `$patch: delete` and `$patch: replace` among the items; gives what is left of the list and of the patch.
fn special_items(mut current: Vec<Value>, patch: &[Value], key: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut ordinary = Vec::new();
    let mut replace = false;
    for item in patch {
        let Value::Object(map) = item else { return Err(bad("a merged list cannot mix objects and scalars")) };
        match map.get(PATCH).map(|d| d.as_str().unwrap_or_default()) {
            Some("delete") => {
                let value = map.get(key).ok_or_else(|| no_key(item, key))?;
                current.retain(|old| old.get(key) != Some(value));
            }
            Some("replace") => {
                replace = true;
                // `- $patch: replace` alone is only the directive
                if map.len() > 1 {
                    let mut map = map.clone();
                    map.remove(PATCH);
                    ordinary.push(Value::Object(map));
                }
            }
            None | Some("merge") => {
                if !map.contains_key(key) {
                    return Err(no_key(item, key));
                }
                ordinary.push(item.clone());
            }
            Some(other) => return Err(bad(format!("Unknown patch type found: {other}"))),
        }
    }
    if replace {
        current.clear();
    }
    Ok((current, ordinary))
}

fn no_key(item: &Value, key: &str) -> Status {
    bad(format!("map: {item} does not contain declared merge key: {key}"))
}

/// Items named by `order` in that order; the others keep their place relative to them, as it was on the server.
fn in_order(merged: Vec<Value>, order: &[Value], server: &[Value], key: &str) -> Vec<Value> {
    let id = |item: &Value| -> Value {
        if key.is_empty() { item.clone() } else { item.get(key).cloned().unwrap_or_default() }
    };
    // `$setElementOrder` may name scalars by value and objects by their key
    let place = |list: &[Value], item: &Value| list.iter().position(|other| id(other) == id(item));
    let (mut named, mut others): (Vec<_>, Vec<_>) = merged.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    others.sort_by_key(|item| place(server, item));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(o), Some(n)) => matches!((place(server, o), place(server, n)), (Some(o), Some(n)) if o < n),
        };
        out.extend(if other_first { others.next() } else { named.next() });
    }
}
