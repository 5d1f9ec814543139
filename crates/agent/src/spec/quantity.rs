//! Quantities (`100m`, `64Mi`, `1e3`) as exact numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

const NANO: i128 = 1_000_000_000;

/// A quantity in units of 10⁻⁹; `None` if it cannot be read.
pub fn nano(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+' || c == '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (multiplier, divisor): (i128, i128) = match suffix {
        "" => (NANO, 1),
        "n" => (1, 1),
        "u" => (1_000, 1),
        "m" => (1_000_000, 1),
        "k" => (NANO * 1_000, 1),
        "M" => (NANO * 1_000_000, 1),
        "G" => (NANO * NANO, 1),
        "T" => (NANO * NANO * 1_000, 1),
        "P" => (NANO * NANO * 1_000_000, 1),
        "E" => (NANO * NANO * NANO, 1),
        "Ki" => (NANO << 10, 1),
        "Mi" => (NANO << 20, 1),
        "Gi" => (NANO << 30, 1),
        "Ti" => (NANO << 40, 1),
        "Pi" => (NANO << 50, 1),
        "Ei" => (NANO << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let ten = 10i128.checked_pow(power.unsigned_abs())?;
            if power >= 0 { (NANO.checked_mul(ten)?, 1) } else { (NANO, ten) }
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let digits = format!("{}{fraction}", whole.trim_start_matches(['-', '+']));
    if digits.is_empty() {
        return None;
    }
    let value = digits.parse::<i128>().ok()?.checked_mul(multiplier)?;
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(divisor)?;
    // fractions below the smallest unit round away from zero
    let value = (value + scale - 1) / scale;
    Some(if negative { -value } else { value })
}

fn ceil(nano: i128, unit: i128) -> i64 {
    i64::try_from((nano + unit - 1) / unit).unwrap_or(i64::MAX)
}

/// In thousandths, rounded up (CPU).
pub fn milli(quantity: &Quantity) -> i64 {
    ceil(nano(&quantity.0).unwrap_or(0), NANO / 1_000)
}

/// In whole units, rounded up (bytes, counts).
pub fn value(quantity: &Quantity) -> i64 {
    ceil(nano(&quantity.0).unwrap_or(0), NANO)
}

/// One entry of a resource list, not zero.
pub fn of<'a>(list: Option<&'a BTreeMap<String, Quantity>>, name: &str) -> Option<&'a Quantity> {
    list?.get(name).filter(|q| nano(&q.0).is_some_and(|n| n > 0))
}

/// `quantity / divisor`, rounded up: `resourceFieldRef`.
pub fn divided(quantity: &Quantity, divisor: Option<&Quantity>) -> i64 {
    let divisor = divisor.and_then(|d| nano(&d.0)).filter(|d| *d > 0).unwrap_or(NANO);
    ceil(nano(&quantity.0).unwrap_or(0), divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("1", Some(1_000)),
            ("100m", Some(100)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("1.5Ki", Some(1_536_000)),
            ("1e3", Some(1_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("5e-1", Some(500)),
            ("64Mi", Some(67_108_864_000)),
            ("-2", Some(-2_000)),
            ("", None),
            ("Mi", None),
            ("1x", None),
        ] {
            assert_eq!(nano(text).map(|n| n / 1_000_000), expected, "{text}");
        }
        assert_eq!(divided(&Quantity("1".into()), Some(&Quantity("1m".into()))), 1000);
        assert_eq!(divided(&Quantity("1500m".into()), None), 2);
    }
}
