//! Patterns, written for Go's regular expressions and compiled when first needed.

use regex::Regex;
use std::sync::OnceLock;

/// A pattern of a schema.
#[derive(Debug, Default)]
pub struct Pattern {
    text: String,
    compiled: OnceLock<Result<Regex, String>>,
}

impl Clone for Pattern {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), compiled: OnceLock::new() }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// The pattern as it was written.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_string(), compiled: OnceLock::new() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn compiled(&self) -> &Result<Regex, String> {
        self.compiled.get_or_init(|| coracle_api::pattern(&self.text))
    }

    /// Why it is no regular expression.
    pub fn error(&self) -> Option<&str> {
        self.compiled().as_ref().err().map(String::as_str)
    }

    /// Whether it matches anywhere in `value`; one that does not compile matches everything, it was refused before.
    pub fn matches(&self, value: &str) -> bool {
        self.compiled().as_ref().map_or(true, |regex| regex.is_match(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{0661}", false),
            (r"^[\w.-]+$", "a_b.c-d", true),
            (r"^[^[]+$", "a[b", false),
            (r"^[]a]+$", "]a", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[[:alpha:]_]+$", "ab_", true),
            (r"^[\D]+$", "ab", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^a\/b$", "a/b", true),
            (r"^(\d+(s|m|h))*$", "5m3s", true),
        ] {
            let compiled = Pattern::new(pattern);
            assert_eq!(compiled.error(), None, "{pattern}");
            assert_eq!(compiled.matches(text), matches, "{pattern} {text}");
        }
        assert!(Pattern::new("a(").error().is_some_and(|e| e.starts_with("error parsing regexp: ")));
    }
}
