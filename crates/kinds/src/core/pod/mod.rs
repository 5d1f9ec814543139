//! Pod: containers that live, move and die together.

mod columns;
mod containers;
pub mod defaults;
mod update;
pub mod validate;
pub(crate) mod volumes;

use crate::check::{Check, path};
use crate::column::SelectableField;
use crate::column::{items, string};
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

impl PodRules {
    fn validate_ephemeral(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (now, before) = (items(&new["spec"]["ephemeralContainers"]), items(&old["spec"]["ephemeralContainers"]));
        let kept = before.iter().all(|b| now.contains(b));
        if !kept {
            let at = path("spec").field("ephemeralContainers");
            return vec![FieldError::forbidden(at, "existing ephemeral containers may not be changed or removed")];
        }
        self.validate(new)
    }
}

impl Rules for PodRules {
    fn default(&self, pod: &mut Value) -> Result<(), Status> {
        defaults::pod(pod);
        Ok(())
    }

    fn prepare_create(&self, pod: &mut Value) {
        let qos = defaults::qos_class(&pod["spec"]);
        set(pod, "status", json!({"phase": "Pending", "qosClass": qos}));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        update::prepare(new, old, part);
    }

    fn validate(&self, pod: &Value) -> Vec<FieldError> {
        Check::run(|check| validate::pod_spec(check, &path("spec"), &pod["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        match part {
            Part::Main => {
                let wrong = Check::run(|check| update::validate(check, new, old));
                // what may not change needs no second judgement
                if wrong.is_empty() && new["spec"] != old["spec"] { self.validate(new) } else { wrong }
            }
            Part::EphemeralContainers => self.validate_ephemeral(new, old),
            Part::Resize => self.validate(new),
            _ => Vec::new(),
        }
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
