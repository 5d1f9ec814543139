//! The rules of a kind: defaults, validation, what an update may change.

use crate::subresource::Part;
use coracle_api::{FieldError, Status};
use jiff::Timestamp;
use serde_json::Value;

/// The rules of a kind, on plain values. Every method does nothing unless a kind needs it. No I/O.
pub trait Rules: Send + Sync {
    /// Fills in defaults. The error says which field does not decode.
    fn default(&self, _object: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// Drops what a creator may not set and sets initial state. `status` is already cleared if kept apart.
    fn prepare_create(&self, _object: &mut Value) {}

    /// Carries over what this update may not touch, beyond what the [`Part`] already says.
    fn prepare_update(&self, _new: &mut Value, _old: &Value, _part: Part) {}

    /// Says when, where upstream's server does: `now` in RFC 3339, seconds only; `old` is what an update changes.
    fn stamp(&self, _object: &mut Value, _old: Option<&Value>, _now: &str) {}

    /// What is wrong with a new object, metadata apart.
    fn validate(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// What is wrong with the change from `old` to `new`; includes what is wrong with `new` itself.
    fn validate_update(&self, new: &Value, _old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Main { self.validate(new) } else { Vec::new() }
    }

    /// As [`Rules::validate_update`], with what is let pass because it was wrong before.
    fn judge_update(&self, new: &Value, old: &Value, part: Part) -> Verdict {
        Verdict { errors: self.validate_update(new, old, part), tolerated: Vec::new() }
    }

    /// Why the object of this name may not be deleted at all.
    fn refuses_deletion(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// What the beginning of a deletion changes, beside what it changes in every object.
    fn begin_deletion(&self, _object: &mut Value, _now: Timestamp) {}

    /// What the writer of a new object is warned of. It is valid.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// What the writer of a changed object is warned of; by default what it would be were it new. Parts of objects are changed without warnings.
    fn update_warnings(&self, new: &Value, _old: &Value) -> Vec<String> {
        self.warnings(new)
    }

    /// Seconds between deletion timestamp and removal for [`Deletion::Graceful`] kinds; `requested` is the caller's wish.
    fn grace_period(&self, _object: &Value, _requested: Option<i64>) -> i64 {
        0
    }

    /// Whether changing this kind's `new` against `old` counts as a new generation; by default any difference outside
    /// `metadata`, `status`, `apiVersion` and `kind`.
    fn desired_state_changed(&self, new: &Value, old: &Value) -> bool {
        let same = |key: &str| matches!(key, "metadata" | "status" | "apiVersion" | "kind");
        let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
        let changed = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| {
            a.iter().any(|(key, value)| !same(key) && b.get(key) != Some(value))
        };
        changed(new, old) || changed(old, new)
    }
}

/// What validation says of a change.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong.
    pub errors: Vec<FieldError>,
    /// What would be wrong, had it not been so before: the writer is warned.
    pub tolerated: Vec<FieldError>,
}

/// No rules at all.
pub struct NoRules;

impl Rules for NoRules {}

/// Rules of a kind that only has defaults.
pub struct Defaults(pub fn(&mut Value));

impl Rules for Defaults {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        (self.0)(object);
        Ok(())
    }
}
