//! Names of properties as identifiers of CEL, and back.
//!
//! `__` is written `__underscores__`, `.` `__dot__`, `-` `__dash__`, `/` `__slash__`, and a property that is called like a
//! keyword stands between `__`. A property with any other character, or that starts with a digit, cannot be reached.

const KEYWORDS: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const SEQUENCES: &[(&str, &str)] =
    &[("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")];

/// The identifier for a property, if it has one.
pub fn escape(property: &str) -> Option<String> {
    if property.is_empty() || property.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(escaped) = keyword(property) {
        return Some(escaped);
    }
    let mut escaped = String::with_capacity(property.len());
    let mut rest = property;
    'next: while let Some(first) = rest.chars().next() {
        for (plain, sequence) in SEQUENCES {
            if let Some(after) = rest.strip_prefix(plain) {
                escaped.push_str(sequence);
                rest = after;
                continue 'next;
            }
        }
        if !first.is_ascii_alphanumeric() && first != '_' {
            return None;
        }
        escaped.push(first);
        rest = &rest[1..];
    }
    Some(escaped)
}

/// Whether a word is one of the language's own, and so no identifier.
pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

/// The identifier for a property that is called like a keyword.
pub(crate) fn keyword(property: &str) -> Option<String> {
    KEYWORDS.contains(&property).then(|| format!("__{property}__"))
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn identifiers() {
        for (property, expected) in [
            ("replicas", Some("replicas")),
            ("_a_b", Some("_a_b")),
            ("a__b", Some("a__underscores__b")),
            ("a___b", Some("a__underscores___b")),
            ("example.com/a-b", Some("example__dot__com__slash__a__dash__b")),
            ("namespace", Some("__namespace__")),
            ("int", Some("int")),
            ("0a", None),
            ("a b", None),
            ("naïve", None),
            ("", None),
        ] {
            assert_eq!(escape(property).as_deref(), expected, "{property:?}");
        }
    }
}
