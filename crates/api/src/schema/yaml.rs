//! YAML to JSON as upstream does it: the first document, YAML 1.1 words for booleans, string keys, anchors, merge keys.
//! Duplicate keys stay, for the decoder to find.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

/// Aliases may blow a document up to this many bytes of JSON.
const MAX_OUTPUT: usize = 8 * 1024 * 1024;
/// Upstream's decoder goes deeper; no object does.
const MAX_DEPTH: usize = 120;
/// More keys that are set twice are not told.
const MAX_TWICE: usize = 100;

/// The first document of `bytes` as JSON.
///
/// # Errors
/// What is wrong with the YAML, with its line.
pub fn to_json(bytes: &[u8]) -> Result<Vec<u8>, String> {
    read(bytes).map(|(json, _)| json)
}

/// The first document of `bytes` as JSON, and the keys that are set twice: `line 3: key "a" already set in map`.
///
/// # Errors
/// What is wrong with the YAML, with its line.
pub fn read(bytes: &[u8]) -> Result<(Vec<u8>, Vec<String>), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid UTF-8".to_string())?;
    // JSON is YAML, and faster read as what it is
    if text.trim_start().starts_with('{') && super::decode::is_plain_json(text) {
        return Ok((bytes.to_vec(), Vec::new()));
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        out: Vec::new(),
        line: 0,
        twice: Vec::new(),
    };
    loop {
        match reader.next()? {
            Event::StreamEnd => return Ok((b"null".to_vec(), Vec::new())),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => {
                reader.value(event, 0)?;
                return Ok((reader.out, reader.twice));
            }
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Vec<u8>>,
    out: Vec<u8>,
    /// Of the last event.
    line: usize,
    twice: Vec<String>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Event<'t>, String> {
        match self.parser.next_event() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(e)) => Err(format!("yaml: line {}: {}", e.marker().line(), e.info())),
        }
    }

    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("yaml: exceeded max depth".into());
        }
        if self.out.len() > MAX_OUTPUT {
            return Err("yaml: document contains excessive aliasing".into());
        }
        let start = self.out.len();
        let anchor = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.out.extend_from_slice(scalar(&text, style, tag.as_deref()).as_bytes());
                anchor
            }
            Event::SequenceStart(anchor, _) => {
                self.sequence(depth)?;
                anchor
            }
            Event::MappingStart(anchor, _) => {
                self.mapping(depth)?;
                anchor
            }
            Event::Alias(anchor) => {
                let json = self.anchors.get(&anchor).ok_or("yaml: unknown anchor")?;
                self.out.extend_from_slice(json);
                0
            }
            _ => return Err("yaml: unexpected end of document".into()),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, self.out[start..].to_vec());
        }
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<(), String> {
        self.out.push(b'[');
        let mut first = true;
        loop {
            match self.next()? {
                Event::SequenceEnd => break,
                event => {
                    if !std::mem::take(&mut first) {
                        self.out.push(b',');
                    }
                    self.value(event, depth + 1)?;
                }
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn mapping(&mut self, depth: usize) -> Result<(), String> {
        let start = self.out.len();
        self.out.push(b'{');
        let mut merged = Vec::new();
        let mut keys = HashSet::new();
        loop {
            let (key, plain) = match self.next()? {
                Event::MappingEnd => break,
                Event::Scalar(text, style, anchor, tag) => {
                    let plain = style == ScalarStyle::Plain && tag.is_none();
                    if anchor != 0 {
                        self.anchors.insert(anchor, quote(&text).into_bytes());
                    }
                    (text, plain)
                }
                _ => return Err("yaml: a key must be a scalar".into()),
            };
            if plain && key == "<<" {
                let at = self.out.len();
                let event = self.next()?;
                self.value(event, depth + 1)?;
                merged.push(self.out.split_off(at));
                continue;
            }
            if self.out.len() > start + 1 {
                self.out.push(b',');
            }
            let key = key_text(&key, plain).into_owned();
            if !keys.insert(key.clone()) && self.twice.len() < MAX_TWICE {
                self.twice.push(format!("line {}: key {} already set in map", self.line, quote(&key)));
            }
            self.out.extend_from_slice(quote(&key).as_bytes());
            self.out.push(b':');
            let event = self.next()?;
            self.value(event, depth + 1)?;
        }
        self.out.push(b'}');
        if merged.is_empty() { Ok(()) } else { self.merge(start, &merged) }
    }

    /// `<<`: what is merged in gives way to the mapping's own keys.
    fn merge(&mut self, start: usize, merged: &[Vec<u8>]) -> Result<(), String> {
        use serde_json::{Map, Value};
        let parse = |json: &[u8]| serde_json::from_slice::<Value>(json).map_err(|e| format!("yaml: {e}"));
        let mut all = Map::new();
        for json in merged {
            let sources = match parse(json)? {
                Value::Array(list) => list,
                one => vec![one],
            };
            for source in sources {
                let Value::Object(map) = source else {
                    return Err("yaml: map merge requires map or sequence of maps as the value".into());
                };
                for (key, value) in map {
                    all.entry(key).or_insert(value);
                }
            }
        }
        if let Value::Object(own) = parse(&self.out[start..])? {
            all.extend(own);
        }
        self.out.truncate(start);
        serde_json::to_writer(&mut self.out, &Value::Object(all)).map_err(|e| e.to_string())
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

/// Keys are strings in JSON; plain booleans are spelled as Go spells them.
fn key_text<'t>(key: &'t str, plain: bool) -> Cow<'t, str> {
    match key {
        _ if !plain => key.into(),
        _ if boolean(key) == Some(true) => "true".into(),
        _ if boolean(key) == Some(false) => "false".into(),
        _ => key.into(),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            // go-yaml keeps single letters as strings
            (text.len() > 1).then_some(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> String {
    if let Some(tag) = tag.filter(|t| t.is_yaml_core_schema()) {
        match tag.suffix.as_str() {
            "str" | "binary" => return quote(text),
            _ => return plain(text),
        }
    }
    if style == ScalarStyle::Plain { plain(text) } else { quote(text) }
}

/// The JSON of a plain scalar by YAML 1.1's rules.
fn plain(text: &str) -> String {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return "null".into(),
        _ => {}
    }
    if let Some(truth) = boolean(text) {
        return truth.to_string();
    }
    number(text).unwrap_or_else(|| quote(text))
}

fn number(text: &str) -> Option<String> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    let (sign, digits) = match first {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let clean = digits.replace('_', "");
    let radix = |prefix: &str, radix: u32| {
        let rest = clean.strip_prefix(prefix)?;
        // from_str_radix would take another sign
        let ok = rest.bytes().next()?.is_ascii_hexdigit();
        u64::from_str_radix(rest, radix).ok().filter(|_| ok).map(|n| format!("{sign}{n}"))
    };
    if let Some(n) = radix("0x", 16).or_else(|| radix("0b", 2)).or_else(|| radix("0o", 8)) {
        return Some(n);
    }
    if clean.bytes().all(|b| b.is_ascii_digit()) && !clean.is_empty() {
        if clean.len() > 1 && clean.starts_with('0') {
            // YAML 1.1: a leading zero means octal
            return radix("0", 8).or_else(|| float(sign, &clean));
        }
        return Some(if sign == "-" && clean == "0" { "0".into() } else { format!("{sign}{clean}") });
    }
    float(sign, &clean)
}

fn float(sign: &str, digits: &str) -> Option<String> {
    let ok = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.');
    let value: f64 = format!("{sign}{digits}").parse().ok().filter(|v: &f64| ok && v.is_finite())?;
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Some(format!("{}", value as i64));
    }
    serde_json::Number::from_f64(value).map(|n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn yaml_becomes_json() {
        for (yaml, json) in [
            ("a: 1\nb: [x, 'y', \"z\"]\n", r#"{"a":1,"b":["x","y","z"]}"#),
            ("mode: 0644\nbig: 0x10\nf: 1.5\nneg: -3\n", r#"{"mode":420,"big":16,"f":1.5,"neg":-3}"#),
            ("a: yes\nb: off\nc: 'yes'\nd: y\n", r#"{"a":true,"b":false,"c":"yes","d":"y"}"#),
            ("a: ~\nb:\nc: ''\n", r#"{"a":null,"b":null,"c":""}"#),
            ("a: &x {k: v}\nb: *x\n", r#"{"a":{"k":"v"},"b":{"k":"v"}}"#),
            ("a: &x {k: v, l: w}\nb:\n  <<: *x\n  k: own\n", r#"{"a":{"k":"v","l":"w"},"b":{"k":"own","l":"w"}}"#),
            ("a: 1\na: 2\n", r#"{"a":1,"a":2}"#),
            ("---\nk: |\n  one\n  two\n---\nsecond: 1\n", r#"{"k":"one\ntwo\n"}"#),
            ("1: a\ntrue: b\n", r#"{"1":"a","true":"b"}"#),
            ("v: 1.2.3\nw: 12e\nx: !!str 5\n", r#"{"v":"1.2.3","w":"12e","x":"5"}"#),
            ("{\"a\": 1}", r#"{"a": 1}"#),
            ("", "null"),
        ] {
            assert_eq!(to_json(yaml.as_bytes()).map(|j| String::from_utf8(j).unwrap()), Ok(json.to_string()), "{yaml}");
        }
        assert!(to_json(b"a: [1\nb: 2").is_err());
        assert!(to_json(b"a: b: c").is_err());
    }

    #[test]
    fn aliases_cannot_blow_up() {
        let mut yaml = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_string();
        for i in 1..12 {
            yaml += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        }
        assert!(to_json(yaml.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics_and_makes_json(text in "[ \\n:\\-\\[\\]{}a-c0-9'\"&*!|>~,.#<_xeE+]{0,60}") {
            if let Ok(json) = to_json(text.as_bytes()) {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
            }
        }
    }
}
