//! An immutable picture of all keys: a persistent map, so taking one costs nothing and pages of one list agree with each other.

use crate::{Key, Stored};
use immutable_chunkmap::map::MapS;
use std::{
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

/// All keys as of one revision.
pub struct Snapshot<T: Stored> {
    revision: u64,
    keys: MapS<Key, Arc<T>>,
    index: MapS<Key, (Key, Arc<T>)>,
    /// How many keys there are in each folder: the part of a key up to its last `/`.
    counts: MapS<Key, usize>,
}

impl<T: Stored> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self {
            revision: self.revision,
            keys: self.keys.clone(),
            index: self.index.clone(),
            counts: self.counts.clone(),
        }
    }
}

impl<T: Stored> Snapshot<T> {
    pub(crate) fn empty() -> Self {
        Self { revision: 0, keys: MapS::new(), index: MapS::new(), counts: MapS::new() }
    }

    pub(crate) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// The revision of the last commit in it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Arc<T>> {
        self.keys.get(key)
    }

    /// Keys that start with `prefix`, in order, from after `after` (empty: from the beginning).
    pub fn range<'a>(&'a self, prefix: &'a str, after: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<T>)> {
        let from = if after < prefix { Included(prefix) } else { Excluded(after) };
        self.keys.range::<str, _>((from, Unbounded)).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Values that [`Stored::indexes`] put under `name`, with their keys, in key order.
    pub fn index<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a Key, &'a Arc<T>)> {
        let prefix = format!("{name}\0");
        let from: Key = prefix.as_str().into();
        self.index
            .range::<Key, _>((Included(from), Unbounded))
            .take_while(move |(entry, _)| entry.starts_with(&prefix))
            .map(|(_, (key, value))| (key, value))
    }

    /// How many keys start with `prefix`, which ends with a `/`: known without walking over them.
    pub fn count(&self, prefix: &str) -> usize {
        let folders = self.counts.range::<str, _>((Included(prefix), Unbounded));
        folders.take_while(|(folder, _)| folder.starts_with(prefix)).map(|(_, count)| count).sum()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.len() == 0
    }

    pub(crate) fn fill(&mut self, values: Vec<(Key, Arc<T>)>) {
        let mut entries = Vec::new();
        for (key, value) in &values {
            value.indexes(key, &mut |name| entries.push((entry(&name, key), (key.clone(), value.clone()))));
        }
        values.iter().for_each(|(key, _)| self.added(key));
        self.keys = self.keys.insert_many(values);
        self.index = self.index.insert_many(entries);
    }

    pub(crate) fn put(&mut self, key: &Key, value: &Arc<T>) -> Option<Arc<T>> {
        let old = self.keys.insert_cow(key.clone(), value.clone());
        match &old {
            Some(old) => self.forget(key, old),
            None => self.added(key),
        }
        let index = &mut self.index;
        value.indexes(key, &mut |name| {
            index.insert_cow(entry(&name, key), (key.clone(), value.clone()));
        });
        old
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<T>> {
        let old = self.keys.remove_cow(key);
        if let Some(old) = &old {
            self.forget(key, old);
            self.removed(key);
        }
        old
    }

    fn added(&mut self, key: &str) {
        let folder = folder(key);
        match self.counts.get_mut_cow(folder) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert_cow(folder.into(), 1);
            }
        }
    }

    fn removed(&mut self, key: &str) {
        let folder = folder(key);
        match self.counts.get_mut_cow(folder) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.counts.remove_cow(&Key::from(folder));
            }
        }
    }

    fn forget(&mut self, key: &Key, value: &Arc<T>) {
        let index = &mut self.index;
        value.indexes(key, &mut |name| {
            index.remove_cow(&entry(&name, key));
        });
    }
}

fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |at| &key[..=at])
}

fn entry(name: &str, key: &str) -> Key {
    format!("{name}\0{key}").into()
}
