//! The schemas of a document: the types that its paths mention, and all they refer to.

use super::{Form, Served};
use crate::schema::{Field, Scalar, Schema, Shape, Type};
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const DURATION: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The prose of types and fields; large, so kept only while a document is made.
pub(super) struct Descriptions {
    text: String,
    types: HashMap<String, (usize, usize)>,
}

impl Descriptions {
    pub(super) fn load() -> Self {
        let mut text = String::new();
        // it is part of the program; if it cannot be read there are no descriptions
        let _ = GzDecoder::new(include_bytes!("../schema/descriptions.txt.gz").as_slice()).read_to_string(&mut text);
        let mut types: HashMap<String, (usize, usize)> = HashMap::new();
        let (mut at, mut current) = (0, String::new());
        for line in text.split_inclusive('\n') {
            if let Some((name, _)) = line.split_once('\t').filter(|(name, _)| !name.is_empty()) {
                current = name.to_string();
                types.insert(current.clone(), (at, at));
            }
            at += line.len();
            if let Some(range) = types.get_mut(&current) {
                range.1 = at;
            }
        }
        Self { text, types }
    }

    /// (field or empty for the type itself, text) of a type.
    fn of(&self, name: &str) -> HashMap<&str, String> {
        let (start, end) = self.types.get(name).copied().unwrap_or_default();
        let lines = self.text[start..end].lines().enumerate();
        lines
            .filter_map(|(i, line)| {
                let (key, text) = if i == 0 { ("", line.split_once('\t')?.1) } else { line[1..].split_once('\t')? };
                Some((key, text.replace("\\n", "\n").replace("\\\\", "\\")))
            })
            .collect()
    }
}

/// Collects what is referred to.
pub(super) struct Definitions<'a> {
    schema: &'a Schema,
    descriptions: &'a Descriptions,
    kinds: HashMap<&'a str, Vec<Value>>,
    pub(super) form: Form,
    done: BTreeMap<String, Value>,
    wanted: Vec<String>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(schema: &'a Schema, descriptions: &'a Descriptions, form: Form) -> Self {
        let mut kinds: HashMap<&str, Vec<Value>> = HashMap::new();
        for (kind, of) in schema.kinds() {
            let gvk = json!({"group": kind.group, "kind": kind.kind, "version": kind.version});
            kinds.entry(of.name()).or_default().push(gvk);
        }
        Self { schema, descriptions, kinds, form, done: BTreeMap::new(), wanted: Vec::new() }
    }

    /// `{"$ref": …}`, and the type goes into the document.
    pub(super) fn reference(&mut self, name: &str) -> Value {
        if !self.done.contains_key(name) {
            self.done.insert(name.to_string(), Value::Null);
            self.wanted.push(name.to_string());
        }
        json!({"$ref": self.form.reference(name)})
    }

    /// A reference to the type of a kind; custom kinds bring their own.
    pub(super) fn kind(&mut self, group: &str, version: &str, kind: &str) -> Value {
        match self.schema.type_of(group, version, kind) {
            Some(of) => self.reference(of.name()),
            None => json!({"type": "object"}),
        }
    }

    /// A reference to a served kind or its list.
    pub(super) fn served(&mut self, served: &Served, list: bool) -> Value {
        let resource = &served.resource;
        let name = if list { format!("{}List", resource.kind) } else { resource.kind.to_string() };
        let Some(definition) = &served.definition else {
            return self.kind(&resource.group, &resource.version, &name);
        };
        let package: Vec<&str> = resource.group.split('.').rev().collect();
        let full = |name: &str| format!("{}.{}.{name}", package.join("."), resource.version);
        let gvk = |name: &str| json!([{"group": resource.group, "kind": name, "version": resource.version}]);
        // whatever it says of metadata refers to this
        self.reference(OBJECT_META);
        let mut one = definition.clone();
        one["x-kubernetes-group-version-kind"] = gvk(&resource.kind);
        self.done.insert(full(&resource.kind), one);
        if list {
            let metadata = self.reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
            let item = json!({"$ref": self.form.reference(&full(&resource.kind))});
            self.done.insert(
                full(&name),
                json!({
                    "description": format!("{name} is a list of {}", resource.kind),
                    "type": "object",
                    "required": ["items"],
                    "properties": {
                        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": metadata,
                        "items": {"type": "array", "items": item},
                    },
                    "x-kubernetes-group-version-kind": gvk(&name),
                }),
            );
        }
        json!({"$ref": self.form.reference(&full(&name))})
    }

    /// The body of any patch.
    pub(super) fn patch(&mut self) -> Value {
        self.reference(PATCH)
    }

    pub(super) fn finish(mut self) -> Map<String, Value> {
        while let Some(name) = self.wanted.pop() {
            let value = match self.schema.type_named(&name) {
                Some(of) => self.definition(of),
                None => self.special(&name),
            };
            self.done.insert(name, value);
        }
        self.done.into_iter().collect()
    }

    fn special(&self, name: &str) -> Value {
        let v3 = self.form == Form::V3;
        let mut value = match name {
            QUANTITY if v3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            QUANTITY | DURATION => json!({"type": "string"}),
            INT_OR_STRING if v3 => {
                json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
            }
            INT_OR_STRING => json!({"type": "string", "format": "int-or-string"}),
            TIME | MICRO_TIME => json!({"type": "string", "format": "date-time"}),
            _ => json!({"type": "object"}),
        };
        if let Some(text) = self.descriptions.of(name).remove("").filter(|t| !t.is_empty()) {
            value["description"] = text.into();
        }
        value
    }

    fn definition(&mut self, of: Type<'a>) -> Value {
        let mut texts = self.descriptions.of(of.name());
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in of.fields() {
            if field.is_required() {
                required.push(json!(field.name()));
            }
            let text = texts.remove(field.name()).unwrap_or_default();
            let value = self.property(of, field, text);
            properties.insert(field.name().to_string(), value);
        }
        let mut value = json!({"type": "object"});
        if let Some(text) = texts.remove("").filter(|t| !t.is_empty()) {
            value["description"] = text.into();
        }
        if !properties.is_empty() {
            value["properties"] = Value::Object(properties);
        }
        if !required.is_empty() {
            value["required"] = Value::Array(required);
        }
        if of.is_atomic() {
            value["x-kubernetes-map-type"] = "atomic".into();
        }
        if let Some(kinds) = self.kinds.get(of.name()) {
            value["x-kubernetes-group-version-kind"] = Value::Array(kinds.clone());
        }
        value
    }

    fn property(&mut self, of: Type<'a>, field: Field<'a>, text: String) -> Value {
        let mut value = self.shape(field.shape());
        if field.shape() == Shape::ANY && of.name().contains("apiextensions") {
            // JSON Schema's own fields hold any JSON, not only objects
            value = json!({});
        }
        let default = serde_json::from_str::<Value>(field.default_json()).ok();
        if self.form == Form::V3 && value.get("$ref").is_some() && !(text.is_empty() && default.is_none()) {
            // beside a reference nothing else may stand in version 3
            value = json!({"allOf": [value]});
        }
        if !text.is_empty() {
            value["description"] = text.into();
        }
        if let Some(default) = default {
            value["default"] = default;
        }
        if let Shape::List(list) = field.shape() {
            if list.is_map() {
                value["x-kubernetes-list-type"] = "map".into();
                value["x-kubernetes-list-map-keys"] = list.keys().collect();
            } else {
                value["x-kubernetes-list-type"] = if list.is_set() { "set" } else { "atomic" }.into();
            }
        }
        let strategies: Vec<&str> =
            [(field.merges(), "merge"), (field.replaces(), "replace"), (field.retains_keys(), "retainKeys")]
                .into_iter()
                .filter_map(|(has, name)| has.then_some(name))
                .collect();
        if !strategies.is_empty() {
            value["x-kubernetes-patch-strategy"] = strategies.join(",").into();
        }
        if !field.merge_key().is_empty() {
            value["x-kubernetes-patch-merge-key"] = field.merge_key().into();
        }
        value
    }

    fn shape(&mut self, shape: Shape<'_>) -> Value {
        match shape {
            Shape::Object(of) => self.reference(of.name()),
            Shape::List(list) => json!({"type": "array", "items": self.shape(list.item())}),
            Shape::Map(map) => {
                let mut value = json!({"type": "object", "additionalProperties": self.shape(map.item())});
                if map.is_atomic() {
                    value["x-kubernetes-map-type"] = "atomic".into();
                }
                value
            }
            Shape::Scalar(scalar) => match scalar {
                Scalar::String => json!({"type": "string"}),
                Scalar::Int32 => json!({"type": "integer", "format": "int32"}),
                Scalar::Int64 => json!({"type": "integer", "format": "int64"}),
                Scalar::Number => json!({"type": "number", "format": "double"}),
                Scalar::Bool => json!({"type": "boolean"}),
                Scalar::Bytes => json!({"type": "string", "format": "byte"}),
                Scalar::IntOrString => self.reference(INT_OR_STRING),
                Scalar::Quantity => self.reference(QUANTITY),
                Scalar::Time => self.reference(TIME),
                Scalar::MicroTime => self.reference(MICRO_TIME),
                Scalar::Duration => self.reference(DURATION),
                Scalar::Json => json!({"type": "object"}),
            },
        }
    }
}
