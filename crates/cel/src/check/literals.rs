//! Literals: scalars, lists, maps and structures.

use super::Checker;
use crate::{
    fault::Fault,
    ir::{Kind, Node},
    types::Type,
    value::{Map, Value},
};
use cel::common::ast::{EntryExpr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue, StructExpr};
use std::sync::Arc;

impl Checker<'_> {
    pub(super) fn list(&mut self, list: &ListExpr) -> Node {
        let mut types = Vec::with_capacity(list.elements.len());
        let mut elements = Vec::with_capacity(list.elements.len());
        for (at, expr) in list.elements.iter().enumerate() {
            let element = self.node(expr);
            let optional = list.optional_indices.contains(&at);
            types.push((expr.id, self.present(expr, &element.ty, optional)));
            elements.push((element, optional));
        }
        let of = self.join(types);
        fold(Node { ty: Type::list(of), kind: Kind::List { elements } })
    }

    pub(super) fn map(&mut self, entries: &[IdedEntryExpr]) -> Node {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut nodes = Vec::with_capacity(entries.len());
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let key = self.node(&entry.key);
            keys.push((entry.key.id, key.ty.clone()));
            let value = self.node(&entry.value);
            values.push((entry.value.id, self.present(&entry.value, &value.ty, entry.optional)));
            nodes.push((key, value, entry.optional));
        }
        let (keys, values) = (self.join(keys), self.join(values));
        fold(Node { ty: Type::map(keys, values), kind: Kind::Map { entries: nodes } })
    }

    pub(super) fn structure(&mut self, id: u64, structure: &StructExpr) -> Node {
        let name = structure.type_name.trim_start_matches('.');
        let Some(Type::Object(object)) = self.env.structure(name) else {
            return self.report(id, format!("undeclared reference to '{name}' (in container '')"));
        };
        let mut fields = Vec::with_capacity(structure.entries.len());
        for entry in &structure.entries {
            let EntryExpr::StructField(given) = &entry.expr else { continue };
            let value = self.node(&given.value);
            let found = self.present(&given.value, &value.ty, given.optional);
            let Some(wanted) = object.field(&given.field) else {
                self.report(entry.id, format!("undefined field '{}'", given.field));
                continue;
            };
            if !self.types.unify(wanted, &found) {
                let found = self.types.finish(&found);
                let field = &given.field;
                self.report(
                    entry.id,
                    format!("expected type of field '{field}' is '{wanted}' but provided type is '{found}'"),
                );
            }
            if object.open {
                self.named_by_path(&value, &format!("{name}.{}", given.field));
            }
            fields.push((Arc::from(given.field.as_str()), value, given.optional));
        }
        Node { ty: Type::Object(object), kind: Kind::Structure { name: Arc::from(name), fields } }
    }

    /// A structure within another one is called by its path.
    fn named_by_path(&mut self, value: &Node, path: &str) {
        match &value.kind {
            Kind::Structure { name, .. } if **name != *path => {
                self.failing.get_or_insert_with(|| {
                    Fault::other(format!(
                        "unexpected type name {:?}, expected {path:?}, which matches field name path from root Object type",
                        &**name
                    ))
                });
            }
            Kind::List { elements } => elements.iter().for_each(|(element, _)| self.named_by_path(element, path)),
            _ => {}
        }
    }

    /// The type of an element or entry that is left out if it is absent.
    pub(super) fn present(&mut self, expr: &IdedExpr, ty: &Type, optional: bool) -> Type {
        let ty = self.types.resolve(ty);
        match (optional, ty.unwrap_optional()) {
            (true, Some(inner)) => inner.clone(),
            (true, None) if !ty.is_dynamic() => {
                self.report(expr.id, format!("expected type 'optional_type({ty})' but found '{ty}'")).ty
            }
            _ => ty,
        }
    }

    /// The type of the elements of a literal.
    pub(super) fn join(&mut self, types: Vec<(u64, Type)>) -> Type {
        let mut joined: Option<Type> = None;
        for (_, next) in &types {
            joined = Some(match joined {
                Some(so_far) if self.types.unify(&so_far, next) => self.types.more_general(&so_far, next),
                Some(_) => Type::Dyn,
                None => next.clone(),
            });
        }
        if self.formatting == 0 {
            self.alike.push(types);
        }
        joined.unwrap_or_else(|| self.types.unknown())
    }

    /// Reports literals with elements of several types, once the types are known.
    pub(super) fn same_types(&mut self) {
        for types in std::mem::take(&mut self.alike) {
            let mut types = types.into_iter().map(|(id, ty)| (id, self.types.finish(&ty)));
            let Some((_, first)) = types.next() else { continue };
            let other = types.find(|(_, ty)| *ty != first);
            if let Some((id, other)) = other {
                self.report(id, format!("expected type '{first}' but found '{other}'"));
            }
        }
    }
}

/// A scalar.
pub(super) fn constant(literal: &LiteralValue) -> Node {
    let (ty, value) = match literal {
        LiteralValue::Boolean(value) => (Type::Bool, Value::Bool(*value.inner())),
        LiteralValue::Bytes(bytes) => (Type::Bytes, Value::Bytes(bytes.inner().into())),
        LiteralValue::Double(number) => (Type::Double, Value::Double(*number.inner())),
        LiteralValue::Int(number) => (Type::Int, Value::Int(*number.inner())),
        LiteralValue::Null => (Type::Null, Value::Null),
        LiteralValue::String(text) => (Type::String, Value::text(text.inner())),
        LiteralValue::UInt(number) => (Type::Uint, Value::Uint(*number.inner())),
    };
    Node { ty, kind: Kind::Constant(value) }
}

/// Lists and maps of constants are constants.
fn fold(node: Node) -> Node {
    let value = match &node.kind {
        Kind::List { elements } => {
            let constant = |(element, optional): &(Node, bool)| element.constant().filter(|_| !optional).cloned();
            elements.iter().map(constant).collect::<Option<Vec<_>>>().map(Value::list)
        }
        Kind::Map { entries } => {
            let constant = |(key, value, optional): &(Node, Node, bool)| {
                Some((key.constant()?.clone(), value.constant().filter(|_| !optional)?.clone()))
            };
            let entries = entries.iter().map(constant).collect::<Option<Vec<_>>>();
            entries.and_then(|entries| Map::literal(entries).ok()).map(Value::Map)
        }
        _ => None,
    };
    match value {
        Some(value) => Node { ty: node.ty.clone(), kind: Kind::Folded { value, from: Box::new(node) } },
        None => node,
    }
}
