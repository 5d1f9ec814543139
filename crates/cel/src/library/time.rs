//! Points and spans of time: their texts, parts and arithmetic.

use super::{Entry, entry};
use crate::{
    cost::ONE,
    fault::{Fault, Result},
    value::{Moment, Value},
};
use coracle_api::duration;
use jiff::{
    SignedDuration,
    civil::{Date, DateTime, Time},
    fmt::temporal::Pieces,
    tz::{Offset, TimeZone},
};

pub(super) fn entries() -> Vec<Entry> {
    type Part = (&'static str, &'static str, super::Eval);
    const OF_TIMESTAMPS: &[Part] = &[
        ("getFullYear", "year", |args| part(args, |at| i64::from(at.year()))),
        ("getMonth", "month", |args| part(args, |at| i64::from(at.month()) - 1)),
        ("getDayOfYear", "day_of_year", |args| part(args, |at| i64::from(at.date().day_of_year()) - 1)),
        ("getDayOfMonth", "day_of_month", |args| part(args, |at| i64::from(at.day()) - 1)),
        ("getDate", "day_of_month_1_based", |args| part(args, |at| i64::from(at.day()))),
        ("getDayOfWeek", "day_of_week", |args| part(args, |at| i64::from(at.date().weekday().to_sunday_zero_offset()))),
        ("getHours", "hours", |args| part(args, |at| i64::from(at.hour()))),
        ("getMinutes", "minutes", |args| part(args, |at| i64::from(at.minute()))),
        ("getSeconds", "seconds", |args| part(args, |at| i64::from(at.second()))),
        ("getMilliseconds", "milliseconds", |args| part(args, |at| i64::from(at.millisecond()))),
    ];
    const OF_DURATIONS: &[Part] = &[
        ("getHours", "hours", |args| whole(args, |nanos| nanos / 3_600_000_000_000)),
        ("getMinutes", "minutes", |args| whole(args, |nanos| nanos / 60_000_000_000)),
        ("getSeconds", "seconds", |args| whole(args, |nanos| nanos / 1_000_000_000)),
        ("getMilliseconds", "milliseconds", |args| whole(args, |nanos| nanos / 1_000_000)),
    ];
    let mut entries = Vec::new();
    for (name, id, eval) in OF_TIMESTAMPS {
        entries.push(entry(format!("timestamp_to_{id}"), format!("timestamp.{name}() -> int"), ONE, *eval));
        let with_zone = format!("timestamp.{name}(string) -> int");
        entries.push(entry(format!("timestamp_to_{id}_with_tz"), with_zone, ONE, *eval));
    }
    for (name, id, eval) in OF_DURATIONS {
        entries.push(entry(format!("duration_to_{id}"), format!("duration.{name}() -> int"), ONE, *eval));
    }
    entries
}

fn part<'a>(args: &[Value<'a>], of: fn(DateTime) -> i64) -> Result<Value<'a>> {
    match args {
        [Value::Timestamp(moment)] => Ok(Value::Int(of(moment.at))),
        [Value::Timestamp(moment), Value::String(name)] => {
            Ok(Value::Int(of(local(moment.at, offset(name, moment.at)?)?)))
        }
        _ => Err(Fault::NoSuchOverload),
    }
}

fn whole<'a>(args: &[Value<'a>], of: fn(i64) -> i64) -> Result<Value<'a>> {
    match args {
        [Value::Duration(nanos)] => Ok(Value::Int(of(*nanos))),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// The offset of a zone at a time: by the zone's name, or as its distance from UTC: `+01:00`, `-02:30`.
fn offset(name: &str, at: DateTime) -> Result<Offset> {
    let unknown = || Fault::other(format!("unknown time zone {name}"));
    let Some((hours, minutes)) = name.split_once(':') else {
        if matches!(name, "" | "UTC") {
            return Ok(Offset::UTC);
        }
        let zone = TimeZone::get(name).map_err(|_| unknown())?;
        let at = at.to_zoned(TimeZone::UTC).map_err(|_| overflow())?;
        return Ok(zone.to_offset(at.timestamp()));
    };
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    let hours: i32 = hours.trim_start_matches(['+', '-']).parse().map_err(|_| unknown())?;
    let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
    if !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
        return Err(unknown());
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).map_err(|_| unknown())
}

fn overflow() -> Fault {
    Fault::other("timestamp overflow")
}

/// What clocks with this offset show at a time in UTC.
fn local(at: DateTime, offset: Offset) -> Result<DateTime> {
    at.checked_add(SignedDuration::from_secs(i64::from(offset.seconds()))).map_err(|_| overflow())
}

/// The years that timestamps may be in.
fn in_range(at: DateTime) -> Result<DateTime> {
    if at.year() >= 1 { Ok(at) } else { Err(overflow()) }
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A point in time, later by a span.
pub(crate) fn shift(moment: Moment, nanos: i64) -> Result<Moment> {
    let later = moment.at.checked_add(SignedDuration::from_nanos(nanos));
    let at = later.map_err(|_| overflow()).and_then(in_range)?;
    Ok(Moment { at, ..moment })
}

/// The span between two points in time, in nanoseconds.
pub(crate) fn between(later: Moment, earlier: Moment) -> Option<i64> {
    i64::try_from(later.at.duration_since(earlier.at).as_nanos()).ok()
}

/// A point in time by seconds since 1970.
pub(crate) fn of_seconds(seconds: i64) -> Result<Moment> {
    let at = EPOCH.checked_add(SignedDuration::from_secs(seconds));
    at.map_err(|_| overflow()).and_then(in_range).map(Moment::utc)
}

/// Whole seconds since 1970.
pub(crate) fn seconds(moment: Moment) -> i64 {
    let since = moment.at.duration_since(EPOCH);
    since.as_secs() - i64::from(since.subsec_nanos() < 0)
}

/// A point in time in RFC 3339.
pub(crate) fn timestamp(text: &str) -> Result<Moment> {
    parse_timestamp(text)
        .ok_or_else(|| Fault::other(format!("parsing time {text:?}: cannot parse {text:?} as RFC 3339")))
}

fn parse_timestamp(text: &str) -> Option<Moment> {
    // jiff also takes what RFC 3339 does not: a blank for the T, no seconds, a zone's name
    let bytes = text.as_bytes();
    if bytes.get(10) != Some(&b'T') || bytes.get(16) != Some(&b':') || text.contains('[') {
        return None;
    }
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset()?;
    let shown = DateTime::from_parts(pieces.date(), pieces.time()?);
    let at = shown.checked_sub(SignedDuration::from_secs(i64::from(offset.seconds()))).ok()?;
    Some(Moment { at: in_range(at).ok()?, offset })
}

/// A value of format `date-time`.
pub(crate) fn date_time(text: &str) -> Result<Moment> {
    timestamp(&text.to_ascii_uppercase())
        .map_err(|e| Fault::other(format!("Invalid date-time formatted string {text}: {e}")))
}

/// A value of format `date`.
pub(crate) fn date(text: &str) -> Result<Moment> {
    let day = text.parse::<Date>().ok().filter(|_| text.len() == 10);
    let day = day.ok_or_else(|| Fault::other(format!("Invalid date formatted string {text}")))?;
    Ok(Moment::utc(day.to_datetime(Time::midnight())))
}

/// In RFC 3339, with as many digits as there are.
pub(crate) fn show_timestamp(moment: Moment) -> String {
    let shown = local(moment.at, moment.offset).unwrap_or(moment.at);
    match moment.offset.seconds() / 60 {
        0 => format!("{shown}Z"),
        minutes => {
            let sign = if minutes < 0 { '-' } else { '+' };
            format!("{shown}{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
        }
    }
}

/// A span of time as Go writes it: `1h30m`, `-1.5s`.
pub(crate) fn duration(text: &str) -> Result<i64> {
    duration::parse(text).ok_or_else(|| Fault::other(format!("time: invalid duration {text:?}")))
}

/// A value of format `duration`: as Go writes it, or in words: `2 days`.
pub(crate) fn schema_duration(text: &str) -> Result<i64> {
    if let Some(nanos) = duration::parse(text) {
        return Ok(nanos);
    }
    const WORDS: &[(&[&str], i128)] = &[
        (&["nano", "nanos", "nanosecond", "nanoseconds"], 1),
        (&["micro", "micros", "microsecond", "microseconds"], 1_000),
        (&["milli", "millis", "millisecond", "milliseconds"], 1_000_000),
        (&["sec", "secs", "second", "seconds"], 1_000_000_000),
        (&["min", "mins", "minute", "minutes"], 60_000_000_000),
        (&["hr", "hrs", "hour", "hours"], 3_600_000_000_000),
        (&["d", "day", "days"], 86_400_000_000_000),
        (&["w", "wk", "wks", "week", "weeks"], 604_800_000_000_000),
    ];
    let wrong = || Fault::other(format!("Invalid duration {text}: unable to parse {text} as duration"));
    let (mut rest, mut total) = (text.trim(), 0_i128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| (1..19).contains(end)).ok_or_else(wrong)?;
        let number: i128 = rest[..end].parse().map_err(|_| wrong())?;
        let after = rest[end..].trim_start();
        let word = &after[..after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len())];
        let go = duration::UNITS.iter().find(|(name, _)| *name == word).map(|(_, nanos)| nanos);
        let unit = WORDS.iter().find(|(names, _)| names.contains(&word)).map(|(_, nanos)| nanos).or(go);
        total += number * unit.ok_or_else(wrong)?;
        rest = after[word.len()..].trim_start();
    }
    i64::try_from(total).map_err(|_| wrong())
}

/// In seconds, as CEL writes it: `90s`, `1.5s`.
pub(crate) fn show_duration(nanos: i64) -> String {
    let (whole, part) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).unsigned_abs());
    let sign = if nanos < 0 && whole == 0 { "-" } else { "" };
    match part {
        0 => format!("{whole}s"),
        part => format!("{sign}{whole}.{}s", format!("{part:09}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations() {
        for (text, nanos) in [
            ("1h30m", Some(5_400_000_000_000)),
            ("-1.5s", Some(-1_500_000_000)),
            ("0", Some(0)),
            ("1us", Some(1_000)),
            (".5ms", Some(500_000)),
            ("", None),
            ("1", None),
            ("s", None),
            ("1d", None),
            (".s", None),
            ("9999999999999h", None),
        ] {
            assert_eq!(super::duration(text).ok(), nanos, "{text}");
        }
        assert_eq!(super::schema_duration("2 days"), Ok(172_800_000_000_000));
        assert_eq!(super::schema_duration("3d4h"), Ok(273_600_000_000_000));
        assert!(super::schema_duration("soon").is_err());
        for (nanos, text) in [(90_000_000_000, "90s"), (-1_500_000_000, "-1.5s"), (-1, "-0.000000001s"), (0, "0s")] {
            assert_eq!(super::show_duration(nanos), text);
        }
    }
}
