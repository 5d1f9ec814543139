//! Numbers that may be percentages.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a fraction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To the next higher number.
    Up,
    /// To the next lower number.
    Down,
}

/// The number, or so many percent of `total`. What is neither counts as zero (validation does not let it in).
pub fn scaled(value: &IntOrString, total: i32, round: Round) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|p| p.parse().ok()).unwrap_or(0);
            let hundredths = percent * i64::from(total);
            let whole = match round {
                Round::Up => (hundredths + 99).div_euclid(100),
                Round::Down => hundredths.div_euclid(100),
            };
            whole.try_into().unwrap_or(i32::MAX)
        }
    }
}

/// A rolling update's two bounds. They cannot both be zero: then nothing could ever move.
pub fn fenceposts(surge: Option<&IntOrString>, unavailable: Option<&IntOrString>, desired: i32) -> (i32, i32) {
    let surge = surge.map_or(0, |v| scaled(v, desired, Round::Up));
    let unavailable = unavailable.map_or(0, |v| scaled(v, desired, Round::Down));
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked_and_bounds_are_never_both_zero() {
        let percent = |p: &str| IntOrString::String(p.into());
        assert_eq!(scaled(&percent("25%"), 10, Round::Up), 3);
        assert_eq!(scaled(&percent("25%"), 10, Round::Down), 2);
        assert_eq!(scaled(&IntOrString::Int(4), 10, Round::Down), 4);
        assert_eq!(fenceposts(Some(&percent("25%")), Some(&percent("25%")), 5), (2, 1));
        assert_eq!(fenceposts(Some(&IntOrString::Int(0)), Some(&percent("10%")), 5), (0, 1));
    }
}
