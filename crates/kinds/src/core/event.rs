//! Event: what happened to an object, for people. `events.k8s.io` serves the same objects in another form.

use crate::check::Check;
use crate::column::{Column, Context, NAME, SelectableField, human_duration, number, since, string};
use crate::descriptor::{Kind, Rules, text};
use crate::place::Place;
use coracle_api::{FieldError, validation};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<Event>("event", "io.k8s.api.core.v1.Event")
    .rules(&EventRules)
    .short(&["ev"])
    .columns(COLUMNS)
    .selectable(FIELDS);

const COLUMNS: &[Column] = &[
    Column::text("Last Seen", |c, o| json!(last_seen(c, o))),
    Column::text("Type", |_, o| o["type"].clone()),
    Column::text("Reason", |_, o| o["reason"].clone()),
    Column::text("Object", |_, o| {
        json!(format!(
            "{}/{}",
            string(&o["involvedObject"]["kind"]).to_lowercase(),
            string(&o["involvedObject"]["name"])
        ))
    }),
    Column::text("Subobject", |_, o| json!(string(&o["involvedObject"]["fieldPath"]))).wide(),
    Column::text("Source", |_, o| json!(source(o))).wide(),
    Column::text("Message", |_, o| json!(string(&o["message"]).trim())),
    Column::text("First Seen", |c, o| json!(first_seen(c, o))).wide(),
    Column::number("Count", |_, o| json!(count(o))).wide(),
    Column { format: "name", ..Column::text("Name", |_, o| o["metadata"]["name"].clone()).wide() }
        .about(NAME.description),
];

// `events.k8s.io` shows the same facts; cells look at the stored form.
macro_rules! stored {
    ($name:literal, $index:literal) => {
        Column {
            cell: |c, o| {
                let mut event = o.clone();
                crate::events::to_storage(&mut event);
                (COLUMNS[$index].cell)(c, &event)
            },
            ..COLUMNS[$index]
        }
    };
}

/// The columns for events in their newer form.
pub const NEW_COLUMNS: &[Column] = &[
    stored!("Last Seen", 0),
    stored!("Type", 1),
    stored!("Reason", 2),
    stored!("Object", 3),
    stored!("Subobject", 4),
    stored!("Source", 5),
    stored!("Message", 6),
    stored!("First Seen", 7),
    stored!("Count", 8),
    stored!("Name", 9),
];

const FIELDS: &[SelectableField] = &[
    SelectableField { path: "involvedObject.kind", get: |o| text(&o["involvedObject"]["kind"]) },
    SelectableField { path: "involvedObject.namespace", get: |o| text(&o["involvedObject"]["namespace"]) },
    SelectableField { path: "involvedObject.name", get: |o| text(&o["involvedObject"]["name"]) },
    SelectableField { path: "involvedObject.uid", get: |o| text(&o["involvedObject"]["uid"]) },
    SelectableField { path: "involvedObject.apiVersion", get: |o| text(&o["involvedObject"]["apiVersion"]) },
    SelectableField { path: "involvedObject.resourceVersion", get: |o| text(&o["involvedObject"]["resourceVersion"]) },
    SelectableField { path: "involvedObject.fieldPath", get: |o| text(&o["involvedObject"]["fieldPath"]) },
    SelectableField { path: "reason", get: |o| text(&o["reason"]) },
    SelectableField { path: "reportingComponent", get: |o| text(&o["reportingComponent"]) },
    SelectableField { path: "source", get: component },
    SelectableField { path: "type", get: |o| text(&o["type"]) },
];

fn component(event: &Value) -> String {
    match string(&event["source"]["component"]) {
        "" => text(&event["reportingComponent"]),
        component => component.into(),
    }
}

fn source(event: &Value) -> String {
    let host = match string(&event["source"]["host"]) {
        "" => string(&event["reportingInstance"]),
        host => host,
    };
    let component = component(event);
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

fn count(event: &Value) -> i64 {
    number(&event["series"]["count"]).max(number(&event["count"])).max(1)
}

fn first_seen(context: &Context, event: &Value) -> String {
    if event["firstTimestamp"].is_string() {
        since(context, &event["firstTimestamp"])
    } else {
        since(context, &event["eventTime"])
    }
}

fn last_seen(context: &Context, event: &Value) -> String {
    if let Some(last) = event["series"]["lastObservedTime"].as_str().and_then(|s| s.parse::<Timestamp>().ok()) {
        return human_duration(context.now.as_second() - last.as_second());
    }
    if event["lastTimestamp"].is_string() {
        since(context, &event["lastTimestamp"])
    } else {
        first_seen(context, event)
    }
}

// Events of older clients are checked for little but their namespace; an eventTime marks those of newer ones.
struct EventRules;

impl Rules for EventRules {
    fn validate(&self, event: &Value) -> Vec<FieldError> {
        Check::run(|check| legacy(check, &Place::of(event)))
    }
}

/// Longest texts of a newer event.
const LONGEST: [(&str, usize); 4] = [("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024)];

fn legacy(check: &mut Check, at: &Place) {
    let (involved, namespace) = (at.field("involvedObject.namespace"), at.field("metadata.namespace"));
    let newer = at.field("eventTime").given();
    let fits = match (involved.empty(), newer) {
        (true, true) => matches!(namespace.text(), "default" | "kube-system"),
        (true, false) => matches!(namespace.text(), "" | "default"),
        (false, true) => true,
        (false, false) => involved.text() == namespace.text(),
    };
    if !fits {
        check.bad_text(&involved, "does not match event.namespace");
    }
    if newer {
        // upstream's own name of the field
        let reporter = at.called("reportingController", &at.value["reportingComponent"]);
        check.needs(&reporter, "");
        check.keeps(&reporter, validation::qualified_name);
        for (field, most) in LONGEST {
            let text = at.field(field);
            if field != "message" {
                check.needs(&text, "");
            }
            if text.text().len() > most {
                check.invalid(at.path.field(field), &json!(""), format!("can have at most {most} characters"));
            }
        }
    }
    for message in validation::dns1123_subdomain(namespace.text()) {
        check.invalid(at.path.field("namespace"), &json!(namespace.text()), message);
    }
}

/// What `events.k8s.io` asks of a new event beyond that; the event is in its stored form.
pub(crate) fn strict(check: &mut Check, at: &Place) {
    series(check, at);
    if !at.field("eventTime").given() {
        check.required(at.path.field("eventTime"), "");
    }
    let kind = at.field("type");
    if !matches!(kind.text(), "Normal" | "Warning") {
        check.invalid(kind.path.clone(), &json!(""), format!("has invalid value: {}", kind.text()));
    }
    for (field, given) in [
        ("firstTimestamp", at.field("firstTimestamp").given()),
        ("lastTimestamp", at.field("lastTimestamp").given()),
        ("count", at.field("count").number() != 0),
        ("source", !at.field("source.component").empty() || !at.field("source.host").empty()),
    ] {
        if given {
            check.invalid(at.path.field(field), &json!(""), "needs to be unset");
        }
    }
}

/// A series has at least two events and says when the last one was.
pub(crate) fn series(check: &mut Check, at: &Place) {
    let series = at.field("series");
    if !series.given() {
        return;
    }
    if series.field("count").number() < 2 {
        check.invalid(series.path.field("count"), &json!(""), "should be at least 2");
    }
    check.needs(&series.field("lastObservedTime"), "");
}

/// What `events.k8s.io` lets nobody change: stored name, name in messages.
pub(crate) const FIXED: &[(&str, &str)] = &[
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("reason", "reason"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];
