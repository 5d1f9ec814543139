//! From client-side to server-side apply: `kubectl` takes over, without conflicts, what its annotation says it applied,
//! and keeps the annotation for those who still read it. Another manager's name opts out of both.

use super::{
    Endpoint,
    books::Conflicts,
    compare::{compare, set_of},
};
use crate::validation::MAX_ANNOTATIONS_BYTES;
use serde_json::Value;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MANAGER: &str = "kubectl";

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"].get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())
}

/// The conflicts that are left; `None` when all of them are about what the manager applied itself.
pub(super) fn migrate(conflicts: Conflicts, live: &Value, manager: &str, endpoint: &Endpoint<'_>) -> Option<Conflicts> {
    let last = annotation(live).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let last = last.filter(|last| manager == MANAGER && last["apiVersion"] == endpoint.version);
    let Some(last) = last else { return Some(conflicts) };
    let mut applied = set_of(&last, endpoint.topology());
    // what is no longer as it was applied is someone else's
    let since = compare(&last, live, endpoint.topology());
    applied.subtract(&since.changed);
    applied.subtract(&since.removed);
    let mut left = conflicts;
    left.0.retain(|_, fields| {
        fields.subtract(&applied);
        !fields.is_empty()
    });
    (!left.0.is_empty()).then_some(left)
}

/// Writes what was applied into the annotation, if there is one.
pub(super) fn follow(object: &mut Value, config: &Value, manager: &str) {
    if manager != MANAGER || annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{config}\n");
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    annotations.insert(ANNOTATION.into(), text.into());
    let size: usize = annotations.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
    if size > MAX_ANNOTATIONS_BYTES {
        annotations.remove(ANNOTATION);
    }
}
