//! Validation rules: what is said of them when a schema is defined, and what they say of objects.

use coracle_api::status::Path;
use coracle_cel::{
    limits,
    rules::{Request, Rules, Verdict},
};
use serde_json::{Value, json};

fn root(properties: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})
}

/// A schema with one rule at its `spec`.
fn with_rule(properties: Value, rule: Value) -> Value {
    let mut schema = root(properties);
    schema["properties"]["spec"]["x-kubernetes-validations"] = json!([rule]);
    schema
}

fn check(schema: &Value) -> Vec<String> {
    let rules = Rules::compile(schema).expect("rules");
    rules.check(&Path::root("schema")).iter().map(ToString::to_string).collect()
}

fn validate(schema: &Value, object: &Value, old: Option<&Value>) -> Verdict {
    let rules = Rules::compile(schema).expect("rules");
    rules.validate(Request { object, old, budget: limits::PER_REQUEST })
}

fn errors(verdict: &Verdict) -> Vec<String> {
    verdict.errors.iter().map(ToString::to_string).collect()
}

#[test]
fn definitions() {
    const AT: &str = "schema.properties[spec].x-kubernetes-validations[0]";
    let int = || json!({"a": {"type": "integer"}, "b": {"type": "string"}});
    for (what, properties, rule, expected) in [
        ("a good rule", int(), json!({"rule": "self.a > 0"}), vec![]),
        (
            "an unknown field",
            int(),
            json!({"rule": "self.c > 0"}),
            vec![
                "rule: Invalid value: {\"rule\":\"self.c > 0\"}: compilation failed: ERROR: <input>:1:5: undefined field 'c'\n | self.c > 0\n | ....^",
            ],
        ),
        (
            "no such operator",
            int(),
            json!({"rule": "self.a == self.b"}),
            vec![
                "rule: Invalid value: {\"rule\":\"self.a == self.b\"}: compilation failed: ERROR: <input>:1:8: found no matching overload for '_==_' applied to '(int, string)'\n | self.a == self.b\n | .......^",
            ],
        ),
        (
            "not a bool",
            int(),
            json!({"rule": "self.a"}),
            vec!["rule: Invalid value: {\"rule\":\"self.a\"}: cel expression must evaluate to a bool"],
        ),
        (
            "a message that is no text",
            int(),
            json!({"rule": "true", "messageExpression": "self.a"}),
            vec![
                "messageExpression: Invalid value: {\"messageExpression\":\"self.a\",\"rule\":\"true\"}: messageExpression must evaluate to a string",
            ],
        ),
        ("empty", int(), json!({"rule": " "}), vec!["rule: Required value: rule is not specified"]),
        ("a line break needs a message", int(), json!({"rule": "true\n"}), vec![]),
        (
            "a line break needs a message",
            int(),
            json!({"rule": "true ||\nfalse"}),
            vec!["message: Required value: message must be specified if rule contains line breaks"],
        ),
        (
            "a message with line breaks",
            int(),
            json!({"rule": "true", "message": "a\nb"}),
            vec!["message: Invalid value: \"a\\nb\": must not contain line breaks"],
        ),
        (
            "an unknown reason",
            int(),
            json!({"rule": "true", "reason": "Because"}),
            vec![
                "reason: Unsupported value: \"Because\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"",
            ],
        ),
        (
            "a path to nowhere",
            int(),
            json!({"rule": "true", "fieldPath": ".c"}),
            vec!["fieldPath: Invalid value: \".c\": must be a valid path"],
        ),
        ("a path", int(), json!({"rule": "true", "fieldPath": ".a"}), vec![]),
        (
            "optionalOldSelf without oldSelf",
            int(),
            json!({"rule": "true", "optionalOldSelf": true}),
            vec!["optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"],
        ),
        ("an optional oldSelf", int(), json!({"rule": "oldSelf.hasValue()", "optionalOldSelf": true}), vec![]),
        (
            "an optional oldSelf has no fields",
            int(),
            json!({"rule": "oldSelf.a == 1", "optionalOldSelf": true}),
            vec![
                "rule: Invalid value: {\"optionalOldSelf\":true,\"rule\":\"oldSelf.a == 1\"}: compilation failed: ERROR: <input>:1:11: found no matching overload for '_==_' applied to '(optional_type(int), int)'\n | oldSelf.a == 1\n | ..........^",
            ],
        ),
        (
            "unbounded lists in lists",
            json!({"l": {"type": "array", "items": {"type": "string"}}}),
            json!({"rule": "self.l.all(x, self.l.all(y, x == y))"}),
            vec![
                "rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)",
                "rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema",
                "!x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)",
            ],
        ),
        (
            "bounded lists in lists",
            json!({"l": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}}}),
            json!({"rule": "self.l.all(x, self.l.all(y, x == y))"}),
            vec![],
        ),
    ] {
        let found = check(&with_rule(properties, rule));
        let expected: Vec<String> = expected
            .iter()
            .map(|text| match text.strip_prefix('!') {
                Some(text) => format!("schema: Forbidden: {text}"),
                None => format!("{AT}.{text}"),
            })
            .collect();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn old_self_needs_elements_that_can_be_told_apart() {
    let rule = json!([{"rule": "self.v == oldSelf.v"}]);
    let item = || json!({"type": "object", "required": ["k"], "properties": {"k": {"type": "string", "maxLength": 9}, "v": {"type": "integer"}}, "x-kubernetes-validations": rule});
    let list = |kind: &str| {
        let mut list = json!({"type": "array", "maxItems": 9, "items": item(), "x-kubernetes-list-type": kind});
        if kind == "map" {
            list["x-kubernetes-list-map-keys"] = json!(["k"]);
        }
        root(json!({"l": list}))
    };
    assert_eq!(check(&list("map")), Vec::<String>::new());
    for kind in ["atomic", "set"] {
        assert_eq!(
            check(&list(kind)),
            [
                "schema.properties[spec].properties[l].items.x-kubernetes-validations[0].rule: Invalid value: \"self.v == oldSelf.v\": oldSelf cannot be used on the uncorrelatable portion of the schema within schema.properties[spec].properties[l]",
            ]
        );
    }
}

#[test]
fn objects() {
    let replicas = || json!({"replicas": {"type": "integer"}, "min": {"type": "integer"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}}});
    let good = json!({"spec": {"replicas": 3, "min": 1}});
    let bad = json!({"spec": {"replicas": 1, "min": 3}});
    let compare = "self.min <= self.replicas";
    for (what, rule, object, expected) in [
        ("kept", json!({"rule": compare}), &good, vec![]),
        ("broken", json!({"rule": compare}), &bad, vec!["spec: Invalid value: failed rule: self.min <= self.replicas"]),
        ("with a message", json!({"rule": compare, "message": "too few"}), &bad, vec!["spec: Invalid value: too few"]),
        (
            "with a made message",
            json!({"rule": compare, "messageExpression": "'needs %d'.format([self.min])"}),
            &bad,
            vec!["spec: Invalid value: needs 3"],
        ),
        (
            "a made message that fails",
            json!({"rule": compare, "message": "m", "messageExpression": "self.labels['x']"}),
            &bad,
            vec!["spec: Invalid value: m"],
        ),
        (
            "a made message that is empty",
            json!({"rule": compare, "messageExpression": "'  '"}),
            &bad,
            vec!["spec: Invalid value: failed rule: self.min <= self.replicas"],
        ),
        (
            "pointing to a field",
            json!({"rule": compare, "fieldPath": ".min"}),
            &bad,
            vec!["spec.min: Invalid value: failed rule: self.min <= self.replicas"],
        ),
        (
            "pointing to a key",
            json!({"rule": compare, "fieldPath": ".labels['a.b']"}),
            &bad,
            vec!["spec.labels[a.b]: Invalid value: failed rule: self.min <= self.replicas"],
        ),
        (
            "as forbidden",
            json!({"rule": compare, "reason": "FieldValueForbidden"}),
            &bad,
            vec!["spec: Forbidden: failed rule: self.min <= self.replicas"],
        ),
        (
            "as required",
            json!({"rule": compare, "reason": "FieldValueRequired", "message": "m"}),
            &bad,
            vec!["spec: Required value: m"],
        ),
        (
            "as duplicate",
            json!({"rule": compare, "reason": "FieldValueDuplicate"}),
            &bad,
            vec!["spec: Duplicate value"],
        ),
        (
            "a field that is not there",
            json!({"rule": "self.labels.size() > 0"}),
            &good,
            vec!["spec: Invalid value: \"object\": no such key: labels evaluating rule: self.labels.size() > 0"],
        ),
        ("guarded", json!({"rule": "!has(self.labels) || self.labels.size() > 0"}), &good, vec![]),
        (
            "an error",
            json!({"rule": "self.min / 0 == 1", "message": "m"}),
            &good,
            vec!["spec: Invalid value: \"object\": division by zero evaluating rule: m"],
        ),
        (
            "too expensive",
            json!({"rule": "lists.range(1000).all(x, lists.range(1000).all(y, true))"}),
            &good,
            vec![
                "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: lists.range(1000).all(x, lists.range(1000).all(y, true))",
            ],
        ),
    ] {
        let verdict = validate(&with_rule(replicas(), rule), object, None);
        assert_eq!(errors(&verdict), expected, "{what}");
    }
}

#[test]
fn the_whole_tree_is_walked() {
    let name = json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != 'bad'", "message": "bad"}]});
    let mut schema = root(json!({
        "list": {"type": "array", "items": name},
        "map": {"type": "object", "additionalProperties": name},
        "nullable": {"type": "string", "nullable": true, "x-kubernetes-validations": [{"rule": "self != 'bad'"}]},
        "a.b": name,
        "number": {"x-kubernetes-int-or-string": true, "x-kubernetes-validations": [{"rule": "type(self) == int ? self > 0 : self.endsWith('%')", "message": "number"}]},
    }));
    schema["x-kubernetes-validations"] =
        json!([{"rule": "self.metadata.name != 'bad' && self.kind == 'T'", "message": "root"}]);
    schema["properties"]["spec"]["allOf"] = json!([{"x-kubernetes-validations": [{"rule": "!has(self.list) || self.list.size() < 3", "message": "all of"}]}]);
    assert_eq!(check(&schema), Vec::<String>::new());
    let object = json!({"apiVersion": "g/v1", "kind": "T", "metadata": {"name": "bad"}, "spec": {
        "list": ["a", "bad", "c"], "map": {"x": "bad"}, "nullable": null, "a.b": "bad", "number": -1,
    }});
    assert_eq!(
        errors(&validate(&schema, &object, None)),
        [
            "<nil>: Invalid value: root",
            "spec: Invalid value: all of",
            "spec.a.b: Invalid value: \"bad\": bad",
            "spec.list[1]: Invalid value: \"bad\": bad",
            "spec.map[x]: Invalid value: \"bad\": bad",
            "spec.number: Invalid value: -1: number",
        ]
    );
}

#[test]
fn transitions_and_what_was_wrong_before() {
    let item = json!({"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
    "x-kubernetes-validations": [
        {"rule": "self.v >= oldSelf.v", "message": "shrinks"},
        {"rule": "self.v < 10", "message": "large"},
        {"rule": "oldSelf.hasValue() || self.v == 0", "message": "starts", "optionalOldSelf": true},
    ]});
    let schema = root(
        json!({"l": {"type": "array", "maxItems": 9, "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}}),
    );
    let object = |items: &[(&str, i64)]| {
        let items: Vec<Value> = items.iter().map(|(k, v)| json!({"k": k, "v": v})).collect();
        json!({"spec": {"l": items}})
    };
    type Items = &'static [(&'static str, i64)];
    let cases: &[(&str, Option<Items>, Items, &[&str], &[&str])] = &[
        ("created", None, &[("a", 0)], &[], &[]),
        ("created with another start", None, &[("a", 1)], &["spec.l[0]: Invalid value: starts"], &[]),
        ("grown", Some(&[("a", 1)]), &[("a", 2)], &[], &[]),
        ("shrunk", Some(&[("a", 2)]), &[("a", 1)], &["spec.l[0]: Invalid value: shrinks"], &[]),
        ("moved", Some(&[("a", 2), ("b", 5)]), &[("b", 5), ("a", 2)], &[], &[]),
        ("added", Some(&[("a", 2)]), &[("a", 2), ("b", 7)], &["spec.l[1]: Invalid value: starts"], &[]),
        (
            "was wrong before",
            Some(&[("a", 20), ("b", 1)]),
            &[("a", 20), ("b", 2)],
            &[],
            &["spec.l[0]: Invalid value: large"],
        ),
        ("is wrong now", Some(&[("a", 2)]), &[("a", 20)], &["spec.l[0]: Invalid value: large"], &[]),
        ("gets more wrong", Some(&[("a", 20)]), &[("a", 21)], &["spec.l[0]: Invalid value: large"], &[]),
    ];
    for (what, old, new, expected, tolerated) in cases {
        let old = old.map(object);
        let verdict = validate(&schema, &object(new), old.as_ref());
        assert_eq!(errors(&verdict), *expected, "{what}");
        let found: Vec<String> = verdict.tolerated.iter().map(ToString::to_string).collect();
        assert_eq!(found, *tolerated, "{what}");
    }
}

#[test]
fn the_budget_is_for_all_rules() {
    let schema = with_rule(json!({"a": {"type": "integer"}}), json!({"rule": "self.a + 1 > 0"}));
    let rules = Rules::compile(&schema).expect("rules");
    let object = json!({"spec": {"a": 1}});
    let with_budget = |budget| rules.validate(Request { object: &object, old: None, budget });
    assert_eq!(with_budget(10), Verdict { budget: 6, ..Verdict::default() });
    assert_eq!(with_budget(4), Verdict { budget: 0, ..Verdict::default() });
    for budget in [3, 0] {
        let verdict = with_budget(budget);
        assert_eq!(
            errors(&verdict),
            [
                "spec: Invalid value: \"object\": validation failed due to running out of cost budget, no further validation rules will be run",
            ]
        );
        assert_eq!(verdict.budget, -1);
    }
}

#[test]
fn no_rules_no_work() {
    assert!(Rules::compile(&root(json!({"a": {"type": "string"}}))).is_none());
    assert!(Rules::compile(&json!({})).is_none());
}
