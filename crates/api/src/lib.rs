//! Kubernetes API machinery without I/O: objects, schema, codecs, selectors, patches, Status.
//!
//! Invariants: no I/O, no clock of its own, no knowledge of a particular kind. An [`Object`] is encoded once.

mod beside;
pub mod codec;
pub mod duration;
pub mod go;
pub mod jsonpath;
pub mod managed;
pub mod object;
pub mod openapi;
pub mod options;
pub mod patch;
pub mod pattern;
pub mod protobuf;
pub mod quantity;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod status;
#[cfg(test)]
mod testing;
pub mod validation;

pub use object::{Draft, Meta, Object, OwnerReference};
pub use options::{DeleteOptions, ListOptions, Patch, PatchKind, Preconditions, Propagation, WriteOptions};
pub use patch::apply_patch;
pub use pattern::pattern;
pub use quantity::Quantity;
pub use resource::Resource;
pub use schema::{Decoded, Media, Schema, decode};
pub use selector::{FieldSelector, LabelSelector};
pub use status::{FieldError, FieldErrorKind, Path, Result, Status};
