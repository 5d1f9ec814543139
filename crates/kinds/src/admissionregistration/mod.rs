//! `admissionregistration.k8s.io`: who else is asked before an object is written.

mod expressions;
mod matching;
mod policies;
mod webhooks;

use crate::column::{AGE, Column, NAME, items, string};
use crate::descriptor::{Kind, Subresource};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use serde_json::{Value, json};

const VAP: &str = "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy";
const WEBHOOKS: Column = Column::number("Webhooks", |_, o| json!(items(&o["webhooks"]).len()));
const BINDING: &[Column] = &[
    NAME,
    Column::text("PolicyName", |_, o| o["spec"]["policyName"].clone()),
    Column::text("ParamRef", |_, o| json!(parameter(o))),
    AGE,
];

/// MutatingWebhookConfiguration.
pub static MUTATING_WEBHOOK_CONFIGURATION: Kind = Kind::new::<MutatingWebhookConfiguration>(
    "mutatingwebhookconfiguration",
    "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
)
.categories(&["api-extensions"])
.generation()
.conditional_update()
.rules(&webhooks::Configuration { mutates: true })
.columns(&[NAME, WEBHOOKS, AGE]);

/// ValidatingWebhookConfiguration.
pub static VALIDATING_WEBHOOK_CONFIGURATION: Kind = Kind::new::<ValidatingWebhookConfiguration>(
    "validatingwebhookconfiguration",
    "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
)
.categories(&["api-extensions"])
.generation()
.conditional_update()
.rules(&webhooks::Configuration { mutates: false })
.columns(&[NAME, WEBHOOKS, AGE]);

/// ValidatingAdmissionPolicy.
pub static VALIDATING_ADMISSION_POLICY: Kind = Kind::new::<ValidatingAdmissionPolicy>("validatingadmissionpolicy", VAP)
    .categories(&["api-extensions"])
    .generation()
    .conditional_update()
    .rules(&policies::Policy { mutates: false })
    .subresources(&[Subresource::status::<ValidatingAdmissionPolicy>(VAP)])
    .columns(&[
        NAME,
        Column::number("Validations", |_, o| json!(items(&o["spec"]["validations"]).len())),
        Column::text("ParamKind", |_, o| json!(param_kind(o))),
        AGE,
    ]);

/// ValidatingAdmissionPolicyBinding.
pub static VALIDATING_ADMISSION_POLICY_BINDING: Kind = Kind::new::<ValidatingAdmissionPolicyBinding>(
    "validatingadmissionpolicybinding",
    "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
)
.categories(&["api-extensions"])
.generation()
.conditional_update()
.rules(&policies::Binding { mutates: false })
.columns(BINDING);

/// MutatingAdmissionPolicy.
pub static MUTATING_ADMISSION_POLICY: Kind = Kind::new::<MutatingAdmissionPolicy>(
    "mutatingadmissionpolicy",
    "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
)
.categories(&["api-extensions"])
.generation()
.conditional_update()
.rules(&policies::Policy { mutates: true })
.columns(&[
    NAME,
    Column::number("Mutations", |_, o| json!(items(&o["spec"]["mutations"]).len())),
    Column::text("ParamKind", |_, o| json!(param_kind(o))),
    AGE,
]);

/// MutatingAdmissionPolicyBinding.
pub static MUTATING_ADMISSION_POLICY_BINDING: Kind = Kind::new::<MutatingAdmissionPolicyBinding>(
    "mutatingadmissionpolicybinding",
    "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
)
.categories(&["api-extensions"])
.generation()
.conditional_update()
.rules(&policies::Binding { mutates: true })
.columns(BINDING);

fn param_kind(object: &Value) -> String {
    let kind = &object["spec"]["paramKind"];
    if kind.is_object() {
        format!("{}/{}", string(&kind["apiVersion"]), string(&kind["kind"]))
    } else {
        "<unset>".into()
    }
}

fn parameter(object: &Value) -> String {
    let reference = &object["spec"]["paramRef"];
    match (string(&reference["namespace"]), string(&reference["name"])) {
        ("", "") => "<unset>".into(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}
