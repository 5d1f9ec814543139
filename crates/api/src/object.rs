//! An object as the whole program shares it: canonical JSON bytes, a parsed header, a typed view on demand.
//!
//! Canonical means: keys sorted, no spaces, `metadata.resourceVersion` in place. The revision is only known when the
//! store's writer gives it, so writing starts from a [`Draft`], which is the object's bytes with a gap for that number.

use crate::{
    beside::Beside,
    codec,
    protobuf::{self, Message},
    schema::Type,
    status::{Result, Status},
};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Range, sync::Arc};

/// The parsed header of an object: what generic code decides by.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; empty for cluster-scoped objects.
    pub namespace: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.ownerReferences`.
    pub owner_references: Vec<OwnerReference>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// `metadata.creationTimestamp`.
    pub creation_timestamp: Option<Timestamp>,
    /// `metadata.deletionTimestamp`; set means: being deleted.
    pub deletion_timestamp: Option<Timestamp>,
    /// `metadata.deletionGracePeriodSeconds`.
    pub deletion_grace_period_seconds: Option<i64>,
}

impl Meta {
    /// The owner that manages this object (`controller: true`), if any.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|o| o.controller)
    }

    /// Whether deletion has begun.
    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

/// `metadata.ownerReferences[*]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Owner's API version.
    pub api_version: String,
    /// Owner's kind.
    pub kind: String,
    /// Owner's name.
    pub name: String,
    /// Owner's uid.
    pub uid: String,
    /// Whether the owner is the managing controller.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub controller: bool,
    /// Whether foreground deletion of the owner waits for this object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub block_owner_deletion: bool,
}

/// An immutable version of an object. Clone the `Arc`, never the object.
pub struct Object {
    meta: Meta,
    revision: u64,
    json: Bytes,
    /// Where the member `managedFields` stands in it, with one comma: no typed view wants it, and it is a good part of an object.
    books: Range<usize>,
    beside: Arc<Beside>,
}

impl Object {
    fn new(meta: Meta, revision: u64, json: Vec<u8>, books: Range<usize>) -> Self {
        Self { meta, revision, json: json.into(), books, beside: Arc::default() }
    }

    /// Reads an object from its JSON. `metadata.resourceVersion` must be a number if it is there (revision 0 if not).
    pub fn from_json(json: Bytes) -> Result<Self> {
        #[derive(Deserialize)]
        struct Header {
            #[serde(default)]
            metadata: Meta,
        }
        #[derive(Deserialize)]
        struct Rest<'a> {
            #[serde(borrow, default)]
            metadata: Inner<'a>,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Inner<'a> {
            resource_version: String,
            #[serde(borrow)]
            managed_fields: Option<&'a RawValue>,
        }
        codec::parsed();
        let bad = |e: serde_json::Error| Status::bad_request(format!("the object is not valid JSON: {e}"));
        let header: Header = serde_json::from_slice(&json).map_err(bad)?;
        let rest: Rest = serde_json::from_slice(&json).map_err(bad)?;
        let revision = rest.metadata.resource_version.parse().unwrap_or(0);
        let books = rest.metadata.managed_fields.map_or(0..0, |books| member(&json, books.get()));
        Ok(Self { meta: header.metadata, revision, json, books, beside: Arc::default() })
    }

    /// Encodes a value; for objects that do not come from the store (clients, tests).
    pub fn from_value(value: &Value) -> Result<Self> {
        Self::from_json(serde_json::to_vec(value).map_err(Status::internal)?.into())
    }

    /// The canonical JSON.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The header.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The revision this version was written at (`metadata.resourceVersion`).
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The object as a value to change; parses, so not for read paths.
    pub fn value(&self) -> Value {
        codec::parsed();
        serde_json::from_slice(&self.json).unwrap_or(Value::Null)
    }

    /// The typed view, decoded on first use and kept while it is used. It has no `managedFields`. Ask one object for one type only; another
    /// type is decoded anew.
    ///
    /// # Errors
    /// When the stored object does not decode as `T`.
    pub fn view<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>> {
        self.beside.touch();
        if let Some(kept) = self.beside.view.get()
            && let Ok(view) = kept.downcast::<T>()
        {
            return Ok(view);
        }
        codec::parsed();
        let json = self.without_books();
        let view: Arc<T> = Arc::new(serde_json::from_slice(&json).map_err(|e| {
            Status::internal(format!("{}/{} does not decode: {e}", self.meta.namespace, self.meta.name))
        })?);
        // somebody else may have been faster: then that one is shared
        let kept = self.beside.view.keep(view.clone()).downcast::<T>().unwrap_or_else(|_| view.clone());
        if Arc::ptr_eq(&kept, &view) {
            self.beside.grown(json.len() * VIEW_WEIGHT);
        }
        Ok(kept)
    }

    fn without_books(&self) -> Cow<'_, [u8]> {
        if self.books.is_empty() {
            return Cow::Borrowed(&self.json);
        }
        Cow::Owned([&self.json[..self.books.start], &self.json[self.books.end..]].concat())
    }

    /// The protobuf form, encoded on first use and kept while it is used. Ask one object for one type only.
    ///
    /// # Errors
    /// When the object is not what its type says.
    pub fn protobuf(&self, of: Type<'_>) -> Result<Message> {
        self.beside.touch();
        if let Some(kept) = self.beside.protobuf.get() {
            return Ok(kept);
        }
        let made = self.beside.protobuf.keep(protobuf::encode(&self.value(), of)?);
        self.beside.grown(made.envelope().len());
        Ok(made)
    }

    /// Something else made from this version, kept beside it in place of a typed view: made on first use and shared.
    pub fn derived<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(kept) = self.beside.view.get()
            && let Ok(derived) = kept.downcast::<T>()
        {
            return derived;
        }
        let derived = Arc::new(make());
        self.beside.view.keep(derived.clone()).downcast::<T>().unwrap_or(derived)
    }

    /// Keeps neither typed view nor protobuf form from now on: for a version that is history.
    pub fn forget_views(&self) {
        self.beside.let_go();
    }
}

/// How much more memory a typed view takes than its text.
const VIEW_WEIGHT: usize = 4;

/// Where the member `managedFields` with this very value stands in `json`, with one comma; nowhere if it is not written as we write it.
fn member(json: &[u8], value: &str) -> Range<usize> {
    const NAME: &[u8] = b"\"managedFields\":";
    let start = (value.as_ptr() as usize).saturating_sub(json.as_ptr() as usize);
    let Some(head) = json.get(..start).and_then(|head| head.strip_suffix(NAME)) else { return 0..0 };
    let end = start + value.len();
    match (head.last(), json.get(end)) {
        (_, Some(b',')) => head.len()..end + 1,
        (Some(b','), _) => head.len() - 1..end,
        _ => 0..0,
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.meta.namespace, self.meta.name, self.revision)
    }
}

/// An object about to be written: its bytes around the place of the resourceVersion.
#[derive(Clone, Debug)]
pub struct Draft {
    meta: Meta,
    bytes: Vec<u8>,
    gap: usize,
    books: Range<usize>,
}

impl Draft {
    /// Encodes `value`, whatever resourceVersion it carries.
    ///
    /// # Errors
    /// When `value` is no object or its metadata has the wrong types.
    pub fn new(value: &Value) -> Result<Self> {
        let (Some(top), Some(metadata)) = (value.as_object(), value.get("metadata").and_then(Value::as_object)) else {
            return Err(Status::bad_request("an object needs metadata"));
        };
        let meta = Meta::deserialize(&value["metadata"])
            .map_err(|e| Status::bad_request(format!("metadata cannot be decoded: {e}")))?;
        codec::encoded();
        let mut bytes = Vec::with_capacity(1024);
        let (mut gap, mut books) = (0, 0..0);
        let mut sep = b'{';
        for (key, field) in top {
            bytes.push(std::mem::replace(&mut sep, b','));
            put(&mut bytes, key)?;
            bytes.push(b':');
            if key != "metadata" {
                put(&mut bytes, field)?;
                continue;
            }
            // sorted keys: whatever stands before resourceVersion, the gap, whatever stands after
            let mut sep = b'{';
            for (key, field) in metadata.iter().filter(|(k, _)| k.as_str() < "resourceVersion") {
                bytes.push(std::mem::replace(&mut sep, b','));
                let start = bytes.len();
                put(&mut bytes, key)?;
                bytes.push(b':');
                put(&mut bytes, field)?;
                if key == "managedFields" {
                    // the revision follows it, so there will be a comma
                    books = start..bytes.len() + 1;
                }
            }
            bytes.push(sep);
            bytes.extend_from_slice(REVISION_MEMBER);
            gap = bytes.len();
            bytes.push(b'"');
            for (key, field) in metadata.iter().filter(|(k, _)| k.as_str() > "resourceVersion") {
                bytes.push(b',');
                put(&mut bytes, key)?;
                bytes.push(b':');
                put(&mut bytes, field)?;
            }
            bytes.push(b'}');
        }
        bytes.push(b'}');
        Ok(Self { meta, bytes, gap, books })
    }

    /// The header.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The finished object once its revision is known.
    pub fn seal(self, revision: u64) -> Object {
        let digits = revision.to_string();
        let mut json = Vec::with_capacity(self.bytes.len() + digits.len());
        json.extend_from_slice(&self.bytes[..self.gap]);
        json.extend_from_slice(digits.as_bytes());
        json.extend_from_slice(&self.bytes[self.gap..]);
        Object::new(self.meta, revision, json, self.books)
    }

    /// The object as it would be created: it has no revision, because it was not written.
    pub fn unwritten(self) -> Object {
        let head = self.bytes[..self.gap].strip_suffix(REVISION_MEMBER).unwrap_or(&self.bytes[..self.gap]);
        // past the quote that closes the empty value
        let tail = &self.bytes[self.gap + 1..];
        let mut json = head.to_vec();
        match (head.last(), tail.first()) {
            (Some(b','), _) => {
                json.pop();
                json.extend_from_slice(tail);
            }
            (_, Some(b',')) => json.extend_from_slice(&tail[1..]),
            _ => json.extend_from_slice(tail),
        }
        Object::new(self.meta, 0, json, 0..0)
    }
}

const REVISION_MEMBER: &[u8] = b"\"resourceVersion\":\"";

fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<()> {
    serde_json::to_writer(out, value).map_err(Status::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unwritten_object_has_no_revision() {
        for (given, expected) in [
            (json!({"metadata": {}}), r#"{"metadata":{}}"#),
            (json!({"metadata": {"name": "a"}, "z": 1}), r#"{"metadata":{"name":"a"},"z":1}"#),
            (json!({"metadata": {"uid": "u", "resourceVersion": "7"}}), r#"{"metadata":{"uid":"u"}}"#),
            (json!({"metadata": {"name": "a", "uid": "u"}}), r#"{"metadata":{"name":"a","uid":"u"}}"#),
        ] {
            let object = Draft::new(&given).unwrap().unwritten();
            assert_eq!((object.json().as_ref(), object.revision()), (expected.as_bytes(), 0));
        }
    }

    #[test]
    fn sealing_puts_the_revision_in_place_and_keeps_the_rest() {
        for metadata in [
            json!({"name": "a"}),
            json!({"uid": "u"}),
            json!({"name": "a", "resourceVersion": "7", "uid": "u", "labels": {"x": "y"}}),
            json!({}),
        ] {
            let mut value =
                json!({"apiVersion": "v1", "data": {"k": "v"}, "kind": "ConfigMap", "metadata": metadata, "z": 1});
            let object = Draft::new(&value).unwrap().seal(42);
            value["metadata"]["resourceVersion"] = json!("42");
            assert_eq!(object.json(), &serde_json::to_vec(&value).unwrap());
            let read = Object::from_json(object.json().clone()).unwrap();
            assert_eq!((read.revision(), read.meta()), (42, object.meta()));
        }
    }

    #[test]
    fn typed_views_have_no_books_and_all_the_rest() {
        // what others wrote is only looked at as far as it is written as we write it: with a comma, without spaces
        for (metadata, spaced, cut) in [
            (json!({"managedFields": [{"manager": "x", "fieldsV1": {"f:a": {}}}]}), false, false),
            (json!({"managedFields": [], "name": "a"}), false, true),
            (json!({"labels": {"a": "b"}, "managedFields": [{}]}), false, true),
            (json!({"labels": {"a": "b"}, "managedFields": [{}], "name": "a", "uid": "u"}), false, true),
            (json!({"labels": {"a": "b"}, "name": "a"}), false, false),
            (json!({"labels": {"a": "b"}, "managedFields": [{}], "name": "a", "uid": "u"}), true, false),
        ] {
            let mut value = json!({"kind": "ConfigMap", "metadata": metadata, "z": 1});
            let sealed = Draft::new(&value).unwrap().seal(42);
            let read = Object::from_json(sealed.json().clone()).unwrap();
            let text = if spaced { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let given = Object::from_json(text.into()).unwrap();
            assert_eq!(!given.books.is_empty(), cut, "{metadata}");
            if cut {
                value["metadata"].as_object_mut().unwrap().remove("managedFields");
            }
            assert_eq!(*given.view::<Value>().unwrap(), value);
            value["metadata"]["resourceVersion"] = json!("42");
            value["metadata"].as_object_mut().unwrap().remove("managedFields");
            assert_eq!(*sealed.view::<Value>().unwrap(), value);
            assert_eq!(*read.view::<Value>().unwrap(), value);
        }
    }
}
