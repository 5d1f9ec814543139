//! Tables of (schema, object, operation) → result.

use crate::{
    Malformed, Place, Schema, Validation, coerce, default, embedded, list_types, prune, prune_nulls, structural_errors,
    table, v2, v3, validate,
};
use serde_json::{Value, json};

fn lines(errors: &[coracle_api::FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn schemas_are_structural_or_say_why_not() {
    for (name, schema, expected) in [
        ("the least", json!({"type": "object"}), vec![]),
        ("no type at the root", json!({}), vec!["type: Required value: must not be empty at the root"]),
        (
            "another type at the root",
            json!({"type": "string"}),
            vec!["type: Invalid value: \"string\": must be object at the root"],
        ),
        (
            "a field without a type",
            json!({"type": "object", "properties": {"a": {}}}),
            vec!["properties[a].type: Required value: must not be empty for specified object fields"],
        ),
        (
            "items without a type",
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}),
            vec!["properties[a].items.type: Required value: must not be empty for specified array items"],
        ),
        (
            "a list without items",
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            vec!["properties[a].items: Required value: must be specified"],
        ),
        (
            "entries at the root",
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            vec!["additionalProperties: Forbidden: must not be used at the root"],
        ),
        (
            "either of two types, in the one way to say it",
            json!({"type": "object", "properties": {"a": {
                "x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}],
            }}}),
            vec![],
        ),
        (
            "the same below allOf",
            json!({"type": "object", "properties": {"a": {
                "x-kubernetes-int-or-string": true,
                "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}],
            }}}),
            vec![],
        ),
        (
            "a branch that describes",
            json!({"type": "object", "properties": {"a": {
                "type": "string", "oneOf": [{"type": "string", "default": "b", "description": "c"}],
            }}}),
            vec![
                "properties[a].oneOf[0].default: Forbidden: must be undefined to be structural",
                "properties[a].oneOf[0].description: Forbidden: must be empty to be structural",
                "properties[a].oneOf[0].type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            "a branch that speaks of what is not there",
            json!({"type": "object", "not": {"properties": {"b": {"pattern": "x"}}}}),
            vec!["properties[b]: Required value: because it is defined in .not.properties[b]"],
        ),
        (
            "metadata beyond names",
            json!({"type": "object", "properties": {"metadata": {
                "type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}, "labels": {"type": "object"}},
            }}}),
            vec![
                "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
        (
            "metadata with names only",
            json!({"type": "object", "properties": {"metadata": {
                "type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}},
            }}}),
            vec![],
        ),
        (
            "an embedded resource of another type",
            json!({"type": "object", "properties": {"a": {
                "type": "string", "x-kubernetes-embedded-resource": true,
            }}}),
            vec![
                "properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
                "properties[a].type: Invalid value: \"string\": must be object if x-kubernetes-embedded-resource is true",
            ],
        ),
        (
            "a pattern that is none",
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "+"}}}),
            vec![
                "properties[a].pattern: Invalid value: \"+\": must be a valid regular expression, but isn't: error parsing regexp: missing argument to repetition operator: `+`",
            ],
        ),
    ] {
        let errors = structural_errors(&Schema::parse(&schema), "");
        let got: Vec<String> = lines(&errors).into_iter().map(|l| l.trim_start_matches('.').to_string()).collect();
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn unknown_fields_are_pruned() {
    let any = json!({"x-kubernetes-preserve-unknown-fields": true, "type": "object", "properties": {"k": {"type": "object"}}});
    let schema = Schema::parse(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "string"}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string"}}}},
            "any": any,
            "embedded": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        }},
    }}));
    for (name, object, pruned, told) in [
        (
            "what is known stays",
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"x": 1}, "spec": {"a": "b"}}),
            None,
            vec![],
        ),
        (
            "what is not goes",
            json!({"x": 1, "spec": {"a": "b", "y": 2}}),
            Some(json!({"spec": {"a": "b"}})),
            vec!["spec.y", "x"],
        ),
        (
            "in maps",
            json!({"spec": {"map": {"k": {"b": "c", "d": 1}}}}),
            Some(json!({"spec": {"map": {"k": {"b": "c"}}}})),
            vec!["spec.map.k.d"],
        ),
        (
            "in lists",
            json!({"spec": {"list": [{"c": "d"}, {"e": 1}]}}),
            Some(json!({"spec": {"list": [{"c": "d"}, {}]}})),
            vec!["spec.list[1].e"],
        ),
        ("where anything goes", json!({"spec": {"any": {"x": {"y": 1}}}}), None, vec![]),
        (
            "below what is known where anything goes",
            json!({"spec": {"any": {"x": 1, "k": {"z": 1}}}}),
            Some(json!({"spec": {"any": {"x": 1, "k": {}}}})),
            vec!["spec.any.k.z"],
        ),
        (
            "a resource within",
            json!({"spec": {"embedded": {"apiVersion": "v1", "kind": "B", "metadata": {"name": "b"}, "z": 1}}}),
            Some(json!({"spec": {"embedded": {"apiVersion": "v1", "kind": "B", "metadata": {"name": "b"}}}})),
            vec!["spec.embedded.z"],
        ),
    ] {
        let mut got = object.clone();
        assert_eq!(prune(&mut got, &schema), told, "{name}");
        assert_eq!(got, pruned.unwrap_or(object), "{name}");
    }
}

#[test]
fn defaults_fill_what_is_missing() {
    let schema = Schema::parse(&json!({"type": "object", "properties": {
        "a": {"type": "string", "default": "A"},
        "n": {"type": "string", "nullable": true, "default": "N"},
        "o": {"type": "object", "default": {}, "properties": {"p": {"type": "integer", "default": 1}}},
        "q": {"type": "object", "properties": {"r": {"type": "integer", "default": 2}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"s": {"type": "boolean", "default": true}}}},
        "plain": {"type": "string"},
    }}));
    for (name, object, expected) in [
        ("nothing given", json!({}), json!({"a": "A", "n": "N", "o": {"p": 1}})),
        ("all given", json!({"a": "x", "n": "y", "o": {"p": 3}}), json!({"a": "x", "n": "y", "o": {"p": 3}})),
        ("null where it may stand", json!({"a": "x", "n": null, "o": {}}), json!({"a": "x", "n": null, "o": {"p": 1}})),
        (
            "null where it may not",
            json!({"a": null, "n": "y", "o": {}, "plain": null}),
            json!({"a": "A", "n": "y", "o": {"p": 1}}),
        ),
        (
            "below what is not there nothing is made",
            json!({"a": "x", "n": "y", "o": {}, "q": {}}),
            json!({"a": "x", "n": "y", "o": {"p": 1}, "q": {"r": 2}}),
        ),
        (
            "in items",
            json!({"a": "x", "n": "y", "o": {}, "list": [{}, {"s": false}]}),
            json!({"a": "x", "n": "y", "o": {"p": 1}, "list": [{"s": true}, {"s": false}]}),
        ),
    ] {
        let mut got = object;
        prune_nulls(&mut got, &schema);
        default(&mut got, &schema);
        assert_eq!(got, expected, "{name}");
    }
}

fn check_valid(name: &str, schema: &Value, value: &Value, old: Option<&Value>, expected: &[&str]) {
    let validation = old.map_or(Validation::Create, Validation::Update);
    let errors = validate(value, &Schema::parse(schema), validation, &Place::Root);
    assert_eq!(lines(&errors), expected, "{name}");
}

fn spec(of: Value) -> Value {
    json!({"type": "object", "properties": {"a": of}})
}

#[test]
fn values_are_valid_or_say_why_not() {
    for (name, of, value, expected) in [
        (
            "type",
            json!({"type": "integer"}),
            json!("x"),
            vec!["a: Invalid value: \"string\": a in body must be of type integer: \"string\""],
        ),
        ("whole numbers are numbers", json!({"type": "number"}), json!(1), vec![]),
        (
            "fractions are no integers",
            json!({"type": "integer"}),
            json!(1.5),
            vec!["a: Invalid value: \"number\": a in body must be of type integer: \"number\""],
        ),
        (
            "null",
            json!({"type": "string"}),
            json!(null),
            vec!["a: Invalid value: \"null\": a in body must be of type string: \"null\""],
        ),
        ("null where it may stand", json!({"type": "string", "nullable": true}), json!(null), vec![]),
        (
            "either",
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            vec!["a: Invalid value: \"boolean\": a in body must be of type integer,string: \"boolean\""],
        ),
        (
            "longest",
            json!({"type": "string", "maxLength": 2}),
            json!("äöü"),
            vec!["a: Too long: may not be more than 2 bytes"],
        ),
        (
            "shortest",
            json!({"type": "string", "minLength": 2}),
            json!("a"),
            vec!["a: Invalid value: \"a\": a in body should be at least 2 chars long"],
        ),
        (
            "pattern",
            json!({"type": "string", "pattern": "^b+$"}),
            json!("a"),
            vec!["a: Invalid value: \"a\": a in body should match '^b+$'"],
        ),
        (
            "format",
            json!({"type": "string", "format": "ipv4"}),
            json!("x"),
            vec!["a: Invalid value: \"x\": a in body must be of type ipv4: \"x\""],
        ),
        ("a format nobody knows", json!({"type": "string", "format": "zip"}), json!("x"), vec![]),
        (
            "choices",
            json!({"type": "string", "enum": ["x", "y"]}),
            json!("z"),
            vec!["a: Unsupported value: \"z\": supported values: \"x\", \"y\""],
        ),
        (
            "most",
            json!({"type": "integer", "maximum": 3}),
            json!(4),
            vec!["a: Invalid value: 4: a in body should be less than or equal to 3"],
        ),
        (
            "less than",
            json!({"type": "integer", "maximum": 3, "exclusiveMaximum": true}),
            json!(3),
            vec!["a: Invalid value: 3: a in body should be less than 3"],
        ),
        (
            "least",
            json!({"type": "number", "minimum": 1.5}),
            json!(1),
            vec!["a: Invalid value: 1: a in body should be greater than or equal to 1.5"],
        ),
        (
            "multiples",
            json!({"type": "integer", "multipleOf": 2}),
            json!(3),
            vec!["a: Invalid value: 3: a in body should be a multiple of 2"],
        ),
        (
            "items",
            json!({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 1}),
            json!([1]),
            vec![
                "a[0]: Invalid value: \"integer\": a[0] in body must be of type string: \"integer\"",
                "a: Invalid value: 1: a in body should have at least 2 items",
            ],
        ),
        (
            "too many",
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            vec!["a: Too many: 2: must have at most 1 items"],
        ),
        (
            "required",
            json!({"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}}),
            json!({}),
            vec!["a.b: Required value"],
        ),
        (
            "entries",
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"k": "x"}),
            vec!["a.k: Invalid value: \"string\": a.k in body must be of type integer: \"string\""],
        ),
        (
            "fewest entries",
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}),
            json!({}),
            vec!["a: Invalid value: 0: a in body should have at least 1 properties"],
        ),
        (
            "one of",
            json!({"type": "object", "oneOf": [{"required": ["b"]}, {"required": ["c"]}], "properties": {"b": {"type": "string"}, "c": {"type": "string"}}}),
            json!({"b": "", "c": ""}),
            vec![
                "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
        (
            "none of one",
            json!({"type": "object", "oneOf": [{"required": ["b"]}], "properties": {"b": {"type": "string"}}}),
            json!({}),
            vec![
                "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found none valid",
                "a.b: Required value",
            ],
        ),
        (
            "any of",
            json!({"type": "string", "anyOf": [{"pattern": "^x"}, {"pattern": "^y"}]}),
            json!("z"),
            vec![
                "<nil>: Invalid value: \"\": \"a\" must validate at least one schema (anyOf)",
                "a: Invalid value: \"z\": a in body should match '^x'",
            ],
        ),
        (
            "all of",
            json!({"type": "string", "allOf": [{"pattern": "^x"}, {"pattern": "y$"}]}),
            json!("xz"),
            vec![
                "a: Invalid value: \"xz\": a in body should match 'y$'",
                "<nil>: Invalid value: \"\": \"a\" must validate all the schemas (allOf)",
            ],
        ),
        (
            "not",
            json!({"type": "string", "not": {"pattern": "^x"}}),
            json!("x"),
            vec!["<nil>: Invalid value: \"\": \"a\" must not validate the schema (not)"],
        ),
    ] {
        check_valid(name, &spec(of), &json!({"a": value}), None, &expected);
    }
}

#[test]
fn what_was_wrong_before_may_stay() {
    let of = spec(json!({"type": "object", "properties": {
        "b": {"type": "string", "maxLength": 1},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
        "list": {"type": "array", "items": {"type": "integer", "maximum": 1}},
    }}));
    let old = json!({"a": {"b": "xx", "map": [{"k": "one", "v": 5}], "list": [7]}});
    for (name, new, expected) in [
        ("unchanged", old.clone(), vec![]),
        ("another field changed", json!({"a": {"b": "xx", "map": [], "list": [7]}}), vec![]),
        (
            "the field itself changed",
            json!({"a": {"b": "yy", "list": [7]}}),
            vec!["a.b: Too long: may not be more than 1 bytes"],
        ),
        ("an item known by its key", json!({"a": {"map": [{"k": "two", "v": 0}, {"k": "one", "v": 5}]}}), vec![]),
        (
            "a new item",
            json!({"a": {"map": [{"k": "two", "v": 5}]}}),
            vec!["a.map[0].v: Invalid value: 5: a.map[0].v in body should be less than or equal to 1"],
        ),
        (
            "items without keys are not known again",
            json!({"a": {"list": [7, 0]}}),
            vec!["a.list[0]: Invalid value: 7: a.list[0] in body should be less than or equal to 1"],
        ),
    ] {
        check_valid(name, &of, &new, Some(&old), &expected);
    }
}

#[test]
fn lists_keep_what_their_type_promises() {
    let of = |list: Value| Schema::parse(&spec(list));
    let set = of(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}));
    let map = of(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l"],
        "items": {"type": "object", "properties": {"k": {"type": "string"}, "l": {"type": "integer"}}}}));
    for (name, schema, list, expected) in [
        ("a set", &set, json!(["a", "b"]), vec![]),
        ("a set with the same twice", &set, json!(["a", "a", "a"]), vec!["a[1]: Duplicate value: \"a\""]),
        ("a map", &map, json!([{"k": "a", "l": 1}, {"k": "a", "l": 2}]), vec![]),
        (
            "a map with the same keys",
            &map,
            json!([{"k": "a", "l": 1}, {"k": "a", "l": 1}]),
            vec!["a[1]: Duplicate value: {\"k\":\"a\",\"l\":1}"],
        ),
        (
            "a map of something else",
            &map,
            json!(["x"]),
            vec!["a[0]: Invalid value: \"x\": must be an object for an array of list-type map"],
        ),
    ] {
        assert_eq!(lines(&list_types(&json!({"a": list}), schema)), expected, "{name}");
    }
}

#[test]
fn metadata_has_its_types() {
    let schema = Schema::parse(&spec(json!({
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
    })));
    for (name, object, malformed, expected) in [
        (
            "right",
            json!({"metadata": {"name": "a"}}),
            Malformed::Refuse,
            Ok((json!({"metadata": {"name": "a"}}), vec![])),
        ),
        (
            "unknown",
            json!({"metadata": {"name": "a", "x": 1}}),
            Malformed::Refuse,
            Ok((json!({"metadata": {"name": "a"}}), vec!["metadata.x"])),
        ),
        ("wrong", json!({"metadata": {"labels": 1}}), Malformed::Refuse, Err("metadata")),
        (
            "wrong in the store",
            json!({"metadata": {"name": "a", "labels": 1}}),
            Malformed::Drop,
            Ok((json!({"metadata": {"name": "a"}}), vec![])),
        ),
        (
            "within",
            json!({"a": {"kind": "B", "metadata": {"y": 1}}}),
            Malformed::Refuse,
            Ok((json!({"a": {"kind": "B", "metadata": {}}}), vec!["a.metadata.y"])),
        ),
        ("wrong kind within", json!({"a": {"kind": 1}}), Malformed::Refuse, Err("a.kind")),
    ] {
        let mut got = object;
        match (coerce(&mut got, &schema, malformed), expected) {
            (Ok(unknown), Ok((value, told))) => {
                assert_eq!((got, unknown), (value, told.into_iter().map(String::from).collect()), "{name}")
            }
            (Err(error), Err(path)) => assert_eq!(error.path, path, "{name}"),
            (got, expected) => panic!("{name}: {got:?}, not {expected:?}"),
        }
    }
    let errors = embedded(&json!({"a": {"kind": "b c", "metadata": {"labels": {"a b": "c"}}}}), &schema);
    let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["a.apiVersion", "a.kind", "a.metadata.labels"]);
}

#[test]
fn the_table_knows_what_belongs_together() {
    let schema = Schema::parse(&spec(
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string", "default": "x"}}}}),
    ));
    let owned = table(&schema, "example.com", "v1", "Thing");
    let of = owned.view();
    let coracle_api::schema::Shape::List(list) = of.field("a").unwrap().shape() else { panic!("no list") };
    assert!(list.is_map() && list.keys().eq(["k"]));
    assert!(of.field("metadata").is_some() && of.field("kind").is_some());
}

#[test]
fn documents_get_what_their_readers_take() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["n", "m"], "properties": {
        "n": {"type": "string", "nullable": true}, "m": {"type": "string", "oneOf": [{"pattern": "a"}]},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}}});
    let published = v3(&schema);
    assert_eq!(published["properties"]["spec"], schema["properties"]["spec"]);
    assert_eq!(published["properties"]["kind"]["type"], "string");
    let reduced = v2(&schema);
    assert_eq!(
        reduced["properties"]["spec"],
        json!({"type": "object", "required": ["m"], "properties": {"n": {}, "m": {"type": "string"}, "any": {"x-kubernetes-preserve-unknown-fields": true}}})
    );
    assert_eq!(v2(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})), json!({"type": "object"}));
}
