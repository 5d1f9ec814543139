//! RFC 6902, as the library that upstream uses reads it.
//!
//! Which operations apply is that library's choice too: a pointer's first part is not looked at, negative indices count
//! from the end, numbers are equal when they are written alike, and the whole document cannot be replaced.

use super::MAX_DEPTH;
use crate::status::{Result, Status};
use serde_json::{Value, json};

/// Upstream refuses longer patches.
const MAX_OPERATIONS: usize = 10_000;
/// What all `copy` operations of a patch may add.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies a patch.
///
/// # Errors
/// 400 for what is no patch, 413 for too long a one, 422 when it does not apply. Upstream does not tell a client why that is.
pub(super) fn apply(patch: &Value, document: Value) -> Result<Value> {
    let operations = decode(patch)?;
    run(&operations, document).map_err(|_| Status {
        details: json!({}),
        ..Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
    })
}

fn decode(patch: &Value) -> Result<Vec<Operation<'_>>> {
    const OPERATION: &str = "handlers.jsonPatchOp";
    let bad = |found: &Value, what: String| {
        Err(Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go {what}",
            super::json_kind(found)
        )))
    };
    let operations = match patch {
        Value::Array(operations) => operations.as_slice(),
        Value::Null => &[],
        other => return bad(other, format!("value of type []{OPERATION}")),
    };
    if operations.len() > MAX_OPERATIONS {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(Status::new(413, "RequestEntityTooLarge", message));
    }
    for operation in operations.iter().filter(|o| !o.is_null()) {
        let Value::Object(map) = operation else { return bad(operation, format!("value of type {OPERATION}")) };
        for name in ["op", "path", "from"] {
            if let Some(value) = map.get(name).filter(|v| !v.is_string() && !v.is_null()) {
                return bad(value, format!("struct field jsonPatchOp.{name} of type string"));
            }
        }
    }
    Ok(operations.iter().map(Operation::read).collect())
}

fn run(operations: &[Operation<'_>], mut document: Value) -> Result<Value, String> {
    let mut copied = 0;
    for operation in operations {
        operation.run(&mut document, &mut copied)?;
    }
    Ok(document)
}

struct Operation<'p> {
    op: &'p str,
    path: Option<&'p str>,
    from: Option<&'p str>,
    value: Option<&'p Value>,
}

impl<'p> Operation<'p> {
    fn read(operation: &'p Value) -> Self {
        let text = |name: &str| operation.get(name).and_then(Value::as_str);
        Self {
            op: text("op").unwrap_or("unknown"),
            path: text("path"),
            from: text("from"),
            value: operation.get("value"),
        }
    }

    fn run(&self, document: &mut Value, copied: &mut usize) -> Result<(), String> {
        let op = self.op;
        if !matches!(op, "add" | "remove" | "replace" | "move" | "copy" | "test") {
            return Err(format!("Unexpected kind: {op}"));
        }
        let value = self.value.cloned().unwrap_or_default();
        let undecoded = |what: &str| format!("{op} operation failed to decode {what}: missing value");
        let path = self.path.ok_or_else(|| undecoded("path"))?;
        let absent = |what: &str, path: &str| {
            format!("{op} operation does not apply: doc is missing {what}: {path}: missing value")
        };
        match op {
            "add" => {
                let (parent, key) = find(document, path).ok_or_else(|| absent("path", &format!("{path:?}")))?;
                fits(path, &value)?;
                add(parent, &key, value).map_err(|e| format!("error in add for path: '{path}': {e}"))
            }
            "remove" => {
                let (parent, key) = find(document, path).ok_or_else(|| absent("path", &format!("{path:?}")))?;
                remove(parent, &key).map(drop).map_err(|e| format!("error in remove for path: '{path}': {e}"))
            }
            "replace" => {
                let (parent, key) = find(document, path).ok_or_else(|| absent("path", path))?;
                fits(path, &value)?;
                *get(parent, &key).map_err(|_| absent("key", path))? = value;
                Ok(())
            }
            "test" => self.test(document, path, &value),
            _ => {
                let from = self.from.ok_or_else(|| undecoded("from"))?;
                let (parent, key) = find(document, from).ok_or_else(|| absent("from path", from))?;
                let value = if op == "move" {
                    remove(parent, &key).map_err(|e| format!("error in move for path: '{key}': {e}"))?
                } else {
                    get(parent, &key).map_err(|e| format!("error in copy for from: '{from}': {e}"))?.clone()
                };
                let (parent, key) = find(document, path).ok_or_else(|| absent("destination path", path))?;
                if op == "copy" {
                    *copied += value.to_string().len();
                    if *copied > MAX_COPIED {
                        return Err(format!(
                            "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                        ));
                    }
                }
                fits(path, &value)?;
                add(parent, &key, value).map_err(|e| format!("error in {op} for path: '{path}': {e}"))
            }
        }
    }

    fn test(&self, document: &mut Value, path: &str, value: &Value) -> Result<(), String> {
        let found = if path.is_empty() {
            Some(document)
        } else {
            let absent = || format!("test operation does not apply: is missing path: {path}: missing value");
            let (parent, key) = find(document, path).ok_or_else(absent)?;
            match get(parent, &key) {
                Ok(found) => Some(found),
                Err(Fault::Key(_)) => None,
                Err(fault) => return Err(format!("error in test for path: '{path}': {fault}")),
            }
        };
        match found.filter(|v| !v.is_null()) {
            None if value.is_null() => Ok(()),
            None => Err(format!("testing path {path} failed: test failed")),
            Some(found) if found == value => Ok(()),
            Some(_) => Err(format!("testing value {path} failed: test failed")),
        }
    }
}

/// Why there is nothing at a place.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("unable to get nonexistent key: {0}: missing value")]
    Key(String),
    #[error("Unable to access invalid index: {0}: invalid index referenced")]
    Index(i64),
    #[error("value was not a proper array index: '{0}': strconv.Atoi: parsing {0:?}: invalid syntax")]
    NoIndex(String),
}

/// The object or list that holds what a pointer names, and the name there.
fn find<'v>(document: &'v mut Value, path: &str) -> Option<(&'v mut Value, String)> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (key, parents) = parts.split_last()?;
    let mut at = document;
    for part in parents {
        at = get(at, &unescape(part)).ok().filter(|v| v.is_object() || v.is_array())?;
    }
    Some((at, unescape(key)))
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// An index into a list of `len` items; negative ones count from the end.
fn index(token: &str, len: usize) -> Result<usize, Fault> {
    let number: i64 = token.parse().map_err(|_| Fault::NoIndex(token.to_string()))?;
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let at = if number < 0 { number + len } else { number };
    if at < 0 || at >= len {
        return Err(Fault::Index(number));
    }
    usize::try_from(at).map_err(|_| Fault::Index(number))
}

fn get<'v>(parent: &'v mut Value, key: &str) -> Result<&'v mut Value, Fault> {
    let missing = || Fault::Key(key.to_string());
    match parent {
        Value::Object(map) => map.get_mut(key).ok_or_else(missing),
        Value::Array(list) => {
            let at = index(key, list.len())?;
            list.get_mut(at).ok_or_else(missing)
        }
        _ => Err(missing()),
    }
}

fn add(parent: &mut Value, key: &str, value: Value) -> Result<(), Fault> {
    match parent {
        Value::Object(map) => {
            map.insert(key.to_string(), value);
        }
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            // a negative index counts from behind the new end
            let at = index(key, list.len() + 1)?;
            list.insert(at, value);
        }
        _ => return Err(Fault::Key(key.to_string())),
    }
    Ok(())
}

fn remove(parent: &mut Value, key: &str) -> Result<Value, Fault> {
    match parent {
        Value::Object(map) => map.remove(key).ok_or_else(|| Fault::Key(key.to_string())),
        Value::Array(list) => {
            let at = index(key, list.len())?;
            Ok(list.remove(at))
        }
        _ => Err(Fault::Key(key.to_string())),
    }
}

/// Copies could nest a value into itself again and again: the depth stays what the decoder allows.
fn fits(path: &str, value: &Value) -> Result<(), String> {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
            Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    if path.matches('/').count() + depth(value) > MAX_DEPTH { Err("exceeded max depth".into()) } else { Ok(()) }
}
