//! Texts. Places in a text are counted in characters.

use super::{Entry, entry, format};
use crate::{
    cost::{Cost, ONE},
    fault::{Fault, Result},
    json::texts,
    limits,
    value::Value,
};

pub(super) fn entries() -> Vec<Entry> {
    let row = |id: &str, signature: &str, cost, eval: super::Eval| entry(id, signature, cost, eval);
    vec![
        row("contains_string", "string.contains(string) -> bool", Cost::Contains, |args| {
            Ok(Value::Bool(text(args, 0)?.contains(text(args, 1)?)))
        }),
        row("starts_with_string", "string.startsWith(string) -> bool", Cost::Affix, |args| {
            Ok(Value::Bool(text(args, 0)?.starts_with(text(args, 1)?)))
        }),
        row("ends_with_string", "string.endsWith(string) -> bool", Cost::Affix, |args| {
            Ok(Value::Bool(text(args, 0)?.ends_with(text(args, 1)?)))
        }),
        row("string_char_at_int", "string.charAt(int) -> string", ONE, char_at),
        row("string_index_of_string", "string.indexOf(string) -> int", Cost::Elements, index_of),
        row("string_index_of_string_int", "string.indexOf(string, int) -> int", Cost::Elements, index_of),
        row("string_last_index_of_string", "string.lastIndexOf(string) -> int", Cost::Elements, last_index_of),
        row("string_last_index_of_string_int", "string.lastIndexOf(string, int) -> int", Cost::Elements, last_index_of),
        row("string_lower_ascii", "string.lowerAscii() -> string", Cost::Scan, |args| {
            Ok(Value::text(text(args, 0)?.to_ascii_lowercase()))
        }),
        row("string_upper_ascii", "string.upperAscii() -> string", Cost::Scan, |args| {
            Ok(Value::text(text(args, 0)?.to_ascii_uppercase()))
        }),
        row("string_trim", "string.trim() -> string", Cost::Scan, |args| Ok(Value::text(text(args, 0)?.trim()))),
        row("string_replace_string_string", "string.replace(string, string) -> string", Cost::Replace, replace),
        row(
            "string_replace_string_string_int",
            "string.replace(string, string, int) -> string",
            Cost::Replace,
            replace,
        ),
        row("string_split_string", "string.split(string) -> list(string)", Cost::Split, split),
        row("string_split_string_int", "string.split(string, int) -> list(string)", Cost::Split, split),
        row("string_substring_int", "string.substring(int) -> string", Cost::Scan, substring),
        row("string_substring_int_int", "string.substring(int, int) -> string", Cost::Scan, substring),
        row("list_join", "list(string).join() -> string", Cost::Join, join),
        row("list_join_string", "list(string).join(string) -> string", Cost::Join, join),
        row("strings_quote", "strings.quote(string) -> string", Cost::Quote, |args| {
            Ok(Value::text(format::quoted(text(args, 0)?)))
        }),
        row("string_format", "string.format(list(dyn)) -> string", Cost::Format, |args| match &args[1] {
            Value::List(list) => Ok(Value::text(format::format(text(args, 0)?, list)?)),
            _ => Err(Fault::NoSuchOverload),
        }),
        row("string_jsonpatch_escapeKey_string", "jsonpatch.escapeKey(string) -> string", Cost::Scan, |args| {
            Ok(Value::text(text(args, 0)?.replace('~', "~0").replace('/', "~1")))
        }),
    ]
}

pub(super) fn text<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v str> {
    match args.get(at) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn number(args: &[Value<'_>], at: usize) -> Result<Option<i64>> {
    match args.get(at) {
        None => Ok(None),
        Some(Value::Int(number)) => Ok(Some(*number)),
        Some(_) => Err(Fault::NoSuchOverload),
    }
}

fn out_of_range(at: i64) -> Fault {
    Fault::other(format!("index out of range: {at}"))
}

/// A number as a place in a text of so many characters, its end included.
fn place(at: i64, length: usize) -> Result<usize> {
    usize::try_from(at).ok().filter(|place| *place <= length).ok_or_else(|| out_of_range(at))
}

fn char_at<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let text = text(args, 0)?;
    let at = place(number(args, 1)?.unwrap_or(0), text.chars().count())?;
    Ok(Value::text(text.chars().nth(at).map(String::from).unwrap_or_default()))
}

fn index_of<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let (text, wanted, from) = (text(args, 0)?, text(args, 1)?, number(args, 2)?.unwrap_or(0));
    let start = usize::try_from(from).map_err(|_| out_of_range(from))?;
    let length = text.chars().count();
    if wanted.is_empty() {
        return Ok(Value::Int(start.min(length) as i64));
    }
    let Some((skipped, _)) = text.char_indices().nth(start) else { return Ok(Value::Int(-1)) };
    Ok(Value::Int(text[skipped..].find(wanted).map_or(-1, |at| characters(&text[..skipped + at]))))
}

fn last_index_of<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let (text, wanted, until) = (text(args, 0)?, text(args, 1)?, number(args, 2)?);
    let length = text.chars().count();
    let Some(until) = until else {
        let found = text.rfind(wanted).map_or(-1, |at| characters(&text[..at]));
        return Ok(Value::Int(if wanted.is_empty() { length as i64 } else { found }));
    };
    let until = usize::try_from(until).map_err(|_| out_of_range(until))?;
    if wanted.is_empty() {
        return Ok(Value::Int(until.min(length) as i64));
    }
    if until >= length {
        return Ok(Value::Int(-1));
    }
    // where a match may start, its end may lie behind
    let end = text.char_indices().nth(until).map_or(text.len(), |(at, _)| (at + wanted.len()).min(text.len()));
    let end = (end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let mut matches = text[..end].rmatch_indices(wanted).map(|(at, _)| characters(&text[..at]));
    Ok(Value::Int(matches.find(|at| *at <= until as i64).unwrap_or(-1)))
}

fn characters(text: &str) -> i64 {
    text.chars().count() as i64
}

fn replace<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let (text, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let times = match number(args, 3)? {
        Some(times) => usize::try_from(times).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let most = match from.len() {
        0 => text.chars().count() + 1,
        length => text.len() / length,
    };
    if most.min(times).saturating_mul(to.len()).saturating_add(text.len()) > limits::TEXT_BYTES {
        return Err(Fault::other(format!("string of more than {} bytes", limits::TEXT_BYTES)));
    }
    Ok(Value::text(text.replacen(from, to, times)))
}

fn split<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let (text, separator) = (text(args, 0)?, text(args, 1)?);
    let most = match number(args, 2)? {
        Some(0) => return Ok(Value::list(Vec::new())),
        Some(most) => usize::try_from(most).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    if !separator.is_empty() {
        return Ok(texts(text.splitn(most, separator)));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = if parts.len() + 1 == most { rest.len() } else { first.len_utf8() };
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
    Ok(texts(parts))
}

fn substring<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let text = text(args, 0)?;
    let length = text.chars().count();
    let start = number(args, 1)?.unwrap_or(0);
    let end = number(args, 2)?;
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(Fault::other(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = place(start, length)?;
    let to = place(end.unwrap_or(length as i64), length)?;
    Ok(Value::text(text.chars().skip(from).take(to - from).collect::<String>()))
}

fn join<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let Value::List(list) = &args[0] else { return Err(Fault::NoSuchOverload) };
    let between = if args.len() > 1 { text(args, 1)? } else { "" };
    let mut joined = String::new();
    for (at, item) in list.iter().enumerate() {
        let item = item?;
        let Value::String(part) = &item else {
            return Err(Fault::other(format!("join: invalid input: {}", crate::value::display(&item))));
        };
        if at > 0 {
            joined.push_str(between);
        }
        joined.push_str(part);
        if joined.len() > limits::TEXT_BYTES {
            return Err(Fault::other(format!("string of more than {} bytes", limits::TEXT_BYTES)));
        }
    }
    Ok(Value::text(joined))
}
