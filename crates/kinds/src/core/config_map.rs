//! ConfigMap: configuration as keys and values.

use crate::amounts::entries;
use crate::check::{Check, path};
use crate::column::string;
use crate::column::{AGE, Column, NAME};
use crate::descriptor::{Kind, Part, Rules};
use coracle_api::FieldError;
use coracle_api::{FieldErrorKind, Path, validation};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<ConfigMap>("configmap", "io.k8s.api.core.v1.ConfigMap")
    .rules(&ConfigMapRules)
    .short(&["cm"])
    .columns(&[NAME, Column::number("Data", |_, o| json!(count(&o["data"]) + count(&o["binaryData"]))), AGE]);

fn count(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

struct ConfigMapRules;

impl Rules for ConfigMapRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (data, binary) = (&object["data"], &object["binaryData"]);
            let mut size = 0;
            for (key, value) in entries(data) {
                let at = path("data").key(key);
                check.word(&at, &json!(key), validation::config_map_key);
                if binary.get(key).is_some() {
                    check.invalid(at, &json!(key), "duplicate of key present in binaryData");
                }
                size += string(value).len();
            }
            for (key, value) in entries(binary) {
                check.word(&path("binaryData").key(key), &json!(key), validation::config_map_key);
                size += decoded(string(value));
            }
            if size > MAX_SIZE {
                // the whole object is meant
                check.push(FieldError::new("[]", FieldErrorKind::TooLong(MAX_SIZE), ""));
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = Check::run(|check| frozen(check, new, old, &["data", "binaryData"]));
        errors.extend(self.validate(new));
        errors
    }
}

/// How many bytes a text in base64 stands for.
pub(crate) fn decoded(text: &str) -> usize {
    (text.len() / 4 * 3).saturating_sub(text.bytes().rev().take_while(|b| *b == b'=').count())
}

/// All values of one ConfigMap or Secret together.
pub(crate) const MAX_SIZE: usize = 1024 * 1024;

/// What `immutable` forbids.
pub(crate) fn frozen(check: &mut Check, new: &Value, old: &Value, fields: &[&str]) {
    if old["immutable"] != true {
        return;
    }
    const WHY: &str = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        check.forbidden(path("immutable"), WHY);
    }
    for field in fields {
        if new[*field] != old[*field] {
            check.forbidden(Path::root(field), WHY);
        }
    }
}
