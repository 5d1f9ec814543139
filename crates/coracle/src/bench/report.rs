//! What is printed, and the little statistics behind it.

use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// How the benchmark speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table, line by line as the figures come.
    Table,
    /// One JSON object per figure.
    Json,
}

/// One figure.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// How it was measured.
    pub how: String,
}

/// The table's head.
pub fn head(output: Output) {
    if output == Output::Table {
        println!("{:<36} {:>10} {:<6}  how measured", "measure", "value", "unit");
    }
}

/// One line.
pub fn row(output: Output, row: &Row) {
    match output {
        Output::Table => println!("{:<36} {:>10} {:<6}  {}", row.name, shown(row.value), row.unit, row.how),
        Output::Json => {
            let value = (row.value * 1000.0).round() / 1000.0;
            println!("{}", json!({"name": row.name, "value": value, "unit": row.unit, "how": row.how}));
        }
    }
}

/// A measure that could not be taken.
pub fn failure(output: Output, measure: &str, error: &anyhow::Error) {
    match output {
        Output::Table => println!("{measure:<36} {:>10} {:<6}  {error:#}", "failed", ""),
        Output::Json => println!("{}", json!({"name": measure, "error": format!("{error:#}")})),
    }
}

/// Three significant digits below a thousand, whole numbers above.
fn shown(value: f64) -> String {
    let digits = match value.abs() {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// The value below which `share` of the sorted `values` lie.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// So many in this time, per second.
#[allow(clippy::cast_precision_loss)]
pub fn per_second(count: usize, duration: Duration) -> f64 {
    count as f64 / duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (values, share, expected) in [
            (hundred.as_slice(), 0.5, 50.0),
            (hundred.as_slice(), 0.99, 99.0),
            (hundred.as_slice(), 1.0, 100.0),
            (&[7.0], 0.5, 7.0),
            (&[3.0, 1.0, 2.0], 0.5, 2.0),
        ] {
            assert_eq!(quantile(&mut values.to_vec(), share), expected, "{share}");
        }
        assert!(quantile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn figures_have_three_digits() {
        for (value, text) in [(0.126, "0.13"), (12.34, "12.3"), (123.4, "123"), (12_345.6, "12346")] {
            assert_eq!(shown(value), text);
        }
    }
}
