//! The books of a `scale`: those of its object, as far as they are about the count of replicas.

use super::{
    books::{Books, Entry, Id},
    set::Set,
    step::Step,
};
use serde_json::Value;
use std::collections::BTreeMap;

const SCALE_VERSION: &str = "autoscaling/v1";

/// How the object's books relate to its scale's.
pub struct ScaleBooks<'a> {
    /// `managedFields` of the object.
    pub of_object: &'a Value,
    /// The version in which the object is asked for.
    pub version: &'a str,
    /// Where, in the object's versions, the count is; `None` for a version that is not served.
    pub path: &'a dyn Fn(&str) -> Option<String>,
}

fn steps(path: &str) -> Vec<Step> {
    path.split('.').filter(|p| !p.is_empty()).map(Step::field).collect()
}

impl ScaleBooks<'_> {
    fn replicas() -> Vec<Step> {
        steps("spec.replicas")
    }

    /// `managedFields` of the scale.
    pub fn to_scale(&self) -> Option<Value> {
        let books = Books::read(self.of_object).ok()?;
        let mut out = Books::default();
        for (id, entry) in books.0 {
            let Some(path) = (self.path)(&entry.version) else { continue };
            if entry.fields.has(&steps(&path)) {
                let fields = Set::path(Self::replicas());
                out.0.insert(id, Entry { fields, version: SCALE_VERSION.into(), time: entry.time });
            }
        }
        out.to_value()
    }

    /// `managedFields` of the object after its scale's became `of_scale`.
    pub fn to_object(&self, of_scale: &Value) -> Option<Value> {
        let (Ok(books), Ok(scale)) = (Books::read(self.of_object), Books::read(of_scale)) else {
            return self.of_object.is_array().then(|| self.of_object.clone());
        };
        // in the scale's books updates have the scale's version
        let own = |id: Id| Id::new(&id.manager, id.operation, self.version, &id.subresource);
        let mut scale: BTreeMap<Id, Entry> = scale.0.into_iter().map(|(id, entry)| (own(id), entry)).collect();
        let mut out = Books::default();
        for (id, mut entry) in books.0 {
            let Some(path) = (self.path)(&entry.version) else { continue };
            let path = steps(&path);
            // what the scale's books no longer give to this manager another one took
            if entry.fields.has(&path) && scale.remove(&id).is_none() {
                entry.fields.subtract(&Set::path(path));
            }
            out.0.insert(id, entry);
        }
        let path = (self.path)(self.version).unwrap_or_default();
        for (id, entry) in scale {
            if entry.fields.has(&Self::replicas()) {
                let new = Entry { fields: Set::default(), version: self.version.into(), time: None };
                let into = out.0.entry(id).or_insert(new);
                into.fields.union(&Set::path(steps(&path)));
                into.time = entry.time;
            }
        }
        out.compact();
        out.to_value()
    }
}
