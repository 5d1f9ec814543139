//! What a kind is: one [`Kind`] carries everything the generic server needs to serve it.
//!
//! There is no handler module per kind. The server asks the descriptor for names, verbs, columns and rules, and a kind
//! that needs nothing special is a few lines of data.

use crate::column::{Column, SelectableField};
use crate::fields::{carry, ensure};
use crate::gated;
use crate::made::{Columns, Fields, RuleSet, ScalePaths, Spoken, TypeOf, Words};
pub use crate::rules::{Defaults, NoRules, Rules, Verdict};
pub use crate::subresource::{Action, Part, Subresource};
use coracle_api::resource::Scoped;
use coracle_api::{FieldError, Resource, Status, schema::Type};
use serde_json::{Value, json};
use std::{borrow::Cow, mem};

/// The verbs of a stored kind.
pub const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The verbs of a kind that is measured when it is asked for.
pub const READ_ONLY: &[&str] = &["get", "list"];
/// The verbs of a kind that is only asked (reviews) and never stored.
pub const CREATE_ONLY: &[&str] = &["create"];

/// A kind: data plus small rules. Built-in ones are statics; those of custom resources are made at run time.
pub struct Kind {
    /// Group, version, plural, kind, scope.
    pub resource: Resource,
    /// Kind of the list, `PodList`.
    pub list_kind: Cow<'static, str>,
    /// Singular name, `pod`.
    pub singular: Cow<'static, str>,
    /// Short names, `po`.
    pub short_names: Words,
    /// Categories, `all`.
    pub categories: Words,
    /// The kind's definition in the schema table.
    pub schema: TypeOf,
    /// Verbs served.
    pub verbs: &'static [&'static str],
    /// Subresources served.
    pub subresources: Cow<'static, [Subresource]>,
    /// Columns of a Table, after none: the first one is the name.
    pub columns: Columns,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`.
    pub selectable: Fields,
    /// What a name must look like.
    pub name_rule: NameRule,
    /// Defaults, validation, preparation.
    pub rules: RuleSet,
    /// Whether `metadata.generation` counts changes of the desired state.
    pub generation: bool,
    /// Whether `status` can only be written through the `status` subresource (and is cleared at creation).
    pub status: bool,
    /// Whether a new object may bring its status along.
    pub born_with_status: bool,
    /// Whether objects are measured when they are asked for, and never kept.
    pub measured: bool,
    /// How objects leave.
    pub deletion: Deletion,
    /// Whether PUT creates an object that does not exist.
    pub create_on_update: bool,
    /// Whether PUT without a resourceVersion overwrites.
    pub unconditional_update: bool,
    /// Whether this is the group's preferred version of the resource.
    pub preferred: bool,
    /// When objects are stored as another kind's (`events.k8s.io` events as core events): which, and how.
    pub stored_as: Option<StoredAs>,
    /// Where a custom resource keeps what its `scale` shows; built-in kinds say it in their subresource.
    pub scale: Option<ScalePaths>,
}

/// Objects of this kind live among the objects of another one; converted on the way in and out.
pub struct StoredAs {
    /// The storing kind.
    pub kind: &'static Kind,
    /// From this kind to the storing one, `apiVersion` and `kind` apart.
    pub to_storage: fn(&mut Value),
    /// From the storing kind to this one, `apiVersion` and `kind` apart.
    pub from_storage: fn(&mut Value),
}

impl StoredAs {
    /// As another kind that differs in its name only.
    pub const fn same(kind: &'static Kind) -> Self {
        Self { kind, to_storage: |_| {}, from_storage: |_| {} }
    }
}

/// How objects of a kind are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// At once, unless finalizers hold the object.
    Plain,
    /// First a deletion timestamp and a grace period, see [`Rules::grace_period`].
    Graceful,
    /// `spec.finalizers` (beside `metadata.finalizers`) must be empty first; `status.phase` turns `Terminating`.
    Namespace,
}

/// What names of a kind look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, 253 characters.
    DnsSubdomain,
    /// RFC 1123 label, 63 characters.
    DnsLabel,
    /// RFC 1035 label.
    Dns1035Label,
    /// Anything that can be one segment of a URL path (RBAC).
    PathSegment,
    /// An IP address, in canonical form.
    Address,
    /// A key of a ConfigMap.
    Key,
    /// No name (reviews).
    None,
}

impl Kind {
    /// The descriptor of `K` with the usual settings: stored, all verbs, names that are DNS subdomains, no rules.
    pub const fn new<K>(singular: &'static str, schema: &'static str) -> Self
    where
        K: k8s_openapi::ListableResource,
        K::Scope: Scoped,
    {
        let resource =
            Resource::fixed(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT, K::KIND, <K::Scope as Scoped>::NAMESPACED);
        Self::with(resource, K::LIST_KIND, singular, schema)
    }

    /// The descriptor of another version of a stored kind: the same but for its type, and what `stored` converts.
    pub const fn version<K>(stored: StoredAs, schema: &'static str) -> Self
    where
        K: k8s_openapi::ListableResource,
        K::Scope: Scoped,
    {
        let of = stored.kind;
        let Cow::Borrowed(singular) = of.singular else { panic!("a built-in kind") };
        let mut kind = Self::new::<K>(singular, schema);
        if let Words::Fixed(names) = &of.short_names {
            kind = kind.short(names);
        }
        if let Columns::Fixed(columns) = &of.columns {
            kind = kind.columns(columns);
        }
        if let Fields::Fixed(fields) = &of.selectable {
            kind = kind.selectable(fields);
        }
        if of.status {
            kind = kind.subresources(&[Subresource::OWN_STATUS]);
        }
        kind.create_on_update = of.create_on_update;
        kind.unconditional_update = of.unconditional_update;
        kind.not_preferred().stored_as(stored)
    }

    /// The descriptor of a create-only kind, which is answered and never stored.
    pub const fn review<K>(singular: &'static str, schema: &'static str) -> Self
    where
        K: k8s_openapi::Resource,
        K::Scope: Scoped,
    {
        let resource =
            Resource::fixed(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT, K::KIND, <K::Scope as Scoped>::NAMESPACED);
        let mut kind = Self::with(resource, "", singular, schema);
        kind.verbs = CREATE_ONLY;
        kind.name_rule = NameRule::None;
        kind
    }

    /// The descriptor of a kind whose objects are measured when they are asked for.
    pub const fn measured(resource: Resource, list_kind: &'static str, schema: &'static str) -> Self {
        let mut kind = Self::with(resource, list_kind, "", schema);
        kind.verbs = READ_ONLY;
        kind.measured = true;
        kind
    }

    const fn with(resource: Resource, list_kind: &'static str, singular: &'static str, schema: &'static str) -> Self {
        Self {
            resource,
            list_kind: Cow::Borrowed(list_kind),
            singular: Cow::Borrowed(singular),
            short_names: Words::Fixed(&[]),
            categories: Words::Fixed(&[]),
            schema: TypeOf::BuiltIn(schema),
            verbs: ALL_VERBS,
            subresources: Cow::Borrowed(&[]),
            columns: Columns::Fixed(crate::column::NAME_AND_AGE),
            selectable: Fields::Fixed(&[]),
            name_rule: NameRule::DnsSubdomain,
            rules: RuleSet::Fixed(&NoRules),
            generation: false,
            status: false,
            born_with_status: false,
            measured: false,
            deletion: Deletion::Plain,
            create_on_update: false,
            unconditional_update: true,
            preferred: true,
            stored_as: None,
            scale: None,
        }
    }

    /// With short names.
    pub const fn short(mut self, names: &'static [&'static str]) -> Self {
        replace(&mut self.short_names, Words::Fixed(names));
        self
    }

    /// With categories.
    pub const fn categories(mut self, categories: &'static [&'static str]) -> Self {
        replace(&mut self.categories, Words::Fixed(categories));
        self
    }

    /// With subresources; one of them `status` keeps `status` apart.
    pub const fn subresources(mut self, subresources: &'static [Subresource]) -> Self {
        replace(&mut self.subresources, Cow::Borrowed(subresources));
        let mut i = 0;
        while i < subresources.len() {
            if matches!(subresources[i].action, Action::Status) {
                self.status = true;
            }
            i += 1;
        }
        self
    }

    /// A new object may bring its status along.
    pub const fn born_with_status(mut self) -> Self {
        self.born_with_status = true;
        self
    }

    /// With these columns.
    pub const fn columns(mut self, columns: &'static [Column]) -> Self {
        replace(&mut self.columns, Columns::Fixed(columns));
        self
    }

    /// With field selectors.
    pub const fn selectable(mut self, fields: &'static [SelectableField]) -> Self {
        replace(&mut self.selectable, Fields::Fixed(fields));
        self
    }

    /// With another rule for names.
    pub const fn names(mut self, rule: NameRule) -> Self {
        self.name_rule = rule;
        self
    }

    /// With rules.
    pub const fn rules(mut self, rules: &'static dyn Rules) -> Self {
        replace(&mut self.rules, RuleSet::Fixed(rules));
        self
    }

    /// Counting generations.
    pub const fn generation(mut self) -> Self {
        self.generation = true;
        self
    }

    /// Deleted in another way.
    pub const fn deletion(mut self, deletion: Deletion) -> Self {
        self.deletion = deletion;
        self
    }

    /// PUT creates.
    pub const fn create_on_update(mut self) -> Self {
        self.create_on_update = true;
        self
    }

    /// PUT needs a resourceVersion.
    pub const fn conditional_update(mut self) -> Self {
        self.unconditional_update = false;
        self
    }

    /// Not the group's preferred version.
    pub const fn not_preferred(mut self) -> Self {
        self.preferred = false;
        self
    }

    /// Stored as another kind.
    pub const fn stored_as(mut self, stored: StoredAs) -> Self {
        replace(&mut self.stored_as, Some(stored));
        self
    }

    /// The type of its objects.
    pub fn type_of(&self) -> Option<Type<'_>> {
        self.schema.get()
    }

    /// Group, version and kind of a subresource's body.
    pub fn spoken<'a>(&'a self, sub: &'a Subresource) -> Spoken<'a> {
        if sub.kind.is_empty() {
            let own = &self.resource;
            return Spoken { group: &own.group, version: &own.version, kind: &own.kind };
        }
        Spoken { group: sub.group, version: sub.version, kind: sub.kind }
    }

    /// Where the object has what its `scale` shows; `None` if it does not scale.
    pub fn scale_paths(&self) -> Option<ScalePaths> {
        self.scale.clone().or_else(|| match self.subresource("scale")?.action {
            Action::Scale { spec, status, selector } => Some(ScalePaths::new(spec, status, selector)),
            _ => None,
        })
    }

    /// Whether objects are kept at all (reviews and measurements are not).
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"get") && !self.measured
    }

    /// The kind under whose resource objects are stored.
    pub fn storage(&self) -> &Kind {
        self.stored_as.as_ref().map_or(self, |stored| stored.kind)
    }

    /// Makes a decoded object what is stored.
    pub fn to_storage(&self, object: &mut Value) {
        if let Some(stored) = &self.stored_as {
            (stored.to_storage)(object);
            stored.kind.sign(object);
        }
    }

    /// Makes a stored object what clients of this version see.
    pub fn from_storage(&self, object: &mut Value) {
        if let Some(stored) = &self.stored_as {
            (stored.from_storage)(object);
            self.sign(object);
        }
    }

    fn sign(&self, object: &mut Value) {
        object["apiVersion"] = json!(self.resource.api_version());
        object["kind"] = json!(self.resource.kind);
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.action.name() == name)
    }

    /// The value of a selectable field; `None` if the kind does not support the field.
    pub fn field(&self, object: &Value, path: &str) -> Option<String> {
        match path {
            "metadata.name" => Some(text(&object["metadata"]["name"])),
            "metadata.namespace" if self.resource.namespaced => Some(text(&object["metadata"]["namespace"])),
            _ => self.selectable.position(path).map(|at| self.selectable.value(at, object)),
        }
    }

    /// Whether field selectors on `path` are supported.
    pub fn supports_field(&self, path: &str) -> bool {
        path == "metadata.name"
            || (path == "metadata.namespace" && self.resource.namespaced)
            || self.selectable.position(path).is_some()
    }

    /// The name a kind's objects carry in messages: whether `name` (or the prefix of a generated one) is acceptable.
    pub fn name_errors(&self, name: &str, prefix: bool) -> Vec<String> {
        crate::names::check(self.name_rule, name, prefix)
    }

    /// Fills in defaults.
    ///
    /// # Errors
    /// When the object does not decode as its kind.
    pub fn default(&self, object: &mut Value) -> Result<(), Status> {
        self.rules.default(object)
    }

    /// Makes a decoded, defaulted object ready to be created: no status, first generation, initial state.
    pub fn prepare_create(&self, object: &mut Value) {
        if let (true, Some(map)) = (self.status && !self.born_with_status, object.as_object_mut()) {
            map.remove("status");
        }
        if let (true, Some(metadata)) = (self.generation, object.get_mut("metadata").and_then(Value::as_object_mut)) {
            metadata.insert("generation".into(), json!(1));
        }
        if let TypeOf::BuiltIn(_) = self.schema
            && let Some(of) = self.type_of()
        {
            gated::drop_disabled(object, None, of);
        }
        self.rules.prepare_create(object);
        self.keep_struct(object, "status");
    }

    /// A struct within Go's struct is there even when nothing is said of it, and clients' models count on that.
    fn keep_struct(&self, object: &mut Value, field: &str) {
        let embedded = self.schema.get().and_then(|of| of.field(field)).is_some_and(|f| f.is_embedded());
        if let (true, Some(map)) = (embedded, object.as_object_mut()) {
            map.entry(field).or_insert_with(|| json!({}));
        }
    }

    /// Makes `new` an acceptable successor of `old`: what `part` may not write is carried over, and the generation
    /// counts a change of the desired state.
    pub fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        match part {
            Part::Main if self.status => carry(new, old, "status"),
            Part::Main => {}
            Part::Status => keep_only(new, old, "status"),
            Part::Approval | Part::EphemeralContainers | Part::Resize | Part::Finalize => {}
        }
        if let TypeOf::BuiltIn(_) = self.schema
            && let Some(of) = self.type_of()
        {
            gated::drop_disabled(new, Some(old), of);
        }
        self.rules.prepare_update(new, old, part);
        carry_metadata(new, old, "generation");
        if self.generation && self.rules.desired_state_changed(new, old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = json!(generation + 1);
        }
    }

    /// Everything wrong with an object about to be created; an empty list is acceptance.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = crate::names::metadata_errors(self, object);
        errors.extend(self.rules.validate(object));
        errors
    }

    /// Everything wrong with an update.
    pub fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        self.judge_update(new, old, part).errors
    }

    /// Everything wrong with an update, and what is let pass because it was wrong before.
    pub fn judge_update(&self, new: &Value, old: &Value, part: Part) -> Verdict {
        let mut verdict = self.rules.judge_update(new, old, part);
        verdict.errors.splice(0..0, crate::names::metadata_update_errors(self, new, old));
        verdict
    }

    /// When it is to go, and what comes instead; `None`: it is to stay.
    pub fn deprecation(&self) -> Option<crate::lifecycle::Deprecation> {
        crate::lifecycle::of(&self.resource)
    }

    /// Whether deletion has to wait for something other than `metadata.finalizers`.
    pub fn grace_period(&self, object: &Value, requested: Option<i64>) -> i64 {
        match self.deletion {
            Deletion::Graceful => self.rules.grace_period(object, requested),
            Deletion::Plain | Deletion::Namespace => 0,
        }
    }
}

// Descriptors are built in constants, where nothing can be dropped; what is replaced was empty.
const fn replace<T>(place: &mut T, new: T) {
    mem::forget(mem::replace(place, new));
}

/// A scalar as a field selector compares it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn carry_metadata(new: &mut Value, old: &Value, field: &str) {
    carry(ensure(new, "metadata"), &old["metadata"], field);
}

// A status write may also touch labels and annotations (and who manages which field), as upstream's strategies allow.
fn keep_only(new: &mut Value, old: &Value, field: &str) {
    let mut kept = old.clone();
    carry(&mut kept, new, field);
    for key in ["managedFields", "resourceVersion", "uid", "labels", "annotations", "finalizers", "ownerReferences"] {
        carry_metadata(&mut kept, new, key);
    }
    *new = kept;
}
