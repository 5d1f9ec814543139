//! `resource.Quantity`: exact decimal amounts with suffixes, in upstream's canonical form.
//!
//! Kept as an integer of nanos, which is the finest amount upstream keeps, so sums and comparisons are exact.

use std::{borrow::Cow, cmp::Ordering, fmt, iter::Sum, ops, str::FromStr};

const NANO: i128 = 1_000_000_000;

/// An amount: `500m`, `128Mi`, `2e3`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// How a quantity was written, and so is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `m`, none, `k`, `M`, …
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, …
    BinarySi,
    /// `e3`.
    DecimalExponent,
}

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoQuantity {
    /// It does not look like one.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Form,
    /// It looks like one, with a suffix that does not exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole amount.
    pub const fn new(value: i64, format: Format) -> Self {
        Self { nanos: value as i128 * NANO, format }
    }

    /// An amount of thousandths (`cpu`).
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis as i128 * (NANO / 1000), format: Format::DecimalSi }
    }

    /// An amount of billionths (`cpu`, measured).
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos: nanos as i128, format: Format::DecimalSi }
    }

    /// The same amount, shown in another way.
    #[must_use]
    pub const fn shown_as(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// An amount of bytes (`memory`).
    pub const fn from_bytes(bytes: i64) -> Self {
        Self::new(bytes, Format::BinarySi)
    }

    /// The amount, rounded up to a whole (away from zero, as upstream), bounded to 64 bits.
    pub fn value(self) -> i64 {
        clamp(round_away(self.nanos, NANO))
    }

    /// The amount in thousandths, rounded up.
    pub fn milli_value(self) -> i64 {
        clamp(round_away(self.nanos, NANO / 1000))
    }

    /// How often `other` goes into it, rounded up; the largest number there is if `other` is nothing.
    pub fn divided_by(self, other: Self) -> i64 {
        if other.nanos == 0 { i64::MAX } else { clamp(round_away(self.nanos, other.nanos)) }
    }

    /// As a floating point number, for ratios.
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// How it is shown.
    pub fn format(self) -> Format {
        self.format
    }
}

fn round_away(nanos: i128, unit: i128) -> i128 {
    let whole = nanos / unit;
    if nanos % unit == 0 { whole } else { whole + nanos.signum() }
}

fn clamp(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

impl FromStr for Quantity {
    type Err = NoQuantity;

    fn from_str(text: &str) -> Result<Self, NoQuantity> {
        Parts::of(text)?.quantity()
    }
}

/// The form in which upstream's server writes a quantity that it read as `text`: a text that is as good as canonical stays.
///
/// # Errors
/// When it is none.
pub fn canonical(text: &str) -> Result<Cow<'_, str>, NoQuantity> {
    let text = text.trim();
    let parts = Parts::of(text)?;
    if parts.is_kept() {
        return Ok(Cow::Borrowed(text));
    }
    parts.quantity().map(|q| Cow::Owned(q.to_string()))
}

/// What a quantity's text consists of.
struct Parts<'a> {
    negative: bool,
    /// Digits before the point, without leading zeros.
    whole: &'a str,
    fraction: &'a str,
    base: i128,
    exponent: i32,
    format: Format,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, NoQuantity> {
        let (negative, unsigned) = match text.as_bytes().first().ok_or(NoQuantity::Form)? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits = |text: &'a str| text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let (whole, rest) = digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        let letters = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
        let exponent = letters.strip_prefix(['-', '+']).unwrap_or(letters);
        if !exponent.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NoQuantity::Form);
        }
        let (base, exponent, format) = scale(suffix)?;
        Ok(Self { negative, whole: whole.trim_start_matches('0'), fraction, base, exponent, format })
    }

    /// Whether upstream keeps the text as it is: not always the shortest one, but one with a suffix that fits.
    fn is_kept(&self) -> bool {
        let whole = if self.whole.is_empty() { "0" } else { self.whole };
        if self.format == Format::BinarySi {
            // what is bigger goes another way, where texts are not kept
            let room = 15 - whole.len() as i32 - (self.exponent as f32 * 3.0 / 10.0) as i32 - 1;
            return self.fraction.is_empty() && room >= 0 && whole.parse::<i64>().is_ok_and(|n| n & 7 != 0);
        }
        let scale = self.exponent - self.fraction.len() as i32;
        whole.len() + self.fraction.len() <= 18
            && scale >= -9
            && scale % 3 == 0
            && !whole.starts_with('0')
            && !(format!("{whole}{}", self.fraction).ends_with("000"))
    }

    fn quantity(&self) -> Result<Quantity, NoQuantity> {
        let nanos = magnitude(self.whole, self.fraction, self.base, self.exponent);
        Ok(Quantity { nanos: if self.negative { -nanos } else { nanos }, format: self.format })
    }
}

/// Suffix → (base, exponent, format).
fn scale(suffix: &str) -> Result<(i128, i32, Format), NoQuantity> {
    Ok(match suffix {
        "" => (10, 0, Format::DecimalSi),
        "n" => (10, -9, Format::DecimalSi),
        "u" => (10, -6, Format::DecimalSi),
        "m" => (10, -3, Format::DecimalSi),
        "k" => (10, 3, Format::DecimalSi),
        "M" => (10, 6, Format::DecimalSi),
        "G" => (10, 9, Format::DecimalSi),
        "T" => (10, 12, Format::DecimalSi),
        "P" => (10, 15, Format::DecimalSi),
        "E" => (10, 18, Format::DecimalSi),
        "Ki" => (2, 10, Format::BinarySi),
        "Mi" => (2, 20, Format::BinarySi),
        "Gi" => (2, 30, Format::BinarySi),
        "Ti" => (2, 40, Format::BinarySi),
        "Pi" => (2, 50, Format::BinarySi),
        "Ei" => (2, 60, Format::BinarySi),
        other => {
            let digits = other.strip_prefix(['e', 'E']).ok_or(NoQuantity::Suffix)?;
            let exponent: i64 = digits.parse().map_err(|_| NoQuantity::Suffix)?;
            (10, exponent.clamp(-1000, 1000) as i32, Format::DecimalExponent)
        }
    })
}

/// `whole.fraction × base^exponent` in nanos, rounded up. Binary amounts end at 2^63-1, as upstream; decimal ones have no bound there,
/// and one of 29 digits here.
fn magnitude(whole: &str, fraction: &str, base: i128, exponent: i32) -> i128 {
    const ENOUGH: i128 = i64::MAX as i128 * NANO;
    const MOST: i128 = i128::MAX / NANO * NANO;
    if base == 2 {
        let mut digits: i128 = 0;
        let mut shift: i128 = 1;
        for b in whole.bytes() {
            digits = digits.saturating_mul(10).saturating_add((b - b'0').into());
        }
        // 12 digits after the point are finer than a nano of the largest suffix that can matter
        for b in fraction.bytes().take(12) {
            digits = digits.saturating_mul(10).saturating_add((b - b'0').into());
            shift *= 10;
        }
        if digits >= ENOUGH {
            return ENOUGH;
        }
        // split, so that nothing overflows: whole and rest are scaled apart
        let factor = 1i128 << exponent;
        let (quotient, rest) = (digits / shift, digits % shift);
        let scaled = quotient.saturating_mul(factor).saturating_mul(NANO);
        let per = (rest * factor)
            .checked_mul(NANO)
            .map_or_else(|| (rest * factor / shift).saturating_mul(NANO), |n| (n + shift - 1) / shift);
        return scaled.saturating_add(per).min(ENOUGH);
    }
    // decimal: move the point by exponent + 9 digits, round what lies behind it up
    let keep = i64::from(exponent) + 9 + whole.len() as i64;
    let mut nanos: i128 = 0;
    let mut lost = false;
    for (i, b) in whole.bytes().chain(fraction.bytes()).enumerate() {
        if (i as i64) < keep {
            nanos = nanos.saturating_mul(10).saturating_add((b - b'0').into());
        } else {
            lost |= b != b'0';
        }
    }
    let missing = keep - (whole.len() + fraction.len()) as i64;
    for _ in 0..missing.max(0) {
        if nanos == 0 || nanos >= MOST {
            break;
        }
        nanos = nanos.saturating_mul(10);
    }
    nanos.saturating_add(lost.into()).min(MOST)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANO == 0;
        // upstream shows small binary amounts as decimals
        let binary = self.format == Format::BinarySi && whole && self.nanos.abs() >= 1024 * NANO;
        if binary {
            let (mut value, mut step) = (self.nanos / NANO, 0);
            while value % 1024 == 0 && step + 1 < BINARY.len() {
                value /= 1024;
                step += 1;
            }
            return write!(f, "{value}{}", BINARY[step]);
        }
        let (mut value, mut step) = (self.nanos, 0);
        while value % 1000 == 0 && step + 1 < DECIMAL.len() {
            value /= 1000;
            step += 1;
        }
        match self.format {
            Format::DecimalExponent if step != 3 => write!(f, "{value}e{}", step as i32 * 3 - 9),
            _ => write!(f, "{value}{}", DECIMAL[step]),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl ops::Add for Quantity {
    type Output = Self;

    /// The sum; an empty left side takes the right side's format, as upstream.
    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}

impl ops::Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_sub(other.nanos), format }
    }
}

impl ops::AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl ops::SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, ops::Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_form() {
        for (text, canonical) in [
            ("0", "0"),
            ("0.0Mi", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Mi", "512Ki"),
            ("100Ki", "100Ki"),
            ("1000Ki", "1000Ki"),
            ("1000k", "1M"),
            ("12e6", "12e6"),
            ("1e3", "1e3"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            ("-1.1", "-1100m"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1000Ei", "9223372036854775807"),
            ("Ki", "0"),
            ("-", "0"),
        ] {
            let got = text.parse::<Quantity>().map(|q| q.to_string()).unwrap_or_default();
            assert_eq!(got, canonical, "{text}");
        }
    }

    #[test]
    fn what_is_written_of_what_was_read() {
        const FORM: &str =
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        const SUFFIX: &str = "unable to parse quantity's suffix";
        for (text, written) in [
            ("1000m", "1"),
            ("0.1", "100m"),
            ("1024Mi", "1Gi"),
            ("8Mi", "8Mi"),
            ("16Ki", "16Ki"),
            ("1025Ki", "1025Ki"),
            (" 2 ", "2"),
            // kept, though there are shorter ones
            ("+5", "+5"),
            ("05", "05"),
            ("5.", "5."),
            ("1.500", "1.500"),
            ("1.500Gi", "1536Mi"),
            ("1E3", "1E3"),
            ("1e03", "1e03"),
            ("1e1", "10"),
            ("1000e3", "1e6"),
            ("1.5e3", "1500"),
            ("1e-3", "1e-3"),
            ("0.100", "100m"),
            ("0.000", "0"),
            ("-0", "0"),
            ("1e99999999999999999999", SUFFIX),
            ("1e", SUFFIX),
            ("1m5", SUFFIX),
            ("1i", SUFFIX),
            ("--1", SUFFIX),
            ("512Bi", FORM),
            ("", FORM),
            ("1.1.1", FORM),
            ("a", FORM),
            ("1 Gi", FORM),
        ] {
            let got = canonical(text).map_or_else(|e| e.to_string(), Cow::into_owned);
            assert_eq!(got, written, "{text:?}");
        }
    }

    #[test]
    fn values_and_sums() {
        for (text, value, milli) in
            [("1", 1, 1000), ("100m", 1, 100), ("1500m", 2, 1500), ("1Ki", 1024, 1_024_000), ("1u", 1, 1), ("0", 0, 0)]
        {
            let q: Quantity = text.parse().unwrap();
            assert_eq!((q.value(), q.milli_value()), (value, milli), "{text}");
        }
        let sum: Quantity = ["100m", "0.9", "1Ki"].iter().map(|t| t.parse::<Quantity>().unwrap()).sum();
        assert_eq!(sum.to_string(), "1025");
        let sum: Quantity = ["1Gi", "512Mi"].iter().map(|t| t.parse::<Quantity>().unwrap()).sum();
        assert_eq!(sum.to_string(), "1536Mi");
        assert!("1Gi".parse::<Quantity>().unwrap() > "1G".parse().unwrap());
    }

    proptest! {
        #[test]
        fn canonical_form_is_stable(text in "[+-]?[0-9]{0,25}\\.?[0-9]{0,15}(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e-?[0-9]{1,3})?") {
            if let Ok(q) = text.parse::<Quantity>() {
                let shown = q.to_string();
                let again: Quantity = shown.parse().unwrap();
                prop_assert_eq!(again, q, "{}", &shown);
                prop_assert_eq!(again.to_string(), shown);
                let _ = (q.value(), q.milli_value(), q + q);
            }
        }
    }
}
