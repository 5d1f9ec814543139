//! What is wrong with a text that is no JSON, as Go's `encoding/json` says it.

/// Deeper is refused, as upstream does.
const MAX_DEPTH: usize = 10_000;

/// The first thing wrong with `text`; `None`: it is JSON.
pub fn syntax_error(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    let checked = scanner.value("looking for beginning of value").and_then(|()| {
        scanner.space();
        match scanner.peek() {
            None => Ok(()),
            Some(_) => scanner.unexpected("after top-level value"),
        }
    });
    checked.err()
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
}

/// What a container waits for.
enum Wait {
    /// A key, or the end of an empty object.
    FirstKey,
    Key,
    /// A value, or the end of an empty list.
    FirstItem,
    Item,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The character here is not what stands here in JSON.
    fn unexpected<T>(&self, context: &str) -> Result<T, String> {
        let Some(byte) = self.peek() else { return Err("unexpected end of JSON input".into()) };
        let shown = match byte {
            b'\'' => r"'\''".to_string(),
            b'"' => "'\"'".to_string(),
            b'\\' => r"'\\'".to_string(),
            b'\n' => r"'\n'".to_string(),
            b'\r' => r"'\r'".to_string(),
            b'\t' => r"'\t'".to_string(),
            0x20..=0x7e => format!("'{}'", char::from(byte)),
            0..=0x1f | 0x7f => format!(r"'\x{byte:02x}'"),
            // Go takes the byte for a code point
            _ => match char::from(byte) {
                c if c.is_alphanumeric() => format!("'{c}'"),
                c => format!(r"'\u{:04x}'", u32::from(c)),
            },
        };
        Err(format!("invalid character {shown} {context}"))
    }

    /// One value with all that is in it. Not recursive: hostile texts nest deep.
    fn value(&mut self, context: &str) -> Result<(), String> {
        let mut open: Vec<Wait> = Vec::new();
        let mut context = context;
        loop {
            self.space();
            match open.last() {
                Some(Wait::FirstKey | Wait::Key) => {
                    let first = matches!(open.last(), Some(Wait::FirstKey));
                    match self.peek() {
                        Some(b'}') if first => {
                            self.at += 1;
                            open.pop();
                            if self.after(&mut open)? {
                                return Ok(());
                            }
                            continue;
                        }
                        Some(b'"') => self.string()?,
                        _ => return self.unexpected("looking for beginning of object key string"),
                    }
                    self.space();
                    match self.peek() {
                        Some(b':') => self.at += 1,
                        _ => return self.unexpected("after object key"),
                    }
                    self.space();
                    context = "looking for beginning of value";
                }
                Some(Wait::FirstItem) if self.peek() == Some(b']') => {
                    self.at += 1;
                    open.pop();
                    if self.after(&mut open)? {
                        return Ok(());
                    }
                    continue;
                }
                _ => {}
            }
            match self.peek() {
                Some(b'{') => open.push(Wait::FirstKey),
                Some(b'[') => open.push(Wait::FirstItem),
                _ => {
                    self.scalar(context)?;
                    if self.after(&mut open)? {
                        return Ok(());
                    }
                    continue;
                }
            }
            if open.len() > MAX_DEPTH {
                return Err("exceeded max depth".into());
            }
            self.at += 1;
            context = "looking for beginning of value";
        }
    }

    /// What follows a finished value; whether the outermost one is finished.
    fn after(&mut self, open: &mut Vec<Wait>) -> Result<bool, String> {
        loop {
            let Some(wait) = open.last_mut() else { return Ok(true) };
            self.space();
            let of_object = matches!(wait, Wait::FirstKey | Wait::Key);
            match (self.peek(), of_object) {
                (Some(b','), _) => {
                    *wait = if of_object { Wait::Key } else { Wait::Item };
                    self.at += 1;
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    open.pop();
                }
                (_, true) => return self.unexpected("after object key:value pair"),
                (_, false) => return self.unexpected("after array element"),
            }
        }
    }

    fn scalar(&mut self, context: &str) -> Result<(), String> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.unexpected(context),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                return self.unexpected(&format!("in literal {word} (expecting '{}')", char::from(expected)));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0x20..) => self.at += 1,
                _ => return self.unexpected("in string literal"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        self.at += 1;
        match self.peek() {
            Some(b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return self.unexpected("in \\u hexadecimal character escape");
                    }
                    self.at += 1;
                }
            }
            _ => return self.unexpected("in string escape code"),
        }
        Ok(())
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return self.unexpected(context);
        }
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits("in numeric literal")?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_are_told_as_go_tells_them() {
        for (text, error) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a": 1 "b"}"#, "invalid character '\"' after object key:value pair"),
            (r#"{"a": 1,}"#, "invalid character '}' looking for beginning of object key string"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{}x", "invalid character 'x' after top-level value"),
            ("trze", "invalid character 'z' in literal true (expecting 'u')"),
            ("[01]", "invalid character '1' after array element"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u12g""#, "invalid character 'g' in \\u hexadecimal character escape"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("{'a': 1}", "invalid character '\\'' looking for beginning of object key string"),
        ] {
            assert_eq!(syntax_error(text.as_bytes()).as_deref(), Some(error), "{text}");
        }
        for text in ["{}", " [ ] ", r#"{"a": [1, -0.5e+3, true, null, "\u00e9\n"], "b": {}}"#, "0"] {
            assert_eq!(syntax_error(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_decoder(text in "[\\[\\]{}:,\"0-9a-fnrtu\\\\. -]{0,24}") {
            let strict = serde_json::from_str::<serde_json::Value>(&text);
            // numbers beyond all bounds are JSON, and not read
            let huge = strict.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
            prop_assert!(huge || syntax_error(text.as_bytes()).is_none() == strict.is_ok() || text.contains("\\u"), "{}", text);
        }
    }
}
