//! Service: one stable address before a changing set of pods.

mod columns;

use crate::column::SelectableField;
use crate::descriptor::{Kind, NameRule, Subresource, text};
use k8s_openapi::api::core::v1::Service;

const SCHEMA: &str = "io.k8s.api.core.v1.Service";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Service>("service", SCHEMA)
    .short(&["svc"])
    .categories(&["all"])
    .names(NameRule::Dns1035Label)
    .subresources(&[Subresource::status::<Service>(SCHEMA), Subresource::proxy("ServiceProxyOptions")])
    .selectable(&[
        SelectableField { path: "spec.clusterIP", get: |o| text(&o["spec"]["clusterIP"]) },
        SelectableField { path: "spec.type", get: |o| text(&o["spec"]["type"]) },
    ])
    .columns(columns::COLUMNS);
