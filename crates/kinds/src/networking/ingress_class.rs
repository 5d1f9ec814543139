//! IngressClass: who serves Ingresses of a class.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, string};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::{default, within};
use crate::place::Place;
use coracle_api::{FieldError, Status, validation};
use k8s_openapi::api::networking::v1::IngressClass;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<IngressClass>("ingressclass", "io.k8s.api.networking.v1.IngressClass")
    .generation()
    .rules(&ClassRules)
    .columns(&[
        NAME,
        Column::text("Controller", |_, o| o["spec"]["controller"].clone()),
        Column::text("Parameters", |_, o| json!(parameters(o))),
        AGE,
    ]);

fn parameters(object: &Value) -> String {
    let parameters = &object["spec"]["parameters"];
    if !parameters.is_object() {
        return "<none>".into();
    }
    let kind = match string(&parameters["apiGroup"]) {
        "" => string(&parameters["kind"]).to_string(),
        group => format!("{}.{group}", string(&parameters["kind"])),
    };
    format!("{kind}/{}", string(&parameters["name"]))
}

struct ClassRules;

impl Rules for ClassRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        within(object, "spec", |spec| within(spec, "parameters", |p| default(p, "scope", "Cluster")));
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| spec(check, &Place::of(object).field("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new).field("spec");
            check.unchanged(&at.field("controller"), &old["spec"]["controller"]);
            spec(check, &at);
        })
    }
}

fn spec(check: &mut Check, at: &Place) {
    let controller = at.field("controller");
    if check.needs(&controller, "") {
        check.no_longer(&controller, 250);
        check.domain_prefixed_path(&controller);
    }
    let parameters = at.field("parameters");
    if parameters.given() {
        reference(check, &parameters);
    }
}

fn reference(check: &mut Check, at: &Place) {
    if at.field("apiGroup").given() {
        check.keeps(&at.field("apiGroup"), validation::dns1123_subdomain);
    }
    for name in ["kind", "name"] {
        if check.declared(&at.field(name)) {
            check.keeps(&at.field(name), validation::path_segment);
        }
    }
    let (scope, namespace) = (at.field("scope"), at.field("namespace"));
    check.among(&scope, &["Cluster", "Namespace"]);
    match (scope.text(), namespace.given()) {
        ("Namespace", false) => check.required(namespace.path, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", true) => check.keeps(&namespace, validation::dns1123_label),
        ("Cluster", true) => check.barred(&namespace, "`parameters.scope` is set to 'Cluster'"),
        _ => {}
    }
}
