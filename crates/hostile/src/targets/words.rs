//! Short texts in fields, queries and headers: selectors, quantities, times, paths, patterns, expressions, schedules, URLs.

use super::{objects::live, text, two};
use crate::Target;
use coracle_api::{FieldSelector, LabelSelector, jsonpath::JsonPath, pattern, quantity::Quantity, schema::decode};
use coracle_cel::{DYNAMIC, Env, Value, limits};
use coracle_kinds::batch::schedule::Schedule;
use coracle_runtime::Reference;
use coracle_server::{
    http::negotiate::{self, Endpoint},
    registry::list::Token,
    route::{Query, RequestInfo},
};
use jiff::{Timestamp, tz::TimeZone};
use std::sync::LazyLock;

pub(super) static TARGETS: &[Target] = &[
    Target { name: "label_selector", run: label_selector, seeds: &[b"a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2"] },
    Target { name: "field_selector", run: field_selector, seeds: &[br"metadata.name=a,spec.nodeName!=b\,c"] },
    Target { name: "quantity", run: quantity, seeds: &[b"1.5Gi", b"-100m", b"1e3", b"0.5E2", b"12Ei", b"1n"] },
    Target { name: "time", run: time, seeds: &[b"2026-01-02T03:04:05Z", b"2026-01-02t03:04:05.123456789+01:00"] },
    Target { name: "json_path", run: json_path, seeds: JSON_PATH },
    Target {
        name: "pattern",
        run: go_pattern,
        seeds: &[br"^(?i:[a-z\d]+|\Q.\E)*?\b[^[:alpha:]]{1,3}$", br"\pL\x{41}"],
    },
    Target { name: "cel", run: cel, seeds: CEL },
    Target { name: "schedule", run: schedule, seeds: &[b"*/15 0-12,20 1 jan-MAR ?", b"@every 1h30m", b"@daily"] },
    Target { name: "url", run: url, seeds: URL },
    Target { name: "accept", run: accept, seeds: ACCEPT },
    Target { name: "continue", run: continue_token, seeds: CONTINUE },
    Target { name: "reference", run: reference, seeds: REFERENCE },
];

const JSON_PATH: &[&[u8]] =
    &[br#".spec.containers[?(@.name=="c")].ports[0:1:1]..containerPort"#, br"['metadata'].labels.a\.b[-1,0][*]"];
const CEL: &[&[u8]] = &[
    b"self.a.all(x, x.matches('^[a-z]+$') && size(x) < 5) || has(self.b) ? [1, 2u, 0x3] : {'k': b\"\\x00\"}",
    b"self.spec.containers.map(c, c.name + string(c.ports.size())).join(',') == 'c1'",
    b"self.metadata.?labels[?'x'].orValue('').format(['%s']) in self.spec.containers",
];
const URL: &[&[u8]] = &[
    b"GET /apis/apps/v1/namespaces/a/deployments/b%2Fc/scale?watch=1&labelSelector=a%3Db+c",
    b"DELETE /api/v1/watch/nodes/a/proxy/x/../y/?fieldSelector=metadata.name=a",
];
const ACCEPT: &[&[u8]] = &[
    b"application/json;as=Table;v=v1;g=meta.k8s.io,application/vnd.kubernetes.protobuf;q=0.5,*/*;q=0.1",
    b"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/yaml",
];
const CONTINUE: &[&[u8]] = &[b"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTIsInN0YXJ0IjoiZGVmYXVsdC9hXHUwMDAwIn0"];
const REFERENCE: &[&[u8]] = &[
    b"registry.example.com:5000/a/b:v1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    b"nginx",
];

fn label_selector(input: &[u8]) {
    if let Some(selector) = text(input).and_then(|text| LabelSelector::parse(text).ok()) {
        let shown = selector.to_string();
        assert_eq!(LabelSelector::parse(&shown).map(|s| s.to_string()), Ok(shown));
    }
}

fn field_selector(input: &[u8]) {
    let _ = text(input).map(FieldSelector::parse);
}

fn quantity(input: &[u8]) {
    if let Some(quantity) = text(input).and_then(|text| text.parse::<Quantity>().ok()) {
        let shown = quantity.to_string();
        assert_eq!(shown.parse::<Quantity>().map(|q| q.to_string()).ok(), Some(shown));
    }
    if let Some(Ok(written)) = text(input).map(coracle_api::quantity::canonical) {
        assert_eq!(coracle_api::quantity::canonical(&written), Ok(written.clone()));
    }
}

fn time(input: &[u8]) {
    for micro in [false, true] {
        if let Some(Ok(Some(time))) = text(input).map(|text| decode::canonical_time(text, micro)) {
            assert_eq!(decode::canonical_time(&time, micro), Ok(Some(time.clone())));
        }
    }
}

fn json_path(input: &[u8]) {
    if let Some(path) = text(input).and_then(|text| JsonPath::parse(text).ok()) {
        let object = live();
        assert_eq!(path.first(&object), path.find(&object).first().copied());
    }
}

/// A pattern; after a line what it is held against.
fn go_pattern(input: &[u8]) {
    let (pattern_, value) = two(input);
    if let Some(Ok(regex)) = text(pattern_).map(pattern) {
        let _ = text(value).map(|value| regex.is_match(value));
    }
}

fn cel(input: &[u8]) {
    static ENV: LazyLock<Env> = LazyLock::new(|| Env::default().with("self", DYNAMIC.clone()).with_mutation());
    let Some(Ok(program)) = text(input).map(|text| ENV.compile(text)) else { return };
    let object = live();
    if let Ok(value) = Value::from_json(&object, &DYNAMIC) {
        let outcome = program.run(&[("self", value)], limits::PER_CALL);
        let _ = outcome.result.map(|value| coracle_cel::to_json(&value));
    }
}

fn schedule(input: &[u8]) {
    if let Some(schedule) = text(input).and_then(|text| Schedule::parse(text).ok()) {
        let next = schedule.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC);
        assert!(next.is_none_or(|next| next > Timestamp::UNIX_EPOCH), "{next:?}");
    }
}

/// A method, a space, a path with its query.
fn url(input: &[u8]) {
    let Some((method, url)) = text(input).and_then(|text| text.split_once(' ')) else { return };
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let query = Query::parse(query);
    let info = RequestInfo::parse(method, path, &query);
    assert!(info.is_resource() || info.name.is_empty(), "{info:?}");
}

fn accept(input: &[u8]) {
    let Some(header) = text(input) else { return };
    for endpoint in [Endpoint::Objects { protobuf: true }, Endpoint::Plain, Endpoint::Discovery] {
        let _ = negotiate::accept_stream(header, endpoint);
    }
}

fn continue_token(input: &[u8]) {
    if let Some(token) = text(input).and_then(|text| Token::decode(text).ok()) {
        assert_eq!(Token::decode(&Token::encode(token.rv, &token.start)).ok(), Some(token));
    }
}

fn reference(input: &[u8]) {
    if let Some(reference) = text(input).and_then(|text| Reference::parse(text).ok()) {
        let shown = reference.to_string();
        assert_eq!(Reference::parse(&shown).map(|r| r.to_string()).ok(), Some(shown));
    }
}
