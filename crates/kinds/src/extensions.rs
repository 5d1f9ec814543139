//! `apiextensions.k8s.io`: kinds added while the cluster runs.

use crate::column::{DEFAULT, string};
use crate::descriptor::{Defaults, Kind, Subresource};
use crate::fields::{default, ensure, within};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

const CRD: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";

/// CustomResourceDefinition.
pub static CUSTOM_RESOURCE_DEFINITION: Kind = Kind::new::<CustomResourceDefinition>("customresourcedefinition", CRD)
    .short(&["crd", "crds"])
    .categories(&["api-extensions"])
    .generation()
    .subresources(&[Subresource::status::<CustomResourceDefinition>(CRD)])
    .rules(&Defaults(definition))
    .columns(DEFAULT);

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
