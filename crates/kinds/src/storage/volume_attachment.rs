//! VolumeAttachment: a volume shall be attached to a node.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, string};
use crate::core::persistent_volume;
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::place::Place;
use coracle_api::{FieldError, validation};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.storage.v1.VolumeAttachment";

/// The descriptor.
pub static KIND: Kind = Kind::new::<VolumeAttachment>("volumeattachment", SCHEMA)
    .conditional_update()
    .rules(&AttachmentRules)
    .subresources(&[Subresource::status::<VolumeAttachment>(SCHEMA)])
    .columns(&[
        NAME,
        Column::text("Attacher", |_, o| o["spec"]["attacher"].clone()),
        Column::text("PV", |_, o| json!(string(&o["spec"]["source"]["persistentVolumeName"]))),
        Column::text("Node", |_, o| o["spec"]["nodeName"].clone()),
        Column { kind: "boolean", ..Column::text("Attached", |_, o| json!(o["status"]["attached"] == true)) },
        AGE,
    ]);

struct AttachmentRules;

impl Rules for AttachmentRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(object);
            attachment(check, &at);
            check.declared_driver_name(&at.field("spec.attacher"));
            let volume = at.field("spec.source.persistentVolumeName");
            if volume.given() {
                check.keeps(&volume, validation::dns1123_subdomain);
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new);
            attachment(check, &at);
            check.declared_unchanged(&at.field("spec"), &old["spec"]);
        })
    }
}

const MOST_METADATA: usize = 256 * 1024;

fn attachment(check: &mut Check, at: &Place) {
    let source = at.field("spec.source");
    let (inline, named) = (source.field("inlineVolumeSpec"), source.field("persistentVolumeName"));
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (inline.given(), named.given()) {
        (false, false) => check.required(source.path.clone(), ONE),
        (true, true) => check.barred(&source, ONE),
        (true, false) => persistent_volume::inline(check, &inline.path, inline.value),
        (false, true) if named.empty() => check.required(named.path, "must specify non empty persistentVolumeName"),
        _ => {}
    }
    check.keeps(&at.field("spec.nodeName"), validation::dns1123_subdomain);
    let metadata = at.field("status.attachmentMetadata");
    if metadata.entries().map(|(key, value)| key.len() + value.text().len()).sum::<usize>() > MOST_METADATA {
        check.too_long(&metadata, MOST_METADATA);
    }
    for error in ["attachError", "detachError"].map(|name| at.field("status").field(name)) {
        // the bound that upstream names is not the one it checks
        if error.field("message").text().len() > 1024 {
            check.too_long(&error.field("message"), MOST_METADATA);
        }
        let code = error.field("errorCode");
        if code.number() < 0 {
            check.bad(&code, "must be between 0 and 2147483647, inclusive");
        }
    }
}
