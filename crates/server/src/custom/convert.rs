//! Objects from one version of their definition to another: by another name only, or by asking a webhook.
//!
//! Source: apiextensions-apiserver `pkg/apiserver/conversion`.

use crate::webhook::{Webhook, Webhooks};
use coracle_api::{Result, Status, validation};
use coracle_kinds::custom::{Conversion, Definition, rename};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(30);
const KNOWN_REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// Converts the objects of a definition.
pub struct Converter {
    group: String,
    kind: String,
    how: How,
}

enum How {
    Rename,
    Ask { hook: Result<Webhook, String>, review: Option<String>, webhooks: Arc<Webhooks> },
}

impl Converter {
    /// As the definition says.
    pub fn new(definition: &Definition, webhooks: Arc<Webhooks>) -> Self {
        let how = match &definition.conversion {
            Conversion::None => How::Rename,
            Conversion::Webhook { client, reviews } => How::Ask {
                hook: Webhook::new(client),
                review: reviews.iter().find(|v| KNOWN_REVIEWS.contains(&v.as_str())).cloned(),
                webhooks,
            },
        };
        Self { group: definition.group.clone(), kind: definition.kind.clone(), how }
    }

    /// Whether a webhook is asked.
    pub fn asks(&self) -> bool {
        matches!(self.how, How::Ask { .. })
    }

    /// Objects of other versions, converted to `version`, in their order.
    ///
    /// # Errors
    /// 500 with upstream's words when a webhook does not do it.
    pub async fn convert(&self, mut objects: Vec<Value>, version: &str) -> Result<Vec<Value>> {
        let How::Ask { hook, review, webhooks } = &self.how else {
            objects.iter_mut().for_each(|object| rename(object, &self.group, version));
            return Ok(objects);
        };
        let from = objects.first().and_then(|o| o["apiVersion"].as_str()).unwrap_or_default().to_string();
        let failed = |why: String| Status::internal(format!("conversion webhook for {from}, Kind={} {why}", self.kind));
        let hook = hook.as_ref().map_err(|why| failed(format!("failed: {why}")))?;
        let review = review.as_deref().ok_or_else(|| Status::internal("no supported conversion review versions"))?;
        let (desired, uid) = (format!("{}/{version}", self.group), uuid::Uuid::new_v4().to_string());
        let question = json!({
            "apiVersion": format!("apiextensions.k8s.io/{review}"), "kind": "ConversionReview",
            "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
        });
        let answer = webhooks.post(hook, &question, TIMEOUT).await.map_err(|why| failed(format!("failed: {why}")))?;
        let converted = accept(&answer, review, &uid).map_err(|why| failed(format!("failed: {why}")))?;
        if converted.len() != objects.len() {
            let why = format!("returned {} objects, expected {}", converted.len(), objects.len());
            return Err(failed(why));
        }
        let pairs = objects.iter().zip(converted).enumerate();
        pairs
            .map(|(at, (original, converted))| {
                checked(original, converted, &desired)
                    .map_err(|why| failed(format!("returned invalid converted object at index {at}: {why}")))
            })
            .collect()
    }
}

/// The objects in a review's answer.
fn accept(answer: &Value, review: &str, uid: &str) -> Result<Vec<Value>, String> {
    let response = &answer["response"];
    if review == "v1" {
        let (version, kind) = (&answer["apiVersion"], &answer["kind"]);
        if version != "apiextensions.k8s.io/v1" || kind != "ConversionReview" {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
            return Err(format!(
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {}, Kind={}",
                text(version),
                text(kind)
            ));
        }
    }
    if !response.is_object() {
        return Err("no response provided".into());
    }
    if review == "v1" && response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", response["uid"].as_str().unwrap_or_default()));
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        return Err(match result["message"].as_str().filter(|m| !m.is_empty()) {
            Some(message) => message.into(),
            None => {
                format!("response.result.status was '{}', not 'Success'", result["status"].as_str().unwrap_or_default())
            }
        });
    }
    Ok(response["convertedObjects"].as_array().cloned().unwrap_or_default())
}

/// A converted object is the same object: of its metadata only labels and annotations may differ.
fn checked(original: &Value, mut converted: Value, desired: &str) -> Result<Value, String> {
    if converted["apiVersion"] != desired {
        let got = converted["apiVersion"].as_str().unwrap_or_default();
        return Err(format!("invalid groupVersion (expected {desired}, received {got})"));
    }
    if converted["kind"] != original["kind"] {
        let text = |v: &Value| v["kind"].as_str().unwrap_or_default().to_string();
        return Err(format!("invalid kind (expected {}, received {})", text(original), text(&converted)));
    }
    let text = |v: &Value, field: &str| v["metadata"][field].as_str().unwrap_or_default().to_string();
    for (field, shown) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (before, after) = (text(original, field), text(&converted, field));
        if before != after {
            return Err(format!("must have the same {shown}: {before} != {after}"));
        }
    }
    let Some(answered) = converted["metadata"].as_object().cloned() else {
        return Err("missing metadata in converted object".into());
    };
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        words(field, &answered, &mut metadata)?;
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(converted)
}

fn words(field: &str, answered: &Map<String, Value>, metadata: &mut Map<String, Value>) -> Result<(), String> {
    match answered.get(field) {
        None | Some(Value::Null) => {
            metadata.remove(field);
        }
        Some(Value::Object(map)) => {
            if let Some((key, _)) = map.iter().find(|(_, v)| !v.is_string()) {
                return Err(format!("metadata.{field}[{key}] must be a string"));
            }
            let given = Value::Object(map.clone());
            if metadata.get(field) != Some(&given) {
                let path = coracle_api::Path::root("metadata").field(field);
                let errors = match field {
                    "labels" => validation::validate_labels(&given, &path),
                    _ => validation::validate_annotations(&given, &path),
                };
                if let Some(error) = errors.first() {
                    return Err(error.to_string());
                }
            }
            metadata.insert(field.into(), given);
        }
        Some(_) => return Err(format!("invalid metadata.{field} in converted object")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_webhooks() {
        let good = |objects: Value| {
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
                "response": {"uid": "u", "result": {"status": "Success"}, "convertedObjects": objects},
            })
        };
        let mut other = good(json!([]));
        other["response"]["uid"] = json!("v");
        let mut failed = good(json!([]));
        failed["response"]["result"] = json!({"status": "Failure", "message": "no"});
        let mut wrong = good(json!([]));
        wrong["apiVersion"] = json!("apiextensions.k8s.io/v1beta1");
        for (answer, expected) in [
            (good(json!([{}])), "1 object"),
            (other, "expected response.uid=\"u\", got \"v\""),
            (failed, "no"),
            (json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"}), "no response provided"),
            (
                wrong,
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1beta1, Kind=ConversionReview",
            ),
        ] {
            let got = accept(&answer, "v1", "u").map_or_else(|e| e, |objects| format!("{} object", objects.len()));
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_converted_object_is_the_same_object() {
        let original = json!({
            "apiVersion": "g/v1", "kind": "Foo",
            "metadata": {"name": "a", "uid": "u", "finalizers": ["f"], "labels": {"a": "b"}},
        });
        let change = |pointer: &str, value: Value| {
            let mut converted = original.clone();
            converted["apiVersion"] = json!("g/v2");
            *converted.pointer_mut(pointer).unwrap() = value;
            converted
        };
        for (converted, expected) in [
            (change("/metadata/labels", json!({"c": "d"})), r#"{"c":"d"} ["f"]"#),
            (change("/metadata/finalizers", json!([])), r#"{"a":"b"} ["f"]"#),
            (change("/metadata/name", json!("b")), "must have the same name: a != b"),
            (change("/metadata/labels", json!({"c": 1})), "metadata.labels[c] must be a string"),
            (change("/kind", json!("Bar")), "invalid kind (expected Foo, received Bar)"),
            (change("/apiVersion", json!("g/v1")), "invalid groupVersion (expected g/v2, received g/v1)"),
        ] {
            let got = checked(&original, converted, "g/v2")
                .map_or_else(|e| e, |o| format!("{} {}", o["metadata"]["labels"], o["metadata"]["finalizers"]));
            assert_eq!(got, expected);
        }
    }
}
