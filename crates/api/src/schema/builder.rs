//! A table made at run time, for custom resources: types are added with their fields, names are interned in one text.

use super::{FieldData, KindData, ListKind, Node, OwnedType, Scalar, Schema, Text, TypeData};
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// Builds a [`Schema`].
#[derive(Debug, Default)]
pub struct Builder {
    text: String,
    seen: HashMap<String, Text>,
    schema: Schema,
}

/// A shape within a [`Builder`].
#[derive(Clone, Copy, Debug)]
pub struct ShapeId(u32);

/// A type within a [`Builder`].
#[derive(Clone, Copy, Debug)]
pub struct TypeId(u32);

/// One field for [`Builder::object`].
#[derive(Clone, Debug)]
pub struct NewField {
    /// JSON name.
    pub name: String,
    /// Shape.
    pub shape: ShapeId,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it may be null.
    pub nullable: bool,
    /// JSON default, or empty.
    pub default: String,
}

impl Builder {
    fn intern(&mut self, part: &str) -> Text {
        if let Some(text) = self.seen.get(part) {
            return *text;
        }
        let len = part.len().min(usize::from(u16::MAX));
        let text = Text { start: self.text.len() as u32, len: len as u16 };
        self.text.push_str(part);
        self.seen.insert(part.to_string(), text);
        text
    }

    fn push(&mut self, node: Node) -> ShapeId {
        self.schema.nodes.push(node);
        ShapeId(self.schema.nodes.len() as u32 - 1)
    }

    /// A scalar shape.
    pub fn scalar(&mut self, scalar: Scalar) -> ShapeId {
        self.push(Node::Scalar(scalar))
    }

    /// A list; no keys and not a set: atomic.
    pub fn list(&mut self, item: ShapeId, keys: &[&str], set: bool) -> ShapeId {
        let kind = match (keys, set) {
            ([], false) => ListKind::Atomic,
            ([], true) => ListKind::Set,
            (keys, _) => ListKind::Map(self.intern(&keys.join(","))),
        };
        self.push(Node::List { item: item.0, kind })
    }

    /// A map from strings.
    pub fn map(&mut self, item: ShapeId, atomic: bool) -> ShapeId {
        self.push(Node::Map { item: item.0, atomic })
    }

    /// The shape of a type.
    pub fn reference(&mut self, of: TypeId) -> ShapeId {
        self.push(Node::Object(of.0))
    }

    /// A type with all its fields.
    pub fn object(&mut self, name: &str, fields: Vec<NewField>, atomic: bool, preserve_unknown: bool) -> TypeId {
        let start = self.schema.fields.len() as u32;
        let mut fields = fields;
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        fields.dedup_by(|a, b| a.name == b.name);
        for field in fields {
            let data = FieldData {
                name: self.intern(&field.name),
                default: if field.default.is_empty() { Text::default() } else { self.intern(&field.default) },
                node: field.shape.0,
                required: field.required,
                nullable: field.nullable,
                ..FieldData::default()
            };
            self.schema.fields.push(data);
        }
        let id = self.schema.types.len() as u32;
        let name_text = self.intern(name);
        self.schema.by_name.insert(name.into(), id);
        self.schema.types.push(TypeData {
            name: name_text,
            fields: start..self.schema.fields.len() as u32,
            wired: 0,
            atomic,
            preserve_unknown,
        });
        TypeId(id)
    }

    /// Copies a built-in type with everything it refers to (`ObjectMeta`), so that it can be a field here.
    pub fn import(&mut self, of: super::Type<'_>) -> TypeId {
        if let Some(id) = self.schema.by_name.get(of.name()) {
            return TypeId(*id);
        }
        // the name is taken first, for types that refer to themselves
        let id = self.schema.types.len() as u32;
        self.schema.by_name.insert(of.name().into(), id);
        let name = self.intern(of.name());
        self.schema.types.push(TypeData { name, atomic: of.is_atomic(), ..TypeData::default() });
        let mut fields = Vec::new();
        for field in of.fields() {
            let shape = self.import_shape(field.shape());
            fields.push(FieldData {
                name: self.intern(field.name()),
                merge_key: self.intern(field.merge_key()),
                default: self.intern(field.default_json()),
                node: shape.0,
                wire: field.data.wire,
                required: field.is_required(),
                nullable: false,
                merge: field.merges(),
                replace: field.replaces(),
                retain_keys: field.retains_keys(),
            });
        }
        let start = self.schema.fields.len() as u32;
        self.schema.fields.extend(fields);
        self.schema.types[id as usize].fields = start..self.schema.fields.len() as u32;
        TypeId(id)
    }

    fn import_shape(&mut self, shape: super::Shape<'_>) -> ShapeId {
        match shape {
            super::Shape::Scalar(scalar) => self.scalar(scalar),
            super::Shape::Object(of) => {
                let id = self.import(of);
                self.reference(id)
            }
            super::Shape::List(list) => {
                let item = self.import_shape(list.item());
                let keys: Vec<&str> = list.keys().collect();
                self.list(item, &keys, list.is_set())
            }
            super::Shape::Map(map) => {
                let item = self.import_shape(map.item());
                self.map(item, map.is_atomic())
            }
        }
    }

    /// Says that `root` is a kind, and finishes.
    pub fn finish(mut self, root: TypeId, group: &str, version: &str, kind: &str) -> OwnedType {
        self.schema.by_kind.insert((group.into(), version.into(), kind.into()), root.0);
        self.schema.kinds.push(KindData {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: String::new(),
            namespaced: false,
            type_id: root.0,
        });
        self.schema.text = Cow::Owned(self.text);
        OwnedType { schema: Arc::new(self.schema), id: root.0 }
    }
}
