//! `"%s is %d".format([…])`, and quoting.

use super::time;
use crate::{
    fault::{Fault, Result},
    library::convert::show_double,
    limits,
    value::{List, Map, Value},
    work,
};

const PRECISION: usize = 6;
const MAX_PRECISION: usize = 100;

/// Fills the values of a list into a template.
pub(super) fn format(template: &str, values: &List<'_>) -> Result<String> {
    let mut made = String::with_capacity(template.len());
    let mut rest = template;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        made.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            made.push('%');
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return Err(Fault::other("unexpected end of string"));
        }
        let value = values.get(next).ok_or_else(|| Fault::other(format!("index {next} out of range")))??;
        next += 1;
        let (precision, after) = precision(rest)?;
        let mut clause = after.chars();
        let verb = clause.next().ok_or_else(|| parse_error("unexpected end of string"))?;
        made.push_str(&filled(verb, precision, &value)?);
        rest = clause.as_str();
        if made.len() > limits::TEXT_BYTES {
            return Err(Fault::other(format!("string of more than {} bytes", limits::TEXT_BYTES)));
        }
    }
    made.push_str(rest);
    Ok(made)
}

fn parse_error(what: impl std::fmt::Display) -> Fault {
    Fault::other(format!("could not parse formatting clause: {what}"))
}

/// The digits behind a dot, if there are any.
fn precision(text: &str) -> Result<(Option<usize>, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Ok((None, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let digits: usize = rest[..end].parse().map_err(|_| {
        parse_error(format!(
            "error while parsing precision: error while converting precision to integer: {:?}",
            &rest[..end]
        ))
    })?;
    if digits > MAX_PRECISION {
        return Err(parse_error(format!(
            "error while parsing precision: precision {digits} exceeds maximum allowed precision {MAX_PRECISION}"
        )));
    }
    Ok((Some(digits), &rest[end..]))
}

fn filled(verb: char, precision: Option<usize>, value: &Value<'_>) -> Result<String> {
    let ty = || value.type_of().runtime_name().to_string();
    let wrong = |what: &str| Err(Fault::other(format!("error during formatting: {what}, was given {}", ty())));
    let precision = precision.unwrap_or(PRECISION);
    match (verb, value) {
        ('s', value) => plain(value),
        ('d', Value::Int(n)) => Ok(n.to_string()),
        ('d', Value::Uint(n)) => Ok(n.to_string()),
        ('d', Value::Double(n)) if !n.is_finite() => Ok(infinite(*n)),
        ('d', _) => wrong("decimal clause can only be used on integers"),
        ('f' | 'e', Value::Double(n)) if !n.is_finite() => Ok(infinite(*n)),
        ('f', Value::Double(n)) => Ok(grouped(&format!("{n:.precision$}"))),
        ('f', _) => wrong("fixed-point clause can only be used on doubles"),
        ('e', Value::Double(n)) => Ok(scientific(*n, precision)),
        ('e', _) => wrong("scientific clause can only be used on doubles"),
        ('b', Value::Int(n)) => Ok(signed(*n, |n| format!("{n:b}"))),
        ('b', Value::Uint(n)) => Ok(format!("{n:b}")),
        ('b', Value::Bool(b)) => Ok(u8::from(*b).to_string()),
        ('b', _) => wrong("only integers and bools can be formatted as binary"),
        ('o', Value::Int(n)) => Ok(signed(*n, |n| format!("{n:o}"))),
        ('o', Value::Uint(n)) => Ok(format!("{n:o}")),
        ('o', _) => wrong("octal clause can only be used on integers"),
        ('x' | 'X', value) => {
            let hex = match value {
                Value::Int(n) => signed(*n, |n| format!("{n:x}")),
                Value::Uint(n) => format!("{n:x}"),
                Value::String(text) => hex(text.as_bytes()),
                Value::Bytes(bytes) => hex(bytes),
                _ => return wrong("only integers, byte buffers, and strings can be formatted as hex"),
            };
            Ok(if verb == 'X' { hex.to_uppercase() } else { hex })
        }
        (other, _) => Err(parse_error(format!("unrecognized formatting clause \"{other}\""))),
    }
}

fn signed(n: i64, digits: fn(u64) -> String) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, digits(n.unsigned_abs()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn infinite(n: f64) -> String {
    match n {
        n if n.is_nan() => "NaN",
        n if n > 0.0 => "∞",
        _ => "-∞",
    }
    .into()
}

/// With commas between thousands, as upstream's locale wants.
fn grouped(number: &str) -> String {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = rest.find('.').map_or((rest, ""), |at| rest.split_at(at));
    let mut made = String::from(sign);
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            made.push(',');
        }
        made.push(digit);
    }
    made + fraction
}

/// `1.052033×10⁰³`
fn scientific(n: f64, precision: usize) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let text = format!("{n:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("", exponent), |e| ("⁻", e));
    let raised: String =
        format!("{exponent:0>2}").bytes().map(|b| RAISED[usize::from(b.saturating_sub(b'0')) % 10]).collect();
    format!("{digits}×10{sign}{raised}")
}

/// As `%s` shows it.
fn plain(value: &Value<'_>) -> Result<String> {
    Ok(match value {
        Value::String(text) => text.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => show_double(*n),
        Value::Null => "null".into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Timestamp(at) => time::show_timestamp(*at),
        Value::Duration(nanos) => time::show_duration(*nanos),
        Value::Type(ty) => ty.runtime_name().to_string(),
        Value::List(list) => listed(list)?,
        Value::Map(map) => mapped(map)?,
        other => {
            let ty = other.type_of();
            let what = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
            return Err(Fault::other(format!("error during formatting: {what}, was given {}", ty.runtime_name())));
        }
    })
}

/// As an element of a list or map: as it could stand in an expression.
fn inner(value: &Value<'_>) -> Result<String> {
    work::done(1);
    if work::is_exhausted() {
        return Err(Fault::CostLimit);
    }
    Ok(match value {
        Value::String(text) => format!("{:?}", &**text),
        Value::Bytes(bytes) => format!("b{:?}", String::from_utf8_lossy(bytes)),
        Value::Double(n) if n.is_finite() => format!("{n:.PRECISION$}"),
        Value::Double(n) => format!("{:?}", show_double(*n)),
        Value::Timestamp(at) => format!("timestamp({:?})", time::show_timestamp(*at)),
        Value::Duration(nanos) => format!("duration({:?})", time::show_duration(*nanos)),
        other => plain(other)?,
    })
}

fn listed(list: &List<'_>) -> Result<String> {
    let items: Result<Vec<String>> = list.iter().map(|item| inner(&item?)).collect();
    Ok(format!("[{}]", items?.join(", ")))
}

fn mapped(map: &Map<'_>) -> Result<String> {
    let mut entries = Vec::new();
    for key in map.keys() {
        let value = map.get(&key)?.unwrap_or_default();
        entries.push((inner(&key)?, inner(&value)?));
    }
    entries.sort();
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
    Ok(format!("{{{}}}", entries.join(", ")))
}

/// In double quotes, with escapes as CEL reads them.
pub(super) fn quoted(text: &str) -> String {
    let mut made = String::with_capacity(text.len() + 2);
    made.push('"');
    for c in text.chars() {
        match c {
            '\x07' => made.push_str("\\a"),
            '\x08' => made.push_str("\\b"),
            '\x0c' => made.push_str("\\f"),
            '\n' => made.push_str("\\n"),
            '\r' => made.push_str("\\r"),
            '\t' => made.push_str("\\t"),
            '\x0b' => made.push_str("\\v"),
            '\\' => made.push_str("\\\\"),
            '"' => made.push_str("\\\""),
            other => made.push(other),
        }
    }
    made.push('"');
    made
}
