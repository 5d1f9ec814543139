//! Tables: what `kubectl get` shows, made from a kind's columns; and objects reduced to their metadata.

use crate::catalog::Served;
use coracle_api::{Object, Result, Status};
use coracle_kinds::{Context, made};
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

/// Whether a table says what its columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// It does.
    Shown,
    /// The client was told before.
    Known,
}

/// How a client wants its table.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The version of `meta.k8s.io`.
    pub version: &'static str,
    /// Whether columns are described.
    pub columns: Columns,
    /// What goes along with each row.
    pub include: Include,
}

/// A Table of objects; `metadata` is the list's.
pub fn table<'a>(
    served: &Served,
    objects: impl IntoIterator<Item = &'a Object>,
    metadata: Value,
    wish: Wish,
    context: &Context,
) -> Value {
    let values = objects.into_iter().map(|object| {
        let mut value = object.value();
        served.from_storage(&mut value);
        value
    });
    of_values(&served.kind.columns, values, metadata, wish, context)
}

/// A Table of values with these columns.
pub fn of_values(
    columns: &made::Columns,
    values: impl IntoIterator<Item = Value>,
    metadata: Value,
    wish: Wish,
    context: &Context,
) -> Value {
    let describe = || -> Vec<Value> {
        let headings = columns.headings().into_iter();
        headings
            .map(|c| {
                json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority})
            })
            .collect()
    };
    let described = (wish.columns == Columns::Shown).then(describe);
    let rows: Vec<Value> = values
        .into_iter()
        .map(|value| {
            let cells: Vec<Value> = columns.cells(context, &value);
            match wish.include {
                Include::None => json!({"cells": cells}),
                Include::Metadata => json!({"cells": cells, "object": partial(&value, wish.version)}),
                Include::Object => json!({"cells": cells, "object": value}),
            }
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{}", wish.version), "metadata": metadata,
        "columnDefinitions": described, "rows": rows,
    })
}

/// `PartialObjectMetadata` of an object, in a version of `meta.k8s.io`.
pub fn partial(value: &Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": value["metadata"]})
}
