//! Strategic merge patch: a merge patch that knows which lists are merged, and by which key.
//!
//! Semantics, the order of merged lists and the errors are those of apimachinery's `strategicpatch`.

use crate::{
    go,
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
        return Err(Status::bad_request(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            super::json_kind(patch)
        )));
    };
    Ok(Value::Object(merge_map(current, patch, Some(Shape::Object(of)))?))
}

/// What upstream does not tell from its own failures.
fn failed(message: impl std::fmt::Display) -> Status {
    Status::new(500, "", message)
}

fn wrong_type(expected: &Value, found: &Value) -> Status {
    failed(format!("expected a {}, but received a {}", go::type_of(expected), go::type_of(found)))
}

fn unknown_directive(directive: &Value, map: &Map<String, Value>) -> Status {
    let map = go::show(&Value::Object(map.clone()));
    failed(format!("unknown patch type: {} in map: {map}", go::show(directive)))
}

fn no_key(item: &Value, key: &str) -> Status {
    failed(format!("map: {} does not contain declared merge key: {key}", go::show(item)))
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
    const NONE: Self = Self { shape: None, merges: false, replaces: false, key: "" };

    fn of(parent: Option<Shape<'s>>, name: &str) -> Self {
        match parent {
            Some(Shape::Object(of)) => of.field(name).map_or(Self::NONE, Self::field),
            Some(Shape::Map(map)) => Self { shape: Some(map.item()), ..Self::NONE },
            _ => Self::NONE,
        }
    }

    fn field(field: Field<'s>) -> Self {
        Self { shape: Some(field.shape()), merges: field.merges(), replaces: field.replaces(), key: field.merge_key() }
    }

    fn item(self) -> Option<Shape<'s>> {
        match self.shape {
            Some(Shape::List(list)) => Some(list.item()),
            _ => None,
        }
    }

    /// The type of the items, as an error names it.
    fn item_name(self) -> String {
        self.item().map(|shape| shape.go_name().rsplit('.').next().unwrap_or_default().to_string()).unwrap_or_default()
    }
}

fn merge_map(
    mut current: Map<String, Value>,
    patch: &Map<String, Value>,
    shape: Option<Shape<'_>>,
) -> Result<Map<String, Value>> {
    if let Some(directive) = patch.get(PATCH) {
        return match directive.as_str() {
            Some("replace") => {
                Ok(patch.iter().filter(|(k, _)| *k != PATCH).map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            Some("delete") => Ok(Map::new()),
            _ => Err(unknown_directive(directive, patch)),
        };
    }
    retain_keys(&mut current, patch)?;
    for (name, order) in with_prefix(patch, SET_ORDER) {
        if let Some(list) = ordered(current.get(name), patch.get(name), order, Plan::of(shape, name))? {
            current.insert(name.to_string(), Value::Array(list));
        }
    }
    for (name, change) in patch {
        let is_ordered = patch.contains_key(&format!("{SET_ORDER}{name}"));
        if name == RETAIN_KEYS || name.starts_with(SET_ORDER) || is_ordered {
            continue;
        }
        match name.strip_prefix(DELETE_FROM) {
            Some(name) => delete_from(&mut current, name, change)?,
            None => merge_field(&mut current, name, change, Plan::of(shape, name))?,
        }
    }
    Ok(current)
}

fn with_prefix<'p>(patch: &'p Map<String, Value>, prefix: &'p str) -> impl Iterator<Item = (&'p str, &'p Value)> {
    patch.iter().filter_map(move |(name, value)| name.strip_prefix(prefix).map(|name| (name, value)))
}

fn merge_field(current: &mut Map<String, Value>, name: &str, change: &Value, plan: Plan<'_>) -> Result<()> {
    if change.is_null() {
        current.remove(name);
        return Ok(());
    }
    let merged = match (current.remove(name), change) {
        (Some(Value::Object(_)), Value::Object(change)) if plan.replaces => Some(Value::Object(change.clone())),
        (Some(Value::Object(old)), Value::Object(change)) => Some(Value::Object(merge_map(old, change, plan.shape)?)),
        (Some(Value::Array(old)), Value::Array(change)) if plan.merges => {
            Some(Value::Array(merge_list(old, change, plan)?))
        }
        (Some(Value::Array(_)), Value::Array(change)) => Some(Value::Array(change.clone())),
        // what is new is taken without its directives and nulls
        (_, change) => without_directives(&without_nulls(change)),
    };
    if let Some(merged) = merged {
        current.insert(name.to_string(), merged);
    }
    Ok(())
}

fn delete_from(current: &mut Map<String, Value>, name: &str, doomed: &Value) -> Result<()> {
    match (current.get_mut(name), doomed) {
        (_, Value::Null) => {
            current.remove(name);
        }
        (Some(Value::Array(list)), Value::Array(doomed)) if !(list.is_empty() && doomed.is_empty()) => {
            one_type(&[list, doomed])?;
            list.retain(|item| !doomed.contains(item));
        }
        _ => {}
    }
    Ok(())
}

/// `$retainKeys`: what it does not name goes, and the rest of the patch may name nothing else.
fn retain_keys(current: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<()> {
    let Some(keep) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let bad = || Status::bad_request("invalid patch format of retainKeys");
    let keep = keep.as_array().ok_or_else(bad)?;
    let kept = |name: &str| keep.iter().any(|k| k == name);
    let is_directive = |name: &str| name == RETAIN_KEYS || name.starts_with(SET_ORDER) || name.starts_with(DELETE_FROM);
    if patch.iter().any(|(name, value)| !value.is_null() && !is_directive(name) && !kept(name)) {
        return Err(bad());
    }
    current.retain(|name, _| kept(name));
    Ok(())
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// `None`: the value is a directive itself.
fn without_directives(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            Some(map.iter().filter_map(|(k, v)| without_directives(v).map(|v| (k.clone(), v))).collect())
        }
        Value::Array(list) => Some(list.iter().filter_map(without_directives).collect()),
        other => Some(other.clone()),
    }
}

/// The list that `$setElementOrder` puts in order, merged with its patch; `None`: there is none.
fn ordered(old: Option<&Value>, change: Option<&Value>, order: &Value, plan: Plan<'_>) -> Result<Option<Vec<Value>>> {
    let list = |value: Option<&Value>| match value {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list.clone())),
        Some(other) => Err(wrong_type(&Value::Array(Vec::new()), other)),
    };
    let Value::Array(order) = order else { return Err(wrong_type(&Value::Array(Vec::new()), order)) };
    let (old, change) = (list(old)?, list(change)?);
    follows(change.as_deref().unwrap_or_default(), order, plan.key)?;
    let merged = match (&old, &change) {
        (None, None) => return Ok(None),
        (Some(old), None) => old.clone(),
        (None, Some(change)) => change.iter().filter_map(without_directives).collect(),
        (Some(old), Some(change)) if plan.merges => merge_list(old.clone(), change, plan)?,
        (Some(_), Some(change)) => change.clone(),
    };
    let (old, change) = (old.unwrap_or_default(), change.unwrap_or_default());
    if old.is_empty() && change.is_empty() {
        return Err(failed("no elements in any of the given slices"));
    }
    one_type(&[&old, &change])?;
    in_order(merged, order, &old, plan.key).map(Some)
}

/// Checks that a patch's items come in the order that `$setElementOrder` says.
fn follows(change: &[Value], order: &[Value], key: &str) -> Result<()> {
    if order.is_empty() || change.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in change.iter().filter(|item| item.get(PATCH).is_none()) {
        let id = id(item, key)?;
        let mut found = false;
        for other in rest.by_ref() {
            if self::id(other, key)? == id {
                found = true;
                break;
            }
        }
        if !found {
            let show = |list: &[Value]| go::show(&Value::Array(list.to_vec()));
            return Err(failed(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                show(change),
                show(order)
            )));
        }
    }
    Ok(())
}

/// What tells an item from others: its key's value, or the item.
fn id<'v>(item: &'v Value, key: &str) -> Result<&'v Value> {
    if key.is_empty() {
        return Ok(item);
    }
    match item {
        Value::Object(map) => map.get(key).ok_or_else(|| no_key(item, key)),
        other => Err(wrong_type(&Value::Object(Map::new()), other)),
    }
}

/// Merged lists hold items of one type, and no lists. Gives whether they are objects.
fn one_type(lists: &[&Vec<Value>]) -> Result<bool> {
    let mut first: Option<&Value> = None;
    for item in lists.iter().flat_map(|list| list.iter()) {
        match first {
            None if item.is_array() => {
                return Err(Status {
                    details: serde_json::json!({}),
                    ..Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
                });
            }
            None => first = Some(item),
            Some(first) if go::type_of(first) != go::type_of(item) => {
                let lists: Vec<Value> = lists.iter().map(|list| Value::Array(list.to_vec())).collect();
                let shown = go::show(&Value::Array(lists));
                return Err(failed(format!("list element types are not identical: {shown}")));
            }
            Some(_) => {}
        }
    }
    Ok(first.is_some_and(Value::is_object))
}

fn merge_list(current: Vec<Value>, patch: &[Value], plan: Plan<'_>) -> Result<Vec<Value>> {
    if current.is_empty() && patch.is_empty() {
        return Ok(current);
    }
    let change = patch.to_vec();
    if !one_type(&[&current, &change])? {
        let mut merged: Vec<Value> = Vec::new();
        for item in current.iter().chain(patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return in_order(merged, patch, &current, "");
    }
    if plan.key.is_empty() {
        return Err(failed(format!("cannot merge lists without merge key for {}", plan.item_name())));
    }
    let (current, ordinary) = special_items(current, patch, plan.key)?;
    let mut merged = current.clone();
    for change in &ordinary {
        let id = id(change, plan.key)?;
        match (merged.iter().position(|item| item.get(plan.key) == Some(id)), change) {
            (Some(at), Value::Object(change)) => {
                if let Value::Object(old) = merged[at].take() {
                    merged[at] = Value::Object(merge_map(old, change, plan.item())?);
                }
            }
            _ => merged.push(change.clone()),
        }
    }
    in_order(merged, &ordinary, &current, plan.key)
}

/// Handles `$patch: delete` and `$patch: replace` among the items; gives what is left of the list and of the patch.
fn special_items(mut current: Vec<Value>, patch: &[Value], key: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    let mut ordinary = Vec::new();
    let mut replace = false;
    for item in patch {
        let Value::Object(map) = item else { return Err(wrong_type(&Value::Object(Map::new()), item)) };
        let Some(directive) = map.get(PATCH) else {
            ordinary.push(item.clone());
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let value = map.get(key).ok_or_else(|| no_key(item, key))?;
                current.retain(|old| old.get(key) != Some(value));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(failed("merging lists cannot yet be specified in the patch")),
            _ => return Err(unknown_directive(directive, map)),
        }
    }
    Ok(if replace { (ordinary, Vec::new()) } else { (current, ordinary) })
}

/// Items named by `order` in that order; the others keep their place relative to them, as it was on the server.
fn in_order(merged: Vec<Value>, order: &[Value], server: &[Value], key: &str) -> Result<Vec<Value>> {
    for item in &merged {
        id(item, key)?;
    }
    let place = |list: &[Value], item: &Value| {
        let id = id(item, key).ok();
        list.iter().position(|other| self::id(other, key).ok() == id)
    };
    let (mut named, mut others): (Vec<_>, Vec<_>) = merged.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_cached_key(|item| place(order, item));
    others.sort_by_cached_key(|item| place(server, item));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return Ok(out),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(o), Some(n)) => matches!((place(server, o), place(server, n)), (Some(o), Some(n)) if o < n),
        };
        out.extend(if other_first { others.next() } else { named.next() });
    }
}
