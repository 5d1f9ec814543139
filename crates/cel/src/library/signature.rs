//! Signatures as text: `string.find(string) -> list(string)`. Capital letters are type parameters.

use super::{Entry, Overload};
use crate::types::{Library, Type};
use std::sync::Arc;

/// The name of the function, and the overload. The texts are our own: one that cannot be read is a mistake in a library, which
/// the tests find.
pub(super) fn read(entry: Entry) -> (String, Overload) {
    let text = entry.signature.as_str();
    let (head, result) = text.rsplit_once(" -> ").unwrap_or((text, "dyn"));
    let open = head.find('(').unwrap_or(head.len());
    // the receiver may have brackets of its own
    let open = if head[open..].contains(").") { head.rfind(").").map_or(open, |at| at + 1) } else { open };
    let open = open + head[open..].find('(').unwrap_or(0);
    let (name, arguments) = (&head[..open], head[open..].trim_start_matches('('));
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let (receiver, name) = match receiver(name) {
        Some((receiver, name)) => (Some(receiver), name),
        None => (None, name),
    };
    let texts = receiver.into_iter().chain(split(arguments));
    let arguments: Vec<Type> = texts.map(ty).collect();
    let parameters = text.bytes().filter(u8::is_ascii_uppercase).filter(|b| is_parameter(text, *b)).max();
    let overload = Overload {
        id: entry.id,
        member: receiver.is_some(),
        arguments,
        result: ty(result),
        parameters: parameters.map_or(0, |b| b - b'A' + 1),
        cost: entry.cost,
        eval: entry.eval,
    };
    (name.to_string(), overload)
}

/// Splits `string.find` and `list(A).sort`, but not `sets.contains`.
fn receiver(name: &str) -> Option<(&str, &str)> {
    let (before, after) = name.rsplit_once('.')?;
    const NAMESPACES: &[&str] = &["sets", "lists", "strings", "optional", "format", "jsonpatch", "cel", "ip"];
    // `ip.isCanonical` is a name, `net.IP.family` has a receiver
    (!NAMESPACES.contains(&before)).then_some((before, after))
}

fn is_parameter(text: &str, letter: u8) -> bool {
    let letter = char::from(letter);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    text.split(|c: char| !word(c)).any(|part| part.len() == 1 && part.starts_with(letter))
        || text.starts_with(&format!("{letter}."))
}

fn ty(text: &str) -> Type {
    let text = text.trim();
    if let Some((kind, inner)) = text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        let mut inner = split(inner).map(ty);
        let mut next = || inner.next().unwrap_or(Type::Dyn);
        return match kind {
            "list" => Type::list(next()),
            "map" => Type::map(next(), next()),
            "optional" => Type::optional(next()),
            _ => Type::Type(Arc::new(next())),
        };
    }
    match text {
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        _ => match (text.as_bytes(), Library::NAMES.iter().find(|(_, name)| *name == text)) {
            (_, Some((library, _))) => Type::Library(*library),
            ([letter @ b'A'..=b'Z'], _) => Type::Parameter(letter - b'A'),
            _ => Type::Dyn,
        },
    }
}

/// Splits at commas that are in no brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text).filter(|text| !text.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let mut depth = 0;
        let comma = text.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        });
        rest = comma.map(|at| &text[at + 1..]);
        Some(text[..comma.unwrap_or(text.len())].trim())
    })
}

#[cfg(test)]
mod tests {
    use crate::{cost::ONE, library::entry, value::Value};

    #[test]
    fn signatures() {
        for (text, expected) in [
            ("size(string) -> int", "size|false|string|int|0"),
            ("_+_(list(A), list(A)) -> list(A)", "_+_|false|list(A), list(A)|list(A)|1"),
            ("string.find(string) -> list(string)", "find|true|string, string|list(string)|0"),
            ("list(A).indexOf(A) -> int", "indexOf|true|list(A), A|int|1"),
            ("sets.contains(list(A), list(A)) -> bool", "sets.contains|false|list(A), list(A)|bool|1"),
            ("ip.isCanonical(string) -> bool", "ip.isCanonical|false|string|bool|0"),
            ("net.IP.family() -> int", "family|true|net.IP|int|0"),
            ("map(A, B).f(optional(B)) -> B", "f|true|map(A, B), optional_type(B)|B|2"),
            (
                "format.named(string) -> optional(kubernetes.NamedFormat)",
                "format.named|false|string|optional_type(kubernetes.NamedFormat)|0",
            ),
            ("cel.@mapInsert(map(A, B), A, B) -> map(A, B)", "cel.@mapInsert|false|map(A, B), A, B|map(A, B)|2"),
            ("format.uri() -> kubernetes.NamedFormat", "format.uri|false||kubernetes.NamedFormat|0"),
        ] {
            let (name, overload) = super::read(entry("x", text, ONE, |_| Ok(Value::Null)));
            let arguments: Vec<String> = overload.arguments.iter().map(ToString::to_string).collect();
            let found = format!(
                "{name}|{}|{}|{}|{}",
                overload.member,
                arguments.join(", "),
                overload.result,
                overload.parameters
            );
            assert_eq!(found, expected);
        }
    }
}
