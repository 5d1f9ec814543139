//! Versions, as semver.org orders them.

use super::{Entry, Opaque, entry, strings::text};
use crate::{
    cost::{Cost, ONE},
    fault::{Fault, Result},
    value::Value,
};
use std::{cmp::Ordering, sync::Arc};

/// A version.
#[derive(Clone, Debug)]
pub struct Semver {
    numbers: [u64; 3],
    /// Identifiers of a version before the version.
    before: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

impl PartialEq for Semver {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Equal
    }
}

pub(super) fn entries() -> Vec<Entry> {
    const TYPE: &str = "kubernetes.Semver";
    let of =
        |id: &str, rest: &str, eval: super::Eval| entry(format!("semver_{id}"), format!("{TYPE}.{rest}"), ONE, eval);
    vec![
        entry("string_to_semver", format!("semver(string) -> {TYPE}"), Cost::Parse, |args| {
            Ok(Value::Opaque(Opaque::Semver(Arc::new(read(args)?))))
        }),
        entry("string_bool_to_semver", format!("semver(string, bool) -> {TYPE}"), Cost::Parse, |args| {
            Ok(Value::Opaque(Opaque::Semver(Arc::new(read(args)?))))
        }),
        entry("is_semver_string", "isSemver(string) -> bool", Cost::Parse, |args| Ok(Value::Bool(read(args).is_ok()))),
        entry("is_semver_string_bool", "isSemver(string, bool) -> bool", Cost::Parse, |args| {
            Ok(Value::Bool(read(args).is_ok()))
        }),
        of("is_greater_than", "isGreaterThan(kubernetes.Semver) -> bool", |args| {
            Ok(Value::Bool(compare(args)? == Ordering::Greater))
        }),
        of("is_less_than", "isLessThan(kubernetes.Semver) -> bool", |args| {
            Ok(Value::Bool(compare(args)? == Ordering::Less))
        }),
        of("compare_to", "compareTo(kubernetes.Semver) -> int", |args| Ok(Value::Int(compare(args)? as i64))),
        of("major", "major() -> int", |args| Ok(Value::Int(version(args, 0)?.numbers[0] as i64))),
        of("minor", "minor() -> int", |args| Ok(Value::Int(version(args, 0)?.numbers[1] as i64))),
        of("patch", "patch() -> int", |args| Ok(Value::Int(version(args, 0)?.numbers[2] as i64))),
    ]
}

fn version<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v Semver> {
    match args.get(at) {
        Some(Value::Opaque(Opaque::Semver(version))) => Ok(version),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn compare(args: &[Value<'_>]) -> Result<Ordering> {
    Ok(version(args, 0)?.compare(version(args, 1)?))
}

fn read(args: &[Value<'_>]) -> Result<Semver> {
    match args.get(1) {
        Some(Value::Bool(true)) => parse(&normalized(text(args, 0)?)?),
        _ => parse(text(args, 0)?),
    }
}

/// Without a `v`, with three numbers, without zeros in front of them.
fn normalized(text: &str) -> Result<String> {
    let mut parts: Vec<String> = text.strip_prefix('v').unwrap_or(text).splitn(3, '.').map(String::from).collect();
    for part in &mut parts {
        if part.len() > 1 {
            let short = part.trim_start_matches('0');
            *part = if short.starts_with(|c: char| c.is_ascii_digit()) { short.into() } else { format!("0{short}") };
        }
    }
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err(Fault::other("short version cannot contain PreRelease/Build meta data"));
    }
    parts.resize(3, "0".into());
    Ok(parts.join("."))
}

fn parse(text: &str) -> Result<Semver> {
    if text.is_empty() {
        return Err(Fault::other("Version string empty"));
    }
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (numbers, before) = text.split_once('-').map_or((text, None), |(text, before)| (text, Some(before)));
    let parts: Vec<&str> = numbers.splitn(3, '.').collect();
    let [major, minor, patch] = parts[..] else {
        return Err(Fault::other("No Major.Minor.Patch elements found"));
    };
    let identifiers = |text: Option<&str>| -> Vec<String> {
        text.map(|t| t.split('.').map(String::from).collect()).unwrap_or_default()
    };
    for part in identifiers(build) {
        is_identifier(&part, "Build meta data")?;
    }
    let before = identifiers(before).iter().map(|part| part_of(part)).collect::<Result<_>>()?;
    Ok(Semver { numbers: [number(major, "Major")?, number(minor, "Minor")?, number(patch, "Patch")?], before })
}

fn number(text: &str, what: &str) -> Result<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::other(format!("Invalid character(s) found in {} number {text:?}", what.to_lowercase())));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(Fault::other(format!("{what} number must not contain leading zeroes {text:?}")));
    }
    text.parse().map_err(|_| Fault::other(format!("{what} number {text:?} is too large")))
}

fn is_identifier(text: &str, what: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Fault::other(format!("{what} is empty")));
    }
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        true => Ok(()),
        false => Err(Fault::other(format!("Invalid character(s) found in {what} {text:?}"))),
    }
}

fn part_of(text: &str) -> Result<Part> {
    is_identifier(text, "Prerelease")?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Part::Text(text.into()));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(Fault::other(format!("Numeric PreRelease version must not contain leading zeroes {text:?}")));
    }
    text.parse().map(Part::Number).map_err(|_| Fault::other(format!("Prerelease number {text:?} is too large")))
}

impl Semver {
    /// What follows a `-` comes before the version; what follows a `+` does not count.
    fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.before.cmp(&other.before),
        })
    }
}
