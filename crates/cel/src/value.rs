//! Values while an expression runs. What comes from an object is a view into its JSON.

use crate::{
    decl::{Decl, Form, ListKind},
    fault::{Fault, Result},
    json,
    library::Opaque,
    limits,
    types::Type,
    work,
};
use jiff::{civil::DateTime, tz::Offset};
use serde_json::Value as Json;
use std::{borrow::Cow, cmp::Ordering, collections::HashMap, fmt, ops::Deref, sync::Arc};

/// A value. `'a` is how long the object it may look into lives.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub enum Value<'a> {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Moment),
    /// In nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    Type(Arc<Type>),
    Optional(Option<Arc<Value<'a>>>),
    /// A value of a library.
    Opaque(Opaque),
    /// JSON that expressions cannot look into.
    Hidden(&'a Json),
}

/// A point in time, and the offset from UTC in which it was written.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The point in time, in UTC. (A `Timestamp` of jiff ends a day before the year 9999 does.)
    pub at: DateTime,
    /// The offset. It only matters where the point is shown.
    pub offset: Offset,
}

impl Moment {
    /// A point in time in UTC.
    pub fn utc(at: DateTime) -> Self {
        Self { at, offset: Offset::UTC }
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

/// A text, borrowed from an object or made.
#[derive(Clone)]
pub enum Text<'a> {
    /// From an object.
    Borrowed(&'a str),
    /// Made by an expression.
    Shared(Arc<str>),
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// From an object.
    Json {
        /// Its elements.
        items: &'a [Json],
        /// What they are.
        decl: &'a Decl,
        /// What makes them the same.
        kind: &'a ListKind,
    },
    /// Made by an expression.
    Owned {
        /// Its elements.
        items: Arc<Vec<Value<'a>>>,
        /// What makes them the same.
        kind: ListKind,
    },
    /// Two lists, one behind the other, which are not copied until it is worth it.
    Joined(Arc<(List<'a>, List<'a>)>),
}

/// A map, or an object with fields.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// From an object.
    Json {
        /// Its properties.
        object: &'a serde_json::Map<String, Json>,
        /// What they are.
        decl: &'a Decl,
    },
    /// Made by an expression.
    Owned(Arc<Entries<'a>>),
}

/// The entries of a map that an expression made, in their order.
#[derive(Clone, Debug, Default)]
pub struct Entries<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    places: HashMap<Key, usize>,
}

/// A key of a map; numbers are the same key whatever their type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Bool(bool),
    Number(i128),
    String(Box<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<'a> Value<'a> {
    /// A text that lives as long as the object.
    pub fn borrowed(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }

    /// A new text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::String(Text::Shared(Arc::from(text.as_ref())))
    }

    /// A new list.
    pub fn list(items: Vec<Value<'a>>) -> Self {
        Self::List(List::Owned { items: Arc::new(items), kind: ListKind::Atomic })
    }

    /// One that is there.
    pub fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// A view into JSON, as declared.
    pub fn from_json(json: &'a Json, decl: &'a Decl) -> Result<Self> {
        json::read(json, decl)
    }

    /// The type at run time. Types of elements are not known.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Opaque(value) => Type::Library(value.library()),
            Self::Hidden(_) => Type::Dyn,
        }
    }

    /// Whether a signature takes this value.
    pub(crate) fn is_of(&self, ty: &Type) -> bool {
        match (ty, self) {
            (Type::Dyn | Type::Parameter(_) | Type::Error | Type::Unknown(_), _)
            | (Type::Null, Self::Null)
            | (Type::Bool, Self::Bool(_))
            | (Type::Int, Self::Int(_))
            | (Type::Uint, Self::Uint(_))
            | (Type::Double, Self::Double(_))
            | (Type::String, Self::String(_))
            | (Type::Bytes, Self::Bytes(_))
            | (Type::Timestamp, Self::Timestamp(_))
            | (Type::Duration, Self::Duration(_))
            | (Type::List(_), Self::List(_))
            | (Type::Map(..) | Type::Object(_), Self::Map(_))
            | (Type::Optional(_), Self::Optional(_))
            | (Type::Type(_), Self::Type(_)) => true,
            (Type::Library(library), Self::Opaque(value)) => value.library() == *library,
            _ => false,
        }
    }

    /// How many characters, bytes, elements or entries it has, for the cost of working with it.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(text) => {
                work::read(text.len());
                text.chars().count() as u64
            }
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Optional(Some(value)) => value.size(),
            Self::Opaque(value) => value.size(),
            _ => 1,
        }
    }

    /// Whether both are the same, across types of numbers; with the semantics of Kubernetes' lists.
    pub fn equals(&self, other: &Value<'_>) -> bool {
        crate::compare::equal(self, other)
    }

    /// As a key of a map.
    fn key(&self) -> Option<Key> {
        match self {
            Self::Bool(value) => Some(Key::Bool(*value)),
            Self::Int(value) => Some(Key::Number(i128::from(*value))),
            Self::Uint(value) => Some(Key::Number(i128::from(*value))),
            Self::Double(value) if value.fract() == 0.0 && value.abs() < 1e20 => Some(Key::Number(*value as i128)),
            Self::String(text) => Some(Key::String(Box::from(&**text))),
            _ => None,
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// Shorter lists are copied at once when they are joined.
const WORTH_SHARING: usize = 32;

impl<'a> List<'a> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json { items, .. } => items.len(),
            Self::Owned { items, .. } => items.len(),
            Self::Joined(both) => both.0.len() + both.1.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What makes elements the same.
    pub fn kind(&self) -> &ListKind {
        match self {
            Self::Json { kind, .. } => kind,
            Self::Owned { kind, .. } => kind,
            Self::Joined(_) => &ListKind::Atomic,
        }
    }

    /// The element at a place.
    pub fn get(&self, at: usize) -> Option<Result<Value<'a>>> {
        match self {
            Self::Json { items, decl, .. } => items.get(at).map(|json| Value::from_json(json, decl)),
            Self::Owned { items, .. } => items.get(at).cloned().map(Ok),
            Self::Joined(both) => match at.checked_sub(both.0.len()) {
                Some(at) => both.1.get(at),
                None => both.0.get(at),
            },
        }
    }

    /// All elements.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// All elements, or the first error among them.
    pub fn to_vec(&self) -> Result<Vec<Value<'a>>> {
        work::done(self.len());
        self.iter().collect()
    }

    /// This list with another one behind it; sets and maps keep their keys unique.
    pub(crate) fn concat(self, other: &List<'a>) -> Result<Self> {
        if self.len() + other.len() > limits::LIST_LENGTH {
            return Err(Fault::other(format!("list of more than {} elements", limits::LIST_LENGTH)));
        }
        match self {
            list if *list.kind() != ListKind::Atomic => list.merge(other),
            // a list that nobody else has, like the result of a loop, just grows
            Self::Owned { mut items, kind } if Arc::strong_count(&items) == 1 || items.len() < WORTH_SHARING => {
                Arc::make_mut(&mut items).extend(other.to_vec()?);
                Ok(Self::Owned { items, kind })
            }
            list if list.is_empty() => Ok(Self::Owned { items: Arc::new(other.to_vec()?), kind: ListKind::Atomic }),
            list => Ok(Self::Joined(Arc::new((list, other.clone())))),
        }
    }

    /// This set or map with the elements of another one. Elements with known keys replace those that are there.
    fn merge(self, other: &List<'a>) -> Result<Self> {
        let kind = self.kind().clone();
        let mut items = self.to_vec()?;
        let mut places = Index::new(&items, &kind);
        for value in other.to_vec()? {
            match places.find(&items, &value, &kind) {
                Some(at) => items[at] = value,
                None => {
                    places.add(items.len(), &value, &kind);
                    items.push(value);
                }
            }
        }
        Ok(Self::Owned { items: Arc::new(items), kind })
    }
}

/// Finds elements of sets and maps by what makes them the same.
pub(crate) struct Index {
    places: HashMap<Vec<Option<Key>>, usize>,
    /// Elements that have no simple key are looked for one by one.
    others: Vec<usize>,
}

impl Index {
    pub(crate) fn new(items: &[Value<'_>], kind: &ListKind) -> Self {
        // a key is made and looked up, which is more than looking at it
        work::done(4 * items.len());
        let mut index = Self { places: HashMap::new(), others: Vec::new() };
        for (at, item) in items.iter().enumerate() {
            index.add(at, item, kind);
        }
        index
    }

    fn add(&mut self, at: usize, item: &Value<'_>, kind: &ListKind) {
        match element_key(item, kind) {
            Some(key) => {
                self.places.entry(key).or_insert(at);
            }
            None => self.others.push(at),
        }
    }

    pub(crate) fn find(&self, items: &[Value<'_>], item: &Value<'_>, kind: &ListKind) -> Option<usize> {
        match element_key(item, kind) {
            Some(key) => self.places.get(&key).copied(),
            None => self.others.iter().copied().find(|at| crate::compare::same_element(&items[*at], item, kind)),
        }
    }
}

/// What makes an element the same as another one, if that is simple.
fn element_key(item: &Value<'_>, kind: &ListKind) -> Option<Vec<Option<Key>>> {
    match (kind, item) {
        (ListKind::Map(keys), Value::Map(Map::Json { object, .. })) => {
            let simple = |json: Option<&Json>| match json {
                None => Some(None),
                Some(Json::String(text)) => Some(Some(Key::String(text.as_str().into()))),
                Some(Json::Bool(value)) => Some(Some(Key::Bool(*value))),
                Some(Json::Number(number)) => Some(Some(Key::Number(number.as_i64()?.into()))),
                Some(_) => None,
            };
            keys.iter().map(|key| simple(object.get(key))).collect()
        }
        (ListKind::Map(_), _) => None,
        (_, item) => Some(vec![Some(item.key()?)]),
    }
}

impl<'a> Map<'a> {
    /// A map of these entries; with the last one where a key is repeated.
    pub fn owned(entries: impl IntoIterator<Item = (Value<'a>, Value<'a>)>) -> Result<Self> {
        let mut made = Entries::default();
        for (key, value) in entries {
            made.insert(key, value)?;
        }
        Ok(Self::Owned(Arc::new(made)))
    }

    /// A map as it is written: no key may be repeated.
    pub(crate) fn literal(entries: Vec<(Value<'a>, Value<'a>)>) -> Result<Self> {
        let mut made = Entries::default();
        for (key, value) in entries {
            if made.get(&key).is_some() {
                return Err(Fault::other(format!("Failed with repeated key: {}", display(&key))));
            }
            made.insert(key, value)?;
        }
        Ok(Self::Owned(Arc::new(made)))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json { object, .. } => object.len(),
            Self::Owned(entries) => entries.entries.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key. Nulls in the fields of an object are as if they were not there.
    pub fn get(&self, key: &Value<'_>) -> Result<Option<Value<'a>>> {
        match (self, key) {
            (Self::Json { .. }, Value::String(name)) => self.field(name),
            (Self::Json { decl, .. }, _) if matches!(decl.form, Form::Dynamic) => Ok(None),
            (Self::Json { .. }, _) => Err(Fault::NoSuchOverload),
            (Self::Owned(entries), key) => Ok(entries.get(key).cloned()),
        }
    }

    /// The value of a field, or of a key that is a text.
    pub fn field(&self, name: &str) -> Result<Option<Value<'a>>> {
        let (object, decl) = match self {
            Self::Json { object, decl } => (*object, *decl),
            Self::Owned(entries) => return Ok(entries.get(&Value::borrowed(name)).cloned()),
        };
        let read = |json: Option<&'a Json>, decl| json.map(|json| Value::from_json(json, decl)).transpose();
        match &decl.form {
            Form::Object { fields } => match fields.get(name) {
                Some(field) => read(object.get(&field.property).filter(|json| !json.is_null()), &*field.decl),
                None => Ok(None),
            },
            Form::Map { values } => read(object.get(name), values),
            _ => read(object.get(name), decl),
        }
    }

    /// All keys, in their order.
    pub fn keys(&self) -> Vec<Value<'a>> {
        work::done(self.len());
        match self {
            Self::Json { object, decl } => object
                .keys()
                .filter_map(|property| match &decl.form {
                    Form::Object { fields } => {
                        fields.property(property).map(|_| fields.name(property).unwrap_or(property))
                    }
                    _ => Some(property.as_str()),
                })
                .map(Value::borrowed)
                .collect(),
            Self::Owned(entries) => entries.entries.iter().map(|(key, _)| key.clone()).collect(),
        }
    }

    /// This map with an entry that was not there.
    pub(crate) fn insert(self, key: Value<'a>, value: Value<'a>) -> Result<Self> {
        let mut entries = match self {
            Self::Owned(entries) => entries,
            json => {
                let mut entries = Entries::default();
                for key in json.keys() {
                    let value = json.get(&key)?.unwrap_or_default();
                    entries.insert(key, value)?;
                }
                Arc::new(entries)
            }
        };
        if entries.get(&key).is_some() {
            return Err(Fault::other(format!("insert failed: key {} already exists", display(&key))));
        }
        Arc::make_mut(&mut entries).insert(key, value)?;
        Ok(Self::Owned(entries))
    }
}

impl<'a> Entries<'a> {
    fn get(&self, key: &Value<'_>) -> Option<&Value<'a>> {
        self.places.get(&key.key()?).map(|place| &self.entries[*place].1)
    }

    fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> Result<()> {
        let known = key.key().filter(|_| !matches!(key, Value::Double(_)));
        let known =
            known.ok_or_else(|| Fault::other(format!("unsupported key type: {}", key.type_of().runtime_name())))?;
        match self.places.get(&known) {
            Some(place) => self.entries[*place].1 = value,
            None => {
                self.places.insert(known, self.entries.len());
                self.entries.push((key, value));
            }
        }
        Ok(())
    }
}

/// A value in messages about missing keys and the like.
pub(crate) fn display<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Int(n) => Cow::Owned(n.to_string()),
        Value::Uint(n) => Cow::Owned(n.to_string()),
        Value::Double(n) => Cow::Owned(n.to_string()),
        Value::Bool(b) => Cow::Owned(b.to_string()),
        Value::Null => Cow::Borrowed("null"),
        other => Cow::Owned(other.type_of().runtime_name().to_string()),
    }
}
