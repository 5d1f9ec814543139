//! Where a rule's message points: a path of fields and keys below the value, like `.spec.limits['a.b']`.

use serde_json::Value as Json;

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoFieldPath(String);

/// The path as errors show it, if the schema has such a field.
pub(super) fn check(path: &str, schema: &Json) -> Result<String, NoFieldPath> {
    let wrong = |what: String| NoFieldPath(what);
    let end = || NoFieldPath("unexpected end of JSON path".into());
    let mut tokens = Tokens { rest: path };
    let (mut shown, mut schema) = (String::new(), schema);
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or_else(end)?.to_string(),
            "[" => {
                let quoted = tokens.next().ok_or_else(end)?;
                let inner = quoted.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                let inner = inner.filter(|_| quoted.len() > 1);
                let name =
                    unescape(inner.ok_or_else(|| wrong(format!("expected single quoted string but got {quoted}")))?)?;
                match tokens.next().ok_or_else(end)? {
                    "]" => name,
                    other => return Err(wrong(format!("expected ] but got {other}"))),
                }
            }
            other => return Err(wrong(format!("expected [ or . but got: {other}"))),
        };
        let nowhere = || wrong("does not refer to a valid field".into());
        if let Some(properties) = schema["properties"].as_object() {
            schema = properties.get(&name).ok_or_else(nowhere)?;
            if !shown.is_empty() {
                shown.push('.');
            }
            shown.push_str(&name);
        } else {
            schema = schema.get("additionalProperties").ok_or_else(nowhere)?;
            shown.push_str(&format!("[{name}]"));
        }
    }
    Ok(shown)
}

/// The path in pieces: `.`, `[`, `]`, texts in quotes, names.
struct Tokens<'p> {
    rest: &'p str,
}

impl<'p> Iterator for Tokens<'p> {
    type Item = &'p str;

    fn next(&mut self) -> Option<&'p str> {
        let first = self.rest.chars().next()?;
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let bytes = self.rest.as_bytes();
                let close = (1..bytes.len()).find(|&at| bytes[at] == b'\'' && bytes[at - 1] != b'\\');
                close.map_or(bytes.len(), |at| at + 1)
            }
            _ => self.rest.find(['.', '[', ']']).unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(token)
    }
}

fn unescape(text: &str) -> Result<String, NoFieldPath> {
    let mut made = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        made.push(match c {
            '\\' => match chars.next() {
                Some('a') => '\x07',
                Some('b') => '\x08',
                Some('f') => '\x0c',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('v') => '\x0b',
                Some(same @ ('\'' | '\\')) => same,
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(NoFieldPath(format!("invalid string literal: invalid escape char \\{other}")));
                }
            },
            other => other,
        });
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::json;

    #[test]
    fn paths() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a.b": {"type": "string"}, "x": {"type": "string"}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
        }});
        for (path, expected) in [
            (".spec.x", Ok("spec.x")),
            (".spec['a.b']", Ok("spec.a.b")),
            (".map['k\\'1']", Ok("map[k'1]")),
            (".map.key", Ok("map[key]")),
            ("spec", Err("expected [ or . but got: spec")),
            (".nothing", Err("does not refer to a valid field")),
            (".spec[0]", Err("expected single quoted string but got 0")),
            (".spec.", Err("unexpected end of JSON path")),
            (".map['k'", Err("unexpected end of JSON path")),
            (".map['", Err("expected single quoted string but got '")),
            (".map['\\q']", Err("invalid string literal: invalid escape char \\q")),
        ] {
            let found = check(path, &schema);
            assert_eq!(found.as_deref().map_err(ToString::to_string), expected.map_err(String::from), "{path}");
        }
    }
}
