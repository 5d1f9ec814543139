//! StatefulSet: pods with names, records and volumes of their own.

use crate::check::{Check, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, items, number, string};
use crate::core::{persistent_volume_claim, pod};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{carry, default, each, ensure, same, set};
use crate::go;
use crate::place::Place;
use crate::warn;
use crate::workload::{self, is_zero};
use coracle_api::{FieldError, Path, Status, validation};
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
        Check::run(|check| stateful_set(check, &object["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => workload::STATEFUL_SET.check(check, new, old),
            _ => {
                stateful_set(check, &new["spec"]);
                let mut munged = new["spec"].clone();
                for field in CHANGEABLE {
                    carry(&mut munged, &old["spec"], field);
                }
                if !same(&munged, &old["spec"]) {
                    check.forbidden(path("spec"), ONLY);
                }
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut said = workload::template_warnings(object);
        said.extend(claims_and_history(&Place::of(object).field("spec"), "spec"));
        said
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        let mut said = workload::update_warnings(new, old);
        // upstream writes it so
        said.extend(claims_and_history(&Place::of(new).field("spec"), "Spec"));
        said
    }
}

/// Warnings of claim templates, whose specs are `called` so, and of how many revisions are kept.
fn claims_and_history(spec: &Place, called: &str) -> Vec<String> {
    let claims = spec.field("volumeClaimTemplates").items();
    let mut said: Vec<String> =
        claims.flat_map(|claim| warn::claim_spec(&claim.called(called, &claim.value["spec"]))).collect();
    if spec.field("revisionHistoryLimit").number() < 0 {
        let why = "a negative value retains all historical revisions; a value >= 0 is recommended";
        said.push(format!("spec.revisionHistoryLimit: {why}"));
    }
    said
}

fn stateful_set(check: &mut Check, spec: &Value) {
    let at = path("spec");
    let (field, order) = (at.field("podManagementPolicy"), &spec["podManagementPolicy"]);
    match string(order) {
        "" => check.required(field, ""),
        "OrderedReady" | "Parallel" => {}
        _ => check.invalid(field, order, "must be 'OrderedReady' or 'Parallel'"),
    }
    strategy(check, &at.field("updateStrategy"), &spec["updateStrategy"]);
    let retention = Place::at(at.field(RETENTION), &spec[RETENTION]);
    if retention.given() {
        for field in ["whenDeleted", "whenScaled"] {
            check.among(&retention.field(field), &["Retain", "Delete"]);
        }
    }
    check.none_negative(&at, spec, &["replicas", "minReadySeconds"]);
    check.not_negative(at.field("ordinals").field("start"), &spec["ordinals"]["start"]);
    check.not_negative(at.field("revisionHistoryLimit"), &spec["revisionHistoryLimit"]);
    check.text(at.field("serviceName"), &spec["serviceName"], validation::dns1123_label);
    workload::selector(check, &at.field("selector"), &spec["selector"], "statefulset");
    if workload::selected(check, &at, &spec["selector"], &spec["template"]) {
        pod::validate::template(check, &at.field("template"), &with_claims(spec));
    } else {
        check.invalid(at.field("selector"), &spec["selector"], "");
    }
    workload::lasting(check, &at.field("template"), &spec["template"], "StatefulSet");
    for (index, claim) in items(&spec["volumeClaimTemplates"]).iter().enumerate() {
        let (at, metadata) = (at.field("volumeClaimTemplates").index(index), &claim["metadata"]);
        check.labels(&at.field("metadata").field("labels"), &metadata["labels"]);
        let notes = at.field("metadata").field("annotations");
        check.extend(validation::validate_annotations(&metadata["annotations"], &notes));
        persistent_volume_claim::validate(check, &at.field("spec"), &claim["spec"]);
    }
}

/// The template as its pods will be: with a volume for each claim template, which wins over a volume of the same name.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    for claim in items(&spec["volumeClaimTemplates"]) {
        let name = &claim["metadata"]["name"];
        let volumes = &mut template["spec"]["volumes"];
        let mut all = volumes.as_array().cloned().unwrap_or_default();
        all.retain(|volume| volume["name"] != *name);
        all.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        *volumes = json!(all);
    }
    template
}

fn strategy(check: &mut Check, path: &Path, strategy: &Value) {
    let (at, rolling) = (path.field("rollingUpdate"), &strategy["rollingUpdate"]);
    match string(&strategy["type"]) {
        "" => check.required(path.clone(), ""),
        "OnDelete" if rolling.is_object() => {
            let wrong = FieldError::invalid(at, rolling.clone(), "only allowed for updateStrategy 'RollingUpdate'");
            check.push(wrong.shown_as(go::show(rolling, go::PARTITIONED)));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            check.not_negative(at.field("partition"), &rolling["partition"]);
            let (at, most) = (at.field("maxUnavailable"), &rolling["maxUnavailable"]);
            check.count_or_percent(at.clone(), most);
            if !most.is_null() && is_zero(most) {
                check.invalid(at.clone(), most, "cannot be 0");
            }
            workload::at_most_all(check, at, most);
        }
        _ => {
            let wrong = FieldError::invalid(path, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'");
            check.push(wrong.shown_as(go::show(strategy, go::PARTITIONED_STRATEGY)));
        }
    }
}

const RETENTION: &str = "persistentVolumeClaimRetentionPolicy";

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
