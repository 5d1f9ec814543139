//! What the API's types look like: one table that drives decoding, patches, apply and OpenAPI.
//!
//! The built-in table is generated (`cargo xtask schema`) and read once; a table for a custom resource is built at run
//! time from its own text. Both have the same compact form: names are places in one text, types are ranges of fields,
//! shapes are shared nodes. [`Type`], [`Field`] and [`Shape`] are cheap views into it.

mod builder;
pub mod decode;
pub mod json_error;
mod table;
mod time;
mod wire;
pub mod yaml;
pub mod yaml_write;

pub use builder::{Builder, NewField, ShapeId, TypeId};
pub use decode::{Decoded, Media, conform, decode, decode_untyped, prune};
pub use wire::{Place, Wire, WireFields, WireForm};

use std::{
    borrow::Cow,
    collections::HashMap,
    ops::Range,
    sync::{Arc, OnceLock},
};

/// A table of types.
#[derive(Debug, Default)]
pub struct Schema {
    text: Cow<'static, str>,
    types: Vec<TypeData>,
    fields: Vec<FieldData>,
    /// For each type, in the places of its fields: which of them have a place in protobuf, in that order.
    wire_order: Vec<u32>,
    nodes: Vec<Node>,
    by_name: HashMap<Box<str>, u32>,
    by_kind: HashMap<(String, String, String), u32>,
    kinds: Vec<KindData>,
    /// Empty lists and maps are dropped as Go's `omitempty` does.
    go_semantics: bool,
}

/// A place in the table's text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Text {
    start: u32,
    len: u16,
}

impl Text {
    fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.start as usize + self.len as usize).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct TypeData {
    name: Text,
    fields: Range<u32>,
    /// How many of them have a place in protobuf.
    wired: u32,
    atomic: bool,
    preserve_unknown: bool,
}

#[derive(Debug, Default)]
struct FieldData {
    name: Text,
    merge_key: Text,
    default: Text,
    node: u32,
    wire: Wire,
    required: bool,
    nullable: bool,
    merge: bool,
    replace: bool,
    retain_keys: bool,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    Scalar(Scalar),
    Object(u32),
    List { item: u32, kind: ListKind },
    Map { item: u32, atomic: bool },
}

#[derive(Clone, Copy, Debug)]
enum ListKind {
    Atomic,
    Set,
    Map(Text),
}

/// A kind of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct KindData {
    /// API group; empty for core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural name; empty for lists and kinds that are no resource.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    type_id: u32,
}

impl KindData {
    /// The resource, unless it is a list or only spoken below another resource.
    pub fn resource(&self) -> Option<crate::Resource> {
        (!self.plural.is_empty()).then(|| crate::Resource {
            group: self.group.clone().into(),
            version: self.version.clone().into(),
            plural: self.plural.clone().into(),
            kind: self.kind.clone().into(),
            namespaced: self.namespaced,
        })
    }
}

/// Values without inner structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// Text.
    String,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Floating point.
    Number,
    /// Truth.
    Bool,
    /// Base64.
    Bytes,
    /// `intstr.IntOrString`.
    IntOrString,
    /// `resource.Quantity`.
    Quantity,
    /// RFC 3339, seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
    /// A span of time as Go writes it.
    Duration,
    /// Anything.
    Json,
}

impl Schema {
    /// The types of Kubernetes itself.
    pub fn builtin() -> &'static Self {
        static TABLE: OnceLock<Schema> = OnceLock::new();
        TABLE.get_or_init(table::builtin)
    }

    /// The type of that name, `io.k8s.api.core.v1.Pod`.
    pub fn type_named(&self, name: &str) -> Option<Type<'_>> {
        self.by_name.get(name).map(|id| Type { schema: self, id: *id })
    }

    /// The type of a kind.
    pub fn type_of(&self, group: &str, version: &str, kind: &str) -> Option<Type<'_>> {
        let key = (group.to_string(), version.to_string(), kind.to_string());
        self.by_kind.get(&key).map(|id| Type { schema: self, id: *id })
    }

    /// The type of a kind, by `apiVersion` (`apps/v1`).
    pub fn type_of_api_version(&self, api_version: &str, kind: &str) -> Option<Type<'_>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.type_of(group, version, kind)
    }

    /// Every type.
    pub fn types(&self) -> impl Iterator<Item = Type<'_>> {
        (0..self.types.len() as u32).map(move |id| Type { schema: self, id })
    }

    /// Every kind, with its type.
    pub fn kinds(&self) -> impl Iterator<Item = (&KindData, Type<'_>)> {
        self.kinds.iter().map(move |k| (k, Type { schema: self, id: k.type_id }))
    }

    /// Starts a table of one's own (a custom resource).
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// A type that keeps its table alive: what a custom resource holds.
#[derive(Clone, Debug)]
pub struct OwnedType {
    schema: Arc<Schema>,
    id: u32,
}

impl OwnedType {
    /// The view.
    pub fn view(&self) -> Type<'_> {
        Type { schema: &self.schema, id: self.id }
    }
}

/// A struct type.
#[derive(Clone, Copy, Debug)]
pub struct Type<'s> {
    schema: &'s Schema,
    id: u32,
}

impl<'s> Type<'s> {
    fn data(self) -> &'s TypeData {
        &self.schema.types[self.id as usize]
    }

    /// `io.k8s.api.core.v1.Pod`.
    pub fn name(self) -> &'s str {
        self.data().name.of(&self.schema.text)
    }

    /// `Pod`.
    pub fn short_name(self) -> &'s str {
        self.name().rsplit('.').next().unwrap_or_default()
    }

    /// `v1.Pod`, as Go prints the type.
    pub fn go_name(self) -> String {
        let mut words = self.name().rsplit('.');
        let (name, package) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        format!("{package}.{name}")
    }

    /// Its fields, sorted by name.
    pub fn fields(self) -> impl ExactSizeIterator<Item = Field<'s>> {
        let schema = self.schema;
        let range = &self.data().fields;
        schema.fields[range.start as usize..range.end as usize].iter().map(move |data| Field { schema, data })
    }

    /// The field of that JSON name (case counts).
    pub fn field(self, name: &str) -> Option<Field<'s>> {
        let schema = self.schema;
        let range = &self.data().fields;
        let fields = &schema.fields[range.start as usize..range.end as usize];
        let at = fields.binary_search_by(|f| f.name.of(&schema.text).cmp(name)).ok()?;
        Some(Field { schema, data: &fields[at] })
    }

    /// Whether server-side apply owns it as one value.
    pub fn is_atomic(self) -> bool {
        self.data().atomic
    }

    /// Whether unknown fields are kept (custom resources).
    pub fn preserves_unknown(self) -> bool {
        self.data().preserve_unknown
    }

    /// Whether empty lists and maps are dropped as Go's `omitempty` does (built-in types).
    pub fn omits_empty(self) -> bool {
        self.schema.go_semantics
    }
}

impl PartialEq for Type<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.id == other.id
    }
}

/// A field of a type.
#[derive(Clone, Copy, Debug)]
pub struct Field<'s> {
    schema: &'s Schema,
    data: &'s FieldData,
}

impl<'s> Field<'s> {
    /// JSON name.
    pub fn name(self) -> &'s str {
        self.data.name.of(&self.schema.text)
    }

    /// What its values look like.
    pub fn shape(self) -> Shape<'s> {
        Shape::at(self.schema, self.data.node)
    }

    /// Whether an object without it is incomplete.
    pub fn is_required(self) -> bool {
        self.data.required
    }

    /// Whether it is a struct within the struct, not behind a pointer: it is there even when nothing is said of it.
    pub fn is_embedded(self) -> bool {
        self.data.wire.is_always_written() && matches!(self.shape(), Shape::Object(_))
    }

    /// Whether `null` is a value of it (custom resources).
    pub fn is_nullable(self) -> bool {
        self.data.nullable
    }

    /// How it stands in protobuf.
    pub fn wire(self) -> &'s Wire {
        &self.data.wire
    }

    /// Strategic merge patch: lists are merged, not replaced.
    pub fn merges(self) -> bool {
        self.data.merge
    }

    /// Strategic merge patch: an object is replaced, not merged.
    pub fn replaces(self) -> bool {
        self.data.replace
    }

    /// Strategic merge patch: the patch names the keys that stay.
    pub fn retains_keys(self) -> bool {
        self.data.retain_keys
    }

    /// Strategic merge patch: the key of a merged list of objects; empty for lists of scalars.
    pub fn merge_key(self) -> &'s str {
        self.data.merge_key.of(&self.schema.text)
    }

    /// Its default, JSON; empty if none.
    pub fn default_json(self) -> &'s str {
        self.data.default.of(&self.schema.text)
    }
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape<'s> {
    /// A value without inner structure.
    Scalar(Scalar),
    /// A struct.
    Object(Type<'s>),
    /// A list.
    List(List<'s>),
    /// A map from strings.
    Map(Map<'s>),
}

impl<'s> Shape<'s> {
    fn at(schema: &'s Schema, node: u32) -> Self {
        match schema.nodes[node as usize] {
            Node::Scalar(scalar) => Self::Scalar(scalar),
            Node::Object(id) => Self::Object(Type { schema, id }),
            Node::List { item, kind } => Self::List(List { schema, item, kind }),
            Node::Map { item, atomic } => Self::Map(Map { schema, item, atomic }),
        }
    }

    /// Anything goes.
    pub const ANY: Shape<'static> = Shape::Scalar(Scalar::Json);

    /// As Go prints the type.
    pub fn go_name(self) -> String {
        match self {
            Self::Scalar(scalar) => match scalar {
                Scalar::String => "string",
                Scalar::Int32 => "int32",
                Scalar::Int64 => "int64",
                Scalar::Number => "float64",
                Scalar::Bool => "bool",
                Scalar::Bytes => "[]uint8",
                Scalar::IntOrString => "intstr.IntOrString",
                Scalar::Quantity => "resource.Quantity",
                Scalar::Time => "v1.Time",
                Scalar::MicroTime => "v1.MicroTime",
                Scalar::Duration => "v1.Duration",
                Scalar::Json => "interface {}",
            }
            .to_string(),
            Self::Object(of) => of.go_name(),
            Self::List(list) => format!("[]{}", list.item().go_name()),
            Self::Map(map) => format!("map[string]{}", map.item().go_name()),
        }
    }
}

/// A list shape.
#[derive(Clone, Copy, Debug)]
pub struct List<'s> {
    schema: &'s Schema,
    item: u32,
    kind: ListKind,
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.item == other.item
    }
}

impl<'s> List<'s> {
    /// What its items look like.
    pub fn item(self) -> Shape<'s> {
        Shape::at(self.schema, self.item)
    }

    /// The keys that tell items apart; empty unless it is a list map.
    pub fn keys(self) -> impl Iterator<Item = &'s str> + Clone {
        let keys = match self.kind {
            ListKind::Map(keys) => keys.of(&self.schema.text),
            _ => "",
        };
        keys.split(',').filter(|k| !k.is_empty())
    }

    /// Whether it is a list map.
    pub fn is_map(self) -> bool {
        matches!(self.kind, ListKind::Map(_))
    }

    /// Whether it is a set.
    pub fn is_set(self) -> bool {
        matches!(self.kind, ListKind::Set)
    }

    /// Whether it is one value.
    pub fn is_atomic(self) -> bool {
        matches!(self.kind, ListKind::Atomic)
    }
}

/// A map shape.
#[derive(Clone, Copy, Debug)]
pub struct Map<'s> {
    schema: &'s Schema,
    item: u32,
    atomic: bool,
}

impl PartialEq for Map<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.item == other.item
    }
}

impl<'s> Map<'s> {
    /// What its values look like.
    pub fn item(self) -> Shape<'s> {
        Shape::at(self.schema, self.item)
    }

    /// Whether server-side apply owns it as one value.
    pub fn is_atomic(self) -> bool {
        self.atomic
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::FieldValidation;

    #[test]
    fn the_builtin_table_states_upstreams_facts() {
        let schema = Schema::builtin();
        let field = |of: &str, name: &str| {
            schema
                .type_named(&format!("io.k8s.{of}"))
                .and_then(|t| t.field(name))
                .unwrap_or_else(|| panic!("{of}.{name}"))
        };
        for (of, name, merge_key, keys) in [
            ("api.core.v1.PodSpec", "containers", "name", "name"),
            ("api.core.v1.Container", "ports", "containerPort", "containerPort,protocol"),
            ("api.core.v1.EphemeralContainer", "ports", "containerPort", "containerPort,protocol"),
            ("api.core.v1.ServiceSpec", "ports", "port", "port,protocol"),
            ("api.core.v1.PodSpec", "topologySpreadConstraints", "topologyKey", "topologyKey,whenUnsatisfiable"),
            ("api.core.v1.Container", "volumeMounts", "mountPath", "mountPath"),
            ("api.core.v1.PodStatus", "podIPs", "ip", "ip"),
            ("api.core.v1.NodeStatus", "conditions", "type", "type"),
            ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "ownerReferences", "uid", "uid"),
            ("api.core.v1.PodSpec", "tolerations", "", ""),
        ] {
            let (field, got) = (field(of, name), field(of, name).shape());
            let Shape::List(list) = got else { panic!("{of}.{name} is no list") };
            assert_eq!(
                (field.merge_key(), list.keys().collect::<Vec<_>>().join(",")),
                (merge_key, keys.into()),
                "{of}.{name}"
            );
        }
        assert!(field("api.core.v1.PodSpec", "volumes").retains_keys());
        assert!(field("api.apps.v1.DeploymentSpec", "strategy").retains_keys());
        assert_eq!(field("api.core.v1.PodSpec", "containers").wire().path(), [2]);
        assert_eq!(field("api.core.v1.Volume", "secret").wire().path(), [2, 6]);
        let Shape::List(finalizers) = field("apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers").shape() else {
            panic!()
        };
        assert!(finalizers.is_set());
        assert!(schema.type_named("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector").unwrap().is_atomic());
        assert!(schema.type_of("", "v1", "PodList").is_some());
        for of in schema.types() {
            let names: Vec<&str> = of.fields().map(Field::name).collect();
            assert!(names.is_sorted(), "{}: fields are searched by bisection", of.name());
        }
        let resources: Vec<_> = schema.kinds().filter_map(|(k, _)| k.resource()).collect();
        assert!(resources.contains(&crate::Resource::of::<k8s_openapi::api::core::v1::Pod>()));
        assert!(!resources.iter().any(|r| r.kind == "Scale" || r.kind == "PodList"));
    }

    #[test]
    fn custom_types_are_made_at_run_time() {
        let mut builder = Schema::builder();
        let meta =
            builder.import(Schema::builtin().type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap());
        let text = builder.scalar(Scalar::String);
        let meta = builder.reference(meta);
        let new = |name: &str, shape, nullable| NewField {
            name: name.into(),
            shape,
            required: false,
            nullable,
            default: String::new(),
        };
        let root = builder.object(
            "com.example.v1.Thing",
            vec![new("metadata", meta, false), new("x", text, true)],
            false,
            false,
        );
        let owned = builder.finish(root, "example.com", "v1", "Thing");
        let body = br#"{"metadata": {"name": "a", "bad": 1}, "x": null, "y": 2}"#;
        let got = decode(body, Media::Json, Some(owned.view()), FieldValidation::Warn).unwrap();
        assert_eq!(got.value, serde_json::json!({"metadata": {"name": "a"}, "x": null}));
        assert_eq!(got.warnings, [r#"unknown field "metadata.bad""#, r#"unknown field "y""#]);
    }
}
