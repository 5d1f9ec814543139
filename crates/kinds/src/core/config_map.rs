//! ConfigMap: configuration as keys and values.

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
            let (data, binary) = (object["data"].as_object(), object["binaryData"].as_object());
            let keys =
                |name: &'static str| object[name].as_object().into_iter().flatten().map(move |(key, _)| (name, key));
            for (name, key) in keys("data").chain(keys("binaryData")) {
                check.text(path(name).key(key), &json!(key), validation::config_map_key);
                if name == "data" && binary.is_some_and(|b| b.contains_key(key)) {
                    check.invalid(path(name).key(key), &json!(key), "duplicate of key present in binaryData");
                }
            }
            let size = |map: Option<&serde_json::Map<String, Value>>| -> usize {
                map.into_iter().flatten().map(|(_, value)| string(value).len()).sum()
            };
            if size(data) + size(binary) * 3 / 4 > MAX_SIZE {
                check.push(FieldError::new("", FieldErrorKind::TooLong(MAX_SIZE), ""));
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            frozen(check, new, old, &["data", "binaryData"]);
        }));
        errors
    }
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
