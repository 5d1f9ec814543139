//! Rules of kinds as text: `crates/kinds/cases/*.txt`. `UPDATE_CASES=1 cargo test -p coracle-kinds` writes what the rules say now; whoever does that reads
//! the difference, because it is what users will read.
//!
//! A case is a line, and what comes of it in indented lines below:
//!
//! ```text
//! pods spec.containers.0.name = ""                       a new object that differs from a plain one
//! pods spec.hostname = "a" -> spec.hostname = "b"        its update
//! pods/status -> status.podIPs = [{"ip": "x"}]           an update of a part
//! default services spec.type = "NodePort"                what is filled in
//! warn pods spec.nodeSelector.[beta.kubernetes.io/os] = "linux"   what its writer is warned of; an update too
//! ```
//!
//! Assignments are parted by ` ; `, and `null` removes a field. Everything goes the way the server goes: defaults, preparation, validation.

use crate::cases::{kind, plain};
use crate::{Kind, Part};
use serde_json::{Value, json};
use std::fmt::Write;

fn assign(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    let parts: Vec<&str> = split(path);
    for part in &parts[..parts.len() - 1] {
        place = step(place, part);
    }
    let last = parts[parts.len() - 1];
    match (place.as_array_mut(), value.is_null()) {
        (Some(list), true) => drop(list.remove(last.parse().unwrap())),
        (None, true) => drop(place.as_object_mut().and_then(|map| map.remove(last))),
        (_, false) => *step(place, last) = value,
    }
}

/// `a.b.0.c`; a key with dots stands in brackets: `metadata.annotations.[a.b/c]`.
fn split(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (part, more) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((part, more)) => (part, more.strip_prefix('.').unwrap_or(more)),
            None => rest.split_once('.').unwrap_or((rest, "")),
        };
        parts.push(part);
        rest = more;
    }
    parts
}

fn step<'a>(place: &'a mut Value, part: &str) -> &'a mut Value {
    if let (Ok(index), true) = (part.parse::<usize>(), place.is_array()) {
        let list = place.as_array_mut().unwrap();
        while list.len() <= index {
            list.push(json!({}));
        }
        return &mut list[index];
    }
    if !place.is_object() {
        *place = if part == "0" { json!([]) } else { json!({}) };
        return step(place, part);
    }
    place.as_object_mut().unwrap().entry(part).or_insert(Value::Null)
}

fn change(object: &mut Value, assignments: &str) {
    for assignment in assignments.split(" ; ").map(str::trim).filter(|a| !a.is_empty()) {
        let (path, value) = assignment.split_once(" = ").unwrap_or_else(|| panic!("no assignment: {assignment}"));
        let value = serde_json::from_str(value).unwrap_or_else(|e| panic!("{assignment}: {e}"));
        assign(object, path.trim(), value);
    }
}

fn created(kind: &Kind, named: &str, assignments: &str) -> Value {
    let mut object = plain(named);
    change(&mut object, assignments);
    kind.default(&mut object).unwrap();
    kind.prepare_create(&mut object);
    kind.default(&mut object).unwrap();
    object
}

fn part(word: &str) -> Part {
    match word {
        "status" => Part::Status,
        "resize" => Part::Resize,
        "ephemeralcontainers" => Part::EphemeralContainers,
        "finalize" => Part::Finalize,
        "approval" => Part::Approval,
        other => panic!("no part {other}"),
    }
}

/// Splits `apps/deployments/status` into the kind and what of it is written.
fn target(word: &str) -> (&str, Part) {
    match word.rsplit_once('/') {
        Some((named, sub)) if sub.chars().all(char::is_lowercase) && (named.contains('/') || !is_group(named)) => {
            (named, part(sub))
        }
        _ => (word, Part::Main),
    }
}

fn is_group(word: &str) -> bool {
    word.contains('.') || crate::all().iter().any(|k| k.resource.group == word)
}

fn leaves(at: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| leaves(&format!("{at}.{key}"), value, lines));
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().enumerate().for_each(|(i, value)| leaves(&format!("{at}.{i}"), value, lines));
        }
        other => lines.push((at.trim_start_matches('.').to_string(), other.to_string())),
    }
}

/// What `new` has that `old` has not, a line each.
fn filled_in(old: &Value, new: &Value) -> Vec<String> {
    let of = |value: &Value| {
        let mut lines = Vec::new();
        leaves("", value, &mut lines);
        lines
    };
    let (old, new) = (of(old), of(new));
    let gone = old.iter().filter(|(path, _)| !new.iter().any(|(p, _)| p == path)).map(|(path, _)| format!("- {path}"));
    let more = new.iter().filter(|line| !old.contains(line)).map(|(path, value)| format!("{path} = {value}"));
    gone.chain(more).collect()
}

fn outcome(case: &str) -> Vec<String> {
    let (word, rest) = case.split_once(' ').unwrap_or((case, ""));
    if word == "default" {
        let (named, assignments) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut before = plain(named);
        change(&mut before, assignments);
        return filled_in(&before, &created(kind(named).storage(), named, assignments));
    }
    if word == "warn" {
        return warned(rest);
    }
    let (named, part) = target(word);
    let kind = kind(named).storage();
    let errors = match rest.split_once("->") {
        None => kind.validate(&created(kind, named, rest)),
        Some((before, after)) => {
            let mut old = created(kind, named, "");
            // what a new object may not say yet, its former self may
            change(&mut old, before);
            kind.default(&mut old).unwrap();
            let mut new = old.clone();
            change(&mut new, after);
            kind.default(&mut new).unwrap();
            kind.prepare_update(&mut new, &old, part);
            kind.validate_update(&new, &old, part)
        }
    };
    let mut said = Vec::new();
    for error in errors {
        let text = error.to_string().replace('\n', "⏎");
        if !said.contains(&text) {
            said.push(text);
        }
    }
    if said.is_empty() { vec!["ok".into()] } else { said }
}

fn warned(case: &str) -> Vec<String> {
    let (named, rest) = case.split_once(' ').unwrap_or((case, ""));
    let kind = kind(named).storage();
    let said = match rest.split_once("->") {
        None => kind.rules.warnings(&created(kind, named, rest)),
        Some((before, after)) => {
            let old = created(kind, named, before);
            let mut new = old.clone();
            change(&mut new, after);
            kind.default(&mut new).unwrap();
            kind.prepare_update(&mut new, &old, Part::Main);
            kind.rules.update_warnings(&new, &old)
        }
    };
    if said.is_empty() { vec!["nothing".into()] } else { said }
}

/// The file as it should be.
fn rewritten(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        let _ = writeln!(out, "{line}");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for result in outcome(line) {
            let _ = writeln!(out, "  {result}");
        }
    }
    out
}

#[test]
fn files() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let wanted = rewritten(&text);
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        } else if text != wanted {
            let first = text.lines().zip(wanted.lines()).find(|(a, b)| a != b);
            wrong.push(format!("{}: {first:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
