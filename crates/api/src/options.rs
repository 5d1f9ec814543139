//! Options of requests, decoded: from a query string, or from a caller in the same process.

use crate::selector::{FieldSelector, LabelSelector};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Options of list and watch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListOptions {
    /// Only objects whose labels match.
    pub labels: LabelSelector,
    /// Only objects whose fields match.
    pub fields: FieldSelector,
    /// At most so many objects a page; 0 means all.
    pub limit: usize,
    /// Where the previous page ended.
    pub continue_token: String,
    /// Watch: start after this revision. `None`: from now, beginning with what exists.
    pub revision: Option<u64>,
    /// Watch: send bookmarks.
    pub bookmarks: bool,
}

/// Options of create, update, patch and apply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteOptions {
    /// Run everything but the commit.
    pub dry_run: bool,
    /// Who owns the fields that this request sets.
    pub field_manager: String,
    /// Apply: take fields from other managers.
    pub force: bool,
    /// What to do with unknown and duplicate fields.
    pub field_validation: FieldValidation,
}

/// `fieldValidation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop silently.
    Ignore,
    /// Drop, and say so in a warning.
    #[default]
    Warn,
    /// Refuse.
    Strict,
}

/// How a patch body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes strategic merge.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchKind {
    /// The media type on the wire.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// A patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Its form.
    pub kind: PatchKind,
    /// Its body.
    pub body: Value,
    /// What strict reading minds in its text: fields named twice, unknown ones of a JSON patch.
    pub faults: Vec<String>,
}

impl Patch {
    /// A patch of a kind.
    pub fn new(kind: PatchKind, body: Value) -> Self {
        Self { kind, body, faults: Vec::new() }
    }

    /// A JSON merge patch.
    pub fn merge(body: Value) -> Self {
        Self::new(PatchKind::Merge, body)
    }

    /// A strategic merge patch.
    pub fn strategic(body: Value) -> Self {
        Self::new(PatchKind::Strategic, body)
    }
}

/// `DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    /// Seconds to go; `None`: the kind's default. 0: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    /// Only this very object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditions: Option<Preconditions>,
    /// What happens to dependents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<Propagation>,
    /// The older way to say `Orphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orphan_dependents: Option<bool>,
    /// `["All"]`: run everything but the commit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dry_run: Vec<String>,
}

/// Conditions on the object to delete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    /// Only if it has this uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Only if it is at this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// `propagationPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Dependents stay, without their owner.
    Orphan,
    /// The owner goes at once, dependents after it.
    Background,
    /// Dependents go first.
    Foreground,
}
