//! StatefulSet: pods with names, records and volumes of their own.

use crate::check::{Check, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, number};
use crate::core::{persistent_volume_claim, pod};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::carry;
use crate::fields::{default, each, ensure, set};
use crate::workload;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.apps.v1.StatefulSet";

/// The descriptor.
pub static KIND: Kind = Kind::new::<StatefulSet>("statefulset", SCHEMA)
    .short(&["sts"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::scale("spec.selector"), Subresource::status::<StatefulSet>(SCHEMA)])
    .rules(&StatefulSetRules)
    .columns(&[
        NAME,
        Column::text("Ready", |_, o| {
            json!(format!("{}/{}", number(&o["status"]["readyReplicas"]), number(&o["spec"]["replicas"])))
        })
        .about("Number of the pod with ready state"),
        AGE,
        CONTAINERS,
        IMAGES,
    ]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "podManagementPolicy", "OrderedReady");
    let strategy = ensure(spec, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default(ensure(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = ensure(spec, "persistentVolumeClaimRetentionPolicy");
    default(retention, "whenDeleted", "Retain");
    default(retention, "whenScaled", "Retain");
    each(spec, "volumeClaimTemplates", |claim| {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        persistent_volume_claim::defaults(claim);
        default(ensure(claim, "status"), "phase", "Pending");
    });
    pod::defaults::template(ensure(spec, "template"));
}

struct StatefulSetRules;

impl Rules for StatefulSetRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            workload::validate(check, object, "statefulset");
            let (at, spec) = (path("spec"), &object["spec"]);
            let orders = ["OrderedReady", "Parallel"];
            check.required_one_of(at.field("podManagementPolicy"), &spec["podManagementPolicy"], &orders);
            let (under, strategy) = (at.field("updateStrategy"), &spec["updateStrategy"]);
            check.required_one_of(under.field("type"), &strategy["type"], &["RollingUpdate", "OnDelete"]);
            let rolling = &strategy["rollingUpdate"];
            if strategy["type"] == "OnDelete" && rolling.is_object() {
                let why = "only allowed for updateStrategy 'RollingUpdate'";
                check.invalid(under.field("rollingUpdate"), rolling, why);
            }
            check.not_negative(under.field("rollingUpdate").field("partition"), &rolling["partition"]);
            check.count_or_percent(under.field("rollingUpdate").field("maxUnavailable"), &rolling["maxUnavailable"]);
            check.not_negative(at.field("ordinals").field("start"), &spec["ordinals"]["start"]);
            for field in ["whenDeleted", "whenScaled"] {
                let at = at.field("persistentVolumeClaimRetentionPolicy").field(field);
                check.one_of(at, &spec["persistentVolumeClaimRetentionPolicy"][field], &["Retain", "Delete"]);
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            let mut munged = new["spec"].clone();
            for field in CHANGEABLE {
                carry(&mut munged, &old["spec"], field);
            }
            if munged != old["spec"] {
                check.forbidden(path("spec"), ONLY);
            }
        }));
        errors
    }
}

const CHANGEABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

const ONLY: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
