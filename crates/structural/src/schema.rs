//! A schema (upstream's JSONSchemaProps) as a tree of Rust values.

use crate::pattern::Pattern;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A schema, or a branch of one under `allOf`, `anyOf`, `oneOf`, `not`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// `type`; empty if not given.
    pub kind: String,
    /// `title`.
    pub title: String,
    /// `description`.
    pub description: String,
    /// `format`; empty if not given.
    pub format: String,
    /// `pattern`.
    pub pattern: Option<Pattern>,
    /// `nullable`.
    pub nullable: bool,
    /// `default`.
    pub default: Option<Value>,
    /// `example`.
    pub example: Option<Value>,
    /// `externalDocs`.
    pub external_docs: Option<Value>,
    /// `maximum`.
    pub maximum: Option<f64>,
    /// `exclusiveMaximum`.
    pub exclusive_maximum: bool,
    /// `minimum`.
    pub minimum: Option<f64>,
    /// `exclusiveMinimum`.
    pub exclusive_minimum: bool,
    /// `multipleOf`.
    pub multiple_of: Option<f64>,
    /// `maxLength`.
    pub max_length: Option<i64>,
    /// `minLength`.
    pub min_length: Option<i64>,
    /// `maxItems`.
    pub max_items: Option<i64>,
    /// `minItems`.
    pub min_items: Option<i64>,
    /// `maxProperties`.
    pub max_properties: Option<i64>,
    /// `minProperties`.
    pub min_properties: Option<i64>,
    /// `uniqueItems`.
    pub unique_items: bool,
    /// `required`.
    pub required: Vec<String>,
    /// `enum`.
    pub choices: Vec<Value>,
    /// `items`, if it is one schema.
    pub items: Option<Box<Schema>>,
    /// `properties`.
    pub properties: BTreeMap<String, Schema>,
    /// `additionalProperties`.
    pub additional: Option<Additional>,
    /// `allOf`.
    pub all_of: Vec<Schema>,
    /// `anyOf`.
    pub any_of: Vec<Schema>,
    /// `oneOf`.
    pub one_of: Vec<Schema>,
    /// `not`.
    pub not: Option<Box<Schema>>,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: Option<bool>,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`.
    pub list_type: Option<String>,
    /// `x-kubernetes-list-map-keys`.
    pub list_keys: Vec<String>,
    /// `x-kubernetes-map-type`.
    pub map_type: Option<String>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    /// What is given that OpenAPI v3 in Kubernetes does not have.
    pub unsupported: Vec<Unsupported>,
}

/// `additionalProperties`.
#[derive(Clone, Debug, PartialEq)]
pub enum Additional {
    /// Any, or none.
    Any(bool),
    /// Such as this.
    Schema(Box<Schema>),
}

/// A rule in CEL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `rule`.
    pub rule: String,
    /// `message`.
    pub message: String,
    /// `messageExpression`.
    pub message_expression: String,
    /// `reason`.
    pub reason: Option<String>,
    /// `fieldPath`.
    pub field_path: String,
    /// `optionalOldSelf`.
    pub optional_old_self: Option<bool>,
}

/// What a list's items are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    Atomic,
    /// Items are told apart by value.
    Set,
    /// Items are told apart by keys.
    Map,
}

/// Parts of JSON Schema that definitions must not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// `id`.
    Id,
    /// `$schema`.
    Schema,
    /// `$ref`.
    Ref,
    /// `additionalItems`.
    AdditionalItems,
    /// `patternProperties`.
    PatternProperties,
    /// `definitions`.
    Definitions,
    /// `dependencies`.
    Dependencies,
    /// `items` as a list of schemas.
    ItemsList,
}

impl Unsupported {
    /// The field.
    pub fn field(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Schema => "schema",
            Self::Ref => "$ref",
            Self::AdditionalItems => "additionalItems",
            Self::PatternProperties => "patternProperties",
            Self::Definitions => "definitions",
            Self::Dependencies => "dependencies",
            Self::ItemsList => "items",
        }
    }
}

impl Schema {
    /// Reads a schema whose types the API's decoder has checked.
    pub fn parse(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_string();
        let words = |key: &str| -> Vec<String> {
            value[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
        };
        let many = |key: &str| value[key].as_array().into_iter().flatten().map(Self::parse).collect();
        let given = |key: &str| value.get(key).filter(|v| !v.is_null()).cloned();
        let flag = |key: &str| value[key].as_bool().unwrap_or(false);
        let one = |key: &str| value.get(key).filter(|v| v.is_object()).map(|v| Box::new(Self::parse(v)));
        Self {
            kind: text("type"),
            title: text("title"),
            description: text("description"),
            format: text("format"),
            pattern: value["pattern"].as_str().filter(|p| !p.is_empty()).map(Pattern::new),
            nullable: flag("nullable"),
            default: given("default"),
            example: given("example"),
            external_docs: given("externalDocs"),
            maximum: value["maximum"].as_f64(),
            exclusive_maximum: flag("exclusiveMaximum"),
            minimum: value["minimum"].as_f64(),
            exclusive_minimum: flag("exclusiveMinimum"),
            multiple_of: value["multipleOf"].as_f64(),
            max_length: value["maxLength"].as_i64(),
            min_length: value["minLength"].as_i64(),
            max_items: value["maxItems"].as_i64(),
            min_items: value["minItems"].as_i64(),
            max_properties: value["maxProperties"].as_i64(),
            min_properties: value["minProperties"].as_i64(),
            unique_items: flag("uniqueItems"),
            required: words("required"),
            choices: value["enum"].as_array().cloned().unwrap_or_default(),
            items: one("items"),
            properties: children(&value["properties"]),
            additional: match value.get("additionalProperties") {
                Some(Value::Bool(any)) => Some(Additional::Any(*any)),
                Some(schema @ Value::Object(_)) => Some(Additional::Schema(Box::new(Self::parse(schema)))),
                _ => None,
            },
            all_of: many("allOf"),
            any_of: many("anyOf"),
            one_of: many("oneOf"),
            not: one("not"),
            preserve_unknown: value["x-kubernetes-preserve-unknown-fields"].as_bool(),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list_type: value["x-kubernetes-list-type"].as_str().map(String::from),
            list_keys: words("x-kubernetes-list-map-keys"),
            map_type: value["x-kubernetes-map-type"].as_str().map(String::from),
            rules: value["x-kubernetes-validations"].as_array().into_iter().flatten().map(Rule::parse).collect(),
            unsupported: unsupported(value),
        }
    }

    /// Whether unknown fields are kept.
    pub fn preserves_unknown(&self) -> bool {
        self.preserve_unknown == Some(true)
    }

    /// What the items of such a list are to each other.
    pub fn list_type(&self) -> ListType {
        match self.list_type.as_deref() {
            Some("map") => ListType::Map,
            Some("set") => ListType::Set,
            _ => ListType::Atomic,
        }
    }

    /// The schema of entries that are no properties, if they have one.
    pub fn entry(&self) -> Option<&Self> {
        match &self.additional {
            Some(Additional::Schema(schema)) => Some(schema),
            _ => None,
        }
    }

    /// The schema of the field `name`: of the property or of any entry.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.entry())
    }

    /// Whether this schema or one below it (branches included) is such.
    pub fn any(&self, is: &mut dyn FnMut(&Self) -> bool) -> bool {
        is(self)
            || self.items.iter().any(|s| s.any(is))
            || self.properties.values().any(|s| s.any(is))
            || self.entry().is_some_and(|s| s.any(is))
            || [&self.all_of, &self.any_of, &self.one_of].into_iter().flatten().any(|s| s.any(is))
            || self.not.iter().any(|s| s.any(is))
    }

    /// The same as the root of a resource: its `apiVersion`, `kind` and `metadata` are those of a resource.
    #[must_use]
    pub fn as_root(&self) -> std::borrow::Cow<'_, Self> {
        if self.embedded {
            return std::borrow::Cow::Borrowed(self);
        }
        std::borrow::Cow::Owned(Self { embedded: true, ..self.clone() })
    }
}

fn children(value: &Value) -> BTreeMap<String, Schema> {
    value.as_object().into_iter().flatten().map(|(name, schema)| (name.clone(), Schema::parse(schema))).collect()
}

fn unsupported(value: &Value) -> Vec<Unsupported> {
    let text = |key: &str| value[key].as_str().is_some_and(|s| !s.is_empty());
    let entries = |key: &str| value[key].as_object().is_some_and(|m| !Map::is_empty(m));
    [
        (Unsupported::Id, text("id")),
        (Unsupported::Schema, text("$schema")),
        (Unsupported::Ref, value["$ref"].is_string()),
        (Unsupported::AdditionalItems, value.get("additionalItems").is_some_and(|v| !v.is_null())),
        (Unsupported::PatternProperties, entries("patternProperties")),
        (Unsupported::Definitions, entries("definitions")),
        (Unsupported::Dependencies, value["dependencies"].is_object()),
        (Unsupported::ItemsList, value["items"].is_array()),
    ]
    .into_iter()
    .filter_map(|(what, given)| given.then_some(what))
    .collect()
}

impl Rule {
    fn parse(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_string();
        Self {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: value["reason"].as_str().map(String::from),
            field_path: text("fieldPath"),
            optional_old_self: value["optionalOldSelf"].as_bool(),
        }
    }
}
