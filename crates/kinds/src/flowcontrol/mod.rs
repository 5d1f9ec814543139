//! `flowcontrol.apiserver.k8s.io`: whose requests go first.

pub mod objects;
mod rules;

use crate::column::{AGE, Column, NAME, items, number, string, string_or};
use crate::descriptor::{Kind, Subresource, text};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.flowcontrol.v1.FlowSchema";
const LEVEL: &str = "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration";

/// FlowSchema.
pub static FLOW_SCHEMA: Kind = Kind::new::<FlowSchema>("flowschema", SCHEMA)
    .generation()
    .conditional_update()
    .rules(&rules::Flow)
    .subresources(&[Subresource::status::<FlowSchema>(SCHEMA)])
    .columns(&[
        NAME,
        Column::text("PriorityLevel", |_, o| o["spec"]["priorityLevelConfiguration"]["name"].clone()),
        Column::number("MatchingPrecedence", |_, o| json!(number(&o["spec"]["matchingPrecedence"]))),
        Column::text("DistinguisherMethod", |_, o| {
            json!(string_or(&o["spec"]["distinguisherMethod"]["type"], "<none>"))
        }),
        AGE,
        Column::text("MissingPL", |_, o| {
            let dangling = items(&o["status"]["conditions"]).iter().find(|c| c["type"] == "Dangling");
            json!(dangling.map_or("?", |c| string(&c["status"])))
        }),
    ]);

/// PriorityLevelConfiguration.
pub static PRIORITY_LEVEL_CONFIGURATION: Kind =
    Kind::new::<PriorityLevelConfiguration>("prioritylevelconfiguration", LEVEL)
        .generation()
        .conditional_update()
        .rules(&rules::Level)
        .subresources(&[Subresource::status::<PriorityLevelConfiguration>(LEVEL)])
        .columns(&[
            NAME,
            Column::text("Type", |_, o| o["spec"]["type"].clone()),
            Column::text("NominalConcurrencyShares", |_, o| json!(shown(&shares(o)))),
            Column::text("Queues", |_, o| json!(shown(&queuing(o)["queues"]))),
            Column::text("HandSize", |_, o| json!(shown(&queuing(o)["handSize"]))),
            Column::text("QueueLengthLimit", |_, o| json!(shown(&queuing(o)["queueLengthLimit"]))),
            AGE,
        ]);

fn shares(object: &Value) -> Value {
    let part = if object["spec"]["type"] == "Exempt" { "exempt" } else { "limited" };
    object["spec"][part]["nominalConcurrencyShares"].clone()
}

fn queuing(object: &Value) -> &Value {
    &object["spec"]["limited"]["limitResponse"]["queuing"]
}

fn shown(value: &Value) -> String {
    if value.is_null() { "<none>".into() } else { text(value) }
}
