//! Custom resources: what a served version of one has beside its descriptor.
//!
//! Objects lie in the store in their definition's storage version. Reading one for clients ([`Custom::present`]) drops what the schema does
//! not know, fills in its defaults, and converts it to the version asked for; what came of it is kept beside the object, so that the next
//! read copies bytes like any other. An object that is written in the version that it is served in needs none of this.

mod controller;
mod convert;
mod status;

pub use controller::{follow, load};

use crate::webhook::Webhooks;
use convert::Converter;
use coracle_api::{Object, Result, Status};
use coracle_kinds::custom::{Definition, Version};
use coracle_structural::{Malformed, coerce, default, prune, prune_nulls};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many versions' forms of an object are kept beside it.
const MOST_KEPT: usize = 3;

/// A version of a custom resource.
pub struct Custom {
    definition: Arc<Definition>,
    version: String,
    converter: Arc<Converter>,
    /// Tells this from any other version and state of a definition.
    id: u64,
}

/// What an object is in several versions.
#[derive(Default)]
struct Forms(Mutex<Vec<Form>>);

#[derive(Clone)]
struct Form {
    id: u64,
    /// `None`: the bytes in the store.
    object: Option<Arc<Object>>,
    fields: Option<Arc<[String]>>,
}

impl Forms {
    fn get(&self, id: u64) -> Option<Form> {
        self.0.lock().iter().find(|f| f.id == id).cloned()
    }

    fn put(&self, form: Form) {
        let mut forms = self.0.lock();
        forms.retain(|f| f.id != form.id);
        if forms.len() == MOST_KEPT {
            forms.remove(0);
        }
        forms.push(form);
    }
}

impl Custom {
    /// The served versions of a definition.
    pub fn versions(definition: Arc<Definition>, webhooks: &Arc<Webhooks>) -> Vec<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let converter = Arc::new(Converter::new(&definition, webhooks.clone()));
        let served = definition.versions.iter().filter(|v| v.served);
        served
            .map(|version| Self {
                definition: definition.clone(),
                version: version.name.clone(),
                converter: converter.clone(),
                id: NEXT.fetch_add(1, Ordering::Relaxed),
            })
            .collect()
    }

    /// The version itself.
    pub fn of(&self) -> Option<&Version> {
        self.definition.version(&self.version)
    }

    /// A name of this version in this state of its definition.
    pub fn form(&self) -> String {
        self.id.to_string()
    }

    /// The `apiVersion` that objects are stored in, if it is served.
    pub fn storage_version(&self) -> Option<String> {
        let of = self.definition.version(&self.definition.storage).filter(|version| version.served);
        of.map(|version| format!("{}/{}", self.definition.group, version.name))
    }

    /// Whether none may come any more.
    pub fn terminating(&self) -> bool {
        self.definition.terminating
    }

    /// An object from the store as clients of this version see it.
    ///
    /// # Errors
    /// 500 when it cannot be converted.
    pub async fn present(&self, stored: &Arc<Object>) -> Result<Arc<Object>> {
        let shown = self.present_all(std::slice::from_ref(stored)).await?;
        shown.into_iter().next().ok_or_else(|| Status::internal("a conversion gave no object"))
    }

    /// The same for many, with one question to a webhook.
    ///
    /// # Errors
    /// As [`Custom::present`].
    pub async fn present_all(&self, stored: &[Arc<Object>]) -> Result<Vec<Arc<Object>>> {
        let mut shown: Vec<Option<Arc<Object>>> = Vec::with_capacity(stored.len());
        let (mut places, mut values) = (Vec::new(), Vec::new());
        for (place, object) in stored.iter().enumerate() {
            if let Some(form) = forms(object).get(self.id) {
                shown.push(Some(form.object.unwrap_or_else(|| object.clone())));
                continue;
            }
            let value = self.tidy(object.value());
            if version_of(&value) == self.version {
                shown.push(Some(self.keep(object, &value)?));
            } else {
                shown.push(None);
                places.push(place);
                values.push(value);
            }
        }
        if !values.is_empty() {
            for (place, converted) in places.into_iter().zip(self.converter.convert(values, &self.version).await?) {
                shown[place] = Some(self.keep(&stored[place], &self.pruned(converted, &self.version))?);
            }
        }
        Ok(shown.into_iter().flatten().collect())
    }

    /// An object of this version in the version that it is stored in.
    ///
    /// # Errors
    /// 500 when it cannot be converted.
    pub async fn store(&self, object: Value) -> Result<Value> {
        if self.version == self.definition.storage {
            return Ok(object);
        }
        let converted = self.converter.convert(vec![object], &self.definition.storage).await?;
        let value = converted.into_iter().next().ok_or_else(|| Status::internal("a conversion gave no object"))?;
        Ok(self.pruned(value, &self.definition.storage))
    }

    /// Whether versions differ by more than their name, so that a webhook is asked.
    pub fn asks(&self) -> bool {
        self.converter.asks()
    }

    /// An object of this definition (or a part of one, as a configuration is) as another version, `group/version`, shows it.
    ///
    /// # Errors
    /// 500 when it cannot be converted.
    pub async fn shown_in(&self, object: Value, api_version: &str) -> Result<Value> {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let converted = self.converter.convert(vec![object], version).await?;
        let value = converted.into_iter().next().ok_or_else(|| Status::internal("a conversion gave no object"))?;
        Ok(self.pruned(value, version))
    }

    /// Notes that an object that was just written is what clients of this version see.
    pub fn written(&self, stored: &Arc<Object>) {
        if self.version == self.definition.storage {
            forms(stored).put(Form { id: self.id, object: None, fields: None });
        }
    }

    /// The values of the selectable fields, as far as they are known without asking anybody.
    pub fn fields(&self, stored: &Arc<Object>) -> Arc<[String]> {
        let form = forms(stored).get(self.id);
        if let Some(fields) = form.as_ref().and_then(|f| f.fields.clone()) {
            return fields;
        }
        let value = match &form {
            Some(form) => form.object.as_ref().unwrap_or(stored).value(),
            None => self.tidy(stored.value()),
        };
        let fields: Arc<[String]> =
            self.of().map(|version| version.kind.selectable.values(&value)).unwrap_or_default().into();
        if let Some(form) = form {
            forms(stored).put(Form { fields: Some(fields.clone()), ..form });
        }
        fields
    }

    fn keep(&self, stored: &Arc<Object>, value: &Value) -> Result<Arc<Object>> {
        let bytes = serde_json::to_vec(value).map_err(Status::internal)?;
        let same = bytes == stored.json()[..];
        let object = if same { stored.clone() } else { Arc::new(Object::from_json(bytes.into())?) };
        forms(stored).put(Form { id: self.id, object: (!same).then(|| object.clone()), fields: None });
        Ok(object)
    }

    /// What the schema of the version that an object was stored in says of it now.
    fn tidy(&self, mut value: Value) -> Value {
        if let Some(version) = self.definition.version(version_of(&value)) {
            let schema = &version.of.schema;
            // what was stored must stay readable, so what is wrong with its metadata is dropped
            let _ = coerce(&mut value, schema, Malformed::Drop);
            prune(&mut value, schema);
            prune_nulls(&mut value, schema);
            default(&mut value, schema);
        }
        value
    }

    /// What a conversion gave, as the schema of its version has it.
    fn pruned(&self, mut value: Value, version: &str) -> Value {
        if let Some(version) = self.definition.version(version) {
            let _ = coerce(&mut value, &version.of.schema, Malformed::Drop);
            prune(&mut value, &version.of.schema);
        }
        value
    }
}

fn version_of(value: &Value) -> &str {
    value["apiVersion"].as_str().and_then(|v| v.split_once('/')).map_or("", |(_, version)| version)
}

fn forms(stored: &Arc<Object>) -> Arc<Forms> {
    stored.derived(Forms::default)
}
