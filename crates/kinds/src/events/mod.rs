//! `events.k8s.io`: events in their newer form, stored among the core events.

use crate::check::{Check, IMMUTABLE};
use crate::column::SelectableField;
use crate::core::event as core_event;
use crate::descriptor::{Kind, Part, Rules, StoredAs, text};
use crate::fields::same;
use crate::place::Place;
use coracle_api::FieldError;
use k8s_openapi::api::events::v1::Event;
use serde_json::Value;

/// Event.
pub static EVENT: Kind = Kind::new::<Event>("event", "io.k8s.api.events.v1.Event")
    .short(&["ev"])
    .stored_as(StoredAs { kind: &core_event::KIND, to_storage, from_storage })
    .rules(&Strict)
    .selectable(FIELDS)
    .columns(core_event::NEW_COLUMNS);

// The fields are those of the stored form, under their new names.
const FIELDS: &[SelectableField] = &[
    SelectableField { path: "regarding.kind", get: |o| text(&o["regarding"]["kind"]) },
    SelectableField { path: "regarding.namespace", get: |o| text(&o["regarding"]["namespace"]) },
    SelectableField { path: "regarding.name", get: |o| text(&o["regarding"]["name"]) },
    SelectableField { path: "regarding.uid", get: |o| text(&o["regarding"]["uid"]) },
    SelectableField { path: "regarding.apiVersion", get: |o| text(&o["regarding"]["apiVersion"]) },
    SelectableField { path: "regarding.resourceVersion", get: |o| text(&o["regarding"]["resourceVersion"]) },
    SelectableField { path: "regarding.fieldPath", get: |o| text(&o["regarding"]["fieldPath"]) },
    SelectableField { path: "reason", get: |o| text(&o["reason"]) },
    SelectableField { path: "reportingController", get: |o| text(&o["reportingController"]) },
    SelectableField { path: "type", get: |o| text(&o["type"]) },
];

/// What this version asks beyond what is asked of every event. Events come here in their stored form.
struct Strict;

impl Rules for Strict {
    fn validate(&self, event: &Value) -> Vec<FieldError> {
        Check::run(|check| core_event::strict(check, &Place::of(event)))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new);
            if new["series"] != old["series"] {
                core_event::series(check, &at);
            }
            for (field, called) in core_event::FIXED {
                if !same(&new[*field], &old[*field]) {
                    check.bad(&at.called(called, &new[*field]), IMMUTABLE);
                }
            }
        })
    }
}

const RENAMED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn rename(object: &mut Value, from: &str, to: &str) {
    let Some(map) = object.as_object_mut() else { return };
    if let Some(value) = map.remove(from) {
        map.insert(to.into(), value);
    }
}

pub(crate) fn to_storage(event: &mut Value) {
    RENAMED.iter().for_each(|(new, core)| rename(event, new, core));
}

pub(crate) fn from_storage(event: &mut Value) {
    RENAMED.iter().for_each(|(new, core)| rename(event, core, new));
}
