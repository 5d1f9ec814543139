//! Schemas of custom resources, and the objects that they judge.

use super::two;
use crate::Target;
use coracle_api::{Path, options::FieldValidation, schema};
use coracle_cel::{limits, rules};
use coracle_structural::{self as structural, Malformed, Place, Schema, Validation};
use serde_json::Value;

pub(super) static TARGETS: &[Target] = &[
    Target { name: "structural", run: whole, seeds: STRUCTURAL },
    Target { name: "rules", run: expressions, seeds: RULES },
];

const STRUCTURAL: &[&[u8]] = &[
    b"{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"a\"],\"default\":{},\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^a+$\",\"maxLength\":3,\"default\":\"a\"},\"n\":{\"type\":\"number\",\"multipleOf\":0.1,\"minimum\":1,\"exclusiveMinimum\":true},\"l\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\",\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\",\"format\":\"ipv4\"}}}},\"x\":{\"x-kubernetes-int-or-string\":true,\"nullable\":true,\"enum\":[1,\"5%\"]},\"e\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,\"x-kubernetes-preserve-unknown-fields\":true},\"m\":{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[{\"minimum\":1},{\"not\":{\"maximum\":2}}],\"type\":\"integer\"}}}}}}\n{\"apiVersion\":\"a/v1\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"a\":\"aa\",\"n\":1.5,\"l\":[{\"k\":\"1.2.3.4\"},{\"k\":\"1.2.3.4\"}],\"x\":\"5%\",\"e\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"labels\":{\"a\":1}}},\"m\":{\"k\":9},\"u\":[null]}}",
];
const RULES: &[&[u8]] = &[
    b"{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"x-kubernetes-validations\":[{\"rule\":\"self.l.all(x, x.k != self.a)\",\"messageExpression\":\"'no ' + self.a\",\"fieldPath\":\".l\"},{\"rule\":\"oldSelf.a == self.a\",\"optionalOldSelf\":false}],\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":9},\"l\":{\"type\":\"array\",\"maxItems\":9,\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}}}}}}}\n{\"spec\":{\"a\":\"b\",\"l\":[{\"k\":\"b\"},{}]}}",
];

/// The schema and an object of it; `None` if the API's decoder would not let the schema pass.
fn read(input: &[u8]) -> Option<(Value, Value)> {
    let (definition, object) = two(input);
    let of = schema::Schema::builtin()
        .type_named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")?;
    let definition: Value = serde_json::from_slice(definition).ok()?;
    let definition = schema::conform(&definition, of, FieldValidation::Ignore).ok()?.value;
    Some((definition, serde_json::from_slice(object).unwrap_or_default()))
}

fn whole(input: &[u8]) {
    let Some((definition, object)) = read(input) else { return };
    let schema = Schema::parse(&definition);
    let errors = structural::structural_errors(&schema, "openAPIV3Schema");
    let (_, _) = (structural::v2(&definition), structural::v3(&definition));
    if !errors.is_empty() || !object.is_object() {
        return;
    }
    let mut made = object.clone();
    structural::prune(&mut made, &schema);
    let once = made.clone();
    assert!(structural::prune(&mut made, &schema).is_empty(), "what was pruned has nothing to prune");
    assert_eq!(made, once);
    structural::default(&mut made, &schema);
    let once = made.clone();
    structural::default(&mut made, &schema);
    assert_eq!(made, once, "what has its defaults needs no more");
    let _ = structural::coerce(&mut made, &schema, Malformed::Drop);
    let mut refused = object.clone();
    let _ = structural::coerce(&mut refused, &schema, Malformed::Refuse);
    structural::validate(&made, &schema, Validation::Create, &Place::Root);
    structural::validate(&made, &schema, Validation::Update(&object), &Place::Root);
    structural::list_types(&made, &schema);
    structural::embedded(&made, &schema);
    let _ = structural::table(&schema, "a", "v1", "A");
}

fn expressions(input: &[u8]) {
    let Some((definition, object)) = read(input) else { return };
    let Some(rules) = rules::Rules::compile(&definition) else { return };
    let _ = rules.check(&Path::root("openAPIV3Schema"));
    let budget = i64::try_from(limits::PER_CALL).unwrap_or(i64::MAX);
    for old in [None, Some(&object)] {
        rules.validate(rules::Request { object: &object, old, budget });
    }
}
