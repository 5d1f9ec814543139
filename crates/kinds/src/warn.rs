//! What a writer is warned of, although it is accepted: what several kinds have in common.
//!
//! Sources: `pkg/api/{node,persistentvolumeclaim,storage}/util.go`, apimachinery `pkg/util/validation/ip.go`, the strategies of workloads.

use crate::amounts::amount;
use crate::column::string;
use crate::place::Place;
use coracle_api::validation;
use serde_json::Value;
use std::net::IpAddr;

/// Labels of nodes that have another name now, or no meaning any more.
const OLD_LABELS: &[(&str, &str)] = &[
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("beta.kubernetes.io/arch", r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#),
    ("beta.kubernetes.io/instance-type", r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#),
    ("beta.kubernetes.io/os", r#"deprecated since v1.14; use "kubernetes.io/os" instead"#),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    ("failure-domain.beta.kubernetes.io/zone", r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#),
    ("node-role.kubernetes.io/master", r#"use "node-role.kubernetes.io/control-plane" instead"#),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
];

/// The annotation that named a storage class before there was a field.
const STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Plugins of volumes that are gone, with what is said of them, by the field of a volume's source.
const OLD_PLUGINS: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Plugins that are gone in a volume's source, but for some that nothing is said of.
pub fn old_plugins(source: &Place, unsaid: &[&str]) -> Vec<String> {
    let told = |(plugin, why): &(&str, &str)| {
        // upstream's message has another name than the wire
        let shown = if *plugin == "storageos" { "storageOS" } else { plugin };
        let given = source.field(plugin).given() && !unsaid.contains(plugin);
        given.then(|| format!("{}: {why}", source.path.field(shown)))
    };
    OLD_PLUGINS.iter().filter_map(told).collect()
}

/// What is said of a label of nodes that should not be used any more.
pub fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(label, _)| *label == key).map(|(_, why)| *why)
}

/// Old labels among the keys of a map.
pub fn label_keys(map: &Place) -> Vec<String> {
    map.entries().filter_map(|(key, at)| Some(format!("{}: {}", at.path, old_label(key)?))).collect()
}

/// A requirement that names an old label.
pub fn requirement(at: &Place) -> Option<String> {
    let key = at.field("key");
    Some(format!("{}: {} is {}", key.path, key.text(), old_label(key.text())?))
}

/// Whether the values that a term asks for are judged: where validation lets wrong ones pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// They are.
    Judged,
    /// Validation did that.
    Taken,
}

/// A term of a node selector.
pub fn node_term(term: &Place, values: Values) -> Vec<String> {
    let mut warnings = Vec::new();
    for at in term.field("matchExpressions").items() {
        warnings.extend(requirement(&at));
        if values == Values::Judged {
            for value in at.field("values").items() {
                let wrong = validation::label_value(value.text()).into_iter();
                warnings.extend(wrong.map(|why| format!("{}: {} is invalid, {why}", value.path, value.text())));
            }
        }
    }
    warnings
}

/// A name that becomes that of pods, and thereby of hosts.
pub fn hostname(object: &Value, used: &str) -> Option<String> {
    let wrong = validation::dns1123_label(string(&object["metadata"]["name"]));
    (!wrong.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        )
    })
}

/// The annotation that is a field now.
pub fn storage_class(object: &Value) -> Option<String> {
    let given = object["metadata"]["annotations"].get(STORAGE_CLASS).is_some();
    let why = r#"deprecated since v1.8; use "storageClassName" attribute instead"#;
    given.then(|| format!("metadata.annotations[{STORAGE_CLASS}]: {why}"))
}

/// A number of bytes that is no whole number.
pub fn fraction(map: &Place, key: &str) -> Option<String> {
    let quantity = amount(&map.value[key])?;
    let path = map.path.key(key);
    let why = format!("{path}: fractional byte value \"{quantity}\" is invalid, must be an integer");
    (quantity.milli_value() % 1000 != 0).then_some(why)
}

/// The spec of a claim.
pub fn claim_spec(spec: &Place) -> Vec<String> {
    let of = |list: &str| fraction(&spec.field("resources").field(list), "storage");
    ["requests", "limits"].into_iter().filter_map(of).collect()
}

/// An address that is read, but not everywhere in the same way.
pub fn ip(at: &Place) -> Option<String> {
    let (path, text) = (&at.path, at.text());
    let address = validation::parse_ip(text)?;
    if text.parse::<IpAddr>().is_err() || address.to_canonical() != address {
        let standard = address.to_canonical();
        return Some(format!("{path}: non-standard IP address {text:?} is invalid: use \"{standard}\""));
    }
    (address.is_ipv6() && address.to_string() != text)
        .then(|| format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{address}\")"))
}

/// A range of addresses that is read, but not everywhere in the same way.
pub fn cidr(at: &Place) -> Vec<String> {
    let (path, text) = (&at.path, at.text());
    let Some((address, length)) = validation::parse_cidr(text) else { return Vec::new() };
    let network = validation::network_of(address, length);
    let mapped = address.to_canonical() != address;
    // an IPv4 address that is written as an IPv6 one is an IPv4 address
    let standard = match network.to_canonical() {
        inner if inner != network && length >= 96 => format!("{inner}/{}", length - 96),
        _ => format!("{network}/{length}"),
    };
    let mut warnings = Vec::new();
    if network != address {
        let single = format!("{}/{}", address.to_canonical(), if address.is_ipv4() { 32 } else { 128 });
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {standard:?} or {single:?}?)"
        ));
    }
    let (given, bits) = text.split_once('/').unwrap_or_default();
    if mapped || given.parse::<IpAddr>().is_err() || bits != length.to_string() {
        warnings.push(format!("{path}: non-standard CIDR value {text:?} is invalid: use {standard:?}"));
    }
    if warnings.is_empty() && address.is_ipv6() && format!("{address}/{length}") != text {
        warnings.push(format!(
            "{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format (\"{address}/{length}\")"
        ));
    }
    warnings
}
