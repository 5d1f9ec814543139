use super::*;
use crate::{schema::Schema, testing::any_object};
use proptest::prelude::*;
use serde_json::json;

fn patch(kind: PatchKind, of: &str, current: &Value, body: &Value) -> Result<Value, (u16, String)> {
    let of = Schema::builtin().type_of("", "v1", of).or_else(|| Schema::builtin().type_of("apps", "v1", of));
    apply_patch(&Patch::new(kind, body.clone()), current.clone(), of).map_err(|e| (e.code, e.message))
}

#[test]
fn copies_cannot_nest_without_end() {
    let ops: Vec<Value> = (0..500).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"})).collect();
    assert_eq!(patch(PatchKind::Json, "", &json!({"a": {}}), &Value::Array(ops)).unwrap_err().0, 422);
}

/// Cases in text, `cases/patch.txt`: kind of patch, type, value, patch, and what comes out. `UPDATE_CASES=1` writes that.
#[test]
fn cases_end_as_written() {
    const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/patch.txt");
    let text = std::fs::read_to_string(CASES).unwrap();
    let (head, cases) = text.split_once("\n\n").unwrap();
    let parse = |text: &str| -> Value {
        serde_json::from_slice(&crate::schema::yaml::to_json(text.as_bytes()).unwrap()).unwrap()
    };
    let mut got = vec![head.to_string()];
    for case in cases.trim().split("\n\n") {
        let mut lines = case.lines().filter(|l| !l.starts_with(['=', '!']));
        let (title, current, body) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
        let what = title.split("[").nth(1).unwrap().trim_end_matches(']');
        let (kind, of) = what.split_once(' ').unwrap_or((what, ""));
        let kind = match kind {
            "json" => PatchKind::Json,
            "merge" => PatchKind::Merge,
            _ => PatchKind::Strategic,
        };
        let out = match patch(kind, of, &parse(current), &parse(body)) {
            Ok(value) => format!("= {value}"),
            Err((code, message)) => format!("! {code} {}", message.replace('\n', "|")),
        };
        got.push(format!("{title}\n{current}\n{body}\n{out}"));
    }
    let got = got.join("\n\n") + "\n";
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(CASES, &got).unwrap();
    }
    for (got, kept) in got.split("\n\n").zip(text.split("\n\n")) {
        assert_eq!(got.trim(), kept.trim());
    }
}

#[test]
fn custom_resources_have_no_strategic_patch() {
    let custom = apply_patch(&Patch::strategic(json!({})), json!({}), None).unwrap_err();
    assert_eq!((custom.code, custom.reason.as_str()), (415, "UnsupportedMediaType"));
}

#[test]
fn patches_have_limits() {
    let ops: Vec<Value> = (0..10_001).map(|_| json!({"op": "test", "path": ""})).collect();
    let refused = patch(PatchKind::Json, "", &json!({}), &Value::Array(ops)).unwrap_err();
    assert_eq!(
        refused,
        (413, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001".into())
    );
}

proptest! {
    #[test]
    fn patches_never_panic(current in any_object(), body in any_object(), ops in prop::collection::vec(any_object(), 0..5)) {
        for kind in [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic] {
            let _ = patch(kind, "Pod", &current, &body);
        }
        let _ = patch(PatchKind::Json, "Pod", &current, &Value::Array(ops));
    }

    #[test]
    fn a_merge_patch_and_its_result_agree(current in any_object(), body in any_object()) {
        if let (true, Ok(once)) = (current.is_object(), patch(PatchKind::Merge, "", &current, &body)) {
            // what was patched needs no patch
            prop_assert_eq!(patch(PatchKind::Merge, "", &once, &body), Ok(once.clone()));
        }
    }

    #[test]
    fn a_test_of_what_is_there_holds(current in any_object()) {
        let Value::Object(map) = &current else { return Ok(()) };
        for (name, value) in map {
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            let ops = json!([{"op": "test", "path": pointer, "value": value}, {"op": "replace", "path": pointer, "value": value}]);
            prop_assert_eq!(patch(PatchKind::Json, "", &current, &ops), Ok(current.clone()));
        }
    }
}
