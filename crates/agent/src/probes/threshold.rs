//! How many successes or failures in a row it takes.

/// What is known so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not enough in a row.
    Undecided,
    /// Enough successes.
    Good,
    /// Enough failures.
    Bad,
}

/// Counts results in a row.
#[derive(Clone, Debug)]
pub(super) struct Threshold {
    success: u32,
    failure: u32,
    last: bool,
    run: u32,
}

impl Threshold {
    pub(super) fn new(success: u32, failure: u32) -> Self {
        Self { success, failure, last: false, run: 0 }
    }

    pub(super) fn record(&mut self, success: bool) -> Verdict {
        self.run = if success == self.last { self.run + 1 } else { 1 };
        self.last = success;
        match (success, self.run) {
            (true, run) if run >= self.success => Verdict::Good,
            (false, run) if run >= self.failure => Verdict::Bad,
            _ => Verdict::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_in_a_row_count() {
        for (success, failure, results, expected) in [
            (1, 3, "--+", "uug"),
            (1, 3, "---+", "uubg"),
            (2, 2, "++-+--", "uguuub"),
            (1, 1, "+-+", "gbg"),
            (3, 1, "+++", "uug"),
        ] {
            let mut threshold = Threshold::new(success, failure);
            let got: String = results
                .chars()
                .map(|c| match threshold.record(c == '+') {
                    Verdict::Undecided => 'u',
                    Verdict::Good => 'g',
                    Verdict::Bad => 'b',
                })
                .collect();
            assert_eq!(got, expected, "{success} {failure} {results}");
        }
    }
}
