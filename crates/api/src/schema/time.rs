//! Times as Go reads them: what it takes for RFC 3339, and its words for what it does not.
//!
//! Source: `metav1.Time`, `metav1.MicroTime`, Go's `time.Parse`.

use jiff::{Timestamp, civil, tz::Offset};

const SECONDS: &str = "2006-01-02T15:04:05Z07:00";
const MICROS: &str = "2006-01-02T15:04:05.000000Z07:00";

/// A time of `Time` (`2006-01-02T15:04:05Z`), or of `MicroTime` (exactly six digits of fraction), in UTC. `None`: the year 1, which is Go's
/// word for no time.
///
/// # Errors
/// Go's message for a text that is none.
pub fn canonical_time(text: &str, micro: bool) -> Result<Option<String>, String> {
    let layout = if micro { MICROS } else { SECONDS };
    let time = Parser { text, layout, rest: text, std: "" }.run(micro)?;
    if time == civil::DateTime::new(1, 1, 1, 0, 0, 0, 0).ok().and_then(|t| Offset::UTC.to_timestamp(t).ok()) {
        return Ok(None);
    }
    let form = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    let written = time.and_then(|time| jiff::fmt::strtime::format(form, time).ok());
    written.map(Some).ok_or_else(|| format!("parsing time {}: year is not in the range [0,9999]", quote(text)))
}

/// A text and how far it was read, against a layout of which `std` is being looked for.
struct Parser<'a> {
    text: &'a str,
    layout: &'static str,
    rest: &'a str,
    std: &'static str,
}

impl Parser<'_> {
    /// `None`: a time beyond what can be kept.
    fn run(mut self, micro: bool) -> Result<Option<Timestamp>, String> {
        let year = self.year()?;
        self.literal("-")?;
        let month = self.two("01", 1..=12, "month")?;
        self.literal("-")?;
        let day = self.two("02", 0..=99, "day")?;
        self.literal("T")?;
        let hour = self.hour()?;
        self.literal(":")?;
        let minute = self.two("04", 0..=59, "minute")?;
        self.literal(":")?;
        let second = self.two("05", 0..=59, "second")?;
        let nanos = if micro { self.micros()? } else { self.fraction() };
        let offset = self.zone()?;
        if !self.rest.is_empty() {
            return Err(format!("parsing time {}: extra text: {}", quote(self.text), quote(self.rest)));
        }
        let Ok(time) = civil::DateTime::new(year, month, day, hour, minute, second, nanos) else {
            return Err(self.out_of_range("day"));
        };
        let utc = Offset::UTC.to_timestamp(time).ok();
        Ok(utc.and_then(|t| t.checked_sub(jiff::SignedDuration::from_secs(offset)).ok()))
    }

    fn cannot(&self, at: &str) -> String {
        let [text, layout, at, std] = [self.text, self.layout, at, self.std].map(quote);
        format!("parsing time {text} as {layout}: cannot parse {at} as {std}")
    }

    fn out_of_range(&self, what: &str) -> String {
        format!("parsing time {}: {what} out of range", quote(self.text))
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), String> {
        self.std = literal;
        self.rest = self.rest.strip_prefix(literal).ok_or_else(|| self.cannot(self.rest))?;
        Ok(())
    }

    /// That many digits, if they are there.
    fn digits(text: &str, count: usize) -> Option<(i32, &str)> {
        let digits = text.get(..count).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        Some((digits.parse().ok()?, &text[count..]))
    }

    fn year(&mut self) -> Result<i16, String> {
        self.std = "2006";
        let (year, rest) = Self::digits(self.rest, 4).ok_or_else(|| self.cannot(self.rest))?;
        self.rest = rest;
        Ok(year as i16)
    }

    fn two(&mut self, std: &'static str, range: std::ops::RangeInclusive<i32>, what: &str) -> Result<i8, String> {
        self.std = std;
        let (number, rest) = Self::digits(self.rest, 2).ok_or_else(|| self.cannot(self.rest))?;
        self.rest = rest;
        if range.contains(&number) { Ok(number as i8) } else { Err(self.out_of_range(what)) }
    }

    /// One digit will do.
    fn hour(&mut self) -> Result<i8, String> {
        self.std = "15";
        let found = Self::digits(self.rest, 2).or_else(|| Self::digits(self.rest, 1));
        let (hour, rest) = found.ok_or_else(|| self.cannot(self.rest))?;
        self.rest = rest;
        if hour < 24 { Ok(hour as i8) } else { Err(self.out_of_range("hour")) }
    }

    /// A fraction that the layout does not ask for; finer than a nanosecond is cut.
    fn fraction(&mut self) -> i32 {
        let Some(after) = self.rest.strip_prefix(['.', ',']) else { return 0 };
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if end == 0 {
            return 0;
        }
        self.rest = &after[end..];
        format!("{:0<9.9}", &after[..end]).parse().unwrap_or(0)
    }

    fn micros(&mut self) -> Result<i32, String> {
        self.std = ".000000";
        let found = self.rest.strip_prefix(['.', ',']).and_then(|after| Self::digits(after, 6));
        let (micros, rest) = found.ok_or_else(|| self.cannot(self.rest))?;
        self.rest = rest;
        Ok(micros * 1000)
    }

    /// Seconds east of Greenwich.
    fn zone(&mut self) -> Result<i64, String> {
        self.std = "Z07:00";
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let read = |text: &str| {
            let sign = match text.bytes().next()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, rest) = Self::digits(&text[1..], 2)?;
            let (minutes, rest) = Self::digits(rest.strip_prefix(':')?, 2)?;
            Some((sign, hours, minutes, text.len() - rest.len()))
        };
        let (sign, hours, minutes, length) = read(self.rest).ok_or_else(|| self.cannot(self.rest))?;
        self.rest = &self.rest[length..];
        match (hours, minutes) {
            (25.., _) => Err(self.out_of_range("time zone offset hour")),
            (_, 61..) => Err(self.out_of_range("time zone offset minute")),
            _ => Ok(i64::from(sign * (hours * 60 + minutes) * 60)),
        }
    }
}

/// A text as Go's errors of times quote it.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', byte.into()]),
            b' '..=b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, micro, expected) in [
            ("2024-01-02T03:04:05Z", false, Ok("2024-01-02T03:04:05Z")),
            ("2024-01-02T03:04:05+02:30", false, Ok("2024-01-02T00:34:05Z")),
            ("2024-12-31T23:30:00-01:00", false, Ok("2025-01-01T00:30:00Z")),
            ("2024-01-02T03:04:05.999999999999Z", false, Ok("2024-01-02T03:04:05Z")),
            ("2024-01-02T3:04:05,5Z", false, Ok("2024-01-02T03:04:05Z")),
            ("2024-02-29T00:00:00Z", false, Ok("2024-02-29T00:00:00Z")),
            ("2024-01-02T03:04:05.123456+01:00", true, Ok("2024-01-02T02:04:05.123456Z")),
            ("0001-01-01T00:00:00Z", false, Ok("null")),
            ("", false, Err(r#"parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#)),
            ("now", false, Err(r#"parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006""#)),
            (
                "2024-01-02",
                false,
                Err(r#"parsing time "2024-01-02" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#),
            ),
            (
                "2024-01-02t03:04:05Z",
                false,
                Err(
                    r#"parsing time "2024-01-02t03:04:05Z" as "2006-01-02T15:04:05Z07:00": cannot parse "t03:04:05Z" as "T""#,
                ),
            ),
            (
                "2024-01-02T03:04:05",
                false,
                Err(
                    r#"parsing time "2024-01-02T03:04:05" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#,
                ),
            ),
            (
                "2024-01-02T03:04:05Z",
                true,
                Err(
                    r#"parsing time "2024-01-02T03:04:05Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#,
                ),
            ),
            (
                "2024-01-02T03:04:05.1234567Z",
                true,
                Err(
                    r#"parsing time "2024-01-02T03:04:05.1234567Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "7Z" as "Z07:00""#,
                ),
            ),
            ("2024-13-02T03:04:05Z", false, Err(r#"parsing time "2024-13-02T03:04:05Z": month out of range"#)),
            ("2023-02-29T03:04:05Z", false, Err(r#"parsing time "2023-02-29T03:04:05Z": day out of range"#)),
            ("2024-01-02T24:04:05Z", false, Err(r#"parsing time "2024-01-02T24:04:05Z": hour out of range"#)),
            ("2024-01-02T03:04:05Z ", false, Err(r#"parsing time "2024-01-02T03:04:05Z ": extra text: " ""#)),
        ] {
            let got = canonical_time(text, micro).map(|t| t.unwrap_or_else(|| "null".into()));
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
