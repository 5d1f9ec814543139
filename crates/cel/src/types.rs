//! Types of expressions, as the checker sees them.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// What follows from an error that was already reported.
    Error,
    /// Known only when the expression runs.
    Dyn,
    /// `null`.
    Null,
    /// `bool`.
    Bool,
    /// `int`: 64 bits with sign.
    Int,
    /// `uint`: 64 bits without sign.
    Uint,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `bytes`.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// A list and its elements' type.
    List(Arc<Type>),
    /// A map: the types of its keys and values.
    Map(Arc<Type>, Arc<Type>),
    /// An object with declared fields.
    Object(Arc<Object>),
    /// A type of a library: `net.IP`, `kubernetes.Quantity`, ….
    Library(Library),
    /// A value that may be absent.
    Optional(Arc<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// A parameter of a signature (`A`, `B`).
    Parameter(u8),
    /// A type that inference has yet to find.
    Unknown(u32),
}

/// The name and fields of an object type. Types with the same name are the same type.
#[derive(Debug)]
pub struct Object {
    /// What the type is called in messages.
    pub name: String,
    /// Types of its fields, by identifier.
    pub fields: BTreeMap<String, Type>,
    /// Whether there may be any other field, of which nothing is known.
    pub open: bool,
}

impl Object {
    /// The type of a field. Behind a dot, keywords need no escape.
    pub(crate) fn field(&self, name: &str) -> Option<&Type> {
        let declared = self.fields.get(name).or_else(|| self.fields.get(&crate::escape::keyword(name)?));
        declared.or(self.open.then_some(&Type::Dyn))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Object {}

/// Types that come with Kubernetes' libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Library {
    Url,
    Quantity,
    Ip,
    Cidr,
    Format,
    Semver,
    Authorizer,
    PathCheck,
    GroupCheck,
    ResourceCheck,
    Decision,
}

impl Library {
    /// All of them, with their names.
    pub const NAMES: &[(Self, &str)] = &[
        (Self::Url, "kubernetes.URL"),
        (Self::Quantity, "kubernetes.Quantity"),
        (Self::Ip, "net.IP"),
        (Self::Cidr, "net.CIDR"),
        (Self::Format, "kubernetes.NamedFormat"),
        (Self::Semver, "kubernetes.Semver"),
        (Self::Authorizer, "kubernetes.authorization.Authorizer"),
        (Self::PathCheck, "kubernetes.authorization.PathCheck"),
        (Self::GroupCheck, "kubernetes.authorization.GroupCheck"),
        (Self::ResourceCheck, "kubernetes.authorization.ResourceCheck"),
        (Self::Decision, "kubernetes.authorization.Decision"),
    ];

    /// What the type is called.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(library, _)| *library == self).map_or("", |(_, name)| name)
    }
}

impl Type {
    /// A list of these.
    pub fn list(of: Type) -> Self {
        Self::List(Arc::new(of))
    }

    /// A map.
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// One that may be absent.
    pub fn optional(of: Type) -> Self {
        Self::Optional(Arc::new(of))
    }

    /// Whether nothing can be said about values of this type before the expression runs.
    pub fn is_dynamic(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The type within an optional one.
    pub fn unwrap_optional(&self) -> Option<&Type> {
        match self {
            Self::Optional(of) => Some(of),
            _ => None,
        }
    }

    /// Whether every value has the same size, which then counts as one.
    pub fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Int | Self::Uint | Self::Double | Self::Timestamp | Self::Duration => true,
            Self::Optional(of) => of.is_scalar(),
            _ => false,
        }
    }

    /// The type's name at run time, as `type(x)` shows it.
    pub fn runtime_name(&self) -> &str {
        match self {
            Self::Error => "!error!",
            Self::Dyn | Self::Parameter(_) | Self::Unknown(_) => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Object(object) => &object.name,
            Self::Library(library) => library.name(),
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
        }
    }
}

impl Type {
    /// As messages about an expression's result show it: as declared, not as the checker shows it.
    pub fn declared(&self) -> String {
        match self {
            Self::Null | Self::Timestamp | Self::Duration => self.runtime_name().to_string(),
            Self::List(of) => format!("list({})", of.declared()),
            Self::Map(key, value) => format!("map({}, {})", key.declared(), value.declared()),
            Self::Optional(of) => format!("optional_type({})", of.declared()),
            other => other.to_string(),
        }
    }
}

/// As the messages of the checker show it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Parameter(at) => write!(f, "{}", char::from(b'A' + at % 26)),
            Self::Unknown(_) => f.write_str("dyn"),
            other => f.write_str(other.runtime_name()),
        }
    }
}
