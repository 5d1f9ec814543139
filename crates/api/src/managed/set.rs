//! Sets of field paths, as `managedFields` holds them (`FieldsV1`).

use super::step::Step;
use serde_json::{Map, Value};

/// A set of paths: whether this path is a member, and what lies below it. The root is never a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) member: bool,
    pub(crate) children: Children,
}

/// What lies below a path, in the order of the steps. (A sorted list, because most paths have few children, come in their order and stay.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Children(Vec<(Step, Set)>);

impl Children {
    fn find(&self, step: &Step) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if last >= step => self.0.binary_search_by(|(other, _)| other.cmp(step)),
            _ => Err(self.0.len()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, step: &Step) -> Option<&Set> {
        self.find(step).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, step: &Step) -> Option<&mut Set> {
        self.find(step).ok().map(|at| &mut self.0[at].1)
    }

    /// The set below `step`, made if it is not there.
    fn entry(&mut self, step: Step) -> &mut Set {
        let at = self.find(&step).unwrap_or_else(|at| {
            self.0.insert(at, (step, Set::default()));
            at
        });
        &mut self.0[at].1
    }

    pub(crate) fn insert(&mut self, step: Step, set: Set) {
        *self.entry(step) = set;
    }

    /// Takes in what is not there yet, all at once.
    fn merge(&mut self, fresh: Vec<(Step, Set)>) {
        self.0.extend(fresh);
        // two sorted runs: linear
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn retain(&mut self, mut keep: impl FnMut(&Step, &mut Set) -> bool) {
        self.0.retain_mut(|(step, set)| keep(step, set));
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Set> {
        self.0.iter_mut().map(|(_, set)| set)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Step, &Set)> {
        self.0.iter().map(|(step, set)| (step, set))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Step, &mut Set)> {
        self.0.iter_mut().map(|(step, set)| (&*step, set))
    }
}

impl<'a> IntoIterator for &'a Children {
    type Item = (&'a Step, &'a Set);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (Step, Set)>, fn(&'a (Step, Set)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(step, set)| (step, set))
    }
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.iter().all(|(_, set)| set.is_empty())
    }

    pub(crate) fn child(&mut self, step: Step) -> &mut Self {
        self.children.entry(step)
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

    /// Takes in all of `other`.
    pub(crate) fn absorb(&mut self, other: Self) {
        if self.children.is_empty() {
            self.member |= other.member;
            self.children = other.children;
        } else {
            self.union(&other);
        }
    }

    pub(crate) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        let mut fresh = Vec::new();
        for (step, set) in &other.children {
            match self.children.get_mut(step) {
                Some(mine) => mine.union(set),
                None => fresh.push((step.clone(), set.clone())),
            }
        }
        if !fresh.is_empty() {
            self.children.merge(fresh);
        }
    }

    /// Member by member: what lies below a subtracted member stays.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        if other.children.is_empty() {
            return;
        }
        self.children.retain(|step, mine| match other.children.get(step) {
            Some(set) => {
                mine.subtract(set);
                !mine.is_empty()
            }
            None => true,
        });
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
        self.children.retain(|_, set| {
            set.compact();
            set.member || !set.children.is_empty()
        });
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
        // their texts are in another order than the steps, and several may say the same one
        let mut read = Vec::with_capacity(map.len());
        for (name, inner) in map.iter().filter(|(name, _)| *name != ".") {
            read.push((Step::read(name)?, Self::read(inner)?));
        }
        read.sort_by(|(a, _), (b, _)| a.cmp(b));
        read.into_iter().for_each(|(step, inner)| set.children.insert(step, inner));
        Some(set)
    }
}

fn matches(step: &Step, name: &str) -> bool {
    name == "*" || matches!(step, Step::Field(field) if field == name)
}
