//! What a definition may say of conversion between its versions.

use crate::check::Check;
use crate::column::{items, string};
use crate::custom::is_true;
use base64::Engine;
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
const URL_FORM: &str = "; desired format: https://host[/path]";

/// Everything in `spec.conversion`. Upstream's internal names stand in its paths.
pub fn errors(spec: &Value, old: Option<&Value>, path: &Path) -> Vec<FieldError> {
    let conversion = &spec["conversion"];
    Check::run(|check| {
        let strategy = string(&conversion["strategy"]);
        match strategy {
            "" => check.required(path.field("strategy"), ""),
            "None" | "Webhook" => {}
            other => check.push(FieldError::not_supported(path.field("strategy"), other, &["None", "Webhook"])),
        }
        let webhook = &conversion["webhook"];
        let (client, reviews) = (&webhook["clientConfig"], items(&webhook["conversionReviewVersions"]));
        let (client_path, reviews_path) = (path.field("webhookClientConfig"), path.field("conversionReviewVersions"));
        if strategy != "Webhook" {
            const WHY: &str = "should not be set when strategy is not set to Webhook";
            if client.is_object() {
                check.forbidden(client_path, WHY);
            }
            if !reviews.is_empty() {
                check.forbidden(reviews_path, WHY);
            }
            return;
        }
        if client.is_object() {
            client_errors(client, &client_path, check);
            let bundle = string(&client["caBundle"]);
            if old.is_some_and(|old| !may_be_broken(old)) && !bundle.is_empty() && !is_bundle(bundle) {
                let why = "unable to load root certificates: unable to parse bytes as PEM block";
                check.invalid(client_path.field("caBundle"), &client["caBundle"], why);
            }
        } else {
            check.required(client_path, "required when strategy is set to Webhook");
        }
        review_errors(reviews, old, &reviews_path, check);
    })
}

/// A certificate that does not parse may stay if it was there before, and until the definition is established.
fn may_be_broken(old: &Value) -> bool {
    let bundle = string(&old["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"]);
    !is_true(old, "Established") || (!bundle.is_empty() && !is_bundle(bundle))
}

/// Whether a text is certificates in PEM, in base64.
pub fn is_bundle(encoded: &str) -> bool {
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    text.is_some_and(|text| text.contains("-----BEGIN CERTIFICATE-----") && text.contains("-----END CERTIFICATE-----"))
}

fn client_errors(client: &Value, path: &Path, check: &mut Check) {
    match (client["url"].as_str(), client["service"].is_object()) {
        (Some(url), false) => url_errors(url, &path.field("url"), check),
        (None, true) => service_errors(&client["service"], &path.field("service"), check),
        _ => check.required(path.clone(), "exactly one of url or service is required"),
    }
}

fn url_errors(url: &str, path: &Path, check: &mut Check) {
    let Some((scheme, rest)) = url.split_once("://") else {
        let why = format!("'https' is the only allowed URL scheme{URL_FORM}");
        return check.invalid(path.clone(), &json!(""), why);
    };
    if scheme != "https" {
        let why = format!("'https' is the only allowed URL scheme{URL_FORM}");
        check.invalid(path.clone(), &json!(scheme), why);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() {
        check.invalid(path.clone(), &json!(""), format!("host must be specified{URL_FORM}"));
    }
    if let Some((user, _)) = authority.rsplit_once('@') {
        check.invalid(path.clone(), &json!(user), "user information is not permitted in the URL");
    }
    if let Some((_, fragment)) = tail.split_once('#') {
        check.invalid(path.clone(), &json!(fragment), "fragments are not permitted in the URL");
    }
    if let Some((_, query)) = tail.split('#').next().unwrap_or_default().split_once('?') {
        check.invalid(path.clone(), &json!(query), "query parameters are not permitted in the URL");
    }
}

fn service_errors(service: &Value, path: &Path, check: &mut Check) {
    for field in ["name", "namespace"] {
        if string(&service[field]).is_empty() {
            check.required(path.field(field), &format!("service {field} is required"));
        }
    }
    let port = service["port"].as_i64().unwrap_or(443);
    for why in validation::port_number(port) {
        check.invalid(path.field("port"), &json!(port), format!("port is not valid: {why}"));
    }
    let Some(route) = service["path"].as_str() else { return };
    let place = path.field("path");
    let value = &service["path"];
    if route == "/" || route.is_empty() {
        return;
    }
    if route == "//" {
        return check.invalid(place, value, "segment[0] may not be empty");
    }
    if !route.starts_with('/') {
        check.invalid(place.clone(), value, "must start with a '/'");
    }
    let segments: Vec<&str> = route.trim_start_matches('/').trim_end_matches('/').split('/').collect();
    for (i, segment) in segments.into_iter().enumerate() {
        if segment.is_empty() {
            check.invalid(place.clone(), value, format!("segment[{i}] may not be empty"));
            continue;
        }
        for why in validation::dns1123_subdomain(segment) {
            check.invalid(place.clone(), value, format!("segment[{i}]: {why}"));
        }
    }
}

fn review_errors(reviews: &[Value], old: Option<&Value>, path: &Path, check: &mut Check) {
    if reviews.is_empty() {
        return check.required(path.clone(), "");
    }
    for (i, version) in reviews.iter().enumerate() {
        if reviews[..i].contains(version) {
            check.invalid(path.index(i), version, "duplicate version");
            continue;
        }
        for why in validation::dns1035_label(string(version)) {
            check.invalid(path.index(i), version, why);
        }
    }
    let known = |list: &[Value]| list.iter().any(|v| REVIEWS.contains(&string(v)));
    let before = old.map(|old| items(&old["spec"]["conversion"]["webhook"]["conversionReviewVersions"]));
    let asked = before.is_none_or(|list| list.is_empty() || known(list));
    if asked && !known(reviews) {
        check.invalid(path.clone(), &json!(reviews), format!("must include at least one of {}", REVIEWS.join(", ")));
    }
}
