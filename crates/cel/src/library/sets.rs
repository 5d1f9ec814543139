//! Lists as sets.

use super::{Entry, entry};
use crate::{
    cost::Cost,
    eval::contains,
    fault::{Fault, Result},
    value::Value,
};

pub(super) fn entries() -> Vec<Entry> {
    let row = |name: &str, times, eval: super::Eval| {
        let signature = format!("sets.{name}(list(A), list(A)) -> bool");
        entry(format!("list_sets_{name}_list"), signature, Cost::Sets(times), eval)
    };
    vec![
        row("contains", 1, |args| Ok(Value::Bool(has_all(&args[0], &args[1])?))),
        row("equivalent", 2, |args| Ok(Value::Bool(has_all(&args[0], &args[1])? && has_all(&args[1], &args[0])?))),
        row("intersects", 1, |args| {
            let Value::List(list) = &args[0] else { return Err(Fault::NoSuchOverload) };
            for item in list.iter() {
                if contains(&args[1], &item?)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }),
    ]
}

fn has_all(list: &Value<'_>, wanted: &Value<'_>) -> Result<bool> {
    let Value::List(wanted) = wanted else { return Err(Fault::NoSuchOverload) };
    for item in wanted.iter() {
        if !contains(list, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
