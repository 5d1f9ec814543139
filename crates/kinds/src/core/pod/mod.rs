//! Pod: containers that live, move and die together.

mod annotations;
mod columns;
mod containers;
pub mod defaults;
mod env;
mod handlers;
mod mounts;
mod overlaps;
pub(crate) mod projected;
mod resources;
pub(crate) mod scheduling;
mod security;
mod status;
mod update;
pub mod validate;
pub(crate) mod volumes;
pub(crate) mod warnings;
mod windows;

pub use resources::of_whole_pod as whole_pod;
pub(crate) use scheduling::EFFECTS;
pub(crate) use update::changes;

use crate::check::Check;
use crate::column::SelectableField;
use crate::column::string;
use crate::descriptor::{Action, Deletion, Kind, Part, Rules, Subresource, text};
use crate::fields::set;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.core.v1.Pod";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Pod>("pod", SCHEMA)
    .short(&["po"])
    .categories(&["all"])
    .generation()
    .deletion(Deletion::Graceful)
    .subresources(SUBRESOURCES)
    .selectable(FIELDS)
    .rules(&PodRules)
    .columns(columns::COLUMNS);

const SUBRESOURCES: &[Subresource] = &[
    Subresource::ATTACH,
    Subresource::BINDING,
    Subresource::of::<Pod>(Action::EphemeralContainers, SCHEMA),
    Subresource::EVICTION,
    Subresource::EXEC,
    Subresource::LOG,
    Subresource::PORT_FORWARD,
    Subresource::proxy("PodProxyOptions"),
    Subresource::of::<Pod>(Action::Resize, SCHEMA),
    Subresource::status::<Pod>(SCHEMA),
];

const FIELDS: &[SelectableField] = &[
    SelectableField { path: "spec.nodeName", get: |o| text(&o["spec"]["nodeName"]) },
    SelectableField { path: "spec.restartPolicy", get: |o| text(&o["spec"]["restartPolicy"]) },
    SelectableField { path: "spec.schedulerName", get: |o| text(&o["spec"]["schedulerName"]) },
    SelectableField { path: "spec.serviceAccountName", get: |o| text(&o["spec"]["serviceAccountName"]) },
    SelectableField { path: "spec.hostNetwork", get: host_network },
    SelectableField { path: "status.phase", get: |o| text(&o["status"]["phase"]) },
    SelectableField { path: "status.podIP", get: |o| text(&o["status"]["podIP"]) },
    SelectableField { path: "status.podIPs", get: |o| text(&o["status"]["podIP"]) },
    SelectableField { path: "status.nominatedNodeName", get: |o| text(&o["status"]["nominatedNodeName"]) },
];

fn host_network(pod: &Value) -> String {
    text(&json!(pod["spec"]["hostNetwork"].as_bool().unwrap_or(false)))
}

struct PodRules;

impl Rules for PodRules {
    fn default(&self, pod: &mut Value) -> Result<(), Status> {
        defaults::pod(pod);
        Ok(())
    }

    fn prepare_create(&self, pod: &mut Value) {
        let qos = defaults::qos_class(&pod["spec"]);
        set(pod, "status", json!({"phase": "Pending", "qosClass": qos}));
        scheduling::apply_label_keys(pod);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        update::prepare(new, old, part);
    }

    fn validate(&self, pod: &Value) -> Vec<FieldError> {
        Check::run(|check| validate::new_pod(check, pod))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Main => update::validate(check, new, old),
            Part::EphemeralContainers => update::validate_ephemeral(check, new, old),
            Part::Resize => update::validate_resize(check, new, old),
            Part::Status => update::validate_status(check, new, old),
            Part::Approval | Part::Finalize => {}
        })
    }

    fn warnings(&self, pod: &Value) -> Vec<String> {
        warnings::pod(pod)
    }

    // pods are changed by the machinery, and often
    fn update_warnings(&self, _new: &Value, _old: &Value) -> Vec<String> {
        Vec::new()
    }

    // What was never placed, or has ended, needs no time to stop.
    fn grace_period(&self, pod: &Value, requested: Option<i64>) -> i64 {
        let wanted = requested.or(pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(0);
        let ended = matches!(string(&pod["status"]["phase"]), "Failed" | "Succeeded");
        match () {
            () if string(&pod["spec"]["nodeName"]).is_empty() || ended => 0,
            () if wanted < 0 => 1,
            () => wanted,
        }
    }
}
