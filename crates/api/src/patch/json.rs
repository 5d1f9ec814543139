//! RFC 6902. Messages are those of the library upstream uses, as they reach the user.

use super::MAX_DEPTH;
use crate::status::{Result, Status};
use serde_json::{Value, json};

/// Upstream refuses longer patches.
const MAX_OPERATIONS: usize = 10_000;
/// What all `copy` operations of a patch may add.
const MAX_COPIED: usize = 3 * 1024 * 1024;

pub(super) fn apply(patch: &Value, mut document: Value) -> Result<Value> {
    let Value::Array(operations) = patch else {
        return Err(Status::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(Status::new(413, "RequestEntityTooLarge", message));
    }
    let mut copied = 0;
    for operation in operations {
        let operation = Operation::read(operation)?;
        operation.run(&mut document, &mut copied).map_err(|why| rejected(&why))?;
    }
    Ok(document)
}

fn rejected(why: &str) -> Status {
    let message = format!("the server rejected our request due to an error in our request: {why}");
    Status { details: json!({}), ..Status::new(422, "Invalid", message) }
}

struct Operation<'p> {
    op: &'p str,
    path: Vec<String>,
    text: &'p str,
    from: Option<(Vec<String>, &'p str)>,
    value: Option<&'p Value>,
}

impl<'p> Operation<'p> {
    fn read(operation: &'p Value) -> Result<Self> {
        let text = |name: &str| operation.get(name).and_then(Value::as_str);
        let op = text("op").ok_or_else(|| Status::bad_request("error decoding patch: an operation needs op"))?;
        if !matches!(op, "add" | "remove" | "replace" | "move" | "copy" | "test") {
            return Err(rejected(&format!("Unexpected kind: {op}")));
        }
        let path = text("path").ok_or_else(|| rejected(&format!("{op} operation does not apply: path is missing")))?;
        let from = text("from").map(|from| tokens(from).map(|t| (t, from))).transpose()?;
        let value = operation.get("value");
        if matches!(op, "add" | "replace") && value.is_none() {
            return Err(rejected(&format!("{op} operation does not apply: value is missing: \"{path}\"")));
        }
        if matches!(op, "move" | "copy") && from.is_none() {
            return Err(rejected(&format!("{op} operation does not apply: from is missing")));
        }
        Ok(Self { op, path: tokens(path)?, text: path, from, value })
    }

    fn run(&self, document: &mut Value, copied: &mut usize) -> Result<(), String> {
        let value = self.value.cloned().unwrap_or_default();
        match self.op {
            "add" => add(document, &self.path, value).map_err(|_| self.missing("path")),
            "remove" => remove(document, &self.path).map(drop).ok_or_else(|| self.missing("key")),
            "replace" => {
                fits(&self.path, &value)?;
                *get_mut(document, &self.path).ok_or_else(|| self.missing("key"))? = value;
                Ok(())
            }
            "test" => match get(document, &self.path) {
                Some(found) if same(found, &value) => Ok(()),
                None if value.is_null() => Ok(()),
                _ => Err(format!("testing value {} failed: test failed", self.text)),
            },
            _ => self.transfer(document, copied),
        }
    }

    /// `move` and `copy`.
    fn transfer(&self, document: &mut Value, copied: &mut usize) -> Result<(), String> {
        let Some((from, text)) = &self.from else { return Err("from is missing".into()) };
        let absent =
            || format!("{} operation does not apply: doc is missing from path: {text}: missing value", self.op);
        let value = if self.op == "move" {
            if self.path.len() > from.len() && self.path.starts_with(from) {
                return Err(format!("move operation does not apply: {} is inside of {text}", self.text));
            }
            remove(document, from).ok_or_else(absent)?
        } else {
            let value = get(document, from).ok_or_else(absent)?.clone();
            *copied += value.to_string().len();
            if *copied > MAX_COPIED {
                return Err("Unable to complete the copy, the accumulated size increase of copy is too large".into());
            }
            value
        };
        add(document, &self.path, value).map_err(|_| self.missing("destination path"))
    }

    fn missing(&self, what: &str) -> String {
        format!("{} operation does not apply: doc is missing {what}: {}: missing value", self.op, self.text)
    }
}

fn tokens(path: &str) -> Result<Vec<String>> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err(rejected(&format!("a JSON pointer begins with a slash: \"{path}\"")));
    };
    Ok(rest.split('/').map(|t| t.replace("~1", "/").replace("~0", "~")).collect())
}

/// An index as the library takes it: negative counts from the end.
fn index(token: &str, len: usize) -> Option<usize> {
    let number: i64 = token.parse().ok()?;
    let at = if number < 0 { number.checked_add(i64::try_from(len).ok()?)? } else { number };
    usize::try_from(at).ok().filter(|_| !token.starts_with('+'))
}

fn get<'v>(document: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(document, |value, token| match value {
        Value::Object(map) => map.get(token),
        Value::Array(list) => list.get(index(token, list.len())?),
        _ => None,
    })
}

fn get_mut<'v>(document: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(document, |value, token| match value {
        Value::Object(map) => map.get_mut(token),
        Value::Array(list) => {
            let at = index(token, list.len())?;
            list.get_mut(at)
        }
        _ => None,
    })
}

fn add(document: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    fits(path, &value)?;
    let absent = || "missing value".to_string();
    let Some((last, parent)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match get_mut(document, parent).ok_or_else(absent)? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
        }
        Value::Array(list) => {
            // a negative index counts from behind the new end
            let at = if last == "-" { list.len() } else { index(last, list.len() + 1).ok_or_else(absent)? };
            if at > list.len() {
                return Err(absent());
            }
            list.insert(at, value);
        }
        _ => return Err(absent()),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &[String]) -> Option<Value> {
    let (last, parent) = path.split_last()?;
    match get_mut(document, parent)? {
        Value::Object(map) => map.remove(last),
        Value::Array(list) => {
            let at = index(last, list.len()).filter(|at| *at < list.len())?;
            Some(list.remove(at))
        }
        _ => None,
    }
}

/// Copies could nest a value into itself again and again: the depth stays what the decoder allows.
fn fits(path: &[String], value: &Value) -> Result<(), String> {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
            Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    if path.len() + depth(value) > MAX_DEPTH { Err("the patched value nests too deep".into()) } else { Ok(()) }
}

/// Equal as JSON: numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}
