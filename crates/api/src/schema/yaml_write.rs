//! Values as YAML, in the layout that upstream's have: sorted keys, lists not indented below their key.

use serde_json::Value;
use std::fmt::Write;

/// The value as a YAML document.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut out, value, 0),
        Value::Array(list) if !list.is_empty() => block(&mut out, value, 0),
        flat => {
            scalar(&mut out, flat);
            out.push('\n');
        }
    }
    out
}

/// A map or list that is not empty; its first line is begun already.
fn block(out: &mut String, value: &Value, indent: usize) {
    let mut first = true;
    let mut begin = |out: &mut String| {
        if !std::mem::replace(&mut first, false) {
            let _ = write!(out, "{:indent$}", "");
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                begin(out);
                text(out, key);
                out.push(':');
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        let _ = write!(out, "\n{:width$}", "", width = indent + 2);
                        block(out, value, indent + 2);
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        let _ = write!(out, "\n{:indent$}", "");
                        block(out, value, indent);
                    }
                    flat => {
                        out.push(' ');
                        scalar(out, flat);
                        out.push('\n');
                    }
                }
            }
        }
        Value::Array(list) => {
            for value in list {
                begin(out);
                out.push_str("- ");
                match value {
                    Value::Object(inner) if !inner.is_empty() => block(out, value, indent + 2),
                    Value::Array(inner) if !inner.is_empty() => block(out, value, indent + 2),
                    flat => {
                        scalar(out, flat);
                        out.push('\n');
                    }
                }
            }
        }
        _ => {}
    }
}

fn scalar(out: &mut String, value: &Value) {
    match value {
        Value::String(string) => text(out, string),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// Plain where nothing else can be meant; else quoted as JSON quotes, which YAML reads too.
fn text(out: &mut String, string: &str) {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let first = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/');
    let plain = first
        && !string.ends_with(' ')
        && string.chars().all(|c| c.is_ascii_alphanumeric() || "_/.- ".contains(c))
        && !WORDS.iter().any(|word| string.eq_ignore_ascii_case(word));
    if plain {
        out.push_str(string);
    } else {
        let _ = write!(out, "{}", Value::from(string));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        for (value, expected) in [
            (json!({}), "{}\n"),
            (json!({"a": {"b": [], "c": {}}, "d": null}), "a:\n  b: []\n  c: {}\nd: null\n"),
            (json!({"l": [1, "x", {"a": 1, "b": [2]}, [3, 4]]}), "l:\n- 1\n- x\n- a: 1\n  b:\n  - 2\n- - 3\n  - 4\n"),
            (
                json!({"yes": "no", "n": "1", "t": "a: b", "e": ""}),
                "e: \"\"\n\"n\": \"1\"\nt: \"a: b\"\n\"yes\": \"no\"\n",
            ),
            (
                json!({"k": "two\nlines", "v": "1.5e3", "w": -1.5, "x": "~"}),
                "k: \"two\\nlines\"\nv: \"1.5e3\"\nw: -1.5\nx: \"~\"\n",
            ),
            (json!(["a b ", "ü", "-x", "a#b"]), "- \"a b \"\n- \"ü\"\n- \"-x\"\n- \"a#b\"\n"),
        ] {
            let written = write(&value);
            assert_eq!(written, expected);
            let json = super::super::yaml::to_json(written.as_bytes()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), value);
        }
    }
}
