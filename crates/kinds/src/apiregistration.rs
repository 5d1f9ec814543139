//! `apiregistration.k8s.io`: groups that another server serves.
//!
//! Source: kube-aggregator `pkg/apis/apiregistration/validation`.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, items, string};
use crate::descriptor::{Kind, NameRule, Part, Rules, Subresource};
use crate::fields::{default_number, within};
use crate::place::Place;
use coracle_api::status::quoted;
use coracle_api::{FieldError, Status, validation};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::{Value, json};

const SERVICE: &str = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService";

/// APIService.
pub static API_SERVICE: Kind = Kind::new::<APIService>("apiservice", SERVICE)
    .categories(&["api-extensions"])
    .subresources(&[Subresource::status::<APIService>(SERVICE)])
    .conditional_update()
    .names(NameRule::PathSegment)
    .rules(&ServiceRules)
    .columns(&[
        NAME,
        Column::text("Service", |_, o| json!(service(o))),
        Column::text("Available", |_, o| json!(available(o))),
        AGE,
    ]);

fn service(object: &Value) -> String {
    let service = &object["spec"]["service"];
    if service.is_object() {
        format!("{}/{}", string(&service["namespace"]), string(&service["name"]))
    } else {
        "Local".into()
    }
}

fn available(object: &Value) -> String {
    let condition = items(&object["status"]["conditions"]).iter().find(|c| c["type"] == "Available");
    match condition {
        Some(c) if c["status"] == "True" => "True".into(),
        Some(c) => format!("{} ({})", string(&c["status"]), string(&c["reason"])),
        None => "Unknown".into(),
    }
}

struct ServiceRules;

impl Rules for ServiceRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        within(object, "spec", |spec| within(spec, "service", |service| default_number(service, "port", 443)));
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, name) = (Place::of(object).field("spec"), Place::of(object).field("metadata.name"));
            let wanted = format!("{}.{}", at.field("version").text(), at.field("group").text());
            if validation::path_segment(name.text()).is_empty() && name.text() != wanted {
                let why = format!("must be `spec.version+\".\"+spec.group`: {}", quoted(&wanted));
                check.bad(&name, why);
            }
            spec(check, &at);
        })
    }

    fn validate_update(&self, new: &Value, _old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Status {
            return self.validate(new);
        }
        Check::run(|check| {
            for condition in Place::of(new).field("status.conditions").items() {
                check.among(&condition.field("status"), &["True", "False", "Unknown"]);
            }
        })
    }
}

fn spec(check: &mut Check, at: &Place) {
    let (group, version) = (at.field("group"), at.field("version"));
    if group.empty() && version.text() != "v1" {
        check.required(group.path.clone(), "only v1 may have an empty group and it better be legacy kube");
    }
    check.may_keep(&group, validation::dns1123_subdomain);
    check.keeps(&version, validation::dns1035_label);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = at.field(field).number();
        if priority <= 0 || priority > most {
            check.invalid(at.path.field(field), &json!(priority), format!("must be positive and less than {most}"));
        }
    }
    let (service, bundle, insecure) = (at.field("service"), at.field("caBundle"), at.field("insecureSkipTLSVerify"));
    let skips = insecure.value == true;
    if !service.given() {
        if !bundle.empty() {
            let bytes = bundle.text().trim_end_matches('=').len() * 3 / 4;
            check.invalid(bundle.path, &json!(format!("{bytes} bytes")), "local APIServices may not have a caBundle");
        }
        if skips {
            check.bad(&insecure, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    check.needs(&service.field("namespace"), "");
    check.needs(&service.field("name"), "");
    let wrong = validation::port_number(service.field("port").number());
    if !wrong.is_empty() {
        check.bad(&service.field("port"), format!("port is not valid: {}", wrong.join(", ")));
    }
    if skips && !bundle.empty() {
        check.bad(&insecure, "may not be true if caBundle is present");
    }
}
