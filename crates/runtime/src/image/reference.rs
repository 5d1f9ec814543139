//! Image references: what people write (`nginx`, `quay.io/a/b:v1`, `x@sha256:…`) into one normal form.

use crate::{Error, Result};
use std::fmt;

/// A normalised reference: registry, repository, and a tag or digest (or both).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host and port of the registry, `docker.io` if none was written.
    pub registry: String,
    /// Path in the registry, `library/` put before official images of docker.io.
    pub repository: String,
    /// Tag; `latest` if neither tag nor digest was written.
    pub tag: Option<String>,
    /// Digest (`sha256:…`).
    pub digest: Option<String>,
}

const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

impl Reference {
    /// Reads and normalises `text`.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text).map_err(|why| Error::InvalidImage(text.to_owned(), why.to_owned()))
    }

    /// Registry and repository, as in `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    const FORMAT: &str = "invalid reference format";
    if text.is_empty() {
        return Err(FORMAT);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
        Some(_) => return Err(FORMAT),
        None => (text, None),
    };
    // A colon after the last slash separates a tag; one before it belongs to the registry's port.
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(FORMAT);
    }
    let (registry, repository) = match name.split_once('/') {
        Some((first, path)) if is_registry(first) => (first, path.to_owned()),
        _ => ("docker.io", name.to_owned()),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    if repository.is_empty() || !repository.split('/').all(is_path_component) {
        return Err(FORMAT);
    }
    let official = registry == "docker.io" && !repository.contains('/');
    let repository = if official { format!("library/{repository}") } else { repository };
    if registry.len() + repository.len() + 1 > LONGEST_NAME {
        return Err("repository name must not be more than 255 characters");
    }
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, None) => Some("latest".to_owned()),
        (None, Some(_)) => None,
    };
    Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
}

/// The first part names a registry only if it cannot be a user of docker.io.
fn is_registry(part: &str) -> bool {
    let looks = part.contains('.') || part.contains(':') || part == "localhost" || part.starts_with('[');
    let (host, port) = match part.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (part, None),
    };
    looks
        && !host.is_empty()
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'[' | b']' | b':'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !tag.is_empty()
        && tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// Whether `text` is `sha256:` and 64 hex digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_path_component(part: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(part.bytes().next())
        && edge(part.bytes().last())
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        && !["..", "___", "._", "_.", ".-", "-.", "_-", "-_"].iter().any(|bad| part.contains(bad))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_normalised_or_refused() {
        let d = format!("sha256:{}", "a".repeat(64));
        let at = |name: &str| format!("{name}@{d}");
        let cases = [
            ("nginx".to_owned(), "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.25".into(), "docker.io/library/nginx:1.25".into()),
            ("user/app".into(), "docker.io/user/app:latest".into()),
            ("index.docker.io/nginx".into(), "docker.io/library/nginx:latest".into()),
            ("localhost/app:v1".into(), "localhost/app:v1".into()),
            ("localhost:5000/app".into(), "localhost:5000/app:latest".into()),
            ("quay.io/a/b/c:v1.2-x_y".into(), "quay.io/a/b/c:v1.2-x_y".into()),
            ("[::1]:5000/a:b".into(), "[::1]:5000/a:b".into()),
            (at("nginx"), at("docker.io/library/nginx")),
            (at("quay.io/a:v1"), at("quay.io/a:v1")),
            ("coracle.dev/demo:v1".into(), "coracle.dev/demo:v1".into()),
            ("".into(), "invalid reference format".into()),
            ("Nginx".into(), "repository name must be lowercase".into()),
            ("nginx:".into(), "invalid reference format".into()),
            ("nginx:-x".into(), "invalid reference format".into()),
            ("a//b".into(), "invalid reference format".into()),
            ("a b".into(), "invalid reference format".into()),
            ("nginx@sha256:abc".into(), "invalid reference format".into()),
            ("a/../b".into(), "invalid reference format".into()),
            ("-a/b".into(), "invalid reference format".into()),
            (format!("a/{}", "b".repeat(300)), "more than 255".into()),
        ];
        for (text, expected) in cases {
            let got = match Reference::parse(&text) {
                Ok(reference) => reference.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(got == expected || (got.starts_with("couldn't") && got.contains(&expected)), "{text:?}: {got}");
        }
    }
}
