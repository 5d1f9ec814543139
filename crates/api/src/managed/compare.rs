//! Which fields a value sets, and what differs between two values.

use super::{
    set::Set,
    step::Step,
    topology::{Form, Topology, steps},
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The fields that a configuration sets.
pub(super) fn set_of(value: &Value, topology: Topology<'_>) -> Set {
    let mut set = Set::default();
    collect(value, topology, &mut set);
    set.member = false;
    set
}

fn collect(value: &Value, topology: Topology<'_>, set: &mut Set) {
    match (topology.form(value), value) {
        (Form::Fields, Value::Object(map)) => {
            for (name, inner) in map {
                let child = set.child(Step::field(name));
                collect(inner, topology.field(name), child);
                let hollow = inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
                child.member |= hollow || !topology.names(name);
            }
        }
        (Form::Items(list), Value::Array(items)) => {
            let mut found: BTreeMap<Step, Vec<&Value>> = BTreeMap::new();
            for (step, item) in steps(list, items).into_iter().zip(items) {
                found.entry(step).or_default().push(item);
            }
            for (step, items) in found {
                let child = set.child(step);
                // items that share a key are owned together
                if let [item] = items.as_slice() {
                    collect(item, Topology::item(list), child);
                }
                child.member = true;
            }
        }
        (Form::Fields | Form::Items(_), _) => {}
        (Form::Leaf, _) => set.member = true,
    }
}

/// The set with the named fields of structs as members wherever something below them is.
pub(super) fn with_named(set: &Set, topology: Topology<'_>) -> Set {
    let mut out = Set { member: set.member, ..Set::default() };
    for (step, child) in &set.children {
        let next = match (step, topology.form(&Value::Null)) {
            (Step::Field(name), _) => topology.field(name),
            (_, Form::Items(list)) => Topology::item(list),
            _ => Topology::Deduced,
        };
        let mut inner = with_named(child, next);
        if let Step::Field(name) = step {
            inner.member |= !child.children.is_empty() && topology.names(name);
        }
        out.children.insert(step.clone(), inner);
    }
    out
}

/// What differs between two values.
#[derive(Clone, Debug, Default)]
pub(super) struct Difference {
    /// Added or with another value.
    pub(super) changed: Set,
    /// No longer there.
    pub(super) removed: Set,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

pub(super) fn compare(old: &Value, new: &Value, topology: Topology<'_>) -> Difference {
    let mut out = Difference::default();
    differ(Some(old), Some(new), topology, &mut out.changed, &mut out.removed);
    for set in [&mut out.changed, &mut out.removed] {
        set.member = false;
        set.compact();
    }
    out
}

fn differ(old: Option<&Value>, new: Option<&Value>, topology: Topology<'_>, changed: &mut Set, removed: &mut Set) {
    if old == new {
        return;
    }
    let form = |value: Option<&Value>| value.filter(|v| !v.is_null()).map(|v| topology.form(v));
    match (form(old), form(new)) {
        (Some(Form::Fields), None | Some(Form::Fields)) | (None, Some(Form::Fields)) => {
            differ_fields(old, new, topology, changed, removed);
        }
        (Some(Form::Items(list)), _) | (_, Some(Form::Items(list))) => {
            differ_items(old, new, list, changed, removed);
        }
        // without a schema a value may change its form
        (Some(Form::Fields), Some(Form::Leaf)) => {
            differ_fields(old, None, topology, changed, removed);
            (changed.member, removed.member) = (true, false);
        }
        (Some(Form::Leaf), Some(Form::Fields)) => {
            differ_fields(None, new, topology, changed, removed);
            (changed.member, removed.member) = (true, false);
        }
        _ => leaf(old, new, changed, removed),
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>, changed: &mut Set, removed: &mut Set) {
    match (old, new) {
        (Some(_), None) => removed.member = true,
        (a, b) => changed.member |= a != b,
    }
}

fn differ_fields(
    old: Option<&Value>,
    new: Option<&Value>,
    topology: Topology<'_>,
    changed: &mut Set,
    removed: &mut Set,
) {
    let (a, b) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let mut names: BTreeSet<&str> = [a, b].into_iter().flatten().flat_map(Map::keys).map(String::as_str).collect();
    if a.is_some() != b.is_some() {
        names.extend(topology.implied_fields().map(|f| f.name()));
    }
    if names.is_empty() {
        return leaf(old, new, changed, removed);
    }
    for name in names {
        let (x, y) = (topology.get(a, name), topology.get(b, name));
        let step = Step::field(name);
        if x != y {
            let (changed, removed) = (changed.child(step.clone()), removed.child(step));
            differ(x.as_deref(), y.as_deref(), topology.field(name), changed, removed);
        }
    }
    changed.member |= old.is_none();
    removed.member |= new.is_none();
}

fn differ_items(
    old: Option<&Value>,
    new: Option<&Value>,
    list: crate::schema::List<'_>,
    changed: &mut Set,
    removed: &mut Set,
) {
    fn items(value: Option<&Value>) -> &[Value] {
        value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
    let (a, b) = (items(old), items(new));
    if a.is_empty() && b.is_empty() {
        return leaf(old, new, changed, removed);
    }
    let mut both: BTreeMap<Step, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (step, item) in steps(list, a).into_iter().zip(a) {
        both.entry(step).or_default().0.push(item);
    }
    for (step, item) in steps(list, b).into_iter().zip(b) {
        both.entry(step).or_default().1.push(item);
    }
    let topology = Topology::item(list);
    for (step, (olds, news)) in both {
        let (changed, removed) = (changed.child(step.clone()), removed.child(step));
        match (olds.as_slice(), news.as_slice()) {
            ([] | [_], [] | [_]) => {
                differ(olds.first().copied(), news.first().copied(), topology, changed, removed);
            }
            // items that share a key are one value together
            ([_, _, ..], [_, _, ..]) => changed.member |= olds != news,
            ([_, _, ..], rest) => {
                differ(None, rest.first().copied(), topology, changed, removed);
                removed.member = true;
            }
            (rest, _) => {
                differ(rest.first().copied(), None, topology, changed, removed);
                changed.member = true;
            }
        }
    }
    changed.member |= old.is_none();
    removed.member |= new.is_none();
}
