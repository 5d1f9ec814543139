//! Who set which field: server-side apply, and the bookkeeping of `metadata.managedFields` for every other write.
//!
//! Pure functions from values to values. Ownership goes by path; lists whose items have keys are owned item by item.
//! The rules are those of upstream's structured-merge-diff and of apimachinery's `managedfields`: apply merges, removes
//! what the manager gave up and nobody else names, and refuses to change what others set unless forced.

mod books;
mod compare;
mod config;
mod last_applied;
mod merge;
mod reset;
mod scale;
mod set;
mod step;
#[cfg(test)]
mod tests;
mod topology;

pub use reset::Reset;
pub use scale::ScaleBooks;

use crate::{
    schema::{Shape, Type},
    status::{Result, Status},
};
use books::{Books, Conflicts, Entry, Id, Operation};
use compare::{Difference, compare, set_of, with_named};
use jiff::Timestamp;
use merge::{merge, remove};
use serde_json::{Value, json};
use set::Set;
use std::collections::BTreeMap;
use step::Step;
use topology::{Form, Topology};

/// Fields that nobody owns.
const UNOWNED: &[&str] = &["apiVersion", "kind", "metadata"];
/// Fields of `metadata` that nobody owns.
const UNOWNED_METADATA: &[&str] = &[
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

/// Where a write arrives: in which version it shows objects, and which fields it does not write.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    /// `apiVersion` of what is written there.
    pub version: &'a str,
    /// `kind` of what is written there.
    pub kind: &'a str,
    /// Its type; without one objects are owned by field and lists as a whole.
    pub of: Option<Type<'a>>,
    /// `status`, `scale`, or empty.
    pub subresource: &'a str,
    /// What is thrown away there.
    pub reset: Reset,
    /// The other versions of the object.
    pub versions: &'a dyn Versions,
}

/// The versions in which an object can be shown: entries of other versions are judged in theirs.
pub trait Versions: Sync {
    /// The object as another version shows it; `None` when that is not served (any more).
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<Value>;

    /// The type of a version's objects.
    fn type_of(&self, version: &str) -> Option<Type<'_>>;
}

/// There is one version only.
pub struct OneVersion;

impl Versions for OneVersion {
    fn convert(&self, _: &Value, _: &str, _: &str) -> Option<Value> {
        None
    }

    fn type_of(&self, _: &str) -> Option<Type<'_>> {
        None
    }
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// `fieldManager`.
    pub manager: &'a str,
    /// Now.
    pub time: Timestamp,
}

impl Writer<'_> {
    fn now(self) -> Option<String> {
        jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%SZ", self.time).ok()
    }
}

/// What apply does about fields of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Fail with 409.
    Refuse,
    /// Take them (`force=true`).
    Take,
}

impl<'a> Endpoint<'a> {
    fn topology(&self) -> Topology<'a> {
        Topology::of(self.of)
    }

    /// The objects as `version` shows them, with its topology; `None` when it is not served.
    fn view<const N: usize>(&self, objects: [&Value; N], version: &str) -> Option<([Value; N], Topology<'a>)> {
        if version == self.version {
            return Some((objects.map(Value::clone), self.topology()));
        }
        let mut out = [const { Value::Null }; N];
        for (out, object) in out.iter_mut().zip(objects) {
            *out = self.versions.convert(object, self.version, version)?;
        }
        Some((out, Topology::of(self.versions.type_of(version))))
    }

    fn id(&self, manager: &str, operation: Operation) -> Id {
        Id::new(manager, operation, self.version, self.subresource)
    }

    /// An object of which nothing is said.
    fn nothing(&self) -> Value {
        json!({"apiVersion": self.version, "kind": self.kind})
    }

    /// What differs, as far as this endpoint keeps books of it.
    fn difference(&self, old: &Value, new: &Value, version: &str) -> Option<Difference> {
        let mut difference = if version == self.version {
            compare(old, new, self.topology())
        } else {
            let ([old, new], topology) = self.view([old, new], version)?;
            compare(&old, &new, topology)
        };
        self.reset.filter_both(&mut difference);
        Some(difference)
    }
}

/// Applies a configuration: gives the object to store, before defaults, with nulls in the place of what goes.
/// `live` is `None` if apply creates it. Both are in the endpoint's version.
///
/// # Errors
/// 409 with a cause for each field that others own; 400 and 500 for a configuration that is none of this kind.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    writer: Writer<'_>,
    on_conflict: OnConflict,
    endpoint: &Endpoint<'_>,
) -> Result<Value> {
    let canonical = config::read(config, endpoint)?;
    let nothing = endpoint.nothing();
    let live = live.unwrap_or(&nothing);
    let mut books =
        Books::of(live).map_err(|e| Status::new(500, "", format!("failed to decode managed fields: {e}")))?;
    if books.is_empty() {
        // what is there was set by someone before anybody kept books
        let first = Writer { manager: "before-first-apply", ..writer };
        note_update(&nothing, live, &mut books, first, endpoint);
    }
    let attempt = |on_conflict| run(live, &canonical, books.clone(), writer, on_conflict, endpoint);
    let (object, books) = match attempt(on_conflict) {
        Ok(done) => done,
        Err(conflicts) => {
            let left = last_applied::migrate(conflicts, live, writer.manager, endpoint);
            match left {
                Some(conflicts) => return Err(conflicts.status()),
                None => attempt(OnConflict::Take).map_err(|c| c.status())?,
            }
        }
    };
    let mut object = object.unwrap_or_else(|| live.clone());
    last_applied::follow(&mut object, config, writer.manager);
    books.store(&mut object);
    Ok(object)
}

/// The merged object (`None`: it is the live one) and the books after it.
fn run(
    live: &Value,
    config: &Value,
    mut books: Books,
    writer: Writer<'_>,
    on_conflict: OnConflict,
    endpoint: &Endpoint<'_>,
) -> Result<(Option<Value>, Books), Conflicts> {
    let topology = endpoint.topology();
    reconcile(&mut books, endpoint);
    let me = endpoint.id(writer.manager, Operation::Apply);
    let last = books.0.remove(&me);
    let mut fields = set_of(config, topology);
    endpoint.reset.filter(&mut fields);
    let time = last.as_ref().and_then(|l| l.time.clone());
    books.0.insert(me.clone(), Entry { fields, version: endpoint.version.into(), time });
    let merged = merge(Some(live), Some(config), topology).unwrap_or_default();
    let object = match &last {
        Some(last) if !last.fields.is_empty() => prune(merged, last, &books, endpoint),
        _ => merged,
    };
    yield_to(live, &object, &mut books, Some(&me), on_conflict, endpoint)?;
    let mut object = object;
    // Go's types have no nulls; elsewhere only those stay that somebody said
    if endpoint.of.is_none_or(|of| !of.omits_empty()) {
        drop_hollow(&mut object, &[live, config]);
    }
    let changed = &object != live;
    if let Some(entry) = books.0.get_mut(&me) {
        strip(&mut entry.fields);
        if changed {
            entry.time = writer.now();
        }
    }
    books.compact();
    Ok((changed.then_some(object), books))
}

/// Drops the nulls that stand where things were removed: those that are in none of the values the object was made from.
fn drop_hollow(object: &mut Value, sources: &[&Value]) {
    let Some(map) = object.as_object_mut() else { return };
    map.retain(|name, value| !value.is_null() || sources.iter().any(|s| s.get(name).is_some_and(Value::is_null)));
    for (name, value) in map.iter_mut().filter(|(_, value)| value.is_object()) {
        let inner: Vec<&Value> = sources.iter().filter_map(|s| s.get(name)).collect();
        drop_hollow(value, &inner);
    }
}

/// Notes in `new` what a create (`old` is `None`), update or patch changed. Both are in the endpoint's version.
pub fn track_update(old: Option<&Value>, new: &mut Value, writer: Writer<'_>, endpoint: &Endpoint<'_>) {
    let of_old = || old.map(|old| Books::of(old).unwrap_or_default()).unwrap_or_default();
    // who keeps which books is not a matter of subresources
    let mut books = if !endpoint.subresource.is_empty() && old.is_some() {
        of_old()
    } else if books::is_reset(new) {
        Books::default()
    } else {
        // clients that do not know the books may leave them out, or damage them
        Books::of(new).ok().filter(|books| !books.is_empty()).unwrap_or_else(of_old)
    };
    if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    // books once closed stay closed, until somebody applies
    if old.is_none() || !books.is_empty() {
        let nothing = endpoint.nothing();
        note_update(old.unwrap_or(&nothing), new, &mut books, writer, endpoint);
        books.fold();
    }
    books.store(new);
}

fn note_update(old: &Value, new: &Value, books: &mut Books, writer: Writer<'_>, endpoint: &Endpoint<'_>) {
    reconcile(books, endpoint);
    let Ok(Some(difference)) = yield_to(old, new, books, None, OnConflict::Take, endpoint) else { return };
    let mut fields = difference.changed;
    strip(&mut fields);
    fields.compact();
    if !fields.is_empty() {
        let id = endpoint.id(writer.manager, Operation::Update);
        let new = Entry { fields: Set::default(), version: endpoint.version.into(), time: None };
        let entry = books.0.entry(id).or_insert(new);
        entry.fields.absorb(fields);
        entry.time = writer.now();
    }
    books.compact();
}

/// Takes from everybody but `me` what changed between `old` and `new`. Gives the difference.
fn yield_to(
    old: &Value,
    new: &Value,
    books: &mut Books,
    me: Option<&Id>,
    on_conflict: OnConflict,
    endpoint: &Endpoint<'_>,
) -> Result<Option<Difference>, Conflicts> {
    let mut by_version: BTreeMap<String, Option<Difference>> = BTreeMap::new();
    let own = endpoint.difference(old, new, endpoint.version);
    by_version.insert(endpoint.version.into(), own);
    let mut conflicts = BTreeMap::new();
    for (id, entry) in books.0.iter().filter(|(id, _)| Some(*id) != me) {
        let version = entry.version.as_str();
        if !by_version.contains_key(version) {
            by_version.insert(version.into(), endpoint.difference(old, new, version));
        }
        if let Some(Some(difference)) = by_version.get(version) {
            let taken = entry.fields.intersection(&difference.changed);
            if !taken.is_empty() {
                conflicts.insert(id.clone(), taken);
            }
        }
    }
    if on_conflict == OnConflict::Refuse && !conflicts.is_empty() {
        return Err(Conflicts(conflicts));
    }
    books.0.retain(|id, entry| {
        if Some(id) == me {
            return true;
        }
        // nobody can say what an entry in a version that is gone means
        let Some(Some(difference)) = by_version.get(&entry.version) else { return false };
        if difference.is_empty() {
            return true;
        }
        if let Some(taken) = conflicts.get(id) {
            entry.fields.subtract(taken);
        }
        entry.fields.subtract(&difference.removed);
        !entry.fields.is_empty()
    });
    Ok(by_version.remove(endpoint.version).flatten())
}

/// Removes from the merged object what the manager gave up: named by it last time, and by nobody now.
fn prune(merged: Value, last: &Entry, books: &Books, endpoint: &Endpoint<'_>) -> Value {
    let Some(([seen], topology)) = endpoint.view([&merged], &last.version) else { return merged };
    let had = with_named(&last.fields, topology);
    let pruned = remove(&seen, &had, topology);
    let pruned = keep_owned(&merged, &seen, pruned, &last.version, books, endpoint);
    // only what was this manager's goes
    let mut gone = with_named(&set_of(&seen, topology), topology);
    gone.subtract(&with_named(&set_of(&pruned, topology), topology));
    let done = remove(&seen, &gone.intersection(&had), topology);
    if last.version == endpoint.version {
        return done;
    }
    endpoint.versions.convert(&done, &last.version, endpoint.version).unwrap_or(merged)
}

/// Puts back into `pruned` (in the version `at`) what anybody owns.
fn keep_owned(
    merged: &Value,
    seen: &Value,
    mut pruned: Value,
    at: &str,
    books: &Books,
    endpoint: &Endpoint<'_>,
) -> Value {
    let mut owned: BTreeMap<&str, Set> = BTreeMap::new();
    for entry in books.0.values() {
        owned.entry(&entry.version).or_default().union(&entry.fields);
    }
    // the version that was pruned first: others may not convert without what it puts back
    let mut versions: Vec<(&str, Set)> = owned.into_iter().collect();
    versions.sort_by_key(|(version, _)| *version != at);
    for (version, owned) in versions {
        let (whole, cut, topology) = if version == at {
            let topology =
                if at == endpoint.version { endpoint.topology() } else { Topology::of(endpoint.versions.type_of(at)) };
            (seen.clone(), pruned.clone(), topology)
        } else {
            let cut =
                if version == at { Some(pruned.clone()) } else { endpoint.versions.convert(&pruned, at, version) };
            let (Some(([whole], topology)), Some(cut)) = (endpoint.view([merged], version), cut) else { continue };
            (whole, cut, topology)
        };
        let mut gone = with_named(&set_of(&whole, topology), topology);
        let mut kept = with_named(&set_of(&cut, topology), topology);
        kept.union(&with_named(&owned, topology));
        gone.subtract(&kept);
        let restored = remove(&whole, &gone, topology);
        pruned = if version == at {
            restored
        } else {
            match endpoint.versions.convert(&restored, version, at) {
                Some(restored) => restored,
                None => continue,
            }
        };
    }
    pruned
}

/// Follows changes of the schema: what became one value is owned as one value.
fn reconcile(books: &mut Books, endpoint: &Endpoint<'_>) {
    for entry in books.0.values_mut() {
        let topology = if entry.version == endpoint.version {
            endpoint.topology()
        } else {
            Topology::of(endpoint.versions.type_of(&entry.version))
        };
        join(&mut entry.fields, topology);
    }
}

fn join(set: &mut Set, topology: Topology<'_>) {
    let Topology::Known(shape) = topology else { return };
    let structured = matches!(shape, Shape::Object(_) | Shape::List(_) | Shape::Map(_));
    match topology.form(&Value::Null) {
        Form::Leaf if structured && !set.children.is_empty() => {
            set.children.clear();
            set.member = true;
        }
        Form::Leaf => {}
        Form::Fields => set.children.iter_mut().for_each(|(step, child)| {
            if let Step::Field(name) = step {
                join(child, topology.field(name));
            }
        }),
        Form::Items(list) => set.children.values_mut().for_each(|child| join(child, Topology::item(list))),
    }
}

/// Takes out the fields that nobody owns.
fn strip(set: &mut Set) {
    let forget = |set: &mut Set, names: &[&str]| {
        for name in names {
            if let Some(child) = set.children.get_mut(&Step::field(name)) {
                child.member = false;
            }
        }
    };
    forget(set, UNOWNED);
    if let Some(metadata) = set.children.get_mut(&Step::field("metadata")) {
        forget(metadata, UNOWNED_METADATA);
    }
}
