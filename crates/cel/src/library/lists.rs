//! Lists: those functions that Kubernetes has, and those of CEL's own extension.

use super::{Entry, entry};
use crate::{
    compare,
    cost::Cost,
    fault::{Fault, Result},
    limits,
    value::{List, Value},
};
use std::cmp::Ordering;

const COMPARABLE: &[&str] = &["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];
const SUMMABLE: &[(&str, super::Eval)] = &[
    ("int", |args| sum(args, Value::Int(0))),
    ("uint", |args| sum(args, Value::Uint(0))),
    ("double", |args| sum(args, Value::Double(0.0))),
    ("duration", |args| sum(args, Value::Duration(0))),
];

pub(super) fn entries() -> Vec<Entry> {
    let mut entries = vec![
        entry("list_a_index_of_int", "list(A).indexOf(A) -> int", Cost::Elements, |args| {
            let place = list(args, 0)?.to_vec()?.iter().position(|item| compare::equal(item, &args[1]));
            Ok(Value::Int(place.map_or(-1, |at| at as i64)))
        }),
        entry("list_a_last_index_of_int", "list(A).lastIndexOf(A) -> int", Cost::Elements, |args| {
            let place = list(args, 0)?.to_vec()?.iter().rposition(|item| compare::equal(item, &args[1]));
            Ok(Value::Int(place.map_or(-1, |at| at as i64)))
        }),
        entry("list_includes_dyn_dyn", "dyn.includes(dyn) -> bool", Cost::Includes, |args| match &args[0] {
            Value::List(list) => Ok(Value::Bool(list.to_vec()?.iter().any(|item| compare::equal(item, &args[1])))),
            other => Ok(Value::Bool(compare::equal(other, &args[1]))),
        }),
        entry("list_slice", "list(A).slice(int, int) -> list(A)", Cost::Slice, slice),
        entry("list_flatten", "list(list(A)).flatten() -> list(A)", Cost::Flatten, flatten),
        entry("list_flatten_int", "list(dyn).flatten(int) -> list(dyn)", Cost::Flatten, flatten),
        entry("lists_range", "lists.range(int) -> list(int)", Cost::Range, range),
        entry("list_reverse", "list(A).reverse() -> list(A)", Cost::Reverse, |args| {
            let mut items = list(args, 0)?.to_vec()?;
            items.reverse();
            Ok(Value::list(items))
        }),
        entry("list_distinct", "list(A).distinct() -> list(A)", Cost::Pairs { list: 0 }, distinct),
    ];
    for ty in COMPARABLE {
        let of = |name: &str, result: &str| format!("list({ty}).{name}() -> {result}");
        entries.push(entry(format!("list_{ty}_is_sorted_bool"), of("isSorted", "bool"), Cost::Elements, is_sorted));
        entries.push(entry(format!("list_{ty}_max_{ty}"), of("max", ty), Cost::Elements, |args| {
            extreme(args, "max", Ordering::Less)
        }));
        entries.push(entry(format!("list_{ty}_min_{ty}"), of("min", ty), Cost::Elements, |args| {
            extreme(args, "min", Ordering::Greater)
        }));
        let sorted = of("sort", &format!("list({ty})"));
        entries.push(entry(format!("list_{ty}_sort"), sorted, Cost::Pairs { list: 0 }, |args| {
            let items = list(args, 0)?.to_vec()?;
            sort(items.clone(), items)
        }));
        let by_keys = format!("list(A).@sortByAssociatedKeys(list({ty})) -> list(A)");
        let id = format!("list_{ty}_sortByAssociatedKeys");
        entries.push(entry(id, by_keys, Cost::Pairs { list: 1 }, |args| {
            sort(list(args, 0)?.to_vec()?, list(args, 1)?.to_vec()?)
        }));
    }
    for (ty, eval) in SUMMABLE {
        entries.push(entry(format!("list_{ty}_sum_{ty}"), format!("list({ty}).sum() -> {ty}"), Cost::Elements, *eval));
    }
    entries
}

fn list<'v, 'a>(args: &'v [Value<'a>], at: usize) -> Result<&'v List<'a>> {
    match args.get(at) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// The sum, of which `zero` is that of an empty list.
fn sum<'a>(args: &[Value<'a>], zero: Value<'a>) -> Result<Value<'a>> {
    let add = super::function("_+_").ok_or(Fault::NoSuchOverload)?;
    let mut items = list(args, 0)?.iter();
    let mut total = items.next().transpose()?.unwrap_or(zero);
    for item in items {
        let mut operands = [total, item?];
        let overload = add.overloads.iter().find(|o| o.takes(&operands)).ok_or(Fault::NoSuchOverload)?;
        total = (overload.eval)(&mut operands)?;
    }
    match total {
        Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_) => Ok(total),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn is_sorted<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    for pair in list(args, 0)?.to_vec()?.windows(2) {
        if compare::order(&pair[0], &pair[1])? == Ordering::Greater {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

/// The last of the elements that no other one is `better` than.
fn extreme<'a>(args: &[Value<'a>], name: &str, worse: Ordering) -> Result<Value<'a>> {
    let mut best: Option<Value<'a>> = None;
    for item in list(args, 0)?.iter() {
        let item = item?;
        match &best {
            Some(there) if compare::order(there, &item)? != worse => {}
            _ => best = Some(item),
        }
    }
    best.ok_or_else(|| Fault::other(format!("{name} called on empty list")))
}

fn slice<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let (list, [_, Value::Int(start), Value::Int(end)]) = (list(args, 0)?, &*args) else {
        return Err(Fault::NoSuchOverload);
    };
    if *start < 0 || *end < 0 {
        return Err(Fault::other(format!("cannot slice({start}, {end}), negative indexes not supported")));
    }
    if start > end {
        return Err(Fault::other(format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        )));
    }
    if *end as usize > list.len() {
        return Err(Fault::other(format!("cannot slice({start}, {end}), list is length {}", list.len())));
    }
    let items: Result<Vec<_>> = (*start as usize..*end as usize).filter_map(|at| list.get(at)).collect();
    Ok(Value::list(items?))
}

fn flatten<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let depth = match args.get(1) {
        None => 1,
        Some(Value::Int(depth)) if *depth >= 0 => *depth,
        Some(_) => return Err(Fault::other("level must be non-negative")),
    };
    let mut flat = list(args, 0)?.to_vec()?;
    for _ in 0..depth {
        if !flat.iter().any(|item| matches!(item, Value::List(_))) {
            break;
        }
        let mut next = Vec::with_capacity(flat.len());
        for item in flat {
            match item {
                Value::List(inner) => next.extend(inner.to_vec()?),
                other => next.push(other),
            }
            too_long(next.len())?;
        }
        flat = next;
    }
    Ok(Value::list(flat))
}

fn too_long(length: usize) -> Result<()> {
    match length > limits::LIST_LENGTH {
        true => Err(Fault::other(format!("list of more than {} elements", limits::LIST_LENGTH))),
        false => Ok(()),
    }
}

fn range<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let [Value::Int(end)] = args else { return Err(Fault::NoSuchOverload) };
    too_long(usize::try_from(*end).unwrap_or(0))?;
    Ok(Value::list((0..*end).map(Value::Int).collect()))
}

fn distinct<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let mut seen: Vec<Value<'a>> = Vec::new();
    for item in list(args, 0)?.iter() {
        let item = item?;
        if !seen.iter().any(|there| compare::equal(there, &item)) {
            seen.push(item);
        }
    }
    Ok(Value::list(seen))
}

fn sort<'a>(items: Vec<Value<'a>>, keys: Vec<Value<'a>>) -> Result<Value<'a>> {
    if keys.windows(2).any(|pair| pair[0].type_of() != pair[1].type_of()) {
        return Err(Fault::other("list elements must have the same type"));
    }
    let mut pairs: Vec<_> = keys.into_iter().zip(items).collect();
    let mut fault = None;
    pairs.sort_by(|(a, _), (b, _)| {
        compare::order(a, b).unwrap_or_else(|found| {
            fault = Some(found);
            Ordering::Equal
        })
    });
    match fault {
        Some(fault) => Err(fault),
        None => Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect())),
    }
}
