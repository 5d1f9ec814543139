//! Regular expressions.

use super::{Entry, entry};
use crate::{
    cost::Cost,
    fault::{Fault, Result},
    json::texts,
    value::Value,
};
use parking_lot::Mutex;
use regex::Regex;
use std::{collections::HashMap, sync::LazyLock};

pub(super) fn entries() -> Vec<Entry> {
    vec![
        entry("matches", "matches(string, string) -> bool", Cost::Matches, matches),
        entry("matches_string", "string.matches(string) -> bool", Cost::Matches, matches),
        entry("string_find_string", "string.find(string) -> string", Cost::Find, |args| {
            let (text, regex) = operands(args)?;
            Ok(Value::text(regex.find(text).map_or("", |found| found.as_str())))
        }),
        entry("string_find_all_string", "string.findAll(string) -> list(string)", Cost::Find, |args| {
            let (text, regex) = operands(args)?;
            Ok(texts(regex.find_iter(text).map(|found| found.as_str())))
        }),
        entry("string_find_all_string_int", "string.findAll(string, int) -> list(string)", Cost::Find, |args| {
            let (text, regex) = operands(args)?;
            let limit = match args.get(2) {
                Some(Value::Int(limit)) => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => return Err(Fault::NoSuchOverload),
            };
            Ok(texts(regex.find_iter(text).take(limit).map(|found| found.as_str())))
        }),
    ]
}

fn matches<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let (text, regex) = operands(args)?;
    Ok(Value::Bool(regex.is_match(text)))
}

fn operands<'v>(args: &'v [Value<'_>]) -> Result<(&'v str, Regex)> {
    match args {
        [Value::String(text), Value::String(pattern), ..] => Ok((text, compile(pattern)?)),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// A pattern, compiled. Rules use the same ones again and again, so that some are remembered.
pub(crate) fn compile(pattern: &str) -> Result<Regex> {
    const REMEMBERED: usize = 512;
    static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    if let Some(regex) = COMPILED.lock().get(pattern) {
        return Ok(regex.clone());
    }
    let regex = coracle_api::pattern(pattern).map_err(Fault::other)?;
    let mut compiled = COMPILED.lock();
    if compiled.len() >= REMEMBERED {
        compiled.clear();
    }
    compiled.insert(pattern.to_string(), regex.clone());
    Ok(regex)
}
