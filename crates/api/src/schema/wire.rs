//! Where fields stand in protobuf messages.

use super::{Field, Schema, Type};

/// How a field stands in protobuf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    path: [u8; 3],
    depth: u8,
    always: bool,
    zero_in_json: bool,
    form: WireForm,
}

/// Forms on the wire that the shape in JSON does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireForm {
    /// As the shape says.
    #[default]
    Plain,
    /// A list in a message of its own.
    Items,
    /// A schema or a list of schemas.
    SchemaOrArray,
    /// A schema or a truth value.
    SchemaOrBool,
    /// A schema or a list of texts.
    SchemaOrStrings,
    /// A message without fields.
    Empty,
}

impl Wire {
    /// Reads the table's form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (place, form) = text.split_once(':').unwrap_or((text, ""));
        let form = match form {
            "" => WireForm::Plain,
            "items" => WireForm::Items,
            "array" => WireForm::SchemaOrArray,
            "bool" => WireForm::SchemaOrBool,
            "strings" => WireForm::SchemaOrStrings,
            "empty" => WireForm::Empty,
            _ => return None,
        };
        let path = place.trim_end_matches(['=', '+']);
        let mut wire =
            Self { always: path.len() < place.len(), zero_in_json: place.ends_with('='), form, ..Self::default() };
        for number in path.split('.').filter(|n| *n != "0") {
            *wire.path.get_mut(usize::from(wire.depth))? = number.parse().ok()?;
            wire.depth += 1;
        }
        Some(wire)
    }

    /// Its number, after those of the messages it is embedded in; empty if it has no place.
    pub fn path(&self) -> &[u8] {
        &self.path[..usize::from(self.depth)]
    }

    /// Whether it is written even if it has no value (Go fields that are no pointers).
    pub fn is_always_written(&self) -> bool {
        self.always
    }

    /// Whether a zero value, read from protobuf, stays in JSON (Go fields without `omitempty`).
    pub fn keeps_zero(&self) -> bool {
        self.zero_in_json || !self.always
    }

    /// Its form.
    pub fn form(&self) -> WireForm {
        self.form
    }
}

impl Schema {
    /// Notes for each type the order of its fields on the wire.
    pub(super) fn order_for_wire(&mut self) {
        self.wire_order = (0..self.fields.len() as u32).collect();
        for of in &mut self.types {
            let (start, end) = (of.fields.start as usize, of.fields.end as usize);
            let fields = &self.fields;
            let path = |at: &u32| fields[*at as usize].wire.path();
            let order = &mut self.wire_order[start..end];
            order.sort_by(|a, b| path(a).is_empty().cmp(&path(b).is_empty()).then(path(a).cmp(path(b))));
            of.wired = order.iter().filter(|at| !path(at).is_empty()).count() as u32;
        }
    }
}

impl<'s> Type<'s> {
    /// Whether its objects have a form in protobuf.
    pub fn is_wired(self) -> bool {
        self.data().wired > 0
    }

    /// Its fields that have a place in protobuf, in the order of their numbers.
    pub fn wire_fields(self) -> WireFields<'s> {
        let data = self.data();
        let start = data.fields.start as usize;
        // tables of custom resources have no protobuf form
        let order = self.schema.wire_order.get(start..start + data.wired as usize).unwrap_or_default();
        WireFields { schema: self.schema, order, level: 0 }
    }
}

/// Fields of one message, in the order of their numbers.
#[derive(Clone, Copy, Debug)]
pub struct WireFields<'s> {
    schema: &'s Schema,
    order: &'s [u32],
    level: usize,
}

/// What stands under a number.
#[derive(Clone, Copy, Debug)]
pub enum Place<'s> {
    /// A field.
    Field(Field<'s>),
    /// A message whose fields JSON has in line.
    Embedded(WireFields<'s>),
}

impl<'s> WireFields<'s> {
    fn field(&self, at: u32) -> Field<'s> {
        Field { schema: self.schema, data: &self.schema.fields[at as usize] }
    }

    fn number(&self, at: u32) -> u8 {
        self.schema.fields[at as usize].wire.path()[self.level]
    }

    /// The highest number and what stands there; `self` is left with the lower ones.
    pub fn pop(&mut self) -> Option<(u32, Place<'s>)> {
        let (last, rest) = self.order.split_last()?;
        let number = self.number(*last);
        let field = self.field(*last);
        if field.wire().path().len() == self.level + 1 {
            self.order = rest;
            return Some((number.into(), Place::Field(field)));
        }
        let start = self.order.partition_point(|at| self.number(*at) < number);
        let (rest, inner) = self.order.split_at(start);
        self.order = rest;
        Some((number.into(), Place::Embedded(WireFields { order: inner, level: self.level + 1, ..*self })))
    }

    /// What stands under a number.
    pub fn find(self, number: u32) -> Option<Place<'s>> {
        let start = self.order.partition_point(|at| u32::from(self.number(*at)) < number);
        let end = self.order.partition_point(|at| u32::from(self.number(*at)) <= number);
        let found = Self { order: &self.order[start..end], ..self }.pop()?;
        Some(found.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_form() {
        for (text, path, always, keeps, form) in [
            ("0", &[][..], false, true, WireForm::Plain),
            ("12", &[12], false, true, WireForm::Plain),
            ("2.1=", &[2, 1], true, true, WireForm::Plain),
            ("2.2.3+", &[2, 2, 3], true, false, WireForm::Plain),
            ("4:items", &[4], false, true, WireForm::Items),
        ] {
            let wire = Wire::parse(text).unwrap();
            let found = (wire.path(), wire.is_always_written(), wire.keeps_zero(), wire.form());
            assert_eq!(found, (path, always, keeps, form), "{text}");
        }
        assert!(["", "x", "1.2.3.4", "1:thing"].iter().all(|t| Wire::parse(t).is_none()));
    }
}
