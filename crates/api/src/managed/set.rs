//! Sets of field paths, as `managedFields` holds them (`FieldsV1`).

use super::step::Step;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A set of paths: whether this path is a member, and what lies below it. The root is never a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<Step, Set>,
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    pub(crate) fn child(&mut self, step: Step) -> &mut Self {
        self.children.entry(step).or_default()
    }

    /// A set of one path.
    pub(crate) fn path(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut set = Self::default();
        let last = steps.into_iter().fold(&mut set, |set, step| set.child(step));
        last.member = true;
        set
    }

    /// Whether every path of `other` (one path) is a member.
    pub(crate) fn has(&self, steps: &[Step]) -> bool {
        steps.iter().try_fold(self, |set, step| set.children.get(step)).is_some_and(|set| set.member)
    }

    pub(crate) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, set) in &other.children {
            self.child(step.clone()).union(set);
        }
    }

    /// Member by member: what lies below a subtracted member stays.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (step, set) in &other.children {
            if let Some(mine) = self.children.get_mut(step) {
                mine.subtract(set);
                if mine.is_empty() {
                    self.children.remove(step);
                }
            }
        }
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut out = Self { member: self.member && other.member, ..Self::default() };
        for (step, set) in &self.children {
            if let Some(theirs) = other.children.get(step) {
                let both = set.intersection(theirs);
                if !both.is_empty() {
                    out.children.insert(step.clone(), both);
                }
            }
        }
        out
    }

    /// Drops nodes that hold no member.
    pub(crate) fn compact(&mut self) {
        self.children.values_mut().for_each(Self::compact);
        self.children.retain(|_, set| set.member || !set.children.is_empty());
    }

    /// Removes the path with everything below it; `*` stands for any step.
    pub(crate) fn cut(&mut self, path: &[&str]) {
        let Some((name, rest)) = path.split_first() else { return };
        if rest.is_empty() {
            self.children.retain(|step, _| !matches(step, name));
        } else {
            self.children.iter_mut().filter(|(step, _)| matches(step, name)).for_each(|(_, set)| set.cut(rest));
            self.compact();
        }
    }

    /// Keeps only what lies on or below one of the paths; `*` stands for any step.
    pub(crate) fn keep(&mut self, paths: &[Vec<&str>]) {
        self.children.retain(|step, set| {
            let on: Vec<Vec<&str>> =
                paths.iter().filter(|p| p.first().is_some_and(|n| matches(step, n))).map(|p| p[1..].to_vec()).collect();
            if !on.is_empty() && on.iter().all(|rest| !rest.is_empty()) {
                set.keep(&on);
            }
            !on.is_empty()
        });
        self.compact();
    }

    /// Every member's path, as messages show it: those of one level before what lies below them.
    pub(crate) fn paths(&self) -> Vec<String> {
        fn walk(set: &Set, path: &str, out: &mut Vec<String>) {
            let shown = |step: &Step| {
                let mut path = path.to_string();
                step.show(&mut path);
                path
            };
            out.extend(set.children.iter().filter(|(_, child)| child.member).map(|(step, _)| shown(step)));
            for (step, child) in &set.children {
                walk(child, &shown(step), out);
            }
        }
        let mut out = Vec::new();
        walk(self, "", &mut out);
        out
    }

    /// `FieldsV1`.
    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        for (step, set) in &self.children {
            map.insert(step.wire(), set.to_value());
        }
        Value::Object(map)
    }

    /// From `FieldsV1`; `None` when it is none.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        let mut set = Self::read(value)?;
        set.member = false;
        Some(set)
    }

    fn read(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        let mut set = Self { member: map.is_empty() || map.contains_key("."), ..Self::default() };
        for (name, inner) in map.iter().filter(|(name, _)| *name != ".") {
            set.children.insert(Step::read(name)?, Self::read(inner)?);
        }
        Some(set)
    }
}

fn matches(step: &Step, name: &str) -> bool {
    name == "*" || matches!(step, Step::Field(field) if field == name)
}
