//! Merging an applied configuration into the live object, and removing what was given up.

use super::{
    set::Set,
    step::Step,
    topology::{Form, Topology, steps},
};
use crate::schema::List;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Merges `applied` into `live`; where both have a value `applied` wins. Nothing is removed.
pub(super) fn merge(live: Option<&Value>, applied: Option<&Value>, topology: Topology<'_>) -> Option<Value> {
    let form = |value: Option<&Value>| value.map(|v| topology.form(v));
    match (form(live), form(applied)) {
        (Some(Form::Fields), Some(Form::Fields) | None) | (None, Some(Form::Fields)) => {
            merge_fields(live, applied, topology)
        }
        (Some(Form::Items(list)), _) | (_, Some(Form::Items(list))) => merge_items(live, applied, list),
        // without a schema: a null does not take an object away
        (Some(Form::Fields), Some(_)) if applied.is_some_and(Value::is_null) => merge_fields(live, None, topology),
        (_, Some(Form::Fields)) => merge_fields(None, applied, topology),
        _ => applied.or(live).cloned(),
    }
}

fn merge_fields<'v>(live: Option<&'v Value>, applied: Option<&'v Value>, topology: Topology<'_>) -> Option<Value> {
    let map = |value: Option<&'v Value>| value.and_then(Value::as_object).filter(|m| !m.is_empty());
    let (live_map, applied_map) = (map(live), map(applied));
    if live_map.is_none() && applied_map.is_none() {
        return applied.or(live).cloned();
    }
    let mut out = Map::new();
    for (name, value) in live_map.into_iter().flatten() {
        if applied_map.is_none_or(|applied| !applied.contains_key(name)) {
            out.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in applied_map.into_iter().flatten() {
        let merged = merge(live_map.and_then(|live| live.get(name)), Some(value), topology.field(name));
        out.insert(name.clone(), merged.unwrap_or_default());
    }
    Some(Value::Object(out))
}

/// The steps in order, and the item of each; items that share a step stand for nothing when merged.
fn index<'v>(list: List<'_>, items: &'v [Value]) -> (Vec<Step>, HashMap<Step, Option<&'v Value>>) {
    let steps = steps(list, items);
    let mut seen = HashMap::new();
    for (step, item) in steps.iter().zip(items) {
        seen.entry(step.clone()).and_modify(|one| *one = None).or_insert(Some(item));
    }
    (steps, seen)
}

/// Applied items in their order; items only the live list has stay before the shared item they stood before.
fn merge_items(live: Option<&Value>, applied: Option<&Value>, list: List<'_>) -> Option<Value> {
    fn items(value: Option<&Value>) -> &[Value] {
        value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
    let (lefts, rights) = (items(live), items(applied));
    if lefts.is_empty() && rights.is_empty() {
        return applied.or(live).cloned();
    }
    let ((left_steps, left_items), (right_steps, right_items)) = (index(list, lefts), index(list, rights));
    let item = Topology::item(list);
    let one = |step: &Step| {
        let left = left_items.get(step).map(|found| found.unwrap_or(&Value::Null));
        merge(left, right_items.get(step).copied().flatten(), item)
    };
    let mut shared = right_steps.iter().filter(|step| left_items.contains_key(*step));
    let mut next_shared = shared.next();
    let mut merged: HashSet<&Step> = HashSet::new();
    let mut out = Vec::new();
    let (mut l, mut r) = (0, 0);
    while l < left_steps.len() || r < right_steps.len() {
        if let (Some(left), Some(right)) = (left_steps.get(l), right_steps.get(r)) {
            if left == right {
                merged.insert(left);
                out.extend(one(left));
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            // a shared item, but not the one whose turn it is
            if right_items.contains_key(left) && next_shared.is_some_and(|next| next != left) {
                l += 1;
                continue;
            }
        }
        if let Some(left) = left_steps.get(l) {
            if !right_items.contains_key(left) {
                out.push(lefts[l].clone());
                l += 1;
                continue;
            }
            if merged.contains(left) {
                l += 1;
            }
        }
        if let Some(right) = right_steps.get(r) {
            merged.insert(right);
            out.extend(one(right));
            r += 1;
            if next_shared == Some(right) {
                next_shared = shared.next();
            }
        }
    }
    (!out.is_empty()).then_some(Value::Array(out))
}

/// The value without the members of `doomed`. What is left empty by it becomes null, which the decoder drops.
pub(super) fn remove(value: &Value, doomed: &Set, topology: Topology<'_>) -> Value {
    match (topology.form(value), value) {
        (Form::Fields, Value::Object(map)) => {
            let mut out = Map::new();
            for (name, inner) in map {
                match doomed.children.get(&Step::field(name)) {
                    Some(set) if set.member => {}
                    Some(set) if !set.is_empty() => {
                        out.insert(name.clone(), remove(inner, set, topology.field(name)));
                    }
                    _ => {
                        out.insert(name.clone(), inner.clone());
                    }
                }
            }
            if out.is_empty() { Value::Null } else { Value::Object(out) }
        }
        (Form::Items(list), Value::Array(items)) => {
            let mut out = Vec::new();
            for (step, item) in steps(list, items).iter().zip(items) {
                match doomed.children.get(step) {
                    Some(set) if set.member => {}
                    Some(set) if !set.is_empty() => out.push(remove(item, set, Topology::item(list))),
                    _ => out.push(item.clone()),
                }
            }
            if out.is_empty() { Value::Null } else { Value::Array(out) }
        }
        // one value goes as a whole when something below it does
        (Form::Leaf, Value::Object(_) | Value::Array(_)) => Value::Null,
        _ => value.clone(),
    }
}
