//! The schema as a table of the same form as that of the built-in types: what server-side apply walks.

use crate::schema::{Additional, ListType, Schema};
use coracle_api::schema::{Builder, NewField, OwnedType, Scalar, ShapeId, TypeId};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The table of a kind whose objects have this schema.
pub fn table(schema: &Schema, group: &str, version: &str, kind: &str) -> OwnedType {
    let mut maker = Maker { builder: coracle_api::Schema::builder(), text: None };
    let package: Vec<&str> = group.split('.').rev().collect();
    let root = maker.object(schema, &format!("{}.{version}.{kind}", package.join(".")), Metadata::Own);
    maker.builder.finish(root, group, version, kind)
}

/// Whether an object is a resource.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Metadata {
    Own,
    None,
}

struct Maker {
    builder: Builder,
    text: Option<ShapeId>,
}

impl Maker {
    fn text(&mut self) -> ShapeId {
        *self.text.get_or_insert_with(|| self.builder.scalar(Scalar::String))
    }

    fn object(&mut self, schema: &Schema, name: &str, metadata: Metadata) -> TypeId {
        let mut fields: Vec<NewField> = Vec::new();
        let new = |name: &str, shape| NewField {
            name: name.into(),
            shape,
            required: false,
            nullable: false,
            default: String::new(),
        };
        // the first of two fields of one name counts
        if metadata == Metadata::Own || schema.embedded {
            let text = self.text();
            fields.extend(["apiVersion", "kind"].map(|name| new(name, text)));
            if let Some(of) = coracle_api::Schema::builtin().type_named(OBJECT_META) {
                let of = self.builder.import(of);
                fields.push(new("metadata", self.builder.reference(of)));
            }
        }
        for (name, property) in &schema.properties {
            if fields.iter().any(|f| f.name == *name) {
                continue;
            }
            let field = NewField {
                name: name.clone(),
                shape: self.shape(property),
                required: schema.required.contains(name),
                nullable: property.nullable,
                default: property.default.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            fields.push(field);
        }
        let atomic = schema.map_type.as_deref() == Some("atomic");
        self.builder.object(name, fields, atomic, schema.preserves_unknown())
    }

    fn shape(&mut self, schema: &Schema) -> ShapeId {
        match schema.kind.as_str() {
            _ if schema.int_or_string => self.builder.scalar(Scalar::IntOrString),
            "array" => {
                let item = match &schema.items {
                    Some(items) => self.shape(items),
                    None => self.builder.scalar(Scalar::Json),
                };
                let keys: Vec<&str> = schema.list_keys.iter().map(String::as_str).collect();
                match schema.list_type() {
                    ListType::Atomic => self.builder.list(item, &[], false),
                    ListType::Set => self.builder.list(item, &[], true),
                    ListType::Map => self.builder.list(item, &keys, false),
                }
            }
            "object" | "" => match &schema.additional {
                Some(Additional::Schema(entry)) => {
                    let item = self.shape(entry);
                    self.builder.map(item, schema.map_type.as_deref() == Some("atomic"))
                }
                Some(Additional::Any(true)) => {
                    let item = self.builder.scalar(Scalar::Json);
                    self.builder.map(item, schema.map_type.as_deref() == Some("atomic"))
                }
                _ => {
                    let of = self.object(schema, "", Metadata::None);
                    self.builder.reference(of)
                }
            },
            "integer" => self.builder.scalar(Scalar::Int64),
            "number" => self.builder.scalar(Scalar::Number),
            "boolean" => self.builder.scalar(Scalar::Bool),
            _ => self.text(),
        }
    }
}
