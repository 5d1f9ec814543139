//! URLs, read as Go reads them.

use super::{Entry, Opaque, entry, strings::text};
use crate::{
    cost::{Cost, ONE},
    fault::{Fault, Result},
    json::texts,
    value::{Map, Value},
};
use std::sync::Arc;

/// The parts of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    /// As it was written, or escaped where it has to be.
    path: String,
    query: String,
    text: String,
}

pub(super) fn entries() -> Vec<Entry> {
    let part = |name: &str, id: &str, eval: super::Eval| {
        entry(format!("url_get_{id}"), format!("kubernetes.URL.{name}() -> string"), ONE, eval)
    };
    vec![
        entry("string_to_url", "url(string) -> kubernetes.URL", Cost::Scan, |args| {
            let wrong = |e| Fault::other(format!("URL parse error during conversion from string: {e}"));
            Ok(Value::Opaque(Opaque::Url(Arc::new(parse(text(args, 0)?).map_err(wrong)?))))
        }),
        entry("is_url_string", "isURL(string) -> bool", ONE, |args| Ok(Value::Bool(parse(text(args, 0)?).is_ok()))),
        part("getScheme", "scheme", |args| Ok(Value::text(&url(args)?.scheme))),
        part("getHost", "host", |args| Ok(Value::text(&url(args)?.host))),
        part("getHostname", "hostname", |args| Ok(Value::text(url(args)?.name_and_port().0))),
        part("getPort", "port", |args| Ok(Value::text(url(args)?.name_and_port().1))),
        part("getEscapedPath", "escaped_path", |args| Ok(Value::text(&url(args)?.path))),
        entry("url_get_query", "kubernetes.URL.getQuery() -> map(string, list(string))", ONE, |args| {
            let mut values: Vec<(String, Vec<String>)> = Vec::new();
            for (key, value) in url(args)?.pairs() {
                match values.iter_mut().find(|(there, _)| *there == key) {
                    Some((_, more)) => more.push(value),
                    None => values.push((key, vec![value])),
                }
            }
            Ok(Value::Map(Map::owned(values.into_iter().map(|(key, values)| (Value::text(key), texts(values))))?))
        }),
    ]
}

fn url<'v>(args: &'v [Value<'_>]) -> Result<&'v Url> {
    match args.first() {
        Some(Value::Opaque(Opaque::Url(url))) => Ok(url),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// What is wrong with a URL.
pub(super) fn problem(text: &str) -> Option<String> {
    parse(text).err()
}

/// An absolute URL, or a path.
fn parse(text: &str) -> Result<Url, String> {
    let wrong = |why: String| format!("parse {text:?}: {why}");
    if text.is_empty() {
        return Err(wrong("empty url".into()));
    }
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(wrong("net/url: invalid control character in URL".into()));
    }
    let (rest, _fragment) = text.split_once('#').unwrap_or((text, ""));
    let (scheme, rest) = scheme(rest).map_err(wrong)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        return Err(wrong("invalid URI for request".into()));
    }
    let (host, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///")) {
        Some(after) => after.split_at(after.find('/').unwrap_or(after.len())),
        None => ("", rest),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    check_host(host).map_err(wrong)?;
    let path = escaped_path(path).map_err(wrong)?;
    Ok(Url { scheme, host: host.into(), path, query: query.into(), text: text.into() })
}

/// The scheme, in small letters, and what is behind it.
fn scheme(text: &str) -> Result<(String, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.')).unwrap_or(text.len());
    if !text[end..].starts_with(':') {
        return Ok((String::new(), text));
    }
    match text.bytes().next() {
        Some(b':') => Err("missing protocol scheme".into()),
        Some(first) if !first.is_ascii_alphabetic() => Ok((String::new(), text)),
        _ => Ok((text[..end].to_ascii_lowercase(), &text[end + 1..])),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(_) => match host.rfind(']') {
            Some(end) => &host[end + 1..],
            None => return Err("missing ']' in host".into()),
        },
        None => host.rfind(':').map_or("", |colon| &host[colon..]),
    };
    let good = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    if !good {
        return Err(format!("invalid port {port:?} after host"));
    }
    match host.chars().find(|c| matches!(c, ' ' | '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '}' | '|')) {
        Some(c) => Err(format!("invalid character {:?} in host name", c.to_string())),
        None => Ok(()),
    }
}

/// The path with everything escaped that may not stand in one, and a check of what is escaped already.
fn escaped_path(path: &str) -> Result<String, String> {
    let mut made = String::with_capacity(path.len());
    let bytes = path.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3).unwrap_or(&bytes[at + 1..]);
                if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    let shown = String::from_utf8_lossy(&bytes[at..(at + 3).min(bytes.len())]).into_owned();
                    return Err(format!("invalid URL escape {shown:?}"));
                }
                made.push('%');
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => made.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                made.push(char::from(byte));
            }
            b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' => made.push(char::from(byte)),
            other => made.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(made)
}

impl Url {
    fn name_and_port(&self) -> (&str, &str) {
        if let Some(rest) = self.host.strip_prefix('[') {
            let (name, port) = rest.split_once(']').unwrap_or((rest, ""));
            return (name, port.strip_prefix(':').unwrap_or(port));
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }

    /// Keys and values of the query, without escapes. What is not well-formed is left out.
    fn pairs(&self) -> Vec<(String, String)> {
        let parts = self.query.split('&').filter(|part| !part.is_empty() && !part.contains(';'));
        let mut pairs: Vec<(String, String)> = parts
            .filter_map(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                Some((unescaped(key)?, unescaped(value)?))
            })
            .collect();
        // a map of upstream has no order; keys in theirs make results repeatable
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs
    }
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
