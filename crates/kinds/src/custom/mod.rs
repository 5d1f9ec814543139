//! Kinds of custom resources: descriptors made from a CustomResourceDefinition.
//!
//! [`Definition::read`] takes an established definition apart: one [`Version`] each with its [`Kind`], schema and columns. What it means to
//! be served, converted and published is the server's part.

mod columns;
mod rules;
#[cfg(test)]
mod tests;

use crate::column::{items, string};
use crate::descriptor::{ALL_VERBS, Action, Deletion, Kind, NameRule, Subresource};
use crate::made::{CustomType, Fields, MadeField, RuleSet, ScalePaths, TypeOf, Words};
use coracle_api::jsonpath::JsonPath;
use coracle_api::{Resource, validation};
use coracle_structural::Schema;
use rules::CustomRules;
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    cmp::Reverse,
    sync::{Arc, OnceLock},
};

/// The finalizer under which a definition waits for its objects to go.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// An established definition.
pub struct Definition {
    /// Tells this state of it from any other.
    pub stamp: String,
    /// API group.
    pub group: String,
    /// Plural name.
    pub plural: String,
    /// Kind.
    pub kind: String,
    /// The version that objects are stored in.
    pub storage: String,
    /// All versions, those too that are only stored.
    pub versions: Vec<Version>,
    /// How objects get from one version to another.
    pub conversion: Conversion,
    /// Whether its objects are going, and none may come.
    pub terminating: bool,
}

/// A version of a definition.
pub struct Version {
    /// Its name.
    pub name: String,
    /// Whether clients can speak it.
    pub served: bool,
    /// Its descriptor.
    pub kind: Arc<Kind>,
    /// The type of its objects.
    pub of: Arc<CustomType>,
    /// What its users are told, if it is deprecated.
    pub warning: Option<String>,
    /// `openAPIV3Schema` as it was given.
    pub published: Value,
}

/// How objects get from one version to another.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    None,
    /// Somebody else does it.
    Webhook {
        /// `clientConfig`.
        client: Value,
        /// The review's versions, in order of preference.
        reviews: Vec<String>,
    },
}

/// Whether a definition's condition of that type is true.
pub fn is_true(definition: &Value, condition: &str) -> bool {
    items(&definition["status"]["conditions"]).iter().any(|c| c["type"] == condition && c["status"] == "True")
}

/// What tells an established definition's state from any other, over restarts too; `None` unless it is established.
pub fn stamp(definition: &Value) -> Option<String> {
    let (metadata, names) = (&definition["metadata"], &definition["status"]["acceptedNames"]);
    let going = is_going(definition);
    is_true(definition, "Established")
        .then(|| format!("{}/{}/{names}/{going}", string(&metadata["uid"]), metadata["generation"]))
}

fn is_going(definition: &Value) -> bool {
    !definition["metadata"]["deletionTimestamp"].is_null() || is_true(definition, "Terminating")
}

/// The resource of an established definition, in the version that its objects are stored in if that is served, or else in the first that is.
pub fn resource(definition: &Value) -> Option<Resource> {
    let (spec, names) = (&definition["spec"], &definition["status"]["acceptedNames"]);
    let served = || items(&spec["versions"]).iter().filter(|v| v["served"] == true);
    let version = served().find(|v| v["storage"] == true).or_else(|| served().next())?;
    is_true(definition, "Established").then(|| Resource {
        group: string(&spec["group"]).to_string().into(),
        version: string(&version["name"]).to_string().into(),
        plural: string(&names["plural"]).to_string().into(),
        kind: string(&names["kind"]).to_string().into(),
        namespaced: spec["scope"] == "Namespaced",
    })
}

impl Definition {
    /// Takes a definition apart; `None` unless it is established.
    pub fn read(definition: &Value) -> Option<Self> {
        let (spec, names) = (&definition["spec"], &definition["status"]["acceptedNames"]);
        let stamp = stamp(definition)?;
        let versions = items(&spec["versions"]);
        let stored = versions.iter().find(|v| v["storage"] == true)?;
        let webhook = &spec["conversion"]["webhook"];
        Some(Self {
            stamp,
            group: string(&spec["group"]).into(),
            plural: string(&names["plural"]).into(),
            kind: string(&names["kind"]).into(),
            storage: string(&stored["name"]).into(),
            versions: versions.iter().map(|version| Version::read(definition, version)).collect(),
            conversion: if spec["conversion"]["strategy"] == "Webhook" {
                let reviews = items(&webhook["conversionReviewVersions"]).iter().map(|v| string(v).to_string());
                Conversion::Webhook { client: webhook["clientConfig"].clone(), reviews: reviews.collect() }
            } else {
                Conversion::None
            },
            terminating: is_going(definition),
        })
    }

    /// The version of that name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name)
    }
}

impl Version {
    fn read(definition: &Value, version: &Value) -> Self {
        let (spec, names) = (&definition["spec"], &definition["status"]["acceptedNames"]);
        let (group, name, kind) = (string(&spec["group"]), string(&version["name"]), string(&names["kind"]));
        let published = version["schema"]["openAPIV3Schema"].clone();
        let schema = match &published {
            // from before schemas were asked for: anything goes
            Value::Null => Schema { kind: "object".into(), preserve_unknown: Some(true), ..Schema::default() },
            given => Schema::parse(given),
        };
        let table = coracle_structural::table(&schema, group, name, kind);
        let of = Arc::new(CustomType { schema, table });
        let resource = Resource {
            group: group.to_string().into(),
            version: name.to_string().into(),
            plural: string(&names["plural"]).to_string().into(),
            kind: kind.to_string().into(),
            namespaced: spec["scope"] == "Namespaced",
        };
        let words = |value: &Value| Words::Made(items(value).iter().map(|w| string(w).to_string()).collect());
        let (status, scale) = subresources(&version["subresources"]);
        let mut served = Vec::new();
        if status {
            served.push(Subresource::own(Action::Status, "", "", "", "", Subresource::READ_WRITE));
        }
        if scale.is_some() {
            served.push(Subresource::scale(""));
        }
        let rules = CustomRules {
            of: of.clone(),
            status,
            scale: scale.clone(),
            published: published.clone(),
            validations: OnceLock::new(),
        };
        let kind = Kind {
            resource,
            list_kind: string(&names["listKind"]).to_string().into(),
            singular: string(&names["singular"]).to_string().into(),
            short_names: words(&names["shortNames"]),
            categories: words(&names["categories"]),
            schema: TypeOf::Custom(of.clone()),
            verbs: ALL_VERBS,
            subresources: served.into(),
            columns: columns::read(items(&version["additionalPrinterColumns"])),
            selectable: selectable(items(&version["selectableFields"])),
            name_rule: NameRule::DnsSubdomain,
            rules: RuleSet::Made(Arc::new(rules)),
            generation: true,
            born_with_status: false,
            measured: false,
            status,
            deletion: Deletion::Plain,
            create_on_update: false,
            unconditional_update: false,
            preferred: version["storage"] == true,
            stored_as: None,
            scale,
        };
        Self {
            name: name.into(),
            served: version["served"] == true,
            kind: Arc::new(kind),
            of,
            warning: warning(spec, version),
            published,
        }
    }
}

fn subresources(given: &Value) -> (bool, Option<ScalePaths>) {
    let path = |value: &Value| -> Cow<'static, str> { string(value).trim_start_matches('.').to_string().into() };
    let scale = given.get("scale").filter(|s| s.is_object()).map(|scale| ScalePaths {
        spec: path(&scale["specReplicasPath"]),
        status: path(&scale["statusReplicasPath"]),
        selector: path(&scale["labelSelectorPath"]),
    });
    (given.get("status").is_some_and(|s| !s.is_null()), scale)
}

fn selectable(fields: &[Value]) -> Fields {
    let made = fields.iter().filter_map(|field| {
        let path = string(&field["jsonPath"]);
        let parsed = JsonPath::parse(path).ok()?;
        let get = move |object: &Value| parsed.first(object).map(crate::descriptor::text).unwrap_or_default();
        Some(MadeField { path: path.trim_start_matches('.').into(), get: Box::new(get) })
    });
    Fields::Made(made.collect())
}

fn warning(spec: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(told) = version["deprecationWarning"].as_str() {
        return Some(told.into());
    }
    let (group, kind, name) = (string(&spec["group"]), string(&spec["names"]["kind"]), string(&version["name"]));
    let rank = |name: &str| validation::version_rank(name);
    let better = items(&spec["versions"])
        .iter()
        .filter(|v| v["served"] == true && v["deprecated"] != true)
        .map(|v| string(&v["name"]))
        .filter(|other| rank(other) > rank(name))
        .min_by_key(|other| Reverse(rank(other)));
    let instead = better.map(|other| format!("; use {group}/{other} {kind}")).unwrap_or_default();
    Some(format!("{group}/{name} {kind} is deprecated{instead}"))
}

/// An object as another version shows it when nothing has to be converted.
pub fn rename(object: &mut Value, group: &str, version: &str) {
    object["apiVersion"] = json!(format!("{group}/{version}"));
}
