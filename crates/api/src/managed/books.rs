//! `metadata.managedFields`, read and written: one entry for each manager, operation, version and subresource.

use super::set::Set;
use crate::status::{Result, Status};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// More entries of updates than this are folded together, oldest first.
const MAX_UPDATERS: usize = 10;
/// The manager of folded entries.
const FOLDED: &str = "ancient-changes";

/// `operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells entries apart. Appliers are the same in every version, so theirs is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) manager: String,
    pub(super) operation: Operation,
    version: String,
    pub(super) subresource: String,
}

impl Id {
    pub(super) fn new(manager: &str, operation: Operation, version: &str, subresource: &str) -> Self {
        let version = if operation == Operation::Apply { "" } else { version };
        let manager = if manager.is_empty() { "unknown" } else { manager };
        Self { manager: manager.into(), operation, version: version.into(), subresource: subresource.into() }
    }

    /// As a conflict names it.
    pub(super) fn show(&self) -> String {
        let mut out = json!(self.manager).to_string();
        if !self.subresource.is_empty() {
            out += &format!(" with subresource {}", json!(self.subresource));
        }
        if self.operation == Operation::Update {
            out += &format!(" using {}", self.version);
        }
        out
    }
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) fields: Set,
    pub(super) version: String,
    /// RFC 3339; `None` when nothing changed by it.
    pub(super) time: Option<String>,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Books(pub(super) BTreeMap<Id, Entry>);

impl Books {
    /// Reads the entries of an object.
    ///
    /// # Errors
    /// What is wrong with the first bad one.
    pub(super) fn of(object: &Value) -> Result<Self, String> {
        Self::read(object["metadata"].get("managedFields").unwrap_or(&Value::Null))
    }

    /// Reads a list of entries; null is an empty one.
    pub(super) fn read(list: &Value) -> Result<Self, String> {
        let mut books = Self::default();
        for (at, entry) in list.as_array().into_iter().flatten().enumerate() {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".into()),
            };
            let version = text("apiVersion").to_string();
            if version.is_empty() {
                return Err("apiVersion must not be empty".into());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
                other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
            }
            let fields = match entry.get("fieldsV1") {
                None | Some(Value::Null) => Set::default(),
                Some(fields) => Set::from_value(fields).ok_or("error decoding versioned set")?,
            };
            let time = entry.get("time").and_then(Value::as_str).map(ToString::to_string);
            let mut id = Id::new("x", operation, &version, text("subresource"));
            id.manager = text("manager").to_string();
            books.0.insert(id, Entry { fields, version, time });
        }
        Ok(books)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops entries that own nothing.
    pub(super) fn compact(&mut self) {
        self.0.retain(|_, entry| {
            entry.fields.compact();
            !entry.fields.is_empty()
        });
    }

    /// The list, appliers first, then by time; `None` when there is nothing to say.
    pub(super) fn to_value(&self) -> Option<Value> {
        let mut entries: Vec<(&Id, &Entry)> = self.0.iter().collect();
        entries.sort_by_key(|(id, e)| (id.operation, e.time.as_deref(), &id.manager, &e.version, &id.subresource));
        let list: Vec<Value> = entries.into_iter().map(|(id, entry)| write(id, entry)).collect();
        (!list.is_empty()).then_some(Value::Array(list))
    }

    /// The oldest updates of a version become one entry, until the list is short enough.
    pub(super) fn fold(&mut self) {
        let mut updaters: Vec<Id> = self.0.keys().filter(|id| id.operation == Operation::Update).cloned().collect();
        let mut count = updaters.len();
        if count <= MAX_UPDATERS {
            return;
        }
        updaters.sort_by_key(|id| (self.0.get(id).and_then(|e| e.time.clone()), id.clone()));
        let mut first: BTreeMap<String, Id> = BTreeMap::new();
        for id in updaters {
            if count <= MAX_UPDATERS {
                return;
            }
            let Some(version) = self.0.get(&id).map(|e| e.version.clone()) else { continue };
            let Some(oldest) = first.get(&version).cloned() else {
                first.insert(version, id);
                continue;
            };
            let bucket = Id::new(FOLDED, Operation::Update, &version, "");
            if !self.0.contains_key(&bucket)
                && let Some(entry) = self.0.remove(&oldest)
            {
                self.0.insert(bucket.clone(), entry);
            }
            if id == bucket {
                continue;
            }
            if let Some(entry) = self.0.remove(&id)
                && let Some(into) = self.0.get_mut(&bucket)
            {
                into.fields.union(&entry.fields);
                into.time = entry.time;
                count -= 1;
            }
        }
    }

    /// Writes the list into an object.
    pub(super) fn store(&self, object: &mut Value) {
        let Some(object) = object.as_object_mut() else { return };
        let metadata = object.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        let Some(metadata) = metadata.as_object_mut() else { return };
        match self.to_value() {
            Some(list) => metadata.insert("managedFields".into(), list),
            None => metadata.remove("managedFields"),
        };
    }
}

fn write(id: &Id, entry: &Entry) -> Value {
    let mut map = Map::new();
    let time = entry.time.as_deref().unwrap_or_default();
    let texts = [
        ("apiVersion", entry.version.as_str()),
        ("fieldsType", "FieldsV1"),
        ("manager", &id.manager),
        ("operation", id.operation.name()),
        ("subresource", &id.subresource),
        ("time", time),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        map.insert(name.into(), Value::String(text.into()));
    }
    map.insert("fieldsV1".into(), entry.fields.to_value());
    Value::Object(map)
}

/// Whether a request asks for the books to be closed: an empty list, or one empty entry.
pub(super) fn is_reset(object: &Value) -> bool {
    match object["metadata"].get("managedFields").and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => one.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// One field that a manager owns and another wants to change.
#[derive(Clone, Debug)]
pub(super) struct Conflicts(pub(super) BTreeMap<Id, Set>);

impl Conflicts {
    /// 409 with a cause for each field.
    pub(super) fn status(&self) -> Status {
        let all: Vec<(String, Vec<String>)> =
            self.0.iter().map(|(id, set)| (id.show(), set.paths())).filter(|(_, paths)| !paths.is_empty()).collect();
        let count: usize = all.iter().map(|(_, paths)| paths.len()).sum();
        let message = match all.as_slice() {
            [(manager, paths)] if count == 1 => {
                format!("Apply failed with 1 conflict: conflict with {manager}: {}", paths[0])
            }
            many => {
                let lines: Vec<String> = many
                    .iter()
                    .flat_map(|(manager, paths)| {
                        let head = format!("conflicts with {manager}:");
                        std::iter::once(head).chain(paths.iter().map(|p| format!("- {p}")))
                    })
                    .collect();
                format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
            }
        };
        let cause = |manager: &str, path: &str| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path});
        let causes: Vec<Value> =
            all.iter().flat_map(|(manager, paths)| paths.iter().map(move |path| cause(manager, path))).collect();
        Status { details: json!({"causes": causes}), ..Status::new(409, "Conflict", message) }
    }
}
