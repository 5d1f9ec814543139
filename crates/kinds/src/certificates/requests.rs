//! CertificateSigningRequest: the request itself never changes; verdicts belong to approvers, the certificate to the signer.
//!
//! Source: `pkg/apis/certificates/validation`, `pkg/registry/certificates/certificates/strategy.go`.

use super::x509;
use crate::check::Check;
use crate::column::{items, string};
use crate::descriptor::{Part, Rules};
use crate::fields::{carry, ensure};
use crate::place::Place;
use crate::shapes::STATUSES;
use coracle_api::FieldError;
use coracle_api::status::quoted;
use serde_json::{Value, json};

/// The rules.
pub struct RequestRules;

/// What an older request may keep.
#[derive(Clone, Copy, Default)]
struct Allowed {
    both_verdicts: bool,
    twice: bool,
    no_type: bool,
    any_certificate: bool,
    unknown_usages: bool,
    usages_twice: bool,
    legacy_signer: bool,
}

impl Allowed {
    fn by(new: &Value, old: &Value) -> Self {
        let types: Vec<&str> = items(&old["status"]["conditions"]).iter().map(|c| string(&c["type"])).collect();
        let usages: Vec<&str> = items(&old["spec"]["usages"]).iter().map(string).collect();
        let twice = |all: &[&str]| all.iter().enumerate().any(|(i, one)| all[..i].contains(one));
        let certificate = string(&old["status"]["certificate"]);
        Self {
            both_verdicts: types.contains(&"Approved") && types.contains(&"Denied"),
            twice: twice(&types),
            no_type: types.contains(&""),
            any_certificate: string(&new["status"]["certificate"]) == certificate
                || x509::chain_error(&x509::text_of(certificate)).is_some(),
            unknown_usages: usages.iter().any(|usage| !USAGES.contains(usage)),
            usages_twice: twice(&usages),
            legacy_signer: old["spec"]["signerName"] == LEGACY,
        }
    }
}

const LEGACY: &str = "kubernetes.io/legacy-unknown";

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

impl Rules for RequestRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| request(check, &Place::of(object), Allowed::default()))
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        new["spec"] = old["spec"].clone();
        match part {
            Part::Main => carry(new, old, "status"),
            Part::Approval => carry(ensure(new, "status"), &old["status"], "certificate"),
            // who signs does not judge: a verdict that is still there is the old one
            _ => {
                for verdict in VERDICTS {
                    keep(new, old, verdict);
                }
            }
        }
    }

    fn stamp(&self, object: &mut Value, old: Option<&Value>, now: &str) {
        stamp_conditions(object, old, now, &["lastUpdateTime"]);
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new);
            request(check, &at, Allowed::by(new, old));
            let list = at.field("status.conditions");
            for kind in ["Approved", "Denied", "Failed"] {
                if of_type(new, kind).len() < of_type(old, kind).len() {
                    check.barred(&list, &format!("updates may not remove a condition of type {}", quoted(kind)));
                }
            }
            for kind in VERDICTS.iter().filter(|_| part != Part::Approval) {
                let (before, now) = (of_type(old, kind), of_type(new, kind));
                if now.len() > before.len() {
                    check.barred(&list, &format!("updates may not add a condition of type {}", quoted(kind)));
                } else if now.len() == before.len() && now != before {
                    check.barred(&list, &format!("updates may not modify a condition of type {}", quoted(kind)));
                }
            }
            let (certificate, before) = (at.field("status.certificate"), string(&old["status"]["certificate"]));
            if certificate.text() != before && part != Part::Status {
                check.barred(&certificate, "updates may not set certificate content");
            } else if certificate.text() != before && !before.is_empty() {
                check.barred(&certificate, "updates may not modify existing certificate content");
            }
        })
    }
}

const VERDICTS: [&str; 2] = ["Approved", "Denied"];

fn of_type<'v>(object: &'v Value, kind: &str) -> Vec<&'v Value> {
    items(&object["status"]["conditions"]).iter().filter(|c| c["type"] == kind).collect()
}

/// Puts the old conditions of a type back, if there are as many as before.
pub(super) fn keep(new: &mut Value, old: &Value, kind: &str) {
    let before: Vec<Value> = of_type(old, kind).into_iter().cloned().collect();
    if before.is_empty() || of_type(new, kind).len() != before.len() {
        return;
    }
    let places = new["status"]["conditions"].as_array_mut().into_iter().flatten().filter(|c| c["type"] == kind);
    for (place, condition) in places.zip(before) {
        *place = condition;
    }
}

/// Conditions that do not say when: those of `fields` say now, and the transition was when the status became what it is.
pub(super) fn stamp_conditions(object: &mut Value, old: Option<&Value>, now: &str, fields: &[&str]) {
    let before = old.map(|old| items(&old["status"]["conditions"]).to_vec()).unwrap_or_default();
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        for field in fields {
            if condition[*field].is_null() {
                condition[*field] = json!(now);
            }
        }
        if condition["lastTransitionTime"].is_null() {
            let same = before.iter().find(|b| b["type"] == condition["type"] && b["status"] == condition["status"]);
            let since = same.map(|b| &b["lastTransitionTime"]).filter(|t| t.is_string());
            condition["lastTransitionTime"] = since.cloned().unwrap_or_else(|| json!(now));
        }
    }
}

fn request(check: &mut Check, object: &Place, allowed: Allowed) {
    let at = object.field("spec");
    if let Some(why) = x509::request_error(&x509::text_of(at.field("request").text())) {
        check.bad(&at.field("request"), why);
    }
    let usages = at.field("usages");
    check.needs(&usages, "");
    if !allowed.unknown_usages {
        usages.items().for_each(|usage| check.among(&usage, USAGES));
    }
    if !allowed.usages_twice {
        check.all_differ(&usages, Place::clone);
    }
    let signer = at.field("signerName");
    if signer.text() == LEGACY && !allowed.legacy_signer {
        check.bad(&signer, "the legacy signerName is not allowed via this API version");
    } else {
        check.signer_name(&signer);
    }
    let seconds = at.field("expirationSeconds");
    if seconds.given() && seconds.number() < 600 {
        check.bad(&seconds, "may not specify a duration less than 600 seconds (10 minutes)");
    }
    conditions(check, &object.field("status.conditions"), allowed);
    if allowed.any_certificate {
        return;
    }
    if let Some(why) = x509::chain_error(&x509::text_of(object.field("status.certificate").text())) {
        check.invalid(object.path.field("status").field("certificate"), &json!("<certificate data>"), why);
    }
}

fn conditions(check: &mut Check, list: &Place, allowed: Allowed) {
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        let (kind, status) = (at.field("type"), at.field("status"));
        if kind.empty() && !allowed.no_type {
            check.required(kind.path.clone(), "");
        }
        let once_and_for_all = matches!(kind.text(), "Approved" | "Denied" | "Failed");
        if check.needs(&status, "") {
            check.among(&status, if once_and_for_all { &["True"] } else { STATUSES });
        }
        let other = if kind.text() == "Approved" { "Denied" } else { "Approved" };
        if VERDICTS.contains(&kind.text()) && seen.contains(&other) && !allowed.both_verdicts {
            check.bad(&kind, "Approved and Denied conditions are mutually exclusive");
        }
        if seen.contains(&kind.text()) && !allowed.twice {
            check.push(FieldError::duplicate(&kind.path, kind.text()));
        }
        seen.push(kind.text());
    }
}
