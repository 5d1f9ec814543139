//! `admissionregistration.k8s.io`: who else is asked before an object is written.

use crate::column::{AGE, Column, NAME, items, string};
use crate::descriptor::{Defaults, Kind, Subresource};
use crate::fields::{default, each, ensure, set, within};
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
.rules(&Defaults(mutating))
.columns(&[NAME, WEBHOOKS, AGE]);

/// ValidatingWebhookConfiguration.
pub static VALIDATING_WEBHOOK_CONFIGURATION: Kind = Kind::new::<ValidatingWebhookConfiguration>(
    "validatingwebhookconfiguration",
    "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
)
.categories(&["api-extensions"])
.generation()
.rules(&Defaults(validating))
.columns(&[NAME, WEBHOOKS, AGE]);

/// ValidatingAdmissionPolicy.
pub static VALIDATING_ADMISSION_POLICY: Kind = Kind::new::<ValidatingAdmissionPolicy>("validatingadmissionpolicy", VAP)
    .categories(&["api-extensions"])
    .generation()
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
.columns(BINDING);

/// MutatingAdmissionPolicy.
pub static MUTATING_ADMISSION_POLICY: Kind = Kind::new::<MutatingAdmissionPolicy>(
    "mutatingadmissionpolicy",
    "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
)
.categories(&["api-extensions"])
.generation()
.rules(&Defaults(policy))
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

fn validating(configuration: &mut Value) {
    each(configuration, "webhooks", webhook);
}

fn mutating(configuration: &mut Value) {
    each(configuration, "webhooks", |hook| {
        webhook(hook);
        default(hook, "reinvocationPolicy", "Never");
    });
}

fn webhook(hook: &mut Value) {
    default(hook, "failurePolicy", "Fail");
    default(hook, "timeoutSeconds", 10);
    matching(hook);
    each(hook, "rules", |rule| default(rule, "scope", "*"));
    within(hook, "clientConfig", |config| within(config, "service", |service| default(service, "port", 443)));
}

fn matching(object: &mut Value) {
    default(object, "matchPolicy", "Equivalent");
    ensure(object, "namespaceSelector");
    ensure(object, "objectSelector");
}

fn policy(policy: &mut Value) {
    let spec = ensure(policy, "spec");
    default(spec, "failurePolicy", "Fail");
    within(spec, "matchConstraints", |constraints| {
        matching(constraints);
        for list in ["resourceRules", "excludeResourceRules"] {
            each(constraints, list, |rule| {
                if rule["scope"].is_null() {
                    set(rule, "scope", "*");
                }
            });
        }
    });
}
