//! The one error of every request: upstream's `Status`, with its reasons, codes, causes and messages.
//!
//! Source: API conventions, "Response Status Kind"; apimachinery `api/errors` and `util/validation/field`.

use crate::resource::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// A result whose error is a [`Status`].
pub type Result<T, E = Status> = std::result::Result<T, E>;

/// A failed request, as a client sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// HTTP status code.
    #[serde(default)]
    pub code: u16,
    /// Machine-readable reason (`NotFound`, `Conflict`, …); may be empty.
    #[serde(default)]
    pub reason: String,
    /// What was wrong, for people.
    #[serde(default)]
    pub message: String,
    /// `details` (group, kind, name, uid, causes, retryAfterSeconds), or null.
    #[serde(default)]
    pub details: Value,
    /// `metadata.continue`: where a list that cannot go on as it was may go on; empty otherwise.
    #[serde(skip)]
    pub continue_token: String,
}

impl std::error::Error for Status {}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Status {
    /// A status with neither details nor special form.
    pub fn new(code: u16, reason: &str, message: impl fmt::Display) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.to_string(),
            details: Value::Null,
            continue_token: String::new(),
        }
    }

    fn named(code: u16, reason: &str, resource: &Resource, name: &str, message: String) -> Self {
        let mut details = json!({"name": name, "kind": resource.plural});
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        Self { details, ..Self::new(code, reason, message) }
    }

    /// 404 NotFound.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::named(404, "NotFound", resource, name, format!("{} \"{name}\" not found", resource.qualified()))
    }

    /// 409 AlreadyExists.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::named(409, "AlreadyExists", resource, name, format!("{} \"{name}\" already exists", resource.qualified()))
    }

    /// 409 AlreadyExists, of a name that the server made up.
    pub fn generated_name_exists(resource: &Resource, name: &str) -> Self {
        let why = "already exists, the server was not able to generate a unique name for the object";
        let message = format!("{} \"{name}\" {why}", resource.qualified());
        let mut status = Self::named(409, "AlreadyExists", resource, name, message);
        status.details["retryAfterSeconds"] = json!(1);
        status
    }

    /// 409 Conflict.
    pub fn conflict(resource: &Resource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::named(409, "Conflict", resource, name, message)
    }

    /// 403 Forbidden, on a named object (or an empty name).
    pub fn forbidden(resource: &Resource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
        Self::named(403, "Forbidden", resource, name, message)
    }

    /// 422 Invalid, with a cause per field error. `kind` is qualified by the group: `Deployment.apps`.
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        // two rules may find the same: it is said once
        let mut said = std::collections::HashSet::new();
        let errors: Vec<&FieldError> = errors.iter().filter(|e| said.insert(e.to_string())).collect();
        let kind = if resource.group.is_empty() {
            resource.kind.to_string()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let listed = match errors.as_slice() {
            [one] => one.to_string(),
            many => format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let causes: Vec<Value> =
            errors.iter().map(|e| json!({"reason": e.kind.reason(), "message": e.body(), "field": e.path})).collect();
        let mut details = json!({"name": name, "kind": resource.kind, "causes": causes});
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        let message = format!("{kind} \"{name}\" is invalid: {listed}");
        Self { details, ..Self::new(422, "Invalid", message) }
    }

    /// 400 BadRequest.
    pub fn bad_request(message: impl fmt::Display) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401 Unauthorized.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 405 MethodNotAllowed.
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 410 Expired: the asked revision is no longer (or a continue token too old).
    pub fn expired(message: impl fmt::Display) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 429 TooManyRequests, to be retried after some seconds.
    pub fn too_many_requests(message: impl fmt::Display, retry_after_seconds: u32) -> Self {
        let details = json!({"retryAfterSeconds": retry_after_seconds});
        Self { details, ..Self::new(429, "TooManyRequests", message) }
    }

    /// 500 InternalError.
    pub fn internal(error: impl fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {error}"))
    }

    /// 503 ServiceUnavailable.
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// Whether the object was not there.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// Whether the object was there already.
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// Whether the write lost against another one (retry from a fresh read).
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// Whether a watch or list must start over from a fresh list.
    pub fn is_expired(&self) -> bool {
        self.code == 410
    }

    /// The `Status` object for the wire.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            value["reason"] = json!(self.reason);
        }
        if !self.continue_token.is_empty() {
            value["metadata"]["continue"] = json!(self.continue_token);
        }
        if !self.details.is_null() {
            value["details"] = self.details.clone();
        }
        value
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// `spec.containers[0].name`.
    pub path: String,
    /// The kind of error.
    pub kind: FieldErrorKind,
    /// Explanation; may be empty.
    pub detail: String,
    /// How the value is printed, where that is not its JSON.
    shown: Option<String>,
}

/// The kinds of field errors (apimachinery `field.ErrorType`).
#[derive(Clone, Debug, PartialEq)]
pub enum FieldErrorKind {
    /// A value that must be given is missing.
    Required,
    /// A value that breaks a rule.
    Invalid(Value),
    /// The same for a value that is too large to show.
    InvalidHidden,
    /// A value that must be unique is repeated.
    Duplicate(Value),
    /// The same for a value that is too large to show.
    DuplicateHidden,
    /// A value outside a fixed list.
    NotSupported(Value, Vec<String>),
    /// A value that may not be set, or not by this request.
    Forbidden,
    /// Something named that does not exist.
    NotFound(Value),
    /// A string longer than so many bytes.
    TooLong(usize),
    /// A string longer than so many characters.
    TooManyCharacters(usize),
    /// More entries than the bound: (found, bound).
    TooMany(usize, usize),
    /// A value of the wrong type.
    TypeInvalid(Value),
    /// The value could not be judged.
    Internal,
}

impl FieldErrorKind {
    /// The cause's reason on the wire.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid(_) | Self::InvalidHidden => "FieldValueInvalid",
            Self::Duplicate(_) | Self::DuplicateHidden => "FieldValueDuplicate",
            Self::NotSupported(..) => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound(_) => "FieldValueNotFound",
            Self::TooLong(_) | Self::TooManyCharacters(_) => "FieldValueTooLong",
            Self::TooMany(..) => "FieldValueTooMany",
            Self::TypeInvalid(_) => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }
}

impl FieldError {
    /// An error at `path`.
    pub fn new(path: impl fmt::Display, kind: FieldErrorKind, detail: impl fmt::Display) -> Self {
        Self { path: path.to_string(), kind, detail: detail.to_string(), shown: None }
    }

    /// `Required value[: detail]`.
    pub fn required(path: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self::new(path, FieldErrorKind::Required, detail)
    }

    /// `Invalid value: v: detail`.
    pub fn invalid(path: impl fmt::Display, value: impl Into<Value>, detail: impl fmt::Display) -> Self {
        Self::new(path, FieldErrorKind::Invalid(value.into()), detail)
    }

    /// `Duplicate value: v`.
    pub fn duplicate(path: impl fmt::Display, value: impl Into<Value>) -> Self {
        Self::new(path, FieldErrorKind::Duplicate(value.into()), "")
    }

    /// `Unsupported value: v: supported values: …`.
    pub fn not_supported(path: impl fmt::Display, value: impl Into<Value>, supported: &[&str]) -> Self {
        let supported = supported.iter().map(ToString::to_string).collect();
        Self::new(path, FieldErrorKind::NotSupported(value.into(), supported), "")
    }

    /// `Too long: may not be more than n characters`.
    pub fn too_many_characters(path: impl fmt::Display, most: usize) -> Self {
        Self::new(path, FieldErrorKind::TooManyCharacters(most), "")
    }

    /// `Forbidden: detail`.
    pub fn forbidden(path: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self::new(path, FieldErrorKind::Forbidden, detail)
    }

    /// `Internal error: detail`.
    pub fn internal(path: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self::new(path, FieldErrorKind::Internal, detail)
    }

    /// The same error, its value printed as `text` (not at all if that is empty): upstream's own types have other names inside than on the wire.
    #[must_use]
    pub fn shown_as(mut self, text: impl Into<String>) -> Self {
        self.shown = Some(text.into());
        self
    }

    /// The message without the path, as a cause carries it.
    pub fn body(&self) -> String {
        let show = |value: &Value| match (&self.shown, value) {
            (Some(text), _) => text.clone(),
            // upstream prints scalars as Go's %q or %v and structures as JSON
            (None, Value::String(s)) => format!("{s:?}"),
            (None, other) => other.to_string(),
        };
        let head = match &self.kind {
            FieldErrorKind::Required => "Required value".to_string(),
            FieldErrorKind::Invalid(_) if self.shown.as_deref() == Some("") => "Invalid value".to_string(),
            FieldErrorKind::Invalid(v) => format!("Invalid value: {}", show(v)),
            FieldErrorKind::InvalidHidden => "Invalid value".to_string(),
            FieldErrorKind::Duplicate(v) => format!("Duplicate value: {}", show(v)),
            FieldErrorKind::DuplicateHidden => "Duplicate value".to_string(),
            FieldErrorKind::NotSupported(v, supported) => {
                let list = supported.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
                format!("Unsupported value: {}: supported values: {list}", show(v))
            }
            FieldErrorKind::Forbidden => "Forbidden".to_string(),
            FieldErrorKind::NotFound(v) => format!("Not found: {}", show(v)),
            FieldErrorKind::TooLong(bound) => format!("Too long: may not be more than {bound} bytes"),
            FieldErrorKind::TooManyCharacters(bound) => format!("Too long: may not be more than {bound} characters"),
            FieldErrorKind::TooMany(found, bound) => format!("Too many: {found}: must have at most {bound} items"),
            FieldErrorKind::TypeInvalid(v) => format!("Invalid value: {}", show(v)),
            FieldErrorKind::Internal => "Internal error".to_string(),
        };
        if self.detail.is_empty() { head } else { format!("{head}: {}", self.detail) }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// A string in quotes, as Go's `%q` writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A field path under construction: `Path::root("spec").field("containers").index(0)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// A path of one field.
    pub fn root(field: &str) -> Self {
        Self(field.to_string())
    }

    /// `self.field`.
    #[must_use]
    pub fn field(&self, field: &str) -> Self {
        if self.0.is_empty() { Self::root(field) } else { self.and([".", field, ""]) }
    }

    /// `self[index]`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        const SMALL: &str = "0123456789";
        match SMALL.get(index..=index) {
            Some(digit) => self.key(digit),
            None => self.key(&index.to_string()),
        }
    }

    /// `self[key]`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.and(["[", key, "]"])
    }

    // rules name every field that they look at: this is worth more than `format!`
    fn and(&self, parts: [&str; 3]) -> Self {
        let mut path = String::with_capacity(self.0.len() + parts.iter().map(|p| p.len()).sum::<usize>());
        path.push_str(&self.0);
        parts.iter().for_each(|part| path.push_str(part));
        Self(path)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
