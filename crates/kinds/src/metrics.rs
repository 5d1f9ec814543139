//! `metrics.k8s.io`: what nodes and pods use, measured when it is asked for. Upstream leaves this group to an add-on, metrics-server.
//!
//! Source of columns and verbs: metrics-server `pkg/api`.

use crate::column::{Column, items, string};
use crate::descriptor::Kind;
use coracle_api::{Quantity, Resource};
use serde_json::{Value, json};

/// What a node uses.
pub static NODE_METRICS: Kind = Kind::measured(
    Resource::fixed("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", false),
    "NodeMetricsList",
    "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics",
)
.columns(COLUMNS);

/// What a pod uses.
pub static POD_METRICS: Kind = Kind::measured(
    Resource::fixed("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", true),
    "PodMetricsList",
    "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics",
)
.columns(COLUMNS);

const COLUMNS: &[Column] = &[
    Column {
        format: "name",
        description: "Name of the resource",
        ..Column::text("Name", |_, o| json!(string(&o["metadata"]["name"])))
    },
    Column { format: "quantity", ..Column::text("cpu", |_, o| json!(used(o, "cpu"))) },
    Column { format: "quantity", ..Column::text("memory", |_, o| json!(used(o, "memory"))) },
    Column { format: "duration", ..Column::text("Window", |_, o| json!(string(&o["window"]))) },
];

/// What a node uses of something, or all containers of a pod together.
fn used(object: &Value, resource: &str) -> String {
    let parts = items(&object["containers"]).iter().chain([object]);
    let amounts = parts.filter_map(|part| string(&part["usage"][resource]).parse::<Quantity>().ok());
    amounts.sum::<Quantity>().to_string()
}
