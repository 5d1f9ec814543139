//! Objects and patches: what request bodies carry.

use super::two;
use crate::Target;
use coracle_api::{
    Patch, PatchKind, Schema,
    managed::{self, Endpoint, OnConflict, OneVersion, Reset, Writer},
    options::FieldValidation,
    protobuf,
    schema::{self, Media, Type, json_error, yaml},
};
use jiff::Timestamp;
use serde_json::Value;

const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"x":"y"},"creationTimestamp":"2026-01-02T03:04:05Z","finalizers":["x/y"],"managedFields":[{"manager":"m","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}}}}}]},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"500m","memory":"1Gi"}},"ports":[{"containerPort":80,"protocol":"TCP"}]}],"volumes":[{"name":"v","emptyDir":{}}],"tolerations":[{"key":"a","operator":"Exists"}]}}"#;
const POD_YAML: &[u8] = b"apiVersion: v1\nkind: Pod\nmetadata: &m\n  name: a\n  labels: {x: 'y', \"z\": yes}\nspec:\n  containers:\n  - name: c\n    image: i\n    args: [\"-x\", 0644, 1.5, ~]\n    command: |\n      one\n      two\n  nodeSelector:\n    <<: *m\n";
pub(super) static TARGETS: &[Target] = &[
    Target { name: "json", run: json, seeds: &[POD, br#"{"kind":"ConfigMap","data":{"a":"b","a":"c"}}"#] },
    Target { name: "json_error", run: json_text, seeds: &[POD, br#"[1, -0.5e+3, "\u00e9\n", true]"#] },
    Target { name: "yaml", run: yaml_text, seeds: &[POD_YAML, POD] },
    Target { name: "protobuf", run: protobuf_message, seeds: PROTOBUF },
    Target { name: "json_patch", run: json_patch, seeds: JSON_PATCH },
    Target { name: "merge_patch", run: merge_patch, seeds: MERGE_PATCH },
    Target { name: "strategic_patch", run: strategic_patch, seeds: STRATEGIC_PATCH },
    Target { name: "apply", run: apply, seeds: APPLY },
];

const PROTOBUF: &[&[u8]] = &[
    b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x14\x0a\x0c\x0a\x01a\x12\x00\x1a\x00\"\x00*\x002\x00\x12\x04\x12\x02\x0a\x00\x1a\x00\"\x00",
    b"\x0a\x05\x0a\x01a\x12\x00\x12\x0a\x12\x08\x0a\x01c\x12\x01i\x1a\x00",
];
const JSON_PATCH: &[&[u8]] = &[
    br#"[{"op":"test","path":"/spec/containers/0/name","value":"c"},{"op":"copy","from":"/spec","path":"/spec/containers/-"},{"op":"move","from":"/metadata/labels","path":"/x"},{"op":"remove","path":"/spec/volumes/-1"},{"op":"replace","path":"/metadata/name","value":{"a":[1]}},{"op":"add","path":"/a~1b~0c","value":null}]"#,
];
const MERGE_PATCH: &[&[u8]] =
    &[br#"{"metadata":{"labels":null,"name":"b"},"spec":{"containers":[{"name":null}],"x":{"y":null}}}"#];
const STRATEGIC_PATCH: &[&[u8]] = &[
    br#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["x/y"],"$setElementOrder/finalizers":["z"],"finalizers":["z"]},"spec":{"$setElementOrder/containers":[{"name":"d"},{"name":"c"}],"containers":[{"name":"c","$patch":"delete"},{"name":"d","ports":[{"containerPort":81}]}],"volumes":[{"name":"v","$retainKeys":["name"]},{"$patch":"replace"}],"securityContext":{"$patch":"replace","runAsUser":1}}}"#,
];
const APPLY: &[&[u8]] = &[
    b"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":null,\"ports\":[{\"containerPort\":80}]}]}}",
];
fn pod() -> Option<Type<'static>> {
    Schema::builtin().type_of("", "v1", "Pod")
}

/// An object that patches, paths and expressions meet.
pub(super) fn live() -> Value {
    serde_json::from_slice(POD).unwrap_or_default()
}

fn json(input: &[u8]) {
    for (group, kind) in [("", "Pod"), ("apps", "Deployment"), ("", "ConfigMap")] {
        let of = Schema::builtin().type_of(group, "v1", kind);
        let Ok(first) = schema::decode(input, Media::Json, of, FieldValidation::Warn) else { continue };
        let text = first.value.to_string();
        // what was decoded once is decoded to the same
        let again = schema::decode(text.as_bytes(), Media::Json, of, FieldValidation::Strict);
        assert_eq!(again.map(|d| d.value).as_ref(), Ok(&first.value), "{kind}");
    }
    let _ = schema::decode_untyped(input, Media::Json, "Thing", "v1");
}

fn json_text(input: &[u8]) {
    let error = json_error::syntax_error(input);
    // the other reader refuses more: deep nesting, large numbers, wrong UTF-8
    assert!(error.is_none() || serde_json::from_slice::<Value>(input).is_err(), "{error:?}");
    let _ = schema::decode::duplicates(input);
}

fn yaml_text(input: &[u8]) {
    if let Ok((json, _)) = yaml::read(input) {
        let error = json_error::syntax_error(&json);
        // deep nesting is for who reads the JSON to refuse
        assert!(error.as_deref().is_none_or(|error| error == "exceeded max depth"), "{error:?}");
    }
    let _ = schema::decode(input, Media::Yaml, pod(), FieldValidation::Warn);
    let _ = schema::decode::type_meta(input, Media::Yaml);
}

fn protobuf_message(input: &[u8]) {
    for kind in ["Pod", "Secret", "Node"] {
        let Some(of) = Schema::builtin().type_of("", "v1", kind) else { continue };
        if let Ok(value) = protobuf::decode(input, of)
            && let Ok(fitted) = schema::conform(&value, of, FieldValidation::Ignore)
        {
            let _ = protobuf::encode(&fitted.value, of);
        }
    }
}

fn patch(kind: PatchKind, input: &[u8]) -> Option<Value> {
    let body: Value = serde_json::from_slice(input).ok()?;
    let patched = coracle_api::apply_patch(&Patch::new(kind, body), live(), pod()).ok()?;
    let _ = pod().map(|of| schema::conform(&patched, of, FieldValidation::Strict));
    Some(patched)
}

fn json_patch(input: &[u8]) {
    patch(PatchKind::Json, input);
}

fn merge_patch(input: &[u8]) {
    let Some(once) = patch(PatchKind::Merge, input) else { return };
    let body: Value = serde_json::from_slice(input).unwrap_or_default();
    assert_eq!(coracle_api::patch::merge(once.clone(), &body), once, "what was patched needs no patch");
}

fn strategic_patch(input: &[u8]) {
    patch(PatchKind::Strategic, input);
}

/// A configuration; or, after a line, what an update makes of the object.
fn apply(input: &[u8]) {
    let (config, update) = two(input);
    let Ok(config) = serde_json::from_slice::<Value>(config) else { return };
    let endpoint = Endpoint {
        version: "v1",
        kind: "Pod",
        of: pod(),
        subresource: "",
        reset: Reset::These(&["status"]),
        versions: &OneVersion,
    };
    let writer = |manager| Writer { manager, time: Timestamp::UNIX_EPOCH };
    let mut object = live();
    if let Ok(update) = serde_json::from_slice::<Value>(update) {
        let mut new = update;
        managed::track_update(Some(&object), &mut new, writer("b"), &endpoint);
        object = new;
    }
    let applied = |object: &Value| {
        let applied = managed::apply(Some(object), &config, writer("a"), OnConflict::Take, &endpoint).ok()?;
        schema::conform(&applied, pod()?, FieldValidation::Ignore).ok().map(|d| d.value)
    };
    let once = applied(&object);
    if let Some(once) = once.filter(|o| o["metadata"].get("managedFields").is_some()) {
        assert_eq!(applied(&once), Some(once.clone()), "apply is idempotent");
    }
}
