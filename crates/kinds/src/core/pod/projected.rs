//! What is wrong with volumes that gather several sources.

use super::volumes::downward_file;
use crate::check::{Check, filled};
use crate::column::{items, string};
use crate::core::volume_sources::{key_to_path, own_path};
use crate::go;
use crate::place::Place;
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Each path of a projected volume, and whether it is there already.
#[derive(Default)]
struct Paths<'a>(HashSet<&'a str>);

impl<'a> Paths<'a> {
    /// Notes a path; `shown` is what the error calls wrong if it is there already.
    fn note(&mut self, check: &mut Check, path: &Path, file: &'a Value, shown: &Value) {
        let file = string(file);
        if !self.0.insert(file) {
            check.invalid(path.clone(), shown, "conflicting duplicate paths");
        }
    }
}

/// The sources of the volume at `path`.
pub(crate) fn validate(check: &mut Check, path: &Path, volume: &Value) {
    let mut paths = Paths::default();
    for (index, source) in items(&volume["sources"]).iter().enumerate() {
        let at = path.field("sources").index(index);
        let kinds =
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];
        let given = kinds.iter().filter(|kind| source[**kind].is_object()).count();
        for kind in ["secret", "configMap"] {
            keyed(check, path, &at.field(kind), &source[kind], &mut paths);
        }
        for item in items(&source["downwardAPI"]["items"]) {
            downward_file(check, &at.field("downwardAPI"), item);
            if filled(item, "path") {
                paths.note(check, path, &item["path"], &item["path"]);
            }
        }
        token(check, path, &at.field("serviceAccountToken"), &source["serviceAccountToken"]);
        bundle(check, path, &at.field("clusterTrustBundle"), &source["clusterTrustBundle"], &mut paths);
        certificate(check, path, &at.field("podCertificate"), &source["podCertificate"], &mut paths);
        if given > 1 {
            check.forbidden(at, "may not specify more than 1 volume type per source");
        }
    }
}

fn keyed<'a>(check: &mut Check, volume: &Path, path: &Path, source: &'a Value, paths: &mut Paths<'a>) {
    if !source.is_object() {
        return;
    }
    if string(&source["name"]).is_empty() {
        check.required(path.field("name"), "");
    }
    for (index, item) in items(&source["items"]).iter().enumerate() {
        key_to_path(check, &path.field("items").index(index), item);
        if filled(item, "path") {
            paths.note(check, volume, &item["path"], &json!(string(&source["name"])));
        }
    }
}

fn token(check: &mut Check, volume: &Path, path: &Path, token: &Value) {
    if !token.is_object() {
        return;
    }
    let (at, seconds) = (path.field("expirationSeconds"), &token["expirationSeconds"]);
    if seconds.as_i64().is_some_and(|s| s < 600) {
        check.invalid(at, seconds, "may not specify a duration less than 10 minutes");
    } else if seconds.as_i64().is_some_and(|s| s > 1 << 32) {
        check.invalid(at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    // upstream names the volume's path here, not the source's
    if string(&token["path"]).is_empty() {
        check.required(volume.field("path"), "");
    } else {
        own_path(check, &volume.field("path"), &token["path"]);
    }
}

fn bundle<'a>(check: &mut Check, volume: &Path, path: &Path, bundle: &'a Value, paths: &mut Paths<'a>) {
    if !bundle.is_object() {
        return;
    }
    let (name, signer) = (&bundle["name"], &bundle["signerName"]);
    match (name.is_null(), signer.is_null()) {
        (false, false) => check.push(
            FieldError::invalid(path, bundle.clone(), "only one of name and signerName may be used")
                .shown_as(go::show(bundle, go::TRUST_BUNDLE)),
        ),
        (false, true) => {
            if string(name).is_empty() {
                check.required(path.field("name"), "must be a valid object name");
            }
            for message in bundle_name(string(name)) {
                check.invalid(path.field("name"), name, format!("not a valid clustertrustbundlename: {message}"));
            }
            if !bundle["labelSelector"].is_null() {
                let why = "labelSelector must be unset if name is specified";
                check.invalid(path.field("labelSelector"), &bundle["labelSelector"], why);
            }
        }
        (true, false) => {
            let at = Place::at(path.field("signerName"), signer);
            if check.needs(&at, "must be a valid signer name") {
                check.signer_name(&at);
            }
            check.selector(&path.field("labelSelector"), &bundle["labelSelector"]);
        }
        (true, true) => check.required(path.clone(), "either name or signerName must be specified"),
    }
    if string(&bundle["path"]).is_empty() {
        check.required(path.field("path"), "");
    }
    own_path(check, &path.field("path"), &bundle["path"]);
    paths.note(check, volume, &bundle["path"], &bundle["path"]);
}

/// A bundle of a signer is named after it: `example.com:foo:name` is signed by `example.com/foo`.
fn bundle_name(name: &str) -> Vec<String> {
    match name.rsplit_once(':') {
        Some((_, own)) => validation::dns1123_subdomain(own),
        None => validation::dns1123_subdomain(name),
    }
}

const KEY_TYPES: &[&str] = &["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"];
/// An hour, and 91 days.
const CERTIFICATE_LIFE: (i64, i64) = (3600, 91 * 86_400);

fn certificate<'a>(check: &mut Check, volume: &Path, path: &Path, wanted: &'a Value, paths: &mut Paths<'a>) {
    if !wanted.is_object() {
        return;
    }
    check.signer_name(&Place::at(path.field("signerName"), &wanted["signerName"]));
    check.required_one_of(path.field("keyType"), &wanted["keyType"], KEY_TYPES);
    if let Some(seconds) = wanted["maxExpirationSeconds"].as_i64() {
        let (at, shown) = (path.field("maxExpirationSeconds"), &wanted["maxExpirationSeconds"]);
        if seconds < CERTIFICATE_LIFE.0 {
            check.invalid(at, shown, "if provided, maxExpirationSeconds must be >= 3600");
        } else if seconds > CERTIFICATE_LIFE.1 {
            check.invalid(at, shown, "if provided, maxExpirationSeconds must be <= 7862400");
        }
    }
    let mut given = 0;
    for field in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        if filled(wanted, field) {
            given += 1;
            own_path(check, &path.field(field), &wanted[field]);
            paths.note(check, volume, &wanted[field], &wanted[field]);
        }
    }
    if given == 0 {
        let why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        check.required(path.clone(), why);
    }
}
