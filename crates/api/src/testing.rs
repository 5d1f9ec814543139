//! Generated values for property tests.

use proptest::prelude::*;
use serde_json::Value;

/// JSON with the names that mean something to schemas, patches and apply.
pub(crate) fn any_object() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "metadata",
        "managedFields",
        "manager",
        "operation",
        "apiVersion",
        "fieldsType",
        "fieldsV1",
        "f:spec",
        "k:{\"name\":\"a\"}",
        ".",
        "spec",
        "status",
        "template",
        "containers",
        "name",
        "labels",
        "finalizers",
        "ports",
        "containerPort",
        "list",
        "set",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$setElementOrder/finalizers",
        "$deleteFromPrimitiveList/finalizers",
        "op",
        "path",
        "value",
        "from",
    ]);
    let texts = prop::sample::select(vec![
        "a",
        "b",
        "delete",
        "replace",
        "merge",
        "add",
        "copy",
        "move",
        "test",
        "remove",
        "/spec",
        "/spec/containers/-",
        "/spec/containers/0",
        "name",
        "Apply",
        "Update",
        "FieldsV1",
        "v1",
    ]);
    let leaf = prop_oneof![Just(Value::Null), any::<i8>().prop_map(Value::from), texts.prop_map(Value::from)];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..5)
                .prop_map(|l| Value::Object(l.into_iter().map(|(k, v)| (k.to_string(), v)).collect())),
        ]
    })
}
