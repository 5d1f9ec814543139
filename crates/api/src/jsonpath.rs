//! Paths into JSON as `kubectl -o jsonpath` and printer columns write them, without the braces around them.
//!
//! Fields (`.spec.a\.b`, `['a']`), items (`[0]`, `[-1]`, `[1:3]`, `[0,2]`, `[*]`), everything below (`..name`) and filters
//! (`[?(@.type=="Ready")]`). What is missing is passed over. Paths are other people's: filters within filters and the values that are found
//! have bounds.
//!
//! Source: client-go `util/jsonpath`.

use serde_json::Value;
use std::cell::Cell;

/// Filters are nested no deeper.
const DEPTH: usize = 8;
/// No more values are looked at: each `..`, and each filter in a filter, may multiply them.
const MOST: usize = 100_000;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    All,
    Below,
    Items(Vec<Pick>),
    Filter(Box<Side>, Option<(Operator, Box<Side>)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Pick {
    Index(i64),
    Name(String),
    Range(Option<i64>, Option<i64>, usize),
}

#[derive(Clone, Debug, PartialEq)]
enum Side {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Longest first: the first that fits is meant.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl JsonPath {
    /// Parses `.spec.replicas`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_within(text, DEPTH)
    }

    /// The same with room for so many filters within each other.
    fn parse_within(text: &str, depth: usize) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("..") {
                steps.push(Step::Below);
                rest = if after.starts_with('[') { after } else { field(after, &mut steps) };
            } else if let Some(after) = rest.strip_prefix('.') {
                rest = if after.starts_with('[') { after } else { field(after, &mut steps) };
            } else if let Some(after) = rest.strip_prefix('[') {
                let end = closing(after).ok_or_else(|| format!("unterminated array in {text:?}"))?;
                steps.push(bracket(after[..end].trim(), depth)?);
                rest = &after[end + 1..];
            } else if let Some(after) = rest.strip_prefix(['@', '$']) {
                rest = after;
            } else {
                rest = field(rest, &mut steps);
            }
        }
        Ok(Self(steps))
    }

    /// All values that it leads to, as far as a bounded search comes.
    pub fn find<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        self.walk(root, &Cell::new(MOST))
    }

    /// The first value that it leads to.
    pub fn first<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.find(root).into_iter().next()
    }

    /// `left`: so many values may still be looked at.
    fn walk<'v>(&self, root: &'v Value, left: &Cell<usize>) -> Vec<&'v Value> {
        let mut found = vec![root];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.apply(value, left)).collect();
        }
        found
    }
}

/// Reads a name up to the next step; a backslash keeps a dot in it.
fn field<'t>(text: &'t str, steps: &mut Vec<Step>) -> &'t str {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => {
                end = at;
                break;
            }
            other => name.push(other),
        }
    }
    match name.as_str() {
        "" => {}
        "*" => steps.push(Step::All),
        _ => steps.push(Step::Field(name)),
    }
    &text[end..]
}

/// Where the bracket closes that `text` is inside of.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote: Option<char> = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str, depth: usize) -> Result<Step, String> {
    if inner == "*" {
        return Ok(Step::All);
    }
    if let Some(filter) = inner.strip_prefix("?(") {
        let filter = filter.strip_suffix(')').ok_or_else(|| format!("unterminated filter in {inner:?}"))?;
        return filter_of(filter, depth.checked_sub(1).ok_or("filters are nested too deep")?);
    }
    let picks: Result<Vec<Pick>, String> = inner.split(',').map(|part| pick(part.trim())).collect();
    match picks?.as_slice() {
        [Pick::Name(name)] => Ok(Step::Field(name.clone())),
        picks => Ok(Step::Items(picks.to_vec())),
    }
}

fn pick(part: &str) -> Result<Pick, String> {
    if let Some(name) = unquote(part) {
        return Ok(Pick::Name(name));
    }
    let number = |text: &str| -> Result<Option<i64>, String> {
        if text.is_empty() {
            Ok(None)
        } else {
            text.parse().map(Some).map_err(|_| format!("invalid array index {part:?}"))
        }
    };
    match part.split(':').collect::<Vec<_>>().as_slice() {
        [index] => number(index)?.map(Pick::Index).ok_or_else(|| "an empty array index".to_string()),
        [from, to] => Ok(Pick::Range(number(from)?, number(to)?, 1)),
        [from, to, step] => {
            let step = number(step)?.and_then(|s| usize::try_from(s).ok()).filter(|s| *s > 0);
            Ok(Pick::Range(number(from)?, number(to)?, step.ok_or_else(|| format!("invalid step in {part:?}"))?))
        }
        _ => Err(format!("invalid array index {part:?}")),
    }
}

fn unquote(text: &str) -> Option<String> {
    ['"', '\''].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner.replace(&format!("\\{quote}"), &quote.to_string()))
    })
}

fn filter_of(text: &str, depth: usize) -> Result<Step, String> {
    let mut quote: Option<char> = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            _ => {
                if let Some((sign, operator)) = OPERATORS.iter().find(|(sign, _)| text[at..].starts_with(sign)) {
                    let right = side(&text[at + sign.len()..], depth)?;
                    return Ok(Step::Filter(Box::new(side(&text[..at], depth)?), Some((*operator, Box::new(right)))));
                }
            }
        }
    }
    Ok(Step::Filter(Box::new(side(text, depth)?), None))
}

fn side(text: &str, depth: usize) -> Result<Side, String> {
    let text = text.trim();
    if let Some(literal) = unquote(text) {
        return Ok(Side::Literal(Value::String(literal)));
    }
    if let Ok(literal) = serde_json::from_str::<Value>(text) {
        return Ok(Side::Literal(literal));
    }
    JsonPath::parse_within(text, depth).map(Side::Path)
}

impl Side {
    fn value<'v>(&'v self, item: &'v Value, left: &Cell<usize>) -> Option<&'v Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Path(path) => path.walk(item, left).into_iter().next(),
        }
    }
}

impl Step {
    fn apply<'v>(&self, value: &'v Value, left: &Cell<usize>) -> Vec<&'v Value> {
        if left.get() == 0 {
            return Vec::new();
        }
        let mut found = self.applied(value, left);
        found.truncate(left.get());
        left.set(left.get().saturating_sub(found.len().max(1)));
        found
    }

    fn applied<'v>(&self, value: &'v Value, left: &Cell<usize>) -> Vec<&'v Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::All => children(value),
            Self::Below => {
                let mut all = vec![value];
                let mut next = 0;
                while next < all.len() {
                    let below = children(all[next]);
                    all.extend(below);
                    next += 1;
                }
                all
            }
            Self::Items(picks) => picks.iter().flat_map(|pick| pick.apply(value)).collect(),
            Self::Filter(side, comparison) => {
                let holds = |item: &&'v Value| match (side.value(item, left), comparison) {
                    (found, None) => found.is_some_and(|v| !matches!(v, Value::Null | Value::Bool(false))),
                    (None, _) => false,
                    (Some(found), Some((operator, right))) => {
                        right.value(item, left).is_some_and(|right| operator.holds(found, right))
                    }
                };
                value.as_array().into_iter().flatten().filter(holds).collect()
            }
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

impl Pick {
    fn apply<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let list = value.as_array().map_or(&[][..], Vec::as_slice);
        let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
        let place = |at: i64| usize::try_from(if at < 0 { at + length } else { at }.clamp(0, length)).unwrap_or(0);
        match self {
            Self::Name(name) => value.get(name).into_iter().collect(),
            Self::Index(at) => {
                let at = if *at < 0 { at + length } else { *at };
                usize::try_from(at).ok().and_then(|at| list.get(at)).into_iter().collect()
            }
            Self::Range(from, to, step) => {
                let (from, to) = (from.map_or(0, place), to.map_or(list.len(), place));
                list.get(from..to).unwrap_or_default().iter().step_by(*step).collect()
            }
        }
    }
}

impl Operator {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        };
        match (self, order) {
            (Self::NotEqual, None) => left != right,
            (Self::Equal, None) => left == right,
            (_, None) => false,
            (Self::Equal, Some(order)) => order.is_eq(),
            (Self::NotEqual, Some(order)) => order.is_ne(),
            (Self::Less, Some(order)) => order.is_lt(),
            (Self::LessOrEqual, Some(order)) => order.is_le(),
            (Self::Greater, Some(order)) => order.is_gt(),
            (Self::GreaterOrEqual, Some(order)) => order.is_ge(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "spec": {"replicas": 3, "list": [1, 2, 3, 4], "map": {"k": {"n": 1}, "l": {"n": 2}}},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 1}, {"type": "Other", "status": "False", "n": 2},
            ]},
        });
        for (path, expected) in [
            (".spec.replicas", json!([3])),
            ("spec.replicas", json!([3])),
            (r".metadata.annotations.a\.b/c", json!(["x"])),
            (".metadata.annotations['a.b/c']", json!(["x"])),
            (".spec.list[0]", json!([1])),
            (".spec.list[-1]", json!([4])),
            (".spec.list[1:3]", json!([2, 3])),
            (".spec.list[::2]", json!([1, 3])),
            (".spec.list[0,3]", json!([1, 4])),
            (".spec.list[*]", json!([1, 2, 3, 4])),
            (".spec.list[9]", json!([])),
            (".spec.map.*.n", json!([1, 2])),
            (".spec..n", json!([1, 2])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".status.conditions[?(@.type == 'Other')].status", json!(["False"])),
            (".status.conditions[?(@.n > 1)].type", json!(["Other"])),
            (".status.conditions[?(@.type != 'Ready')].n", json!([2])),
            (".status.conditions[?(@.missing)].n", json!([])),
            (".no.such", json!([])),
        ] {
            let parsed = JsonPath::parse(path).unwrap();
            assert_eq!(json!(parsed.find(&object)), expected, "{path}");
        }
        let deep = format!("{}{}", ".a[?(@".repeat(9), ")]".repeat(9));
        for wrong in [".a[0", ".a[x]", ".a[?(@.b]", &deep] {
            assert!(JsonPath::parse(wrong).is_err(), "{wrong}");
        }
        let many = JsonPath::parse(&"..".repeat(40)).unwrap();
        assert!(many.find(&object).len() < MOST);
    }
}
