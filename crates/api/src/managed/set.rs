//! Sets of field paths, as `managedFields` holds them (`FieldsV1`).

use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt::Write};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    /// A field of an object or an entry of a map.
    Field(String),
    /// An item of a list map, by its keys (a JSON object).
    Key(String),
    /// An item of a set (JSON).
    Item(String),
    /// An item of a list by position; only read, never made.
    Index(String),
}

impl Step {
    fn wire(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Item(item) => format!("v:{item}"),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let rest = rest.to_string();
        match kind {
            "f" => Some(Self::Field(rest)),
            // written by others: keys in another order, spaces
            "k" => serde_json::from_str::<Value>(&rest).ok().map(|v| Self::Key(v.to_string())),
            "v" => serde_json::from_str::<Value>(&rest).ok().map(|v| Self::Item(v.to_string())),
            "i" => Some(Self::Index(rest)),
            _ => None,
        }
    }

    /// `.spec`, `[name="a"]`, `["x"]`.
    fn show(&self, out: &mut String) {
        let _ = match self {
            Self::Field(name) => write!(out, ".{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(out, "[{}]", keys.join(","))
            }
            Self::Item(item) => write!(out, "[={item}]"),
            Self::Index(at) => write!(out, "[{at}]"),
        };
    }
}

/// A set of paths: whether this path is a member, and what lies below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) member: bool,
    pub(super) children: BTreeMap<Step, Set>,
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    pub(super) fn child(&mut self, step: Step) -> &mut Self {
        self.children.entry(step).or_default()
    }

    pub(super) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, set) in &other.children {
            self.child(step.clone()).union(set);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
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

    pub(super) fn intersection(&self, other: &Self) -> Self {
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
    pub(super) fn compact(&mut self) {
        self.children.values_mut().for_each(Self::compact);
        self.children.retain(|_, set| set.member || !set.children.is_empty());
    }

    /// Every member's path, as messages show it.
    pub(super) fn paths(&self) -> Vec<String> {
        fn walk(set: &Set, path: &str, out: &mut Vec<String>) {
            if set.member {
                out.push(path.to_string());
            }
            for (step, child) in &set.children {
                let mut path = path.to_string();
                step.show(&mut path);
                walk(child, &path, out);
            }
        }
        let mut out = Vec::new();
        walk(self, "", &mut out);
        out
    }

    /// `FieldsV1`.
    pub(super) fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        for (step, set) in &self.children {
            map.insert(step.wire(), set.to_value());
        }
        Value::Object(map)
    }

    /// From `FieldsV1`; what cannot be read is left out.
    pub(super) fn from_value(value: &Value) -> Self {
        let mut set = Self::read(value);
        set.member = false;
        set
    }

    fn read(value: &Value) -> Self {
        let mut set = Self::default();
        let Some(map) = value.as_object() else { return set };
        set.member = map.is_empty() || map.contains_key(".");
        for (name, inner) in map {
            if let Some(step) = Step::read(name) {
                set.children.insert(step, Self::read(inner));
            }
        }
        set
    }
}
