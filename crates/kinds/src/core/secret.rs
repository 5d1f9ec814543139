//! Secret: confidential keys and values.

use crate::amounts::entries;
use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, SelectableField, string};
use crate::core::config_map::{MAX_SIZE, decoded, frozen};
use crate::descriptor::{Kind, Part, Rules, text};
use crate::fields::{default, ensure, set, take};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use coracle_api::{FieldError, Status};
use coracle_api::{FieldErrorKind, validation};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<Secret>("secret", "io.k8s.api.core.v1.Secret")
    .selectable(&[SelectableField { path: "type", get: |o| text(&o["type"]) }])
    .rules(&SecretRules)
    .columns(&[
        NAME,
        Column::text("Type", |_, o| o["type"].clone()),
        Column::number("Data", |_, o| json!(o["data"].as_object().map_or(0, serde_json::Map::len))),
        AGE,
    ]);

fn defaults(secret: &mut Value) {
    default(secret, "type", "Opaque");
    // what was given as text is kept as bytes, like the rest
    let Some(plain) = take(secret, "stringData") else { return };
    let plain = plain.as_object().cloned().unwrap_or_default();
    if plain.is_empty() {
        return;
    }
    let data = ensure(secret, "data");
    for (key, value) in plain {
        set(data, &key, BASE64.encode(string(&value)));
    }
}

struct SecretRules;

impl Rules for SecretRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let at = path("data");
            let mut size = 0;
            for (key, value) in entries(&object["data"]) {
                check.word(&at.key(key), &json!(key), validation::config_map_key);
                size += decoded(string(value));
            }
            if size > MAX_SIZE {
                check.push(FieldError::new(&at, FieldErrorKind::TooLong(MAX_SIZE), ""));
            }
            typed(check, object);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = Check::run(|check| {
            check.immutable(path("type"), &new["type"], &old["type"]);
            frozen(check, new, old, &["data"]);
        });
        errors.extend(self.validate(new));
        errors
    }
}

// What the well-known types must hold.
fn typed(check: &mut Check, secret: &Value) {
    let kind = string(&secret["type"]);
    let keys: &[&str] = match kind {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        _ => &[],
    };
    for key in keys {
        let (at, value) = (path("data").key(key), &secret["data"][*key]);
        let empty = kind == "kubernetes.io/ssh-auth" && string(value).is_empty();
        if !value.is_string() || empty {
            check.required(at, "");
        } else if kind.starts_with("kubernetes.io/docker")
            && let Some(why) = no_object(&BASE64.decode(string(value)).unwrap_or_default())
        {
            check.invalid(at, &json!("<secret contents redacted>"), why);
        }
    }
    if kind == "kubernetes.io/basic-auth"
        && secret["data"]["username"].is_null()
        && secret["data"]["password"].is_null()
    {
        check.required(path("data").key("username"), "");
        check.required(path("data").key("password"), "");
    }
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    if kind == "kubernetes.io/service-account-token" && string(&secret["metadata"]["annotations"][ACCOUNT]).is_empty() {
        check.required(path("metadata").field("annotations").key(ACCOUNT), "");
    }
}

/// Why bytes are no JSON object, in the words of Go's decoder.
fn no_object(bytes: &[u8]) -> Option<String> {
    let other =
        |kind: &str| Some(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"));
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(_) | Value::Null) => None,
        Ok(Value::Array(_)) => other("array"),
        Ok(Value::String(_)) => other("string"),
        Ok(Value::Number(_)) => other("number"),
        Ok(Value::Bool(_)) => other("bool"),
        Err(error) if error.is_eof() => Some("unexpected end of JSON input".into()),
        Err(error) => {
            let line = bytes.split(|b| *b == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
            let wrong = line.get(error.column().saturating_sub(1)).copied().map_or('?', char::from);
            Some(format!("invalid character {wrong:?} looking for beginning of value"))
        }
    }
}
