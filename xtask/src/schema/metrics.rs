//! The types of `metrics.k8s.io`, which upstream's own server does not have and so neither do the crates: `k8s.io/metrics`,
//! `pkg/apis/metrics/v1beta1`.

use super::{Field, Kind, Type, openapi};
use std::collections::BTreeMap;

const PACKAGE: &str = "io.k8s.metrics.pkg.apis.metrics.v1beta1";
const META: &str = "@io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// (field, place in protobuf, shape, whether it must be there, what it is)
type FieldFacts = (&'static str, &'static str, &'static str, bool, &'static str);

const API_VERSION: FieldFacts = ("apiVersion", "", "s", false, "Version of the schema that this object has.");
const KIND: FieldFacts = ("kind", "", "s", false, "What kind of object this is.");
const METADATA: FieldFacts = ("metadata", "1=", META, false, "Whose usage it is: name, namespace and labels.");
const TIMESTAMP: FieldFacts = ("timestamp", "2=", "t", true, "The end of the time in which the usage was measured.");
const WINDOW: FieldFacts =
    ("window", "3=", "n", true, "How long that time was: the usage is that of [timestamp-window, timestamp].");

const CONTAINER: &[FieldFacts] = &[
    ("name", "1=", "s", true, "The container's name, as in its pod's spec."),
    ("usage", "2", "{}q", true, "What it used: cpu is the average over the window, memory the working set."),
];

const POD: &[FieldFacts] = &[
    API_VERSION,
    KIND,
    METADATA,
    TIMESTAMP,
    WINDOW,
    ("containers", "4", "[]@.ContainerMetrics", true, "What each container used, all in the same window."),
];

const NODE: &[FieldFacts] = &[
    API_VERSION,
    KIND,
    METADATA,
    TIMESTAMP,
    WINDOW,
    ("usage", "4", "{}q", true, "What the node used: cpu is the average over the window, memory the working set."),
];

/// All of them, lists included.
pub fn types() -> BTreeMap<String, Type> {
    let mut types = BTreeMap::new();
    types.insert(format!("{PACKAGE}.ContainerMetrics"), of("What a container of a pod used.", CONTAINER, None));
    let kinds = [
        ("NodeMetrics", "nodes", false, NODE, "What a node used."),
        ("PodMetrics", "pods", true, POD, "What a pod used."),
    ];
    for (kind, plural, namespaced, fields, description) in kinds {
        let facts = Kind {
            group: "metrics.k8s.io".into(),
            version: "v1beta1".into(),
            kind: kind.into(),
            plural: plural.into(),
            namespaced,
            list: Some(format!("{kind}List")),
        };
        types.insert(format!("{PACKAGE}.{kind}"), of(description, fields, Some(facts)));
    }
    openapi::add_lists(&mut types);
    types
}

fn of(description: &str, fields: &[FieldFacts], kind: Option<Kind>) -> Type {
    let one = |(name, wire, shape, required, description): &FieldFacts| {
        let shape = shape.replace("@.", &format!("@{PACKAGE}."));
        let (wire, description) = ((*wire).to_string(), (*description).to_string());
        ((*name).to_string(), Field { description, shape, required: *required, wire, ..Field::default() })
    };
    Type { description: description.into(), fields: fields.iter().map(one).collect(), kind, ..Type::default() }
}
