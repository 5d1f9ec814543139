//! When a schedule is due: five fields as in crontab(5), or one of the words for them.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::DateTime, tz::TimeZone};

/// A schedule as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Minutes, hours, days, months, weekdays.
    Fields(Fields),
    /// `@every`: so long after the last time.
    Every(SignedDuration),
}

/// Bits say which numbers of a field match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether days and weekdays are both restricted: then either is enough.
    either_day: bool,
}

/// A field's name, its bounds and the words for its numbers.
struct Field {
    min: u32,
    max: u32,
    words: &'static [&'static str],
}

const MINUTE: Field = Field { min: 0, max: 59, words: &[] };
const HOUR: Field = Field { min: 0, max: 23, words: &[] };
const DAY: Field = Field { min: 1, max: 31, words: &[] };
const MONTH: Field = Field {
    min: 1,
    max: 12,
    words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Field = Field { min: 0, max: 6, words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => match other.strip_prefix("@every ") {
                Some(duration) => return every(duration),
                None if other.starts_with('@') => return Err(format!("unrecognized descriptor: {other}")),
                None => other,
            },
        };
        if text.is_empty() {
            return Err("empty spec string".into());
        }
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        };
        let is_restricted = |field: &str| !field.starts_with(['*', '?']);
        Ok(Self::Fields(Fields {
            minutes: MINUTE.parse(minutes)?,
            hours: HOUR.parse(hours)?,
            days: DAY.parse(days)?,
            months: MONTH.parse(months)?,
            weekdays: WEEKDAY.parse(weekdays)?,
            either_day: is_restricted(days) && is_restricted(weekdays),
        }))
    }

    /// The first time after `after`; none if there is none in the next years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(step) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*step).ok()
            }
            Self::Fields(fields) => fields.next(after, zone),
        }
    }

    /// The last time in `(since, now]`, and whether there were more than a hundred.
    pub fn last(&self, since: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<(Timestamp, bool)> {
        if let Self::Every(step) = self {
            let steps = now.duration_since(since).as_secs() / step.as_secs().max(1);
            let last = since + SignedDuration::from_secs(step.as_secs() * steps);
            return (steps > 0).then_some((last, steps > 100));
        }
        // a window before now is widened until something is in it: whoever was away for a year does not count every minute of it
        let mut window = SignedDuration::from_secs(60);
        let mut last = loop {
            let from = now.checked_sub(window).map_or(since, |from| from.max(since));
            if let Some(found) = self.next(from, zone).filter(|at| *at <= now) {
                break found;
            }
            if from == since {
                return None;
            }
            window *= 2;
        };
        while let Some(later) = self.next(last, zone).filter(|at| *at <= now) {
            last = later;
        }
        let mut first = since;
        let many = (0..=100).all(|_| match self.next(first, zone).filter(|at| *at <= now) {
            Some(at) => {
                first = at;
                true
            }
            None => false,
        });
        Some((last, many))
    }
}

fn every(text: &str) -> Result<Schedule, String> {
    let wrong = |_| format!("failed to parse duration @every {text}: time: invalid duration {text:?}");
    let duration: SignedDuration = text.parse().map_err(wrong)?;
    // what is shorter than a second is a second
    Ok(Schedule::Every(SignedDuration::from_secs(duration.as_secs().max(1))))
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').filter(|part| !part.is_empty()).try_fold(0, |bits, part| Ok(bits | self.range(part)?))
    }

    fn range(&self, text: &str) -> Result<u64, String> {
        let steps: Vec<&str> = text.split('/').collect();
        let bounds: Vec<&str> = steps[0].split('-').collect();
        let (first, mut last) = match bounds[..] {
            ["*" | "?", ..] => (self.min, self.max),
            [only] => (self.number(only)?, self.number(only)?),
            [first, last] => (self.number(first)?, self.number(last)?),
            _ => return Err(format!("too many hyphens: {text}")),
        };
        let step = match steps[..] {
            [_] => 1,
            [_, step] => {
                // `5/15` begins there and goes on to the end
                if bounds.len() == 1 {
                    last = self.max;
                }
                number(step)?
            }
            _ => return Err(format!("too many slashes: {text}")),
        };
        match () {
            () if first < self.min => Err(format!("beginning of range ({first}) below minimum ({}): {text}", self.min)),
            () if last > self.max => Err(format!("end of range ({last}) above maximum ({}): {text}", self.max)),
            () if first > last => Err(format!("beginning of range ({first}) beyond end of range ({last}): {text}")),
            () if step == 0 => Err(format!("step of range should be a positive number: {text}")),
            () => Ok((first..=last).step_by(step as usize).fold(0, |bits, n| bits | 1 << n)),
        }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let word = self.words.iter().position(|w| w.eq_ignore_ascii_case(text));
        word.map_or_else(|| number(text), |place| Ok(place as u32 + self.min))
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let begin = zone.to_datetime(after);
        let mut day = begin.date();
        // every date comes again within eight years, February 29th too
        for _ in 0..8 * 366 {
            if self.is_day(day.month() as u32, day.day() as u32, day.weekday().to_sunday_zero_offset() as u32) {
                for minute in 0..24 * 60_u32 {
                    if self.hours >> (minute / 60) & 1 == 0 || self.minutes >> (minute % 60) & 1 == 0 {
                        continue;
                    }
                    let at = day.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
                    if let Some(found) = instant(at, zone).filter(|found| *found > after) {
                        return Some(found);
                    }
                }
            }
            day = day.checked_add(1.day()).ok()?;
        }
        None
    }

    fn is_day(&self, month: u32, day: u32, weekday: u32) -> bool {
        let (of_month, of_week) = (self.days >> day & 1 == 1, self.weekdays >> weekday & 1 == 1);
        self.months >> month & 1 == 1 && if self.either_day { of_month || of_week } else { of_month && of_week }
    }
}

/// A time of the clock on the wall; nothing if it is skipped on that day.
fn instant(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let found = zone.to_ambiguous_zoned(at).compatible().ok()?;
    (found.datetime() == at).then(|| found.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time() {
        let check = |schedule: &str, after: &str, expected: &str| {
            let found = Schedule::parse(schedule).and_then(|schedule| {
                let next = schedule.next(after.parse().unwrap(), &TimeZone::UTC);
                next.map(|at| at.to_string()).ok_or_else(|| "never".into())
            });
            assert_eq!(found.unwrap_or_else(|error| error), expected, "{schedule} after {after}");
        };
        check("* * * * *", "2026-11-24T03:00:00Z", "2026-11-24T03:01:00Z");
        check("* * * * *", "2026-11-24T03:00:59.9Z", "2026-11-24T03:01:00Z");
        check("*/15 * * * *", "2026-11-24T03:50:00Z", "2026-11-24T04:00:00Z");
        check("5/20 3,4 * * ?", "2026-11-24T03:45:00Z", "2026-11-24T04:05:00Z");
        check("0 0 29 2 *", "2026-11-24T03:00:00Z", "2028-02-29T00:00:00Z");
        check("0 9 * * mon-FRI", "2026-11-27T10:00:00Z", "2026-11-30T09:00:00Z");
        check("0 0 13 * 5", "2026-11-24T00:00:00Z", "2026-11-27T00:00:00Z");
        check("@monthly", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
        check("@every 90s", "2026-11-24T03:00:00.5Z", "2026-11-24T03:01:30Z");
        check("0 0 31 2 *", "2026-11-24T00:00:00Z", "never");
        check("60 * * * *", "2026-11-24T00:00:00Z", "end of range (60) above maximum (59): 60");
        check(
            "x * * * *",
            "2026-11-24T00:00:00Z",
            "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
        );
        check("* * * *", "2026-11-24T00:00:00Z", "expected exactly 5 fields, found 4: [* * * *]");
        check("@never", "2026-11-24T00:00:00Z", "unrecognized descriptor: @never");
    }

    #[test]
    fn the_last_time() {
        let check = |schedule: &str, since: &str, expected: Option<(&str, bool)>| {
            let (since, now) = (since.parse().unwrap(), "2026-11-24T03:30:10Z".parse().unwrap());
            let found = Schedule::parse(schedule).unwrap().last(since, now, &TimeZone::UTC);
            assert_eq!(found, expected.map(|(at, many)| (at.parse().unwrap(), many)), "{schedule} since {since}");
        };
        check("* * * * *", "2026-11-24T03:30:00Z", None);
        check("* * * * *", "2026-11-24T03:29:00Z", Some(("2026-11-24T03:30:00Z", false)));
        check("* * * * *", "2025-01-01T00:00:00Z", Some(("2026-11-24T03:30:00Z", true)));
        check("0 0 1 1 *", "2020-06-01T00:00:00Z", Some(("2026-01-01T00:00:00Z", false)));
        check("@every 1h", "2026-11-24T01:00:00Z", Some(("2026-11-24T03:00:00Z", false)));
    }
}
