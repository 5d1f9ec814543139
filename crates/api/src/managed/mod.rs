//! Who set which field: server-side apply, and the bookkeeping of `metadata.managedFields` for every other write.
//!
//! Pure functions from values to values. Ownership goes by path; lists whose items have keys are owned item by item.
//! The rules are those of upstream's structured-merge-diff: apply merges, removes what the manager gave up and nobody
//! else names, and refuses to change what others set unless forced.

mod fields;
mod set;
#[cfg(test)]
mod tests;

use crate::{
    schema::Type,
    status::{Result, Status},
};
use fields::{Topology, compare, merge, prune, set_of};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use set::{Set, Step};

/// More managers of updates than this are folded into one.
const MAX_UPDATE_MANAGERS: usize = 10;

/// Fields that nobody owns.
const SYSTEM_METADATA: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Who writes, when, through which subresource (empty: the object itself).
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// `fieldManager`.
    pub manager: &'a str,
    /// Now.
    pub time: Timestamp,
    /// `status`, `scale`, or empty.
    pub subresource: &'a str,
}

/// What apply does about fields of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Fail with 409.
    Refuse,
    /// Take them (`force=true`).
    Take,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    apply: bool,
    api_version: String,
    subresource: String,
    time: Value,
    fields: Set,
}

impl Entry {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let fields = value.get("fieldsV1")?;
        Some(Self {
            manager: text("manager"),
            apply: text("operation") == "Apply",
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value.get("time").cloned().unwrap_or_default(),
            fields: Set::from_value(fields),
        })
    }

    fn write(&self) -> Value {
        let mut value = json!({
            "manager": self.manager, "operation": self.operation(), "apiVersion": self.api_version,
            "fieldsType": "FieldsV1", "fieldsV1": self.fields.to_value(),
        });
        if !self.time.is_null() {
            value["time"] = self.time.clone();
        }
        if !self.subresource.is_empty() {
            value["subresource"] = json!(self.subresource);
        }
        value
    }

    fn operation(&self) -> &'static str {
        if self.apply { "Apply" } else { "Update" }
    }

    /// Appliers are the same in every version; updates are kept by version.
    fn is(&self, writer: Writer<'_>, apply: bool, api_version: &str) -> bool {
        self.manager == writer.manager
            && self.apply == apply
            && self.subresource == writer.subresource
            && (apply || self.api_version == api_version)
    }

    /// As a conflict names it.
    fn show(&self) -> String {
        let mut out = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            out += &format!(" with subresource {:?}", self.subresource);
        }
        if !self.apply {
            out += &format!(" using {}", self.api_version);
        }
        out
    }
}

/// Applies a configuration: gives the object to store, before defaults. `live` is `None` if apply creates it.
///
/// # Errors
/// 409 with a cause per field when others own what would change; 400 when the configuration has managedFields.
pub fn apply(
    live: Option<Value>,
    applied: Value,
    writer: Writer<'_>,
    on_conflict: OnConflict,
    of: Option<Type<'_>>,
) -> Result<Value> {
    if applied["metadata"].get("managedFields").is_some_and(|m| m.as_array().is_none_or(|l| !l.is_empty())) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let topology = Topology::of(of);
    let api_version = applied["apiVersion"].as_str().unwrap_or_default().to_string();
    let mut entries = live.as_ref().map(entries_of).unwrap_or_default();
    if let Some(live) = live.as_ref().filter(|_| entries.is_empty()) {
        entries.push(before_first_apply(live, topology));
    }
    let mine = entries.iter().position(|e| e.is(writer, true, &api_version));
    let mine = mine.map(|at| entries.remove(at));
    let mut fields = set_of(&applied, topology);
    strip(&mut fields);

    let had_live = live.is_some();
    let base = live.clone().unwrap_or_else(|| json!({}));
    let mut object = if had_live { merge(base, applied, topology) } else { applied };
    if let Some(last) = &mine {
        let mut keep = fields.clone();
        entries.iter().for_each(|e| keep.union(&e.fields));
        prune(&mut object, &last.fields, &keep, topology);
    }
    let mut difference = compare(live.as_ref(), &object, topology);
    strip(&mut difference.changed);
    if on_conflict == OnConflict::Refuse {
        refuse_conflicts(&entries, &difference.changed)?;
    }
    for entry in &mut entries {
        entry.fields.subtract(&difference.changed);
        entry.fields.subtract(&difference.removed);
    }
    let time = match mine {
        // nothing new: the object stays byte for byte what it was
        Some(last) if last.fields == fields && difference.changed.is_empty() && difference.removed.is_empty() => {
            last.time
        }
        _ => now(writer),
    };
    entries.push(Entry {
        manager: writer.manager.into(),
        apply: true,
        api_version,
        subresource: writer.subresource.into(),
        time,
        fields,
    });
    store(&mut object, entries);
    Ok(object)
}

/// Notes in `new` what a create (`old` is `None`), update or patch changed.
pub fn track_update(old: Option<&Value>, new: &mut Value, writer: Writer<'_>, of: Option<Type<'_>>) {
    let topology = Topology::of(of);
    let given = new["metadata"].get("managedFields").and_then(Value::as_array);
    let reset = given.is_some_and(|list| list.len() == 1 && list[0].as_object().is_some_and(Map::is_empty));
    let mut entries = if reset { Vec::new() } else { entries_of(new) };
    if entries.is_empty() && !reset {
        entries = old.map(entries_of).unwrap_or_default();
    }
    let mut difference = compare(old, new, topology);
    strip(&mut difference.changed);
    strip(&mut difference.removed);
    let api_version = new["apiVersion"].as_str().unwrap_or_default().to_string();
    if !(difference.changed.is_empty() && difference.removed.is_empty()) {
        for entry in &mut entries {
            if !entry.is(writer, false, &api_version) {
                entry.fields.subtract(&difference.changed);
            }
            entry.fields.subtract(&difference.removed);
        }
        own_update(&mut entries, &difference.changed, writer, api_version);
        fold_updates(&mut entries);
    }
    store(new, entries);
}

fn own_update(entries: &mut Vec<Entry>, changed: &Set, writer: Writer<'_>, api_version: String) {
    if changed.is_empty() {
        return;
    }
    match entries.iter_mut().find(|e| e.is(writer, false, &api_version)) {
        Some(entry) => {
            entry.fields.union(changed);
            entry.time = now(writer);
        }
        None => entries.push(Entry {
            manager: writer.manager.into(),
            apply: false,
            api_version,
            subresource: writer.subresource.into(),
            time: now(writer),
            fields: changed.clone(),
        }),
    }
}

/// The oldest updates become one entry, so that the list stays short.
fn fold_updates(entries: &mut Vec<Entry>) {
    let mut updates: Vec<usize> = (0..entries.len()).filter(|i| !entries[*i].apply).collect();
    if updates.len() <= MAX_UPDATE_MANAGERS {
        return;
    }
    updates.sort_by_key(|i| entries[*i].time.as_str().unwrap_or_default().to_string());
    updates.truncate(updates.len() - MAX_UPDATE_MANAGERS + 1);
    updates.sort_unstable();
    let mut folded: Vec<Entry> = updates.into_iter().rev().map(|i| entries.remove(i)).collect();
    let Some(mut one) = folded.pop() else { return };
    for entry in &folded {
        one.fields.union(&entry.fields);
    }
    one.manager = "ancient-changes".into();
    one.subresource.clear();
    entries.push(one);
}

fn now(writer: Writer<'_>) -> Value {
    jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%SZ", writer.time).map_or(Value::Null, Value::String)
}

fn entries_of(object: &Value) -> Vec<Entry> {
    let list = object["metadata"]["managedFields"].as_array();
    list.into_iter().flatten().filter_map(Entry::read).collect()
}

/// An object that nobody kept books on: what is there was set by someone.
fn before_first_apply(live: &Value, topology: Topology<'_>) -> Entry {
    let mut fields = set_of(live, topology);
    strip(&mut fields);
    Entry {
        manager: "before-first-apply".into(),
        apply: false,
        api_version: live["apiVersion"].as_str().unwrap_or_default().into(),
        subresource: String::new(),
        time: Value::Null,
        fields,
    }
}

/// Takes out the fields that nobody owns.
fn strip(set: &mut Set) {
    set.member = false;
    set.children.remove(&Step::Field("apiVersion".into()));
    set.children.remove(&Step::Field("kind".into()));
    let metadata = Step::Field("metadata".into());
    if let Some(inner) = set.children.get_mut(&metadata) {
        inner.member = false;
        for name in SYSTEM_METADATA {
            inner.children.remove(&Step::Field((*name).into()));
        }
        if inner.is_empty() {
            set.children.remove(&metadata);
        }
    }
}

fn store(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain_mut(|e| {
        e.fields.compact();
        !e.fields.is_empty()
    });
    entries.sort_by(|a, b| {
        let key = |e: &Entry| {
            let time = e.time.as_str().unwrap_or_default().to_string();
            (!e.apply, time, e.manager.clone(), e.api_version.clone(), e.subresource.clone())
        };
        key(a).cmp(&key(b))
    });
    let Some(metadata) = object.as_object_mut().map(|o| o.entry("metadata").or_insert_with(|| json!({}))) else {
        return;
    };
    let Some(metadata) = metadata.as_object_mut() else { return };
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries.iter().map(Entry::write).collect());
    }
}

fn refuse_conflicts(entries: &[Entry], changed: &Set) -> Result<()> {
    let conflicts: Vec<(String, Vec<String>)> = entries
        .iter()
        .map(|e| (e.show(), e.fields.intersection(changed).paths()))
        .filter(|(_, paths)| !paths.is_empty())
        .collect();
    let count: usize = conflicts.iter().map(|(_, paths)| paths.len()).sum();
    let message = match conflicts.as_slice() {
        [] => return Ok(()),
        [(manager, paths)] if count == 1 => {
            format!("Apply failed with 1 conflict: conflict with {manager}: {}", paths[0])
        }
        many => {
            let lines: Vec<String> = many
                .iter()
                .flat_map(|(manager, paths)| {
                    std::iter::once(format!("conflicts with {manager}:")).chain(paths.iter().map(|p| format!("- {p}")))
                })
                .collect();
            format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .flat_map(|(manager, paths)| {
            paths.iter().map(move |path| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
            })
        })
        .collect();
    Err(Status { details: json!({"causes": causes}), ..Status::new(409, "Conflict", message) })
}
