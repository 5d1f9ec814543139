//! Parts of a descriptor that are either known at compile time or made at run time, for custom resources.

use crate::column::{Column, Context, SelectableField};
use crate::descriptor::{Kind, Rules};
use coracle_api::schema::{OwnedType, Schema, Type};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::{borrow::Cow, ops::Deref, sync::Arc};

/// Short names and categories.
#[derive(Clone, Debug)]
pub enum Words {
    /// Of a built-in kind.
    Fixed(&'static [&'static str]),
    /// Of a custom one.
    Made(Vec<String>),
}

impl Words {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (fixed, made): (&[&str], &[String]) = match self {
            Self::Fixed(words) => (words, &[]),
            Self::Made(words) => (&[], words),
        };
        fixed.iter().copied().chain(made.iter().map(String::as_str))
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// The type of a kind's objects.
#[derive(Clone, Debug)]
pub enum TypeOf {
    /// By its name in the built-in table, `io.k8s.api.core.v1.Pod`.
    BuiltIn(&'static str),
    /// Of a custom resource.
    Custom(Arc<CustomType>),
}

/// The type of a custom resource's objects.
#[derive(Debug)]
pub struct CustomType {
    /// What its definition says.
    pub schema: coracle_structural::Schema,
    /// The same as a table, for server-side apply.
    pub table: OwnedType,
}

impl TypeOf {
    /// That of a custom resource.
    pub fn custom(&self) -> Option<&CustomType> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Custom(of) => Some(of),
        }
    }

    /// The type; `None` if the table does not have it.
    pub fn get(&self) -> Option<Type<'_>> {
        match self {
            Self::BuiltIn(name) => Schema::builtin().type_named(name),
            Self::Custom(of) => Some(of.table.view()),
        }
    }
}

/// What a column says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading<'a> {
    /// Heading.
    pub name: &'a str,
    /// OpenAPI type of the cells.
    pub kind: &'a str,
    /// OpenAPI format.
    pub format: &'a str,
    /// What it shows.
    pub description: &'a str,
    /// 0 always shown, more with `-o wide`.
    pub priority: i32,
}

/// A column made at run time.
pub struct MadeColumn {
    /// Heading.
    pub name: String,
    /// OpenAPI type of the cells.
    pub kind: String,
    /// OpenAPI format.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// 0 always shown, more with `-o wide`.
    pub priority: i32,
    /// Makes the cell.
    pub cell: Box<dyn Fn(&Context, &Value) -> Value + Send + Sync>,
}

/// The columns of a Table.
pub enum Columns {
    /// Of a built-in kind.
    Fixed(&'static [Column]),
    /// Of a custom one.
    Made(Vec<MadeColumn>),
}

impl Columns {
    /// What they are.
    pub fn headings(&self) -> Vec<Heading<'_>> {
        match self {
            Self::Fixed(columns) => columns
                .iter()
                .map(|c| Heading {
                    name: c.name,
                    kind: c.kind,
                    format: c.format,
                    description: c.description,
                    priority: c.priority,
                })
                .collect(),
            Self::Made(columns) => columns
                .iter()
                .map(|c| Heading {
                    name: &c.name,
                    kind: &c.kind,
                    format: &c.format,
                    description: &c.description,
                    priority: c.priority,
                })
                .collect(),
        }
    }

    /// The cells of an object.
    pub fn cells(&self, context: &Context, object: &Value) -> Vec<Value> {
        match self {
            Self::Fixed(columns) => columns.iter().map(|c| (c.cell)(context, object)).collect(),
            Self::Made(columns) => columns.iter().map(|c| (c.cell)(context, object)).collect(),
        }
    }
}

/// A field that field selectors may name, made at run time.
pub struct MadeField {
    /// `spec.color`.
    pub path: String,
    /// Its value in an object.
    pub get: Box<dyn Fn(&Value) -> String + Send + Sync>,
}

/// The fields that field selectors may name, beyond those of metadata.
pub enum Fields {
    /// Of a built-in kind.
    Fixed(&'static [SelectableField]),
    /// Of a custom one.
    Made(Vec<MadeField>),
}

impl Fields {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Fixed(fields) => fields.len(),
            Self::Made(fields) => fields.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which of them has that path.
    pub fn position(&self, path: &str) -> Option<usize> {
        match self {
            Self::Fixed(fields) => fields.iter().position(|f| f.path == path),
            Self::Made(fields) => fields.iter().position(|f| f.path == path),
        }
    }

    /// The value of field number `at` in an object; empty beyond the last.
    pub fn value(&self, at: usize, object: &Value) -> String {
        let value = match self {
            Self::Fixed(fields) => fields.get(at).map(|f| (f.get)(object)),
            Self::Made(fields) => fields.get(at).map(|f| (f.get)(object)),
        };
        value.unwrap_or_default()
    }

    /// The values of all of them.
    pub fn values(&self, object: &Value) -> Vec<String> {
        (0..self.len()).map(|at| self.value(at, object)).collect()
    }
}

/// Defaults, validation, preparation.
#[derive(Clone)]
pub enum RuleSet {
    /// Of a built-in kind.
    Fixed(&'static dyn Rules),
    /// Of a custom one.
    Made(Arc<dyn Rules>),
}

impl Deref for RuleSet {
    type Target = dyn Rules;
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Fixed(rules) => *rules,
            Self::Made(rules) => &**rules,
        }
    }
}

/// Group, version and kind that a subresource speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken<'a> {
    /// Group; empty for core.
    pub group: &'a str,
    /// Version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
}

/// Where an object has what its `scale` shows, as dotted paths without a leading dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// The wanted count.
    pub spec: Cow<'static, str>,
    /// The observed count.
    pub status: Cow<'static, str>,
    /// The selector: a LabelSelector, a plain map, or its text; may be empty.
    pub selector: Cow<'static, str>,
}

impl ScalePaths {
    /// Paths known at compile time.
    pub const fn new(spec: &'static str, status: &'static str, selector: &'static str) -> Self {
        Self { spec: Cow::Borrowed(spec), status: Cow::Borrowed(status), selector: Cow::Borrowed(selector) }
    }
}

/// A kind handed around: one of the statics, or one that was made and goes when nobody serves it any more.
#[derive(Clone)]
pub enum SharedKind {
    /// A built-in kind.
    Fixed(&'static Kind),
    /// A custom one.
    Made(Arc<Kind>),
}

impl Deref for SharedKind {
    type Target = Kind;
    fn deref(&self) -> &Kind {
        match self {
            Self::Fixed(kind) => kind,
            Self::Made(kind) => kind,
        }
    }
}
