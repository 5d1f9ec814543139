//! Tables: what `kubectl get` shows, made from a kind's columns; and objects reduced to their metadata.

use crate::catalog::Served;
use coracle_api::{Object, Result, Status};
use coracle_kinds::Context;
use serde_json::{Value, json};

/// What of the object goes along with each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// From `includeObject=`.
    ///
    /// # Errors
    /// 400 for an unknown word.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// A Table of objects; `metadata` is the list's.
pub fn table<'a>(
    served: &Served,
    objects: impl IntoIterator<Item = &'a Object>,
    metadata: Value,
    include: Include,
    context: &Context,
) -> Value {
    let columns: Vec<Value> = served
        .kind
        .columns
        .headings()
        .into_iter()
        .map(|c| {
            json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority})
        })
        .collect();
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let mut value = object.value();
            served.from_storage(&mut value);
            let cells: Vec<Value> = served.kind.columns.cells(context, &value);
            match include {
                Include::None => json!({"cells": cells}),
                Include::Metadata => json!({"cells": cells, "object": partial(&value)}),
                Include::Object => json!({"cells": cells, "object": value}),
            }
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

/// `PartialObjectMetadata` of an object.
pub fn partial(value: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]})
}
