//! `storagemigration.k8s.io`: rewriting stored objects.

use crate::column::{AGE, Column, NAME, string};
use crate::descriptor::{Kind, Subresource};
use k8s_openapi::api::storagemigration::v1::StorageVersionMigration;
use serde_json::json;

const SCHEMA: &str = "io.k8s.api.storagemigration.v1.StorageVersionMigration";

/// StorageVersionMigration.
pub static STORAGE_VERSION_MIGRATION: Kind = Kind::new::<StorageVersionMigration>("storageversionmigration", SCHEMA)
    .subresources(&[Subresource::status::<StorageVersionMigration>(SCHEMA)])
    .columns(&[
        NAME,
        Column::text("Resource", |_, o| {
            let resource = &o["spec"]["resource"];
            let parts = [string(&resource["resource"]), string(&resource["group"])];
            json!(parts.into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("."))
        }),
        AGE,
    ]);
