//! Pod: containers that live, move and die together.

mod columns;

use crate::column::SelectableField;
use crate::descriptor::{Action, Deletion, Kind, Subresource, text};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.core.v1.Pod";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Pod>("pod", SCHEMA)
    .short(&["po"])
    .categories(&["all"])
    .generation()
    .deletion(Deletion::Graceful)
    .subresources(SUBRESOURCES)
    .selectable(FIELDS)
    .columns(columns::COLUMNS);

const SUBRESOURCES: &[Subresource] = &[
    Subresource::ATTACH,
    Subresource::BINDING,
    Subresource::of::<Pod>(Action::EphemeralContainers, SCHEMA),
    Subresource::EVICTION,
    Subresource::EXEC,
    Subresource::LOG,
    Subresource::PORT_FORWARD,
    Subresource::proxy("PodProxyOptions"),
    Subresource::of::<Pod>(Action::Resize, SCHEMA),
    Subresource::status::<Pod>(SCHEMA),
];

const FIELDS: &[SelectableField] = &[
    SelectableField { path: "spec.nodeName", get: |o| text(&o["spec"]["nodeName"]) },
    SelectableField { path: "spec.restartPolicy", get: |o| text(&o["spec"]["restartPolicy"]) },
    SelectableField { path: "spec.schedulerName", get: |o| text(&o["spec"]["schedulerName"]) },
    SelectableField { path: "spec.serviceAccountName", get: |o| text(&o["spec"]["serviceAccountName"]) },
    SelectableField { path: "spec.hostNetwork", get: host_network },
    SelectableField { path: "status.phase", get: |o| text(&o["status"]["phase"]) },
    SelectableField { path: "status.podIP", get: |o| text(&o["status"]["podIP"]) },
    SelectableField { path: "status.podIPs", get: |o| text(&o["status"]["podIP"]) },
    SelectableField { path: "status.nominatedNodeName", get: |o| text(&o["status"]["nominatedNodeName"]) },
];

fn host_network(pod: &Value) -> String {
    text(&json!(pod["spec"]["hostNetwork"].as_bool().unwrap_or(false)))
}
