//! PodCertificateRequest: a node asks for a certificate in the name of one of its pods.

use super::requests::{keep, stamp_conditions};
use super::x509;
use crate::check::Check;
use crate::column::{items, string};
use crate::descriptor::{Part, Rules};
use crate::fields::{default, ensure, same};
use crate::place::Place;
use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_api::{FieldError, Status, validation};
use serde_json::{Value, json};

/// The rules.
pub struct RequestRules;

const DAY: i64 = 86_400;
const SHORTEST: i64 = 3600;
const ENDS: [&str; 3] = ["Issued", "Denied", "Failed"];

impl Rules for RequestRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        default(ensure(object, "spec"), "maxExpirationSeconds", DAY);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| request(check, &Place::of(object).field("spec")))
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        if part == Part::Status {
            for kind in ENDS {
                keep(new, old, kind);
            }
        }
    }

    fn stamp(&self, object: &mut Value, old: Option<&Value>, now: &str) {
        stamp_conditions(object, old, now, &[]);
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        match part {
            Part::Status => status(new, old),
            _ => Check::run(|check| check.unchanged(&Place::of(new).field("spec"), &old["spec"])),
        }
    }
}

fn request(check: &mut Check, at: &Place) {
    check.signer_name(&at.field("signerName"));
    let annotations = at.field("unverifiedUserAnnotations");
    for (key, _) in annotations.entries() {
        let mut wrong = validation::qualified_name(&key.to_lowercase());
        if wrong.is_empty() && !key.contains('/') {
            wrong.push("must be a domain-prefixed key (such as \"acme.io/foo\")".into());
        }
        for message in wrong {
            check.invalid(annotations.path.clone(), &json!(key), message);
        }
    }
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        check.keeps(&at.field(name), validation::dns1123_subdomain);
        if at.field(uid).empty() {
            check.bad_text(&at.field(uid), "must not be empty");
        }
        check.no_longer(&at.field(uid), 128);
    }
    let (seconds, signer) = (at.field("maxExpirationSeconds"), at.field("signerName").text());
    if !seconds.given() {
        return check.required(seconds.path, "must be set");
    }
    let own =
        signer.split('/').next().is_some_and(|domain| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io"));
    let longest = if own { DAY } else { 91 * DAY };
    if !(SHORTEST..=longest).contains(&seconds.number()) {
        check.bad(&seconds, format!("must be in the range [{SHORTEST}, {longest}]"));
    }
    let stub = at.field("stubPKCS10Request");
    if check.needs(&stub, "")
        && let Some(why) = x509::der_request_error(&STANDARD.decode(stub.text()).unwrap_or_default())
    {
        check.bad(&stub, why);
    }
}

fn ended(object: &Value) -> bool {
    items(&object["status"]["conditions"]).iter().any(|c| ENDS.contains(&string(&c["type"])) && c["status"] == "True")
}

fn status(new: &Value, old: &Value) -> Vec<FieldError> {
    let at = Place::of(new).field("status");
    let mut errors = Check::run(|check| {
        let mut known = 0;
        for condition in at.field("conditions").items() {
            let (kind, status) = (condition.field("type"), condition.field("status"));
            if !ENDS.contains(&kind.text()) {
                check.among(&kind, &ENDS);
                continue;
            }
            known += 1;
            if known > 1 {
                let why = r#"There may be at most one condition with type "Issued", "Denied", or "Failed""#;
                check.bad(&kind, why);
            }
            check.among(&status, &["True"]);
        }
        check.conditions(&at.field("conditions"));
    });
    if errors.is_empty() {
        errors = Check::run(|check| outcome(check, &at, old));
    }
    errors
}

// Once issued, denied or failed, nothing changes; what is denied or failed has nothing but its condition.
fn outcome(check: &mut Check, at: &Place, old: &Value) {
    if ended(old) {
        if !same(at.value, &old["status"]) {
            check.bad(at, "immutable after PodCertificateRequest is issued, denied, or failed");
        }
        return;
    }
    let is =
        |kind: &str| at.field("conditions").items().any(|c| c.value["type"] == kind && c.value["status"] == "True");
    let only_conditions = at.entries().all(|(key, value)| key == "conditions" || value.empty());
    if (is("Denied") || is("Failed")) && !only_conditions {
        let why = "non-condition status fields must be empty when denying or failing the PodCertificateRequest";
        check.bad(at, why);
    }
    if is("Issued") {
        issued(check, at);
    }
}

fn issued(check: &mut Check, at: &Place) {
    let chain = at.field("certificateChain");
    let blocks = x509::blocks(chain.text());
    let why = match blocks.first() {
        None => "issued certificate chain must contain at least one certificate",
        Some(_) if blocks.iter().any(|b| b.label != "CERTIFICATE") => {
            "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
        }
        Some(leaf) if x509::is_authority(&leaf.der).is_none() => "leaf certificate does not parse as valid X.509",
        Some(_) => "",
    };
    if !why.is_empty() {
        return check.bad_text(&chain, why);
    }
    for field in ["notBefore", "notAfter"] {
        check.needs(&at.field(field), "must be present and consistent with the issued certificate");
    }
    check.needs(&at.field("beginRefreshAt"), "must be present and in the range [notbefore+10min, notafter-10min]");
}
