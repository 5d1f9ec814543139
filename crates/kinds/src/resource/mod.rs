//! `resource.k8s.io`: devices that pods claim.
//!
//! Source: `pkg/apis/resource/validation`, the strategies of `pkg/registry/resource`. What only features use that are off by default
//! (lists as attributes, derived attributes, resources of the node, skipped operations, partition types) is dropped, as upstream does.

mod claims;
mod devices;
mod slices;

use self::claims::{ClaimRules, ClassRules, TemplateRules};
use self::slices::{SliceRules, TaintRules};
use crate::column::{AGE, Column, NAME, SelectableField, items, string};
use crate::descriptor::{Kind, Subresource, text};
use k8s_openapi::api::resource::v1::{
    DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
};
use serde_json::{Value, json};

const CLAIM: &str = "io.k8s.api.resource.v1.ResourceClaim";
const TAINT: &str = "io.k8s.api.resource.v1.DeviceTaintRule";

/// DeviceClass.
pub static DEVICE_CLASS: Kind =
    Kind::new::<DeviceClass>("deviceclass", "io.k8s.api.resource.v1.DeviceClass").generation().rules(&ClassRules);

/// DeviceTaintRule.
pub static DEVICE_TAINT_RULE: Kind = Kind::new::<DeviceTaintRule>("devicetaintrule", TAINT)
    .generation()
    .rules(&TaintRules)
    .subresources(&[Subresource::status::<DeviceTaintRule>(TAINT)]);

/// ResourceClaim.
pub static RESOURCE_CLAIM: Kind = Kind::new::<ResourceClaim>("resourceclaim", CLAIM)
    .rules(&ClaimRules)
    .subresources(&[Subresource::status::<ResourceClaim>(CLAIM)])
    .columns(&[NAME, Column::text("State", |_, o| json!(state(o))), AGE]);

/// ResourceClaimTemplate.
pub static RESOURCE_CLAIM_TEMPLATE: Kind =
    Kind::new::<ResourceClaimTemplate>("resourceclaimtemplate", "io.k8s.api.resource.v1.ResourceClaimTemplate")
        .rules(&TemplateRules);

/// ResourceSlice.
pub static RESOURCE_SLICE: Kind = Kind::new::<ResourceSlice>("resourceslice", "io.k8s.api.resource.v1.ResourceSlice")
    .generation()
    .rules(&SliceRules)
    .selectable(&[
        SelectableField { path: "spec.nodeName", get: |o| text(&o["spec"]["nodeName"]) },
        SelectableField { path: "spec.driver", get: |o| text(&o["spec"]["driver"]) },
        SelectableField { path: "spec.pool.name", get: |o| text(&o["spec"]["pool"]["name"]) },
    ])
    .columns(&[
        NAME,
        Column::text("Node", |_, o| json!(string(&o["spec"]["nodeName"]))),
        Column::text("Driver", |_, o| o["spec"]["driver"].clone()),
        Column::text("Pool", |_, o| o["spec"]["pool"]["name"].clone()),
        AGE,
    ]);

fn state(claim: &Value) -> String {
    let mut words = Vec::new();
    if claim["metadata"]["deletionTimestamp"].is_string() {
        words.push("deleted");
    }
    words.push(if claim["status"]["allocation"].is_object() { "allocated" } else { "pending" });
    if !items(&claim["status"]["reservedFor"]).is_empty() {
        words.push("reserved");
    }
    words.join(",")
}
