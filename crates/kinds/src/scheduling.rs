//! `scheduling.k8s.io`: which pods matter more.

use crate::column::{AGE, Column, NAME, number, string_or};
use crate::descriptor::{Defaults, Kind};
use crate::fields::default;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};

/// PriorityClass.
pub static PRIORITY_CLASS: Kind = Kind::new::<PriorityClass>("priorityclass", "io.k8s.api.scheduling.v1.PriorityClass")
    .short(&["pc"])
    .rules(&Defaults(defaults))
    .columns(&[
        NAME,
        Column::number("Value", |_, o| json!(number(&o["value"]))),
        Column { kind: "boolean", ..Column::text("Global-Default", |_, o| json!(o["globalDefault"] == true)) },
        AGE,
        Column::text("PreemptionPolicy", |_, o| json!(string_or(&o["preemptionPolicy"], "PreemptLowerPriority"))),
    ]);

fn defaults(class: &mut Value) {
    default(class, "preemptionPolicy", "PreemptLowerPriority");
}
