//! What may be linked into the binary: permissive licences only, and every direct dependency with the reason why it is there.

use crate::metadata::{packages, root, text};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;

/// Licences that ask for no more than their own text.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that are judged by hand, and why.
const JUDGED: &[(&str, &str)] = &[
    // names no licence in its manifest; its LICENSE file is the MIT licence
    ("rust-criu", ""),
    // safe path resolution below a container's root, which libcontainer cannot do without; its files are used as they are, which is all
    // that the Mozilla licence asks of those who link it
    ("pathrs", "MPL-2.0 OR LGPL-3.0-or-later"),
];

/// Everything that is wrong with the dependencies.
pub fn check(metadata: &Value) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for package in packages(metadata) {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        if !JUDGED.contains(&(name, licence)) && !permissive(licence) {
            wrong.push(format!("{name} {}: the licence {licence:?} is not a permissive one", text(package, "version")));
        }
    }
    let manifest = |path: &str| fs::read_to_string(path).with_context(|| format!("{path} cannot be read"));
    let root = root().join("Cargo.toml");
    wrong.extend(without_reason(&manifest(&root.to_string_lossy())?));
    // one crate only says which features others have: `unify`
    for package in crate::metadata::ours(metadata).filter(|package| text(package, "name") != "coracle-unify") {
        let path = text(package, "manifest_path");
        wrong.extend(
            not_inherited(&manifest(path)?)
                .into_iter()
                .map(|line| format!("{path}: {line:?} is not inherited from the workspace")),
        );
    }
    Ok(wrong)
}

/// Whether an SPDX expression can be met with permissive licences alone. `/` is an old way to write `OR`.
fn permissive(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens: Vec<&str> = spaced.split_whitespace().rev().collect();
    let met = any(&mut tokens);
    met && tokens.is_empty()
}

fn any(tokens: &mut Vec<&str>) -> bool {
    let mut met = all(tokens);
    while tokens.last() == Some(&"OR") {
        tokens.pop();
        met |= all(tokens);
    }
    met
}

fn all(tokens: &mut Vec<&str>) -> bool {
    let mut met = one(tokens);
    while tokens.last() == Some(&"AND") {
        tokens.pop();
        met &= one(tokens);
    }
    met
}

fn one(tokens: &mut Vec<&str>) -> bool {
    match tokens.pop() {
        Some("(") => {
            let met = any(tokens);
            tokens.pop() == Some(")") && met
        }
        Some(name) => {
            // an exception only gives more rights
            if tokens.last() == Some(&"WITH") {
                tokens.truncate(tokens.len() - 2);
            }
            PERMISSIVE.contains(&name)
        }
        None => false,
    }
}

/// The workspace's dependencies that have no comment right above them.
fn without_reason(manifest: &str) -> Vec<String> {
    let mut commented = false;
    let mut wrong = Vec::new();
    for line in section(manifest, |name| name == "workspace.dependencies") {
        let own = line.contains("path = ");
        if !line.starts_with('#') && !line.is_empty() && !own && !commented {
            wrong.push(format!("Cargo.toml: no comment above {line:?} says why it is there"));
        }
        commented = line.starts_with('#');
    }
    wrong
}

/// Dependencies with a version of their own, in a crate's manifest.
fn not_inherited(manifest: &str) -> Vec<String> {
    section(manifest, |name| name.ends_with("dependencies") && name != "workspace.dependencies")
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains("workspace = true"))
        .map(str::to_string)
        .collect()
}

/// The lines of the sections with these names.
fn section(manifest: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().map(str::trim).filter(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = wanted(name);
            return false;
        }
        inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("MIT OR Apache-2.0 OR LGPL-2.1-or-later", true),
            ("(Apache-2.0 OR MIT) AND BSD-3-Clause", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("(MIT OR Apache-2.0) AND MPL-2.0", false),
            ("GPL-2.0-only", false),
            ("MPL-2.0 OR LGPL-3.0-or-later", false),
            ("", false),
            ("(MIT", false),
        ] {
            assert_eq!(permissive(expression), expected, "{expression}");
        }
    }

    #[test]
    fn each_dependency_needs_a_reason_of_its_own() {
        let manifest =
            "[workspace.dependencies]\nours = { path = \"x\" }\n# why\na = \"1\"\nb = \"2\"\n[lints]\nc = 1\n";
        assert_eq!(without_reason(manifest), ["Cargo.toml: no comment above \"b = \\\"2\\\"\" says why it is there"]);
    }

    #[test]
    fn versions_live_in_the_workspace() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = { workspace = true, features = [] }\n[dev-dependencies]\nc = \"1\"\n";
        assert_eq!(not_inherited(manifest), ["c = \"1\""]);
    }
}
