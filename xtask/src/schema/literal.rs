//! Reads the argument of a `json_schema!` call: JSON with trailing commas and with Rust expressions in parentheses, of
//! which only the type they refer to and the description they add matter.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// Parses the literal at the start of `text`.
pub fn parse(text: &str) -> Result<Value> {
    Reader { text, at: 0 }.value()
}

const CALL: &str = "subschema_for::<";

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Result<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next().context("the literal ends early")
    }

    fn eat(&mut self, c: char) -> Result<bool> {
        let found = self.peek()? == c;
        if found {
            self.at += c.len_utf8();
        }
        Ok(found)
    }

    fn value(&mut self) -> Result<Value> {
        match self.peek()? {
            '{' => {
                self.at += 1;
                let mut map = Map::new();
                while !self.eat('}')? {
                    let key = self.string()?;
                    if !self.eat(':')? {
                        bail!("expected ':' after {key}");
                    }
                    map.insert(key, self.value()?);
                    self.eat(',')?;
                }
                Ok(Value::Object(map))
            }
            '[' => {
                self.at += 1;
                let mut list = Vec::new();
                while !self.eat(']')? {
                    list.push(self.value()?);
                    self.eat(',')?;
                }
                Ok(Value::Array(list))
            }
            '"' => Ok(Value::String(self.string()?)),
            '(' => self.expression(),
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.find([',', '}', ']', '\n']).context("unfinished scalar")?;
                self.at += end;
                if let Some((_, path)) = rest[..end].split_once(CALL) {
                    return Ok(json!({"$ref": path.trim_end_matches(">()")}));
                }
                serde_json::from_str(rest[..end].trim()).with_context(|| format!("scalar {:?}", &rest[..end]))
            }
        }
    }

    fn string(&mut self) -> Result<String> {
        if !self.eat('"')? {
            bail!("expected a string at {:?}", self.text[self.at..].chars().take(40).collect::<String>());
        }
        let mut out = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 1;
                    return Ok(out);
                }
                '\\' => match chars.next().context("unfinished escape")?.1 {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'u' => {
                        let digits: String = chars.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                        out.push(char::from_u32(u32::from_str_radix(&digits, 16)?).context("bad escape")?);
                    }
                    other => out.push(other),
                },
                other => out.push(other),
            }
        }
        bail!("unfinished string")
    }

    /// `(__gen.subschema_for::<Path>())`, or a block that also inserts a description.
    fn expression(&mut self) -> Result<Value> {
        const INSERT: &str = "insert(\"description\".into(), ";
        self.at += 1;
        let (start, mut depth, mut description) = (self.at, 1, None);
        while depth > 0 {
            if self.text[self.at..].starts_with(INSERT) {
                self.at += INSERT.len();
                description = Some(self.string()?);
                depth += 1;
                continue;
            }
            match self.peek()? {
                '"' => {
                    self.string()?;
                    continue;
                }
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            self.at += self.peek()?.len_utf8();
        }
        let inner = &self.text[start..self.at];
        let path = inner.split_once(CALL).context("no subschema_for")?.1;
        let path = &path[..path.find(">()").context("unfinished path")?];
        let mut value = json!({"$ref": path});
        if let Some(description) = description {
            value["description"] = description.into();
        }
        Ok(value)
    }
}
