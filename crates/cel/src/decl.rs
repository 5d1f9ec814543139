//! What is declared of a value: its type, how it is read from JSON, and how large it can be.
//!
//! A declaration comes from a structural schema. One tree serves the checker (types), the estimator of costs (sizes) and the
//! evaluator, which reads the object's JSON where it lies: nothing is converted before an expression asks for it.

use crate::{
    escape::{escape, keyword},
    limits::REQUEST_BYTES,
    types::{Object, Type},
};
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

/// The declaration of a value.
#[derive(Debug)]
pub struct Decl {
    /// Its type for the checker.
    pub ty: Type,
    /// How its JSON is read.
    pub form: Form,
    /// Whether `null` is a value of it.
    pub nullable: bool,
    /// The most elements, entries, characters or bytes it has; 0 where that says nothing.
    pub max_elements: u64,
    /// The fewest bytes its JSON takes.
    pub min_bytes: u64,
}

/// How the JSON of a declared value is read.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Form {
    /// Nothing is known: by what the JSON is.
    Dynamic,
    /// Not visible to expressions; can only be compared.
    Hidden,
    IntOrString,
    Bool,
    Int,
    Double,
    String,
    /// Text in base64.
    Bytes,
    /// Text like `1h30m`.
    Duration,
    /// Text like `2006-01-02`.
    Date,
    /// Text in RFC 3339.
    DateTime,
    List {
        items: Arc<Decl>,
        kind: ListKind,
    },
    /// An object with arbitrary keys.
    Map {
        values: Arc<Decl>,
    },
    Object {
        fields: Fields,
    },
}

/// The fields of an object.
#[derive(Debug, Default)]
pub struct Fields {
    /// By identifier.
    by_name: BTreeMap<String, Field>,
    /// Identifiers by property, for those that differ; and what to do with properties that have none.
    by_property: BTreeMap<String, Property>,
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// What the property is called in JSON.
    pub property: String,
    /// Its declaration.
    pub decl: Arc<Decl>,
}

#[derive(Debug)]
enum Property {
    Named(String),
    Unnamed(Arc<Decl>),
}

/// What makes elements of a list the same (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Their place.
    #[default]
    Atomic,
    /// Their value.
    Set,
    /// Some of their properties.
    Map(Arc<[String]>),
}

impl ListKind {
    /// That of an array's schema.
    pub(crate) fn of(schema: &Json) -> Self {
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Self::Set,
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                Self::Map(keys.filter_map(|key| key.as_str().map(String::from)).collect())
            }
            _ => Self::Atomic,
        }
    }
}

/// The longest name of an object.
const NAME_LENGTH: u64 = 253;

/// The declaration of a value of which nothing is known.
pub static DYNAMIC: LazyLock<Arc<Decl>> = LazyLock::new(|| Arc::new(Decl::plain(Type::Dyn, Form::Dynamic, 1)));

static HIDDEN: LazyLock<Arc<Decl>> = LazyLock::new(|| Arc::new(Decl::plain(Type::Dyn, Form::Hidden, 1)));

impl Fields {
    /// The field with this identifier. Behind a dot, keywords need no escape.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.by_name.get(name).or_else(|| self.by_name.get(&keyword(name)?))
    }

    /// The declaration of a property; `None` if expressions cannot see it.
    pub fn property(&self, property: &str) -> Option<&Arc<Decl>> {
        match self.by_property.get(property) {
            Some(Property::Named(name)) => self.by_name.get(name).map(|field| &field.decl),
            Some(Property::Unnamed(decl)) => Some(decl),
            None => self.by_name.get(property).filter(|field| field.property == property).map(|field| &field.decl),
        }
    }

    /// The identifier of a property.
    pub fn name<'a>(&'a self, property: &'a str) -> Option<&'a str> {
        match self.by_property.get(property) {
            Some(Property::Named(name)) => Some(name),
            Some(Property::Unnamed(_)) => None,
            None => self.by_name.get(property).filter(|field| field.property == property).map(|_| property),
        }
    }

    fn insert(&mut self, property: &str, decl: Arc<Decl>) {
        match escape(property) {
            None => {
                self.by_property.insert(property.into(), Property::Unnamed(decl));
            }
            Some(name) => {
                if name != property {
                    self.by_property.insert(property.into(), Property::Named(name.clone()));
                }
                self.by_name.insert(name, Field { property: property.into(), decl });
            }
        }
    }
}

impl Decl {
    fn plain(ty: Type, form: Form, min_bytes: u64) -> Self {
        Self { ty, form, nullable: false, max_elements: 0, min_bytes }
    }

    fn sized(self, max_elements: u64) -> Self {
        Self { max_elements, ..self }
    }

    /// The declaration for a structural schema (JSON of a `JSONSchemaProps`), or `None` if expressions cannot see such values.
    /// `resource` says that the value is a whole object with `apiVersion`, `kind` and `metadata`; `name` is what its type is
    /// called in messages.
    pub fn from_schema(schema: &Json, resource: bool, name: &str) -> Option<Arc<Self>> {
        Self::read(schema, resource, name).map(Arc::new)
    }

    /// The same for a value within another one: an embedded resource says so itself.
    fn child(schema: &Json, name: &str) -> Option<Arc<Self>> {
        Self::from_schema(schema, flag(schema, "x-kubernetes-embedded-resource"), name)
    }

    fn read(schema: &Json, resource: bool, name: &str) -> Option<Self> {
        let nullable = flag(schema, "nullable");
        if flag(schema, "x-kubernetes-int-or-string") {
            let length = max(schema, "maxLength").map_or(REQUEST_BYTES - 2, |n| n.saturating_mul(4));
            return Some(Self { nullable, ..Self::plain(Type::Dyn, Form::IntOrString, 1).sized(length) });
        }
        let kind = if resource { "object" } else { schema["type"].as_str().unwrap_or_default() };
        let decl = match kind {
            "array" => Self::list(schema, name)?,
            "object" => match schema.get("additionalProperties").filter(|a| a.is_object()) {
                Some(values) if !resource => Self::map(schema, values, name)?,
                _ => Self::object(schema, resource, name),
            },
            "string" => Self::string(schema),
            "boolean" => Self::plain(Type::Bool, Form::Bool, 4),
            "number" => Self::plain(Type::Double, Form::Double, 1),
            "integer" => Self::plain(Type::Int, Form::Int, 1),
            _ => return None,
        };
        Some(Self { nullable, ..decl })
    }

    fn list(schema: &Json, name: &str) -> Option<Self> {
        let items = Self::child(schema.get("items")?, &format!("{name}.@idx"))?;
        let length = max(schema, "maxItems").unwrap_or((REQUEST_BYTES - 2) / (items.min_bytes + 1));
        let ty = Type::list(items.ty.clone());
        Some(Self::plain(ty, Form::List { items, kind: ListKind::of(schema) }, 2).sized(length))
    }

    fn map(schema: &Json, values: &Json, name: &str) -> Option<Self> {
        let values = Self::child(values, &format!("{name}.@elem"))?;
        let entries = max(schema, "maxProperties").unwrap_or((REQUEST_BYTES - 2) / (values.min_bytes + 6));
        Some(Self::plain(Type::map(Type::String, values.ty.clone()), Form::Map { values }, 2).sized(entries))
    }

    fn object(schema: &Json, resource: bool, name: &str) -> Self {
        let resource = resource && !declares_metadata(schema);
        let of_resource = |property: &str| resource && matches!(property, "apiVersion" | "kind" | "metadata");
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let (mut fields, mut min_bytes) = (Fields::default(), 2);
        for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
            if of_resource(property) {
                continue;
            }
            let Some(decl) = Self::child(schema, &format!("{name}.{}", escape(property).unwrap_or_default())) else {
                continue;
            };
            if required.contains(&property.as_str()) && schema.get("default").is_none() {
                min_bytes += property.len() as u64 + decl.min_bytes + 4;
            }
            fields.insert(property, decl);
        }
        if resource {
            let declared = &schema["properties"]["metadata"]["properties"];
            let at_most = |own: &Json, most: u64| {
                let length = max(own, "maxLength").unwrap_or(most).min(most);
                Arc::new(Self::plain(Type::String, Form::String, 2).sized(length * 4))
            };
            let mut metadata = Fields::default();
            metadata.insert("name", at_most(&declared["name"], NAME_LENGTH));
            // the server adds at least a character
            metadata.insert("generateName", at_most(&declared["generateName"], NAME_LENGTH - 1));
            fields.insert("metadata", Arc::new(Self::with_fields(metadata, format!("{name}.metadata"))));
            let text = Arc::new(Self::string(&Json::Null));
            fields.insert("apiVersion", Arc::clone(&text));
            fields.insert("kind", text);
        }
        Self { min_bytes, ..Self::with_fields(fields, name.to_string()) }
    }

    fn with_fields(fields: Fields, name: String) -> Self {
        let types = fields.by_name.iter().map(|(name, field)| (name.clone(), field.decl.ty.clone())).collect();
        let ty = Type::Object(Arc::new(Object { name, fields: types, open: false }));
        Self::plain(ty, Form::Object { fields }, 2)
    }

    /// An object with these fields: for variables that are no part of a schema.
    pub fn of_fields(name: &str, fields: impl IntoIterator<Item = (String, Arc<Decl>)>) -> Arc<Self> {
        let mut declared = Fields::default();
        for (property, decl) in fields {
            declared.insert(&property, decl);
        }
        Arc::new(Self::with_fields(declared, name.to_string()))
    }

    /// A value of a simple type without bound: `Type::String`, `Type::Bool`, ….
    pub fn of_type(ty: Type) -> Arc<Self> {
        let form = match ty {
            Type::Bool => Form::Bool,
            Type::Int => Form::Int,
            Type::Double => Form::Double,
            Type::String => Form::String,
            _ => Form::Dynamic,
        };
        Arc::new(Self::plain(ty, form, 1))
    }

    /// The same with a bound: so many bytes, elements or entries.
    pub fn bounded(ty: Type, most: u64) -> Arc<Self> {
        let form = if ty == Type::String { Form::String } else { Form::Dynamic };
        Arc::new(Self::plain(ty, form, 1).sized(most))
    }

    /// A map from texts to values, with a bound of its entries: for variables that are no part of a schema.
    pub fn map_of(values: Arc<Self>, most: u64) -> Arc<Self> {
        let ty = Type::Map(Arc::new(Type::String), Arc::new(values.ty.clone()));
        Arc::new(Self::plain(ty, Form::Map { values }, 2).sized(most))
    }

    fn string(schema: &Json) -> Self {
        let longest = max(schema, "maxLength");
        match schema["format"].as_str() {
            Some("byte") => Self::plain(Type::Bytes, Form::Bytes, 2).sized(longest.unwrap_or(REQUEST_BYTES - 2)),
            Some("duration") => Self::plain(Type::Duration, Form::Duration, 3).sized(32),
            Some("date") => Self::plain(Type::Timestamp, Form::Date, 12).sized(12),
            Some("date-time") => Self::plain(Type::Timestamp, Form::DateTime, 21).sized(32),
            _ => {
                let values = schema["enum"].as_array().filter(|values| !values.is_empty());
                let longest_of = |values: &Vec<Json>| {
                    values.iter().filter_map(Json::as_str).map(|text| text.len() as u64).max().unwrap_or(0)
                };
                // a character takes up to four bytes
                let length = longest.map(|n| n.saturating_mul(4)).or(values.map(longest_of));
                Self::plain(Type::String, Form::String, 2).sized(length.unwrap_or(REQUEST_BYTES - 2))
            }
        }
    }

    /// The declaration of values that cannot be seen.
    pub(crate) fn hidden() -> &'static Arc<Decl> {
        &HIDDEN
    }

    /// What a step of a path leads to.
    pub(crate) fn step(&self, step: Step<'_>) -> Option<&Decl> {
        static KEY: LazyLock<Decl> = LazyLock::new(|| Decl::plain(Type::String, Form::String, 2));
        match (step, &self.form) {
            (Step::Value, Form::List { items: inner, .. } | Form::Map { values: inner }) => Some(inner),
            (Step::Key, Form::Map { .. }) => Some(&KEY),
            (Step::Field(name), Form::Object { fields }) => fields.get(name).map(|field| &*field.decl),
            // attributes of devices: whatever they are called, none is larger
            (Step::Field(_), Form::Map { values }) if values.ty == Type::Dyn && values.max_elements > 0 => Some(values),
            _ => None,
        }
    }
}

/// A step of a path through declarations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// To an element of a list or a value of a map.
    Value,
    /// To a key of a map.
    Key,
    /// To a place in a list.
    Index,
    /// To a field.
    Field(&'a str),
}

/// Whether a schema says itself what every resource has.
fn declares_metadata(schema: &Json) -> bool {
    let properties = &schema["properties"];
    let text = |schema: &Json| schema["type"] == "string";
    let metadata = &properties["metadata"]["properties"];
    text(&properties["apiVersion"])
        && text(&properties["kind"])
        && text(&metadata["name"])
        && text(&metadata["generateName"])
}

fn flag(schema: &Json, name: &str) -> bool {
    schema[name].as_bool().unwrap_or(false)
}

fn max(schema: &Json, name: &str) -> Option<u64> {
    schema[name].as_i64().map(|n| u64::try_from(n).unwrap_or(0))
}
