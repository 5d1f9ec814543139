//! `apiextensions.k8s.io` and `apiregistration.k8s.io`: kinds and groups added while the cluster runs.

use crate::column::{AGE, Column, DEFAULT, NAME, items, string};
use crate::descriptor::{Defaults, Kind, Subresource};
use crate::fields::{default, ensure, within};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::{Value, json};

const CRD: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";
const SERVICE: &str = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService";

/// CustomResourceDefinition.
pub static CUSTOM_RESOURCE_DEFINITION: Kind = Kind::new::<CustomResourceDefinition>("customresourcedefinition", CRD)
    .short(&["crd", "crds"])
    .categories(&["api-extensions"])
    .generation()
    .subresources(&[Subresource::status::<CustomResourceDefinition>(CRD)])
    .rules(&Defaults(definition))
    .columns(DEFAULT);

/// APIService.
pub static API_SERVICE: Kind = Kind::new::<APIService>("apiservice", SERVICE)
    .categories(&["api-extensions"])
    .subresources(&[Subresource::status::<APIService>(SERVICE)])
    .rules(&Defaults(api_service))
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

fn definition(object: &mut Value) {
    let spec = ensure(object, "spec");
    within(spec, "names", |names| {
        let kind = string(&names["kind"]).to_string();
        default(names, "singular", kind.to_lowercase());
        default(names, "listKind", format!("{kind}List"));
    });
    let conversion = ensure(spec, "conversion");
    default(conversion, "strategy", "None");
    within(conversion, "webhook", |hook| {
        within(hook, "clientConfig", |config| within(config, "service", |service| default(service, "port", 443)));
    });
}

fn api_service(object: &mut Value) {
    within(object, "spec", |spec| within(spec, "service", |service| default(service, "port", 443)));
}
