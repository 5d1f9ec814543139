//! Shapes of texts and small structures that several groups use: addresses, domains, signers, drivers, webhooks, conditions.
//!
//! Source: apimachinery `util/validation`, `apis/meta/v1/validation`; apiserver `util/webhook`; `pkg/apis/core/validation`.

use crate::check::{Check, NEGATIVE};
use crate::place::Place;
use coracle_api::status::quoted;
use coracle_api::{FieldError, validation};
use serde_json::json;
use std::net::IpAddr;

/// The statuses of a condition.
pub const STATUSES: &[&str] = &["False", "True", "Unknown"];

fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn is_http_path(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

impl Check {
    fn text_error(&mut self, at: &Place, shown: &str, why: impl std::fmt::Display) {
        self.invalid(at.path.clone(), &json!(shown), why);
    }

    fn is_subdomain(&mut self, at: &Place, text: &str) -> bool {
        let wrong = validation::dns1123_subdomain(text);
        if !wrong.is_empty() {
            self.text_error(at, text, wrong.join(","));
        }
        wrong.is_empty()
    }

    /// `acme.io/foo`.
    pub fn domain_prefixed_path(&mut self, at: &Place) {
        let text = at.text();
        let parts = text.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty());
        let Some((host, path)) = parts else {
            return self.text_error(at, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        };
        for message in validation::dns1123_subdomain(host) {
            self.text_error(at, host, message);
        }
        if !is_http_path(path) {
            let why = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
            self.text_error(at, path, why);
        }
    }

    /// A name with at least three parts: a webhook's.
    pub fn fully_qualified_name(&mut self, at: &Place) {
        if self.needs(at, "") && self.is_subdomain(at, at.text()) && at.text().split('.').count() < 3 {
            self.bad(at, "should be a domain with at least three segments separated by dots");
        }
    }

    /// A domain with at least two parts, perhaps with a dot at its end.
    pub fn fully_qualified_domain(&mut self, at: &Place) {
        if !self.needs(at, "") {
            return;
        }
        let name = at.text().strip_suffix('.').unwrap_or(at.text());
        if !self.is_subdomain(at, name) {
            return;
        }
        if name.split('.').count() < 2 {
            return self.text_error(at, name, "should be a domain with at least two segments separated by dots");
        }
        let wrong = |label: &&str| !validation::dns1123_label(label).is_empty();
        if let Some(label) = name.split('.').find(wrong) {
            self.text_error(at, label, validation::dns1123_label(label).join(","));
        }
    }

    /// `example.com/signer-name`.
    pub fn signer_name(&mut self, at: &Place) {
        if !self.needs(at, "") {
            return;
        }
        let name = at.text();
        let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
            let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            return self.bad(at, why);
        };
        if domain.len() > 253 {
            self.too_long(at, 253);
        }
        self.labels_of(at, domain, validation::dns1123_label);
        if !domain.contains('.') {
            self.text_error(at, domain, "should be a domain with at least two segments separated by dots");
        }
        self.labels_of(at, path, validation::dns1123_subdomain);
        if name.len() > 571 {
            self.too_long(at, 571);
        }
    }

    // only the first label that is wrong is named
    fn labels_of(&mut self, at: &Place, text: &str, rule: fn(&str) -> Vec<String>) {
        if let Some(label) = text.split('.').find(|label| !rule(label).is_empty()) {
            for message in rule(label) {
                self.text_error(at, text, format!("validating label {}: {message}", quoted(label)));
            }
        }
    }

    /// The name of a CSI or device driver.
    pub fn driver_name(&mut self, at: &Place) {
        if !self.needs(at, "") {
            return;
        }
        self.no_longer(at, 63);
        for message in validation::dns1123_subdomain(&at.text().to_lowercase()) {
            self.bad(at, message);
        }
    }

    /// The same, where upstream's type declares it.
    pub fn declared_driver_name(&mut self, at: &Place) {
        self.later(|check| {
            if check.needs(at, "") {
                check.keeps(at, validation::dns1123_subdomain_caseless);
                let characters = at.text().chars().count();
                if characters > 63 {
                    check.push(FieldError::too_many_characters(&at.path, 63));
                }
            }
        });
    }

    /// An address, not of those that mean the machine itself or its link.
    pub fn no_special_ip(&mut self, at: &Place) {
        let Some(ip) = validation::parse_ip(at.text()) else {
            return self.bad(at, "must be a valid IP address");
        };
        if ip.is_unspecified() {
            self.bad(at, format!("may not be unspecified ({})", at.text()));
        }
        if ip.is_loopback() {
            self.bad(at, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        }
        let (link_local, multicast) = match ip {
            IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
            IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] & 0xff0f == 0xff02),
        };
        if link_local {
            self.bad(at, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
        }
        if multicast {
            self.bad(at, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
        }
    }

    /// The address of a webhook outside the cluster.
    pub fn webhook_url(&mut self, at: &Place) {
        const FORM: &str = "; desired format: https://host[/path]";
        let Some(url) = Url::parse(at.text()) else {
            let why = format!("url must be a valid URL: parse {}: {}{FORM}", quoted(at.text()), Url::wrong(at.text()));
            return self.required(at.path.clone(), &why);
        };
        if url.scheme != "https" {
            self.text_error(at, url.scheme, format!("'https' is the only allowed URL scheme{FORM}"));
        }
        if url.host.is_empty() {
            self.text_error(at, "", format!("host must be specified{FORM}"));
        }
        if let Some(user) = url.user {
            self.text_error(at, user, "user information is not permitted in the URL");
        }
        if !url.fragment.is_empty() {
            self.text_error(at, url.fragment, "fragments are not permitted in the URL");
        }
        if !url.query.is_empty() {
            self.text_error(at, url.query, "query parameters are not permitted in the URL");
        }
    }

    /// The service of a webhook in the cluster. Upstream passes name and namespace in the wrong order, so that a missing name is reported
    /// as a missing namespace and the other way round; clients know it so.
    pub fn webhook_service(&mut self, at: &Place) {
        if at.field("namespace").empty() {
            self.required(at.path.field("name"), "");
        }
        if at.field("name").empty() {
            self.required(at.path.field("namespace"), "");
        }
        let port = at.field("port");
        let wrong = validation::port_number(port.number());
        if !wrong.is_empty() {
            self.invalid(
                port.path,
                &json!(at.field("port").number()),
                format!("port is not valid: {}", wrong.join(", ")),
            );
        }
        self.url_path(&at.field("path"));
    }

    fn url_path(&mut self, at: &Place) {
        let path = at.text();
        match path {
            "" | "/" => return,
            "//" => return self.bad(at, "segment[0] may not be empty"),
            _ => {}
        }
        if !path.starts_with('/') {
            self.bad(at, "must start with a '/'");
        }
        let rest: String = path.chars().skip(1).collect();
        for (index, step) in rest.strip_suffix('/').unwrap_or(&rest).split('/').enumerate() {
            if step.is_empty() {
                self.bad(at, format!("segment[{index}] may not be empty"));
                continue;
            }
            for message in validation::dns1123_subdomain(step) {
                self.bad(at, format!("segment[{index}]: {message}"));
            }
        }
    }

    /// `metav1.Condition`s.
    pub fn conditions(&mut self, list: &Place) {
        let mut seen: Vec<&str> = Vec::new();
        for at in list.items() {
            let kind = at.field("type").text();
            if seen.contains(&kind) {
                self.push(FieldError::duplicate(&at.path, kind));
            }
            seen.push(kind);
            if self.needs(&at.field("type"), "is required") {
                self.keeps(&at.field("type"), validation::qualified_name);
            }
            if self.needs(&at.field("status"), "") {
                self.among(&at.field("status"), STATUSES);
            }
            let observed = at.field("observedGeneration");
            if observed.number() < 0 {
                self.bad(&observed, "must be greater than or equal to zero");
            }
            self.needs(&at.field("lastTransitionTime"), "");
            self.reason(&at);
        }
    }

    /// `reason` and `message` of a condition.
    pub fn reason(&mut self, at: &Place) {
        let reason = at.field("reason");
        if self.needs(&reason, "") {
            self.keeps(&reason, condition_reason);
            self.no_longer(&reason, 1024);
        }
        self.no_longer(&at.field("message"), 32 * 1024);
    }

    /// A number is not negative.
    pub fn natural(&mut self, at: &Place) {
        if at.number() < 0 {
            self.bad(at, NEGATIVE);
        }
    }

    /// A positive number; the missing one is 0.
    pub fn positive(&mut self, at: &Place) -> bool {
        if at.number() <= 0 {
            self.invalid(at.path.clone(), &json!(at.number()), "must be positive");
        }
        at.number() > 0
    }
}

fn condition_reason(text: &str) -> Vec<String> {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let bytes = text.as_bytes();
    let fits = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(word)
        && bytes.iter().all(|b| word(b) || matches!(b, b',' | b':'));
    if fits {
        return Vec::new();
    }
    vec![regex_error(
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
    )]
}

/// The parts of a URL, as far as rules look at them.
struct Url<'t> {
    scheme: &'t str,
    user: Option<&'t str>,
    host: &'t str,
    query: &'t str,
    fragment: &'t str,
}

impl<'t> Url<'t> {
    /// `None`: nothing that could be read as a URL.
    fn parse(text: &'t str) -> Option<Self> {
        if !Self::wrong(text).is_empty() {
            return None;
        }
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            _ => ("", rest),
        };
        let authority = rest.strip_prefix("//").map_or("", |r| r.split('/').next().unwrap_or_default());
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        Some(Self { scheme, user, host, query, fragment })
    }

    /// Why a text is no URL, in the words of Go's `net/url`; empty if it is one.
    fn wrong(text: &str) -> &'static str {
        if text.bytes().any(|b| b < b' ' || b == 0x7f) {
            return "net/url: invalid control character in URL";
        }
        if text.starts_with(':') {
            return "missing protocol scheme";
        }
        match text.split_once(':') {
            Some((scheme, _)) if !is_scheme(scheme) && !scheme.contains(['/', '?', '#']) => {
                "first path segment in URL cannot contain colon"
            }
            _ => "",
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let table: &[(fn(&mut Check, &Place), &str, &str)] = &[
            (Check::domain_prefixed_path, "acme.io/foo", ""),
            (Check::domain_prefixed_path, "acme.io", "must be a domain-prefixed path (such as \"acme.io/foo\")"),
            (Check::domain_prefixed_path, "acme.io/a b", "x: Invalid value: \"a b\": Invalid path"),
            (Check::fully_qualified_name, "a.b.c", ""),
            (Check::fully_qualified_name, "a.b", "at least three segments"),
            (Check::fully_qualified_name, "", "x: Required value"),
            (Check::fully_qualified_domain, "a.b.", ""),
            (Check::fully_qualified_domain, "a", "x: Invalid value: \"a\": should be a domain with at least two"),
            (Check::signer_name, "example.com/a", ""),
            (Check::signer_name, "example.com", "'example.com/signer-name'"),
            (Check::signer_name, "example/a", "x: Invalid value: \"example\": should be a domain"),
            (Check::signer_name, "example.com/-", "x: Invalid value: \"-\": validating label \"-\": a lowercase"),
            (Check::driver_name, "Csi.Example.com", ""),
            (Check::driver_name, "a_b", "a lowercase RFC 1123 subdomain"),
            (Check::no_special_ip, "10.0.0.1", ""),
            (Check::no_special_ip, "127.0.0.1", "loopback range"),
            (Check::no_special_ip, "fe80::1", "link-local range"),
            (Check::no_special_ip, "0.0.0.0", "may not be unspecified (0.0.0.0)"),
            (Check::no_special_ip, "224.0.0.1", "multicast"),
            (Check::webhook_url, "https://host/path", ""),
            (Check::webhook_url, "http://host/path", "x: Invalid value: \"http\": 'https' is the only"),
            (Check::webhook_url, "https:///path", "host must be specified"),
            (Check::webhook_url, "https://u@h/", "x: Invalid value: \"u\": user information"),
            (Check::webhook_url, "https://h/?a=b", "query parameters"),
            (Check::webhook_url, "https://h/#a", "fragments"),
            (Check::webhook_url, "1:2", "first path segment in URL cannot contain colon; desired"),
        ];
        for (rule, text, wanted) in table {
            let value = json!({"x": text});
            let found = Check::run(|check| rule(check, &Place::of(&value).field("x")));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            match wanted.is_empty() {
                true => assert!(found.is_empty(), "{text}: {found:?}"),
                false => assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:?}"),
            }
        }
    }
}
