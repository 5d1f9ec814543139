//! Regular expressions in the dialect of Go, for the engine of the crate `regex`.
//!
//! Both descend from RE2, run in linear time and mostly agree. Where they do not, the pattern is rewritten: `\d`, `\w`, `\s` and `\b` mean
//! ASCII, a `[` within a class means itself, `\Q…\E` quotes. What Go refuses (`x**`, counts above 1000) is refused.

use regex::Regex;

/// A pattern as Go understands it.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub fn pattern(text: &str) -> Result<Regex, String> {
    let rewritten = rewrite(text)?;
    Regex::new(&rewritten).map_err(|e| {
        let cause = e.to_string();
        let last = cause.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_string();
        let why = match last.as_str() {
            "unopened group" => "unexpected )",
            "unclosed group" => "missing closing )",
            "unclosed character class" => "missing closing ]",
            "repetition operator missing expression" => "missing argument to repetition operator",
            "invalid character class range, the start must be <= the end" => "invalid character class range",
            "incomplete escape sequence, reached end of pattern prematurely" => {
                "trailing backslash at end of expression"
            }
            "unrecognized escape sequence" => "invalid escape sequence",
            other => other,
        };
        format!("error parsing regexp: {why}: `{text}`")
    })
}

fn rewrite(text: &str) -> Result<String, String> {
    let mut made = String::with_capacity(text.len() + 8);
    let mut rest = text;
    // what was repeated must not be repeated again, but may be made lazy once
    let mut repeated: Option<(&str, bool)> = None;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = repetition(rest) {
            let (operator, after) = rest.split_at(length);
            match repeated {
                Some((_, false)) if operator == "?" => repeated = Some((rest, true)),
                Some((first, _)) => {
                    let shown = &first[..first.len() - after.len()];
                    return Err(format!("error parsing regexp: invalid nested repetition operator: `{shown}`"));
                }
                None => repeated = Some((rest, false)),
            }
            if operator.trim_matches(['{', '}']).split(',').any(|n| n.parse::<u32>().is_ok_and(|n| n > 1000)) {
                return Err(format!("error parsing regexp: invalid repeat count: `{operator}`"));
            }
            made.push_str(operator);
            rest = after;
            continue;
        }
        repeated = None;
        rest = match c {
            '\\' => escape(rest, &mut made, Within::Pattern),
            '[' => class(rest, &mut made),
            // without a count this brace means itself
            '{' => {
                made.push_str("\\{");
                &rest[1..]
            }
            other => {
                made.push(other);
                &rest[other.len_utf8()..]
            }
        };
    }
    Ok(made)
}

/// The length of a repetition operator at the start of a text.
fn repetition(text: &str) -> Option<usize> {
    match text.as_bytes().first()? {
        b'*' | b'+' | b'?' => Some(1),
        b'{' => {
            let inner = &text[1..text.find('}')?];
            let (low, high) = inner.split_once(',').unwrap_or((inner, ""));
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            (!low.is_empty() && digits(low) && digits(high)).then_some(inner.len() + 2)
        }
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Within {
    Pattern,
    Class,
}

/// Rewrites what a backslash starts, and returns what is behind it.
fn escape<'t>(text: &'t str, made: &mut String, within: Within) -> &'t str {
    let mut chars = text[1..].chars();
    let Some(c) = chars.next() else {
        made.push('\\');
        return "";
    };
    let class = match c {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => "\\t\\n\\x0c\\r ",
        'D' => "^0-9",
        'W' => "^0-9A-Za-z_",
        'S' => "^\\t\\n\\x0c\\r ",
        _ => "",
    };
    match (c, within) {
        _ if !class.is_empty() => {
            made.push('[');
            made.push_str(class);
            made.push(']');
        }
        ('b', Within::Pattern) => made.push_str("(?-u:\\b)"),
        ('B', Within::Pattern) => made.push_str("(?-u:\\B)"),
        ('Q', Within::Pattern) => {
            let quoted = chars.as_str();
            let (quoted, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            made.push_str(&regex::escape(quoted));
            return rest;
        }
        (other, _) => {
            made.push('\\');
            made.push(other);
        }
    }
    chars.as_str()
}

/// Rewrites a class in brackets, and returns what is behind it.
fn class<'t>(text: &'t str, made: &mut String) -> &'t str {
    made.push('[');
    let mut rest = &text[1..];
    if let Some(after) = rest.strip_prefix('^') {
        made.push('^');
        rest = after;
    }
    // a bracket that comes first does not close the class
    if let Some(after) = rest.strip_prefix(']') {
        made.push_str("\\]");
        rest = after;
    }
    while let Some(c) = rest.chars().next() {
        rest = match c {
            ']' => {
                made.push(']');
                return &rest[1..];
            }
            '\\' => escape(rest, made, Within::Class),
            '[' if rest.starts_with("[:") && rest.contains(":]") => {
                let end = rest.find(":]").map_or(rest.len(), |at| at + 2);
                made.push_str(&rest[..end]);
                &rest[end..]
            }
            '[' | '&' | '~' => {
                made.push('\\');
                made.push(c);
                &rest[1..]
            }
            '-' if rest.starts_with("--") => {
                made.push_str("\\-");
                &rest[1..]
            }
            other => {
                made.push(other);
                &rest[other.len_utf8()..]
            }
        };
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn dialect() {
        for (text, yes, no) in [
            (r"^\d+$", "12", "١٢"),
            (r"^\w+$", "a_1", "ä"),
            (r"^[\d\s]+$", "1 2", "a"),
            (r"^[^\D]$", "1", "a"),
            (r"^[[]$", "[", "]"),
            (r"^[]a]$", "]", "b"),
            (r"^[&~]+$", "&~&&", "a"),
            (r"^[a&&b]$", "&", "c"),
            (r"^[[:alpha:]]$", "x", "1"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^a{2,3}?$", "aa", "a"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^{x}$", "{x}", "x"),
            (r"\bfoo\b", "a foo b", "afoob"),
            (r"^(?i)abc$", "ABC", "abd"),
            (r"^\pL+$", "ä", "1"),
        ] {
            let regex = pattern(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(regex.is_match(yes), "{text} {yes}");
            assert!(!regex.is_match(no), "{text} {no}");
        }
        for (text, why) in [
            (")", "unexpected ): `)`"),
            ("(", "missing closing ): `(`"),
            ("[a", "missing closing ]: `[a`"),
            ("x++", "invalid nested repetition operator: `++`"),
            ("x{2}*", "invalid nested repetition operator: `{2}*`"),
            ("x{1001}", "invalid repeat count: `{1001}`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("\\", "trailing backslash at end of expression: `\\`"),
        ] {
            assert_eq!(pattern(text).map(|r| r.to_string()), Err(format!("error parsing regexp: {why}")), "{text}");
        }
    }
}
