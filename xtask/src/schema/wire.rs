//! How types travel in protobuf: field numbers, what is always written, and forms that differ from JSON's.
//!
//! `k8s-pb` makes every field optional and so does not say which ones Go always writes; `wire.txt` does.

use super::{Field, Type};
use anyhow::{Context, Result};
use std::collections::BTreeMap;

const FACTS: &str = include_str!("wire.txt");
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Types that are spoken but that the crates do not have: (type, [(field, shape)]). `@.` is a type of the same package.
const SPOKEN: &[(&str, &[(&str, &str)])] = &[
    ("meta.v1.PartialObjectMetadata", &[("apiVersion", "s"), ("kind", "s"), ("metadata", "@.ObjectMeta")]),
    (
        "meta.v1.PartialObjectMetadataList",
        &[("apiVersion", "s"), ("items", "[]@.PartialObjectMetadata"), ("kind", "s"), ("metadata", "@.ListMeta")],
    ),
];

/// The types of aggregated discovery, the same in each version.
const DISCOVERY: &[(&str, &[(&str, &str)])] = &[
    ("APIGroupDiscovery", &[("metadata", "@meta.ObjectMeta"), ("versions", "[]@.APIVersionDiscovery")]),
    ("APIGroupDiscoveryList", &[("items", "[]@.APIGroupDiscovery"), ("metadata", "@meta.ListMeta")]),
    (
        "APIResourceDiscovery",
        &[
            ("categories", "[]s"),
            ("resource", "s"),
            ("responseKind", "@meta.GroupVersionKind"),
            ("scope", "s"),
            ("shortNames", "[]s"),
            ("singularResource", "s"),
            ("subresources", "[]@.APISubresourceDiscovery"),
            ("verbs", "[]s"),
        ],
    ),
    (
        "APISubresourceDiscovery",
        &[
            ("acceptedTypes", "[]@meta.GroupVersionKind"),
            ("responseKind", "@meta.GroupVersionKind"),
            ("subresource", "s"),
            ("verbs", "[]s"),
        ],
    ),
    ("APIVersionDiscovery", &[("freshness", "s"), ("resources", "[]@.APIResourceDiscovery"), ("version", "s")]),
];

/// Adds the spoken types, and to every type what is known.
///
/// # Errors
/// When a line of the facts cannot be read.
pub fn add(types: &mut BTreeMap<String, Type>) -> Result<()> {
    let meta = META.trim_end_matches(".meta.v1");
    for (name, fields) in SPOKEN {
        types.insert(format!("{meta}.{name}"), spoken(META, fields));
    }
    types.insert(format!("{META}.GroupVersionKind"), spoken(META, &[("group", "s"), ("kind", "s"), ("version", "s")]));
    for version in ["v2", "v2beta1"] {
        let package = format!("io.k8s.api.apidiscovery.{version}");
        for (name, fields) in DISCOVERY {
            types.insert(format!("{package}.{name}"), spoken(&package, fields));
        }
    }
    for line in FACTS.lines().filter(|l| !l.starts_with('#')) {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let Some(kind) = types.get_mut(&format!("io.k8s.{name}")) else { continue };
        for word in words {
            let (field, wire) = word.split_once('@').with_context(|| format!("{name}: {word}"))?;
            if let Some(field) = kind.fields.get_mut(field) {
                field.wire = wire.to_string();
            }
        }
    }
    Ok(())
}

fn spoken(package: &str, fields: &[(&str, &str)]) -> Type {
    let shape = |s: &str| s.replace("@.", &format!("@{package}.")).replace("@meta.", &format!("@{META}."));
    let field = |s: &str| Field { shape: shape(s), ..Field::default() };
    Type { fields: fields.iter().map(|(n, s)| ((*n).to_string(), field(s))).collect(), ..Type::default() }
}
