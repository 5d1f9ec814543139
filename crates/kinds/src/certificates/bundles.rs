//! ClusterTrustBundle: authorities that pods may trust.

use super::x509;
use crate::check::Check;
use crate::descriptor::{Part, Rules};
use crate::place::Place;
use coracle_api::{FieldError, validation};
use serde_json::{Value, json};

/// The rules.
pub struct BundleRules;

impl Rules for BundleRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| bundle(check, &Place::of(object), true))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new);
            bundle(check, &at, new["spec"]["trustBundle"] != old["spec"]["trustBundle"]);
            check.unchanged(&at.field("spec.signerName"), &old["spec"]["signerName"]);
        })
    }
}

const LARGEST: usize = 1024 * 1024;

fn bundle(check: &mut Check, object: &Place, parse: bool) {
    name(check, object);
    let (signer, text) = (object.field("spec.signerName"), object.field("spec.trustBundle"));
    if !signer.empty() {
        check.signer_name(&signer);
    }
    if parse && check.no_longer(&text, LARGEST) {
        anchors(check, &text);
    }
}

// The bundles of a signer begin with its name, those of nobody have no colon.
fn name(check: &mut Check, object: &Place) {
    let (name, signer) = (object.field("metadata.name"), object.field("spec.signerName"));
    if signer.empty() {
        if name.text().contains(':') {
            let why = "ClusterTrustBundle without signer name must not have \":\" in its name";
            return check.bad(&name, why);
        }
        return check.keeps(&name, validation::dns1123_subdomain);
    }
    let prefix = format!("{}:", signer.text().replace('/', ":"));
    match name.text().strip_prefix(&prefix) {
        None => {
            let why = format!("ClusterTrustBundle for signerName {} must be named with prefix {prefix}", signer.text());
            check.bad(&name, why);
        }
        Some(rest) => {
            for message in validation::dns1123_subdomain(rest) {
                check.bad(&name, message);
            }
        }
    }
}

fn anchors(check: &mut Check, at: &Place) {
    let mut bad = |why: String| check.invalid(at.path.clone(), &json!("<value omitted>"), why);
    let blocks = x509::blocks(at.text());
    let mut sound = true;
    for (index, block) in blocks.iter().enumerate() {
        let why = match x509::is_authority(&block.der) {
            _ if block.label != "CERTIFICATE" => format!("entry {index} has bad block type: {}", block.label),
            _ if block.headers => format!("entry {index} has PEM block headers"),
            None => format!("entry {index} does not parse as X.509"),
            Some(false) => format!("entry {index} does not have the CA bit set"),
            Some(true) => continue,
        };
        sound = false;
        bad(why);
    }
    if !sound {
        return;
    }
    if blocks.is_empty() {
        bad("at least one trust anchor must be provided".into());
    }
    for (index, block) in blocks.iter().enumerate() {
        let same: Vec<String> =
            (0..blocks.len()).filter(|i| blocks[*i].der == block.der).map(|i| i.to_string()).collect();
        if same.len() > 1 && same[0] == index.to_string() {
            bad(format!("duplicate trust anchor (indices [{}])", same.join(" ")));
        }
    }
}
