//! Walks over values by their topology: which fields a value sets, what differs between two, merging one into another,
//! removing given-up fields.

use super::set::{Set, Step};
use crate::schema::{List, Scalar, Shape, Type};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// How a value is owned: as its schema says or, without one, objects by field and lists as a whole.
#[derive(Clone, Copy)]
pub(super) enum Topology<'s> {
    Known(Shape<'s>),
    Deduced,
}

/// A value seen through its topology.
enum Form<'s> {
    /// One value.
    Leaf,
    /// Fields or entries of their own.
    Fields,
    /// Items told apart by keys or by value.
    Items(List<'s>),
}

impl<'s> Topology<'s> {
    pub(super) fn of(of: Option<Type<'s>>) -> Self {
        of.map_or(Self::Deduced, |of| Self::Known(Shape::Object(of)))
    }

    fn form(self, value: &Value) -> Form<'s> {
        match (self, value) {
            (Self::Deduced, Value::Object(_)) => Form::Fields,
            (Self::Known(Shape::Object(of)), Value::Object(_)) if !of.is_atomic() => Form::Fields,
            (Self::Known(Shape::Map(map)), Value::Object(_)) if !map.is_atomic() => Form::Fields,
            (Self::Known(Shape::List(list)), Value::Array(items)) if !list.is_atomic() && distinct(list, items) => {
                Form::Items(list)
            }
            _ => Form::Leaf,
        }
    }

    /// The topology of a field, whether it is an entry of a map, and whether it must be there.
    fn field(self, name: &str) -> (Self, bool, bool) {
        match self {
            Self::Known(Shape::Object(of)) => match of.field(name) {
                Some(field) => (Self::Known(field.shape()), false, field.is_required()),
                None => (Self::Deduced, true, false),
            },
            Self::Known(Shape::Map(map)) => (Self::Known(map.item()), true, false),
            Self::Known(_) => (Self::Known(Shape::Scalar(Scalar::Json)), false, false),
            Self::Deduced => (Self::Deduced, true, false),
        }
    }
}

/// Items that cannot be told apart make the list one value, rather than an error: the object is stored as it is.
fn distinct(list: List<'_>, items: &[Value]) -> bool {
    let mut seen: Vec<Step> = items.iter().map(|item| step(list, item)).collect();
    seen.sort();
    let len = seen.len();
    seen.dedup();
    seen.len() == len
}

/// The step to an item.
fn step(list: List<'_>, item: &Value) -> Step {
    if list.is_set() {
        return Step::Item(item.to_string());
    }
    let mut keys = Map::new();
    for key in list.keys() {
        if let Some(value) = item.get(key) {
            keys.insert(key.to_string(), value.clone());
        } else if let Shape::Object(of) = list.item()
            && let Some(field) = of.field(key)
            && let Ok(default) = serde_json::from_str::<Value>(field.default_json())
        {
            keys.insert(key.to_string(), default);
        }
    }
    Step::Key(Value::Object(keys).to_string())
}

fn by_step<'v>(list: List<'_>, items: &'v [Value]) -> HashMap<Step, &'v Value> {
    items.iter().map(|item| (step(list, item), item)).collect()
}

/// The fields that an applied configuration sets.
pub(super) fn set_of(value: &Value, topology: Topology<'_>) -> Set {
    let mut set = Set::default();
    collect(value, topology, &mut set);
    set
}

fn collect(value: &Value, topology: Topology<'_>, set: &mut Set) {
    match (topology.form(value), value) {
        (Form::Fields, Value::Object(map)) => {
            for (name, inner) in map {
                let (next, entry, _) = topology.field(name);
                let child = set.child(Step::Field(name.clone()));
                collect(inner, next, child);
                child.member |= entry || inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
            }
        }
        (Form::Items(list), Value::Array(items)) => {
            for item in items {
                let child = set.child(step(list, item));
                collect(item, Topology::Known(list.item()), child);
                child.member = true;
            }
        }
        _ => set.member = true,
    }
}

/// What differs between two values.
#[derive(Default)]
pub(super) struct Difference {
    /// Added or with another value.
    pub(super) changed: Set,
    /// No longer there.
    pub(super) removed: Set,
}

pub(super) fn compare(old: Option<&Value>, new: &Value, topology: Topology<'_>) -> Difference {
    let mut out = Difference::default();
    differ(old, Some(new), topology, false, &mut out.changed, &mut out.removed);
    out.changed.compact();
    out.removed.compact();
    out
}

/// `named`: an addition or removal of the whole is a fact of its own (not for what always exists).
fn differ(
    old: Option<&Value>,
    new: Option<&Value>,
    topology: Topology<'_>,
    named: bool,
    changed: &mut Set,
    removed: &mut Set,
) {
    if old == new {
        return;
    }
    let forms = (old.map(|v| topology.form(v)), new.map(|v| topology.form(v)));
    match (forms, old, new) {
        ((None | Some(Form::Fields), None | Some(Form::Fields)), _, _) => {
            let empty = Map::new();
            let (a, b) =
                (old.and_then(Value::as_object).unwrap_or(&empty), new.and_then(Value::as_object).unwrap_or(&empty));
            let hollow = a.is_empty() && b.is_empty();
            changed.member |= old.is_none() && (named || hollow);
            removed.member |= new.is_none() && (named || hollow);
            for (name, value) in a {
                let (next, ..) = topology.field(name);
                let step = Step::Field(name.clone());
                if b.get(name) != Some(value) {
                    differ(Some(value), b.get(name), next, true, changed.child(step.clone()), removed.child(step));
                }
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                let (next, _, required) = topology.field(name);
                let step = Step::Field(name.clone());
                // required fields and the parts of an object exist before they are filled
                let named = named && !required;
                differ(None, Some(value), next, named, changed.child(step.clone()), removed.child(step));
            }
        }
        ((None | Some(Form::Items(_)), None | Some(Form::Items(_))), _, _) => {
            let Topology::Known(Shape::List(list)) = topology else { return };
            fn items(value: Option<&Value>) -> &[Value] {
                value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
            }
            changed.member |= old.is_none() && named;
            removed.member |= new.is_none() && named;
            let (a, b) = (by_step(list, items(old)), by_step(list, items(new)));
            let item = Topology::Known(list.item());
            for (step, value) in &a {
                let other = b.get(step).copied();
                differ(Some(value), other, item, true, changed.child(step.clone()), removed.child(step.clone()));
            }
            for (step, value) in b.iter().filter(|(step, _)| !a.contains_key(step)) {
                differ(None, Some(value), item, true, changed.child(step.clone()), removed.child(step.clone()));
            }
        }
        (_, Some(_), None) => removed.member = true,
        _ => changed.member = true,
    }
}

/// Merges an applied configuration into the live object.
pub(super) fn merge(live: Value, applied: Value, topology: Topology<'_>) -> Value {
    match (topology.form(&live), topology.form(&applied), live, applied) {
        (Form::Fields, Form::Fields, Value::Object(mut live), Value::Object(applied)) => {
            for (name, value) in applied {
                let (next, ..) = topology.field(&name);
                let merged = match live.remove(&name) {
                    Some(old) => merge(old, value, next),
                    None => value,
                };
                live.insert(name, merged);
            }
            Value::Object(live)
        }
        (Form::Items(list), Form::Items(_), Value::Array(live), Value::Array(applied)) => {
            Value::Array(merge_items(list, live, applied))
        }
        (_, _, _, applied) => applied,
    }
}

/// Applied items in their order; items only the live list has stay before the item they stood before.
fn merge_items(list: List<'_>, live: Vec<Value>, applied: Vec<Value>) -> Vec<Value> {
    let order: Vec<Step> = applied.iter().map(|item| step(list, item)).collect();
    let at: HashMap<&Step, usize> = order.iter().enumerate().map(|(i, s)| (s, i)).collect();
    let mut olds: HashMap<usize, Value> = HashMap::new();
    // live-only items, by the applied item that they stand before
    let mut before: HashMap<usize, Vec<Value>> = HashMap::new();
    let mut waiting = Vec::new();
    for item in live {
        match at.get(&step(list, &item)) {
            Some(i) => {
                before.entry(*i).or_default().append(&mut waiting);
                olds.insert(*i, item);
            }
            None => waiting.push(item),
        }
    }
    let mut out = Vec::new();
    for (i, item) in applied.into_iter().enumerate() {
        out.append(&mut before.remove(&i).unwrap_or_default());
        out.push(match olds.remove(&i) {
            Some(old) => merge(old, item, Topology::Known(list.item())),
            None => item,
        });
    }
    out.append(&mut waiting);
    out
}

/// Removes what `last` named and nobody in `keep` names any more.
pub(super) fn prune(value: &mut Value, last: &Set, keep: &Set, topology: Topology<'_>) {
    const NONE: &Set = &Set { member: false, children: std::collections::BTreeMap::new() };
    let gone = |step: &Step| {
        let named = matches!(step, Step::Field(_));
        let holds = |set: Option<&Set>| set.is_some_and(|s| s.member || (named && !s.children.is_empty()));
        holds(last.children.get(step)) && !holds(keep.children.get(step))
    };
    match (topology.form(value), value) {
        (Form::Fields, Value::Object(map)) => {
            for (step, inner) in &last.children {
                let Step::Field(name) = step else { continue };
                if gone(step) {
                    map.remove(name);
                } else if let Some(child) = map.get_mut(name) {
                    prune(child, inner, keep.children.get(step).unwrap_or(NONE), topology.field(name).0);
                }
            }
        }
        (Form::Items(list), Value::Array(items)) => {
            items.retain(|item| !gone(&step(list, item)));
            for item in items {
                let step = step(list, item);
                if let Some(inner) = last.children.get(&step) {
                    prune(item, inner, keep.children.get(&step).unwrap_or(NONE), Topology::Known(list.item()));
                }
            }
        }
        _ => {}
    }
}
