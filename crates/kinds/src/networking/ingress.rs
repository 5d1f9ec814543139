//! Ingress: HTTP routes into the cluster.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, items, string, string_or};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::place::Place;
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

const CLASS: &str = "kubernetes.io/ingress.class";

impl Rules for IngressRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            spec(check, &Place::of(object).field("spec"), &Allowed::default());
            let annotation = &object["metadata"]["annotations"][CLASS];
            let class = &object["spec"]["ingressClassName"];
            if annotation.is_string() && class.is_string() && annotation != class {
                let at = path("annotations").field(CLASS);
                check.invalid(at, annotation, "must match `ingressClassName` when both are specified");
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        let (new, old) = (Place::of(new), Place::of(old));
        Check::run(|check| match part {
            Part::Main => spec(check, &new.field("spec"), &Allowed::by(&old.field("spec"))),
            Part::Status => status(check, &new.field("status.loadBalancer"), &old.field("status.loadBalancer")),
            _ => {}
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let given = object["metadata"]["annotations"][CLASS].is_string();
        let why = format!("annotation \"{CLASS}\" is deprecated, please use 'spec.ingressClassName' instead");
        given.then_some(why).into_iter().collect()
    }

    fn update_warnings(&self, _new: &Value, _old: &Value) -> Vec<String> {
        Vec::new()
    }
}

/// What an older object may keep.
#[derive(Default)]
struct Allowed {
    secret_names: bool,
    wildcard_rules: bool,
}

impl Allowed {
    fn by(old: &Place) -> Self {
        let wrong = |at: &Place, rule: fn(&mut Check, &Place)| !Check::run(|check| rule(check, at)).is_empty();
        Self {
            secret_names: old.field("tls").items().any(|tls| wrong(&tls.field("secretName"), secret_name)),
            wildcard_rules: old
                .field("rules")
                .items()
                .any(|rule| rule.field("host").text().contains('*') && wrong(&rule.field("http"), routes)),
        }
    }
}

fn spec(check: &mut Check, at: &Place, allowed: &Allowed) {
    let (rules, backend_at) = (at.field("rules"), at.field("defaultBackend"));
    if rules.empty() && !backend_at.given() {
        let why = "either `defaultBackend` or `rules` must be specified";
        check.invalid(at.path.clone(), rules.value, why);
    }
    if backend_at.given() {
        backend(check, &backend_at);
    }
    for rule in rules.items() {
        let host = rule.field("host");
        if !host.empty() {
            if validation::parse_ip(host.text()).is_some() {
                check.bad(&host, DNS_NAME);
            }
            host_name(check, &host);
        }
        if rule.field("http").given() && !(host.text().contains('*') && allowed.wildcard_rules) {
            routes(check, &rule.field("http"));
        }
    }
    for tls in at.field("tls").items() {
        tls.field("hosts").items().for_each(|host| host_name(check, &host));
        if !allowed.secret_names {
            secret_name(check, &tls.field("secretName"));
        }
    }
    if at.field("ingressClassName").given() {
        check.keeps(&at.field("ingressClassName"), validation::dns1123_subdomain);
    }
}

const DNS_NAME: &str = "must be a DNS name, not an IP address";

fn secret_name(check: &mut Check, at: &Place) {
    check.may_keep(at, validation::dns1123_subdomain);
}

fn host_name(check: &mut Check, at: &Place) {
    let wildcard = at.text().contains('*');
    check.keeps(at, if wildcard { validation::wildcard_dns1123_subdomain } else { validation::dns1123_subdomain });
}

fn routes(check: &mut Check, http: &Place) {
    check.needs(&http.field("paths"), "");
    http.field("paths").items().for_each(|at| route(check, &at));
}

fn route(check: &mut Check, at: &Place) {
    let (kind, path) = (at.field("pathType"), at.field("path"));
    let text = path.text();
    if !kind.given() {
        return check.required(kind.path, "pathType must be specified");
    }
    check.among(&kind, &["Exact", "ImplementationSpecific", "Prefix"]);
    let exact = matches!(kind.text(), "Exact" | "Prefix");
    if (exact || kind.text() == "ImplementationSpecific" && !text.is_empty()) && !text.starts_with('/') {
        check.bad_text(&path, "must be an absolute path");
    }
    if exact {
        for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| text.contains(**part)) {
            check.bad(&path, format!("must not contain '{part}'"));
        }
        for end in ["/..", "/."].iter().filter(|end| text.ends_with(**end)) {
            check.bad(&path, format!("cannot end with '{end}'"));
        }
    }
    backend(check, &at.field("backend"));
}

fn backend(check: &mut Check, at: &Place) {
    let (resource, service) = (at.field("resource"), at.field("service"));
    match (resource.given(), service.given()) {
        (true, true) => check.invalid(at.path.clone(), &json!(""), "cannot set both resource and service backends"),
        (true, false) => {
            if resource.field("apiGroup").given() {
                check.keeps(&resource.field("apiGroup"), validation::dns1123_subdomain);
            }
            check.must_keep(&resource.field("kind"), validation::path_segment);
            check.must_keep(&resource.field("name"), validation::path_segment);
        }
        (false, true) => service_backend(check, at, &service),
        (false, false) => check.invalid(at.path.clone(), &json!(""), "resource or service backend is required"),
    }
}

fn service_backend(check: &mut Check, at: &Place, service: &Place) {
    check.must_keep(&service.field("name"), validation::dns1123_label);
    let (name, number) = (service.field("port.name"), service.field("port.number"));
    match (!name.empty(), number.number() != 0) {
        (true, true) => check.invalid(at.path.clone(), &json!(""), "cannot set both port name & port number"),
        (true, false) => check.keeps(&name, validation::port_name),
        (false, true) => check.port(number.path, number.value),
        (false, false) => check.required(at.path.clone(), "port name or number is required"),
    }
}

fn status(check: &mut Check, new: &Place, old: &Place) {
    for at in new.field("ingress").items() {
        let (ip, host) = (at.field("ip"), at.field("hostname"));
        if !old.field("ingress").items().any(|o| o.field("ip").value == ip.value) {
            check.may_keep(&ip, validation::ip);
        }
        check.may_keep(&host, validation::dns1123_subdomain);
        if validation::parse_ip(host.text()).is_some() {
            check.bad(&host, DNS_NAME);
        }
    }
}
