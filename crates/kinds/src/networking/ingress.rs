//! Ingress: HTTP routes into the cluster.

use crate::check::{Check, filled, path};
use crate::column::{AGE, Column, NAME, items, string, string_or};
use crate::descriptor::{Kind, Rules, Subresource};
use coracle_api::FieldError;
use coracle_api::validation;
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.networking.v1.Ingress";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Ingress>("ingress", SCHEMA)
    .rules(&IngressRules)
    .short(&["ing"])
    .generation()
    .subresources(&[Subresource::status::<Ingress>(SCHEMA)])
    .columns(&[
        NAME,
        Column::text("Class", |_, o| json!(class(o))),
        Column::text("Hosts", |_, o| json!(hosts(o))),
        Column::text("Address", |_, o| json!(address(o))),
        Column::text("Ports", |_, o| json!(if items(&o["spec"]["tls"]).is_empty() { "80" } else { "80, 443" })),
        AGE,
    ]);

fn class(object: &Value) -> &str {
    let annotation = &object["metadata"]["annotations"]["kubernetes.io/ingress.class"];
    string_or(&object["spec"]["ingressClassName"], string_or(annotation, "<none>"))
}

fn hosts(object: &Value) -> String {
    let hosts: Vec<&str> =
        items(&object["spec"]["rules"]).iter().map(|r| string(&r["host"])).filter(|h| !h.is_empty()).collect();
    match hosts.len() {
        0 => "*".into(),
        1..=3 => hosts.join(","),
        n => format!("{} + {} more...", hosts[..3].join(","), n - 3),
    }
}

fn address(object: &Value) -> String {
    let ingress = items(&object["status"]["loadBalancer"]["ingress"]);
    ingress.iter().map(|i| string_or(&i["ip"], string(&i["hostname"]))).collect::<Vec<_>>().join(",")
}

struct IngressRules;

impl Rules for IngressRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, spec) = (path("spec"), &object["spec"]);
            if !filled(spec, "rules") && spec["defaultBackend"].is_null() {
                check.invalid(at.clone(), &json!([]), "either `defaultBackend` or `rules` must be specified");
            }
            for (index, rule) in items(&spec["rules"]).iter().enumerate() {
                let at = at.field("rules").index(index);
                let host = string(&rule["host"]);
                if host.contains('*') {
                    check.text(at.field("host"), &rule["host"], validation::wildcard_dns1123_subdomain);
                } else {
                    check.text(at.field("host"), &rule["host"], validation::dns1123_subdomain);
                }
                for (index, route) in items(&rule["http"]["paths"]).iter().enumerate() {
                    let at = at.field("http").field("paths").index(index);
                    let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
                    if string(&route["pathType"]).is_empty() {
                        check.required(at.field("pathType"), "pathType must be specified");
                    }
                    check.one_of(at.field("pathType"), &route["pathType"], &kinds);
                    let exact = matches!(string(&route["pathType"]), "Exact" | "Prefix");
                    if exact && !string(&route["path"]).starts_with('/') {
                        check.invalid(at.field("path"), &route["path"], "must be an absolute path");
                    }
                }
            }
        })
    }
}
