//! Service: one stable address before a changing set of pods.

mod columns;
mod defaults;
mod update;
mod validate;
mod warnings;

use crate::check::Check;
use crate::column::SelectableField;
use crate::descriptor::{Kind, NameRule, Part, Rules, Subresource, text};
use crate::fields::set;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

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
    .rules(&ServiceRules)
    .columns(columns::COLUMNS);

// Addresses and node ports are given by the server, which knows what is free. These rules say what stays and what goes.
struct ServiceRules;

impl Rules for ServiceRules {
    fn default(&self, service: &mut Value) -> Result<(), Status> {
        defaults::service(service);
        Ok(())
    }

    fn prepare_create(&self, service: &mut Value) {
        set(service, "status", json!({"loadBalancer": {}}));
        update::normalize(&mut service["spec"]);
        defaults::families(&mut service["spec"]);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        if part == Part::Main {
            update::carry_allocated(&mut new["spec"], &old["spec"]);
            update::normalize(&mut new["spec"]);
            defaults::families(&mut new["spec"]);
        }
    }

    fn validate(&self, service: &Value) -> Vec<FieldError> {
        Check::run(|check| validate::service(check, service))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Main => {
                validate::changed(check, &new["spec"], &old["spec"]);
                validate::service(check, new);
            }
            Part::Status => validate::status(check, new),
            _ => {}
        })
    }

    fn warnings(&self, service: &Value) -> Vec<String> {
        warnings::service(service)
    }
}
