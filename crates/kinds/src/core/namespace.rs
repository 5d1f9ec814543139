//! Namespace: a scope for names. Leaves only when everything in it has left.

use crate::column::{AGE, Column, NAME, SelectableField};
use crate::descriptor::{Action, Deletion, Kind, NameRule, Subresource, text};
use k8s_openapi::api::core::v1::Namespace;

const SCHEMA: &str = "io.k8s.api.core.v1.Namespace";

/// The descriptor.
pub static KIND: Kind = {
    let mut kind = Kind::new::<Namespace>("namespace", SCHEMA)
        .short(&["ns"])
        .names(NameRule::DnsLabel)
        .subresources(&[Subresource::status::<Namespace>(SCHEMA), FINALIZE])
        .deletion(Deletion::Namespace)
        .selectable(&[SelectableField { path: "status.phase", get: |o| text(&o["status"]["phase"]) }])
        .columns(&[NAME, Column::text("Status", |_, o| o["status"]["phase"].clone()), AGE]);
    // a collection of namespaces is never deleted in one request
    kind.verbs = &["create", "delete", "get", "list", "patch", "update", "watch"];
    kind
};

const FINALIZE: Subresource =
    Subresource { verbs: &["update"], ..Subresource::of::<Namespace>(Action::Finalize, SCHEMA) };
