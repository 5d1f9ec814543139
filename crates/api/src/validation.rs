//! Rules that many kinds share: names, labels, ports, addresses, object metadata; with upstream's messages.
//!
//! A rule returns what is wrong with a value, nothing if it is fine; the caller knows the field.

use crate::status::{FieldError, FieldErrorKind, Path};
use serde_json::Value;
use std::net::IpAddr;

/// How much a version is preferred to others of its group: GA before beta before alpha, higher before lower.
pub fn version_rank(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let rest = version.strip_prefix('v').unwrap_or(version);
    if let Some((major, minor)) = rest.split_once("beta") {
        (1, number(major), number(minor))
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (0, number(major), number(minor))
    } else {
        (2, number(rest), 0)
    }
}

/// All annotations together.
pub const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// A rule for names. The flag says that the text is a prefix (`generateName`), which may end in a dash.
pub type NameRule = fn(&str, bool) -> Vec<String>;

const LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FMT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_MSG: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const QUALIFIED_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn too_long(bound: usize) -> String {
    format!("must be no more than {bound} bytes")
}

/// All bytes pass `inner`, the first and last pass `edge`; not empty.
fn shaped(text: &str, edge: fn(&u8) -> bool, inner: fn(&u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(inner)
}

fn lower(b: &u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    shaped(text, lower, |b| lower(b) || *b == b'-')
}

/// RFC 1123 label.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !is_label(text) {
        let message = if text.split('.').count() > 1 && text.split('.').all(is_label) {
            "must not contain dots".to_string()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_FMT,
                &["my-name", "123-abc"],
            )
        };
        errors.push(message);
    }
    errors
}

/// RFC 1123 subdomain.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    if !text.split('.').all(is_label) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_FMT,
            &["example.com"],
        ));
    }
    errors
}

/// RFC 1123 subdomain, letters of either case.
pub fn dns1123_subdomain_caseless(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    if !text.to_ascii_lowercase().split('.').all(is_label) {
        errors.push(regex_error(
            "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_FMT,
            &["Example.com"],
        ));
    }
    errors
}

/// RFC 1123 subdomain with a leading `*.`.
pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    if !text.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label)) {
        errors.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!(r"\*\.{SUBDOMAIN_FMT}"),
            &["*.example.com"],
        ));
    }
    errors
}

/// RFC 1123 subdomain whose labels may hold underscores, as DNS search paths do.
pub fn dns1123_subdomain_with_underscore(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    let label = |part: &str| {
        let rest = part.strip_prefix('_').unwrap_or(part);
        shaped(rest, lower, |b| lower(b) || matches!(b, b'-' | b'_'))
    };
    if !text.split('.').all(label) {
        const LABEL: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!(r"{LABEL}(\.{LABEL})*"),
            &["example.com"],
        ));
    }
    errors
}

/// The name of an HTTP header.
pub fn http_header_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// RFC 1035 label (begins with a letter).
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        errors.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errors
}

fn is_qualified_part(text: &str) -> bool {
    shaped(text, u8::is_ascii_alphanumeric, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// `[prefix/]name`: keys of labels and annotations, names of resources and finalizers.
pub fn qualified_name(text: &str) -> Vec<String> {
    const EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];
    let parts: Vec<&str> = text.split('/').collect();
    let mut errors = Vec::new();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".into());
            } else {
                errors.extend(dns1123_subdomain(prefix).into_iter().map(|m| format!("prefix part {m}")));
            }
            *name
        }
        _ => {
            let message = regex_error(QUALIFIED_MSG, QUALIFIED_FMT, EXAMPLES);
            return vec![format!(
                "a valid label key {message} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", too_long(63)));
    }
    if !is_qualified_part(name) {
        errors.push(format!("name part {}", regex_error(QUALIFIED_MSG, QUALIFIED_FMT, EXAMPLES)));
    }
    errors
}

/// A label's value.
pub fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({QUALIFIED_FMT})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        errors.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." => errors.push("must not be '.'".into()),
        ".." => errors.push("must not be '..'".into()),
        _ if text.starts_with("..") => errors.push("must not start with '..'".into()),
        _ => {}
    }
    errors
}

/// A C identifier.
pub fn c_identifier(text: &str) -> Vec<String> {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    if text.bytes().next().is_some_and(|b| word(&b) && !b.is_ascii_digit()) && text.as_bytes().iter().all(word) {
        return Vec::new();
    }
    vec![regex_error(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// The name of an environment variable: anything printable but `=`.
pub fn env_var_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.is_empty() {
        errors.push("environment variable name must be non-empty".into());
    }
    if !text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        errors.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='".into(),
        );
    }
    errors
}

/// An IANA service name, as ports are named.
pub fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 15 {
        errors.push(too_long(15));
    }
    if text.is_empty() || !text.bytes().all(|b| lower(&b) || b == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".into());
    }
    errors
}

/// A port number.
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".into()] }
}

/// An address as it was always read: leading zeros of an IPv4 part do not count.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| {
        let (head, v4) = text.rsplit_once(':').map_or(("", text), |(head, v4)| (head, v4));
        let strip = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.trim_start_matches('0')).map(|p| if p.is_empty() { "0".to_string() } else { p.into() })
        };
        let v4 = v4.split('.').map(strip).collect::<Option<Vec<String>>>().filter(|parts| parts.len() == 4)?.join(".");
        if text.contains(':') { format!("{head}:{v4}").parse().ok() } else { v4.parse().ok() }
    })
}

fn mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// An IP address.
pub fn ip(text: &str) -> Vec<String> {
    let Some(ip) = parse_ip(text) else {
        return vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()];
    };
    match text.parse::<IpAddr>() {
        Err(_) => vec!["must not have leading 0s".into()],
        Ok(_) if mapped(ip) => vec!["must not be an IPv4-mapped IPv6 address".into()],
        Ok(_) => Vec::new(),
    }
}

/// An IP address in the one form that upstream would write it in.
pub fn canonical_ip(text: &str) -> Vec<String> {
    let errors = ip(text);
    match parse_ip(text) {
        Some(ip) if errors.is_empty() && ip.to_string() != text => {
            vec![format!("must be in canonical form (\"{ip}\")")]
        }
        _ => errors,
    }
}

/// `address/length`, with leading zeros as they were always read. The address is as given, with all its bits.
pub fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let (address, length) = (parse_ip(address)?, length.parse::<u8>().ok().filter(|_| digits)?);
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

/// The network of an address: no bits beyond the length.
pub fn network_of(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            IpAddr::V4((u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)).into())
        }
        IpAddr::V6(ip) => {
            IpAddr::V6((u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)).into())
        }
    }
}

/// `address/length`.
pub fn cidr(text: &str) -> Vec<String> {
    let Some((address, length)) = parse_cidr(text) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into()];
    };
    let (given, bits) = text.split_once('/').unwrap_or_default();
    match given.parse::<IpAddr>() {
        Ok(_) if bits.len() > 1 && bits.starts_with('0') => {
            vec!["must not have leading 0s in IP or prefix length".into()]
        }
        Err(_) => vec!["must not have leading 0s in IP or prefix length".into()],
        Ok(_) if mapped(address) => vec!["must not have an IPv4-mapped IPv6 address".into()],
        Ok(_) if network_of(address, length) != address => {
            vec!["must not have bits set beyond the prefix length".into()]
        }
        Ok(_) => Vec::new(),
    }
}

/// `address/length` in the one form that upstream would write it in.
pub fn canonical_cidr(text: &str) -> Vec<String> {
    let errors = cidr(text);
    match parse_cidr(text) {
        Some((address, length)) if errors.is_empty() && format!("{address}/{length}") != text => {
            vec![format!("must be in canonical form (\"{address}/{length}\")")]
        }
        _ => errors,
    }
}

/// An interface's address with the length of its network, in the one form that upstream would write it in.
pub fn interface_address(text: &str) -> Vec<String> {
    match parse_cidr(text) {
        None => vec!["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".into()],
        Some((address, length)) if format!("{address}/{length}") != text => {
            vec![format!("must be in canonical form (\"{address}/{length}\")")]
        }
        Some(_) => Vec::new(),
    }
}

/// `93%`.
pub fn percent(text: &str) -> Vec<String> {
    if text.strip_suffix('%').is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit())) {
        return Vec::new();
    }
    vec![regex_error(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// The name may stand in a URL path.
pub fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." => return vec!["may not be '.'".into()],
        ".." => return vec!["may not be '..'".into()],
        _ => {}
    }
    ['/', '%'].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// A prefix may end in a dash, for what is appended to it.
fn unprefixed(text: &str, prefix: bool) -> String {
    match text.strip_suffix('-') {
        Some(rest) if prefix && !rest.is_empty() => {
            format!("{}a", &rest[..rest.len() - rest.chars().next_back().map_or(0, char::len_utf8)])
        }
        _ => text.to_string(),
    }
}

/// [`NameRule`]: most kinds.
pub fn subdomain_name(text: &str, prefix: bool) -> Vec<String> {
    dns1123_subdomain(&unprefixed(text, prefix))
}

/// [`NameRule`]: namespaces and what becomes a host name.
pub fn label_name(text: &str, prefix: bool) -> Vec<String> {
    dns1123_label(&unprefixed(text, prefix))
}

/// [`NameRule`]: services.
pub fn dns1035_name(text: &str, prefix: bool) -> Vec<String> {
    dns1035_label(&unprefixed(text, prefix))
}

/// [`NameRule`]: RBAC, whose names hold colons.
pub fn path_segment_name(text: &str, prefix: bool) -> Vec<String> {
    if prefix {
        return path_segment(text).into_iter().filter(|m| m.starts_with("may not contain")).collect();
    }
    path_segment(text)
}

/// Labels of anything.
pub fn validate_labels(labels: &Value, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        errors.extend(qualified_name(key).into_iter().map(|m| FieldError::invalid(path, key.clone(), m)));
        let value = value.as_str().unwrap_or_default();
        errors.extend(label_value(value).into_iter().map(|m| FieldError::invalid(path, value, m)));
    }
    errors
}

/// Annotations of anything.
pub fn validate_annotations(annotations: &Value, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        // keys need not be in lower case before the slash
        let messages = qualified_name(&key.to_lowercase());
        errors.extend(messages.into_iter().map(|m| FieldError::invalid(path, key.clone(), m)));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS_BYTES {
        errors.push(FieldError::new(path, FieldErrorKind::TooLong(MAX_ANNOTATIONS_BYTES), ""));
    }
    errors
}

/// Everything in `metadata` that does not depend on the kind.
pub fn validate_object_meta(meta: &Value, name_rule: NameRule, namespaced: bool, path: &Path) -> Vec<FieldError> {
    let text = |field: &str| meta.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut errors = Vec::new();
    let generate = text("generateName");
    if !generate.is_empty() {
        let at = path.field("generateName");
        errors.extend(name_rule(generate, true).into_iter().map(|m| FieldError::invalid(&at, generate, m)));
    }
    let (name, at) = (text("name"), path.field("name"));
    if name.is_empty() {
        errors.push(FieldError::required(at, "name or generateName is required"));
    } else {
        errors.extend(name_rule(name, false).into_iter().map(|m| FieldError::invalid(&at, name, m)));
    }
    let (namespace, at) = (text("namespace"), path.field("namespace"));
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required(at, "")),
        (true, false) => {
            errors.extend(dns1123_label(namespace).into_iter().map(|m| FieldError::invalid(&at, namespace, m)));
        }
        (false, false) => errors.push(FieldError::forbidden(at, "not allowed on this type")),
        (false, true) => {}
    }
    if meta["generation"].as_i64().is_some_and(|g| g < 0) {
        let at = path.field("generation");
        errors.push(FieldError::invalid(at, meta["generation"].clone(), "must be greater than or equal to 0"));
    }
    errors.extend(validate_labels(&meta["labels"], &path.field("labels")));
    errors.extend(validate_annotations(&meta["annotations"], &path.field("annotations")));
    errors.extend(owner_references(&meta["ownerReferences"], &path.field("ownerReferences")));
    errors.extend(finalizers(&meta["finalizers"], &path.field("finalizers")));
    errors.extend(managed_fields(&meta["managedFields"], &path.field("managedFields")));
    errors
}

/// Who manages which fields; what is in them is decoded elsewhere.
fn managed_fields(entries: &Value, path: &Path) -> Vec<FieldError> {
    const MOST_OF_SUBRESOURCE: usize = 256;
    let mut errors = Vec::new();
    for (index, entry) in entries.as_array().into_iter().flatten().enumerate() {
        let at = path.index(index);
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        if !matches!(text("operation"), "Apply" | "Update") {
            errors.push(FieldError::invalid(at.field("operation"), text("operation"), "must be `Apply` or `Update`"));
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            errors.push(FieldError::invalid(at.field("fieldsType"), text("fieldsType"), "must be `FieldsV1`"));
        }
        errors.extend(field_manager(text("manager"), &at.field("manager")));
        if text("subresource").len() > MOST_OF_SUBRESOURCE {
            errors.push(FieldError::new(at.field("subresource"), FieldErrorKind::TooLong(MOST_OF_SUBRESOURCE), ""));
        }
    }
    errors
}

/// The longest name of a field manager.
pub const MAX_MANAGER: usize = 128;

/// The name of a field manager.
pub fn field_manager(name: &str, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if name.len() > MAX_MANAGER {
        errors.push(FieldError::new(path, FieldErrorKind::TooLong(MAX_MANAGER), ""));
    }
    for (at, c) in name.char_indices().filter(|(_, c)| !printable(*c)) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(FieldError::invalid(path, name, why));
    }
    errors
}

/// As Go's `unicode.IsPrint` sees it, of what may stand in names.
pub fn printable(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}'))
}

fn owner_references(references: &Value, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for (index, reference) in references.as_array().into_iter().flatten().enumerate() {
        let at = path.index(index);
        let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion");
        if !version.is_empty() && (version.matches('/').count() > 1 || version.ends_with('/')) {
            let why = "must be <group>/<version> or <version>";
            errors.push(FieldError::invalid(at.field("apiVersion"), version, why));
        }
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.push(FieldError::required(at.field(field), "must not be empty"));
            }
        }
        if text("kind") == "Event" && version == "v1" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(at, reference.clone(), why));
        }
        if reference["controller"] == true {
            let named = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {named}"
                );
                errors.push(FieldError::invalid(path, references.clone(), why));
            } else {
                controller = Some(named);
            }
        }
    }
    errors
}

fn finalizers(finalizers: &Value, path: &Path) -> Vec<FieldError> {
    let names: Vec<&str> = finalizers.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut errors = Vec::new();
    for name in &names {
        errors.extend(qualified_name(name).into_iter().map(|m| FieldError::invalid(path, *name, m)));
    }
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, finalizers.clone(), why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules() {
        let table: &[(fn(&str) -> Vec<String>, &[&str], &[&str])] = &[
            (dns1123_label, &["a", "a-1", "1"], &["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)]),
            (dns1123_subdomain, &["a", "a.b-c.1"], &["", "a..b", ".a", "a.", "A.b", &"a".repeat(254)]),
            (dns1035_label, &["a", "a1"], &["", "1a", "a.b", "a-"]),
            (wildcard_dns1123_subdomain, &["*.a.b"], &["a.b", "*", "*.", "a.*.b"]),
            (qualified_name, &["a", "A_b.c-1", "example.com/Name"], &["", "/a", "a/", "a/b/c", "-a", "A.b/c"]),
            (label_value, &["", "a", "A_b.1"], &["-", "a b", &"a".repeat(64)]),
            (config_map_key, &["a", ".a", "A-b_c.txt"], &["", ".", "..", "..a", "a/b"]),
            (c_identifier, &["a", "_A1"], &["", "1a", "a-b"]),
            (env_var_name, &["A", "a.b-c", "1"], &["", "A=B", "é"]),
            (port_name, &["http", "a-1"], &["", "1", "a--b", "-a", "A", "abcdefghijklmnop"]),
            (ip, &["10.0.0.1", "::1"], &["", "10.0.0", "010.0.0.1", "::ffff:10.0.0.1"]),
            (canonical_ip, &["10.0.0.1", "fe80::1"], &["FE80::1", "fe80:0::1"]),
            (
                cidr,
                &["10.0.0.0/8", "::/0"],
                &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "/8", "10.0.0.0/08", "10.0.0.1/8"],
            ),
            (canonical_cidr, &["10.0.0.0/8", "fd00::/8"], &["FD00::/8"]),
            (interface_address, &["10.0.0.1/8", "fd00::1/8"], &["10.0.0.1", "FD00::1/8"]),
            (dns1123_subdomain_caseless, &["A.b"], &["", "a_b"]),
            (percent, &["0%", "100%"], &["", "%", "5", "-5%"]),
            (path_segment, &["a:b", "x"], &[".", "..", "a/b", "a%b"]),
        ];
        for (i, (rule, good, bad)) in table.iter().enumerate() {
            for text in *good {
                assert_eq!(rule(text), Vec::<String>::new(), "rule {i}: {text}");
            }
            for text in *bad {
                assert!(!rule(text).is_empty(), "rule {i}: {text}");
            }
        }
    }

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(
            dns1123_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        for (text, wanted) in [
            ("010.0.0.1", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
            ("1.2.3", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ] {
            assert_eq!(ip(text), [wanted]);
        }
        assert_eq!(canonical_ip("FE80:0::1"), ["must be in canonical form (\"fe80::1\")"]);
        assert_eq!(cidr("10.0.0.1/8"), ["must not have bits set beyond the prefix length"]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
    }

    #[test]
    fn object_meta() {
        for (meta, namespaced, expected) in [
            (json!({"name": "a", "namespace": "b"}), true, vec![]),
            (json!({"name": "a"}), false, vec![]),
            (json!({"generateName": "a-", "name": "a-x", "namespace": "b"}), true, vec![]),
            (
                json!({}),
                true,
                vec![
                    "metadata.name: Required value: name or generateName is required",
                    "metadata.namespace: Required value",
                ],
            ),
            (
                json!({"name": "a", "namespace": "b"}),
                false,
                vec!["metadata.namespace: Forbidden: not allowed on this type"],
            ),
            (
                json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "", "uid": "u"}]}),
                false,
                vec!["metadata.ownerReferences[0].name: Required value: must not be empty"],
            ),
            (
                json!({"name": "a", "finalizers": ["foregroundDeletion", "orphan"]}),
                false,
                vec![
                    "metadata.finalizers: Invalid value: [\"foregroundDeletion\",\"orphan\"]: finalizer orphan and foregroundDeletion cannot be both set",
                ],
            ),
            (
                json!({"name": "a", "annotations": {"a": "x".repeat(MAX_ANNOTATIONS_BYTES)}}),
                false,
                vec!["metadata.annotations: Too long: may not be more than 262144 bytes"],
            ),
        ] {
            let errors = validate_object_meta(&meta, subdomain_name, namespaced, &Path::root("metadata"));
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{meta:.200}");
        }
    }
}
