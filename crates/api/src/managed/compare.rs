//! Which fields a value sets, and what differs between two values.

use super::{
    set::Set,
    step::Step,
    topology::{Form, Topology, steps},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

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
    let mut out = if old == new { Difference::default() } else { differ(Some(old), Some(new), topology) };
    (out.changed.member, out.removed.member) = (false, false);
    out
}

impl Difference {
    fn new(changed: bool, removed: bool) -> Self {
        let one = |member| Set { member, ..Set::default() };
        Self { changed: one(changed), removed: one(removed) }
    }

    /// What differs below a step, if anything does. Steps come in their order, each once.
    fn below(&mut self, step: Step, inner: Self) {
        let says = |set: &Set| set.member || !set.children.is_empty();
        match (says(&inner.changed), says(&inner.removed)) {
            (true, true) => {
                self.changed.children.insert(step.clone(), inner.changed);
                self.removed.children.insert(step, inner.removed);
            }
            (true, false) => self.changed.children.insert(step, inner.changed),
            (false, true) => self.removed.children.insert(step, inner.removed),
            (false, false) => {}
        }
    }
}

/// What differs between values that are not the same.
fn differ(old: Option<&Value>, new: Option<&Value>, topology: Topology<'_>) -> Difference {
    let form = |value: Option<&Value>| value.filter(|v| !v.is_null()).map(|v| topology.form(v));
    match (form(old), form(new)) {
        (Some(Form::Fields), None | Some(Form::Fields)) | (None, Some(Form::Fields)) => {
            differ_fields(old, new, topology)
        }
        (Some(Form::Items(list)), _) | (_, Some(Form::Items(list))) => differ_items(old, new, list),
        // without a schema a value may change its form
        (Some(Form::Fields), Some(Form::Leaf)) => {
            let below = differ_fields(old, None, topology);
            Difference {
                changed: Set { member: true, ..below.changed },
                removed: Set { member: false, ..below.removed },
            }
        }
        (Some(Form::Leaf), Some(Form::Fields)) => {
            let below = differ_fields(None, new, topology);
            Difference {
                changed: Set { member: true, ..below.changed },
                removed: Set { member: false, ..below.removed },
            }
        }
        _ => leaf(old, new),
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Difference {
    match (old, new) {
        (Some(_), None) => Difference::new(false, true),
        (old, new) => Difference::new(old != new, false),
    }
}

fn differ_fields(old: Option<&Value>, new: Option<&Value>, topology: Topology<'_>) -> Difference {
    let (a, b) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let mut names: Vec<&str> = [a, b].into_iter().flatten().flat_map(Map::keys).map(String::as_str).collect();
    if a.is_some() != b.is_some() {
        names.extend(topology.implied_fields().map(|f| f.name()));
    }
    if names.is_empty() {
        return leaf(old, new);
    }
    names.sort_unstable();
    names.dedup();
    let mut out = Difference::new(old.is_none(), new.is_none());
    for name in names {
        let (x, y) = (topology.get(a, name), topology.get(b, name));
        if x != y {
            out.below(Step::field(name), differ(x.as_deref(), y.as_deref(), topology.field(name)));
        }
    }
    out
}

fn differ_items(old: Option<&Value>, new: Option<&Value>, list: crate::schema::List<'_>) -> Difference {
    fn items(value: Option<&Value>) -> &[Value] {
        value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
    let (a, b) = (items(old), items(new));
    if a.is_empty() && b.is_empty() {
        return leaf(old, new);
    }
    let mut both: BTreeMap<Step, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (step, item) in steps(list, a).into_iter().zip(a) {
        both.entry(step).or_default().0.push(item);
    }
    for (step, item) in steps(list, b).into_iter().zip(b) {
        both.entry(step).or_default().1.push(item);
    }
    let topology = Topology::item(list);
    let mut out = Difference::new(old.is_none(), new.is_none());
    for (step, (olds, news)) in both {
        let inner = match (olds.as_slice(), news.as_slice()) {
            (olds, news) if olds == news => continue,
            ([] | [_], [] | [_]) => differ(olds.first().copied(), news.first().copied(), topology),
            // items that share a key are one value together
            ([_, _, ..], [_, _, ..]) => Difference::new(true, false),
            ([_, _, ..], rest) => {
                let below = differ(None, rest.first().copied(), topology);
                Difference { removed: Set { member: true, ..below.removed }, ..below }
            }
            (rest, _) => {
                let below = differ(rest.first().copied(), None, topology);
                Difference { changed: Set { member: true, ..below.changed }, ..below }
            }
        };
        out.below(step, inner);
    }
    out
}
