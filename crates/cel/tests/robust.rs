//! No expression, however odd, does worse than fail.

use coracle_cel::{Decl, Env, Value, limits, rules::Rules};
use proptest::prelude::*;
use serde_json::json;

fn env() -> (Env, std::sync::Arc<Decl>) {
    let schema = json!({"type": "object", "properties": {
        "i": {"type": "integer"}, "d": {"type": "number"}, "s": {"type": "string"}, "b": {"type": "boolean"},
        "t": {"type": "string", "format": "date-time"}, "x": {"x-kubernetes-int-or-string": true},
        "l": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
    }});
    let decl = Decl::from_schema(&schema, false, "selfType").expect("a declaration");
    (Env::new().with("self", decl.clone()).with_sizes_of(decl.clone()), decl)
}

/// Compiles and, if that works, runs.
fn survive(env: &Env, decl: &Decl, expression: &str) {
    let object = json!({"i": -3, "d": 1e300, "s": "ä👑\u{0}x", "b": true, "t": "2020-02-29T23:59:59.9Z", "x": "5%", "l": ["a", "", "a"], "m": {"k": 9}});
    match env.compile(expression) {
        Ok(program) => {
            let _ = program.estimated_cost();
            let outcome = program.run(&[("self", Value::from_json(&object, decl).expect("a value"))], limits::PER_CALL);
            if let Err(fault) = outcome.result {
                assert!(!fault.to_string().is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Pieces that expressions are made of, so that many of the mixtures parse.
const PIECES: &[&str] = &[
    "self",
    ".i",
    ".d",
    ".s",
    ".b",
    ".t",
    ".x",
    ".l",
    ".m",
    "[0]",
    "['k']",
    "[?0]",
    ".?s",
    "1",
    "-9223372036854775808",
    "18446744073709551615u",
    "1e308",
    "0.1",
    "'ä'",
    "\"\"",
    "b'\\xff'",
    "true",
    "null",
    "[]",
    "{}",
    "[1, 2]",
    "{'a': 1}",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " == ",
    " != ",
    " < ",
    " >= ",
    " && ",
    " || ",
    " in ",
    " ? ",
    " : ",
    "!",
    "-",
    "(",
    ")",
    ",",
    ".all(v, ",
    ".exists(v, ",
    ".map(v, ",
    ".filter(v, ",
    ".exists_one(v, ",
    ".transformMap(k, v, ",
    ".sortBy(v, ",
    "cel.bind(v, ",
    "v",
    "has(",
    "size(",
    "string(",
    "int(",
    "double(",
    "timestamp(",
    "duration(",
    "type(",
    "dyn(",
    ".matches(",
    ".replace(",
    ".split(",
    ".substring(",
    ".charAt(",
    ".indexOf(",
    ".lastIndexOf(",
    ".format(",
    ".join(",
    ".slice(",
    ".flatten()",
    ".sort()",
    ".min()",
    ".sum()",
    ".distinct()",
    "lists.range(",
    "sets.contains(",
    "quantity(",
    "url(",
    "ip(",
    "cidr(",
    "semver(",
    ".getFullYear()",
    ".getHours(",
    "optional.of(",
    ".orValue(",
    ".optMap(v, ",
    ".first()",
    "format.named(",
    ".validate(",
    "strings.quote(",
    "`",
    "'",
    "\\",
    "\n",
    "//",
    "👑",
    ".",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mixtures(pieces in prop::collection::vec(prop::sample::select(PIECES), 1..14)) {
        let (env, decl) = env();
        survive(&env, &decl, &pieces.concat());
    }

    #[test]
    fn texts(text in "\\PC{0,40}") {
        let (env, decl) = env();
        survive(&env, &decl, &text);
    }

    #[test]
    fn calls(method in prop::sample::select(&["charAt", "indexOf", "lastIndexOf", "substring", "split", "replace", "slice", "matches", "find", "findAll", "getHours"][..]),
        receiver in prop::sample::select(&["self.s", "self.l", "self.t", "'é'", "''", "[1]"][..]),
        args in prop::collection::vec(prop::sample::select(&["-1", "0", "1", "2", "9223372036854775807", "''", "'👑'", "'('", "self.s", "dyn(1)"][..]), 0..4)) {
        let (env, decl) = env();
        survive(&env, &decl, &format!("{receiver}.{method}({})", args.join(", ")));
    }
}

#[test]
fn depth_and_length() {
    let (env, decl) = env();
    let deep = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    for times in [10, 49, 61, 82, 100, 124, 240, 1_000, 20_000] {
        for expression in [
            deep("(", "1", ")", times),
            deep("[", "1", "]", times),
            deep("{'a': ", "1", "}", times),
            deep("type(", "1", ")", times),
            deep("!", "true", "", times),
            deep("-", "1", "", times),
            deep("true ? 1 : ", "2", "", times),
            deep("1 + ", "1", "", times),
            deep("true && ", "true", "", times),
            deep("self", "", ".a", times),
            deep("self.l", "", "[0]", times),
            deep("[1].map(x, ", "x", ")", times),
            deep("[1].all(x, ", "true", ")", times),
            deep("[1].sortBy(x, ", "1", ").size()", times),
            deep("optional.of(1).optMap(x, ", "x", ").value()", times),
            deep("cel.bind(x, [1, 1], ", "x", ")", times),
            deep("(", "", "", times),
            deep("'", "", "", times),
            deep("{", "", "", times),
            deep("has(", "self.s", ")", times),
            deep("self.?", "s", "", times),
            "a.".repeat(times),
            "1,".repeat(times),
            format!("'{}' == ''", "x".repeat(times)),
        ] {
            survive(&env, &decl, &expression);
        }
    }
}

#[test]
fn growth_is_bounded() {
    let (env, decl) = env();
    let twice = |times: usize| (0..times).fold("x".to_string(), |inner, _| format!("cel.bind(x, x + x, {inner})"));
    let nested =
        |made: &str, last: &str| (0..60).fold(last.to_string(), |inner, _| format!("cel.bind(x, {made}, {inner})"));
    for expression in [
        format!("cel.bind(x, 1, {})", nested("{x: x}", "1")),
        format!("cel.bind(x, 1, {})", nested("[{'k': x}, {'k': x}]", "x == x")),
        format!("cel.bind(x, dyn(1), {})", nested("dyn([x, x])", "x == x")),
        format!("cel.bind(x, dyn(1), {})", nested("dyn([x, x])", "[x].isSorted()")),
        format!("cel.bind(x, dyn(1), {})", nested("dyn([x, x])", "'%s'.format([x])")),
        format!("cel.bind(x, dyn(1), {})", nested("dyn([x, x])", "x.flatten(100)")),
        format!("cel.bind(x, dyn(1), {})", nested("dyn([x, x])", "[x, x].distinct()")),
        format!("cel.bind(x, [1], {})", twice(60)),
        format!("cel.bind(x, 'a', {})", twice(60)),
        "lists.range(9223372036854775807)".into(),
        "'a'.replace('', 'b'.replace('', self.s))".into(),
        "self.s.matches('(((((a{1000}){1000}){1000}){1000}){1000})')".into(),
        "[1].map(x, [x, x]).map(x, [x, x]).map(x, x + x).flatten(1000000)".into(),
    ] {
        survive(&env, &decl, &expression);
    }
}

/// Expressions that cost little and do much, over a large object, end before long.
#[test]
fn cheap_but_slow() {
    let schema = json!({"type": "object", "properties": {
        "s": {"type": "string"}, "l": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let decl = Decl::from_schema(&schema, false, "selfType").expect("a declaration");
    let env = Env::new().with("self", decl.clone());
    let texts: Vec<String> = (0..50_000).map(|n| format!("text {n}")).collect();
    let map: serde_json::Map<_, _> = texts.iter().map(|text| (text.clone(), json!(text))).collect();
    let object = json!({"s": "x".repeat(500_000), "l": texts, "set": texts, "m": map});
    for expression in [
        "self.l.all(x, self == self)",
        "self.l.map(x, self.l + [x]).size() > 0",
        "self.l.map(x, self.l + self.l).flatten().size() > 0",
        "self.set == self.set && self.set + self.set == self.set",
        "self.l.all(x, self.set == self.set)",
        "self.l.all(x, self.m.exists(k, true))",
        "self.l.all(x, self.s.size() > 0)",
        "self.l.all(x, self.s != x)",
        "sets.equivalent(self.l, self.l)",
        "self.l.distinct().size() > 0",
        "self.l.sort().size() > 0",
        "self.s.matches('(x*)*y')",
        "lists.range(1000000).size() > 0",
    ] {
        let program = env.compile(expression).expect(expression);
        let value = Value::from_json(&object, &decl).expect("a value");
        let _ = program.run(&[("self", value)], limits::PER_CALL);
    }
}

#[test]
fn odd_schemas() {
    for schema in [
        json!(null),
        json!([]),
        json!({"x-kubernetes-validations": [null, 1, {}, {"rule": 1}, {"rule": "self"}]}),
        json!({"type": "array", "x-kubernetes-validations": [{"rule": "true"}]}),
        json!({"type": "object", "properties": 1, "items": [], "x-kubernetes-validations": [{"rule": "true"}]}),
        json!({"type": "object", "properties": {"a": {"x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-validations": [{"rule": "self.b"}]}}}),
        json!({"type": "object", "maxProperties": -1, "additionalProperties": {"type": "string", "maxLength": -5, "x-kubernetes-validations": [{"rule": "self != ''"}]}}),
    ] {
        if let Some(rules) = Rules::compile(&schema) {
            let _ = rules.check(&coracle_api::status::Path::root("schema"));
            for object in [json!(null), json!({"a": {"b": 1}}), json!([1]), json!("x")] {
                let request =
                    coracle_cel::rules::Request { object: &object, old: Some(&object), budget: limits::PER_REQUEST };
                let _ = rules.validate(request);
            }
        }
    }
}
