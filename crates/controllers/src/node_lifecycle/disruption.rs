//! When many nodes seem lost at once, the fault is more likely here than there: then nobody is driven off.
//!
//! Source: `pkg/controller/nodelifecycle`: zone states, `--node-eviction-rate`, `--unhealthy-zone-threshold`, `--large-cluster-size-threshold`.

use jiff::Timestamp;
use std::{collections::HashMap, time::Duration};

/// Between two nodes whose pods are driven off.
const PACE: Duration = Duration::from_secs(10);
/// The same while a large part of a large cluster is lost.
const SLOW_PACE: Duration = Duration::from_secs(100);
/// A cluster of more nodes is large.
const LARGE: usize = 50;
/// This part of all nodes lost is a disruption (in percent).
const THRESHOLD: usize = 55;

/// Whether pods may be driven off a lost node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// They may.
    Allowed,
    /// Not from nodes from which they are not driven off already.
    Hold,
    /// From no node: all are lost.
    Lift,
}

/// Who is ready, kept from change to change.
#[derive(Default)]
pub struct Census {
    seeded: bool,
    nodes: HashMap<String, bool>,
    ready: usize,
    next: Option<Timestamp>,
}

impl Census {
    /// Takes note of the nodes that there are, the first time.
    pub fn seed(&mut self, nodes: impl FnOnce() -> Vec<(String, bool)>) {
        if !std::mem::replace(&mut self.seeded, true) {
            for (name, ready) in nodes() {
                self.note(&name, Some(ready));
            }
        }
    }

    /// Takes note of a node (`None`: it is gone); whether [`Census::eviction`] changed by that.
    pub fn note(&mut self, name: &str, ready: Option<bool>) -> bool {
        let before = self.eviction();
        let old = match ready {
            Some(ready) => self.nodes.insert(name.into(), ready),
            None => self.nodes.remove(name),
        };
        self.ready -= usize::from(old == Some(true));
        self.ready += usize::from(ready == Some(true));
        self.eviction() != before
    }

    /// What may be done.
    pub fn eviction(&self) -> Eviction {
        match self.nodes.len() {
            0 => Eviction::Allowed,
            _ if self.ready == 0 => Eviction::Lift,
            all if self.partial() && all <= LARGE => Eviction::Hold,
            _ => Eviction::Allowed,
        }
    }

    fn partial(&self) -> bool {
        let lost = self.nodes.len() - self.ready;
        lost > 2 && lost * 100 >= self.nodes.len() * THRESHOLD
    }

    /// Takes the turn to drive pods off one more node.
    ///
    /// # Errors
    /// How long to wait for the next turn.
    pub fn take_turn(&mut self, now: Timestamp) -> Result<(), Duration> {
        if let Some(next) = self.next.filter(|next| *next > now) {
            return Err(now.duration_until(next).unsigned_abs());
        }
        self.next = Some(now + if self.partial() { SLOW_PACE } else { PACE });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_driven_off_when_all_seem_lost() {
        for (ready, lost, expected) in [
            (0, 0, Eviction::Allowed),
            (2, 1, Eviction::Allowed),
            (1, 2, Eviction::Allowed),
            (0, 1, Eviction::Lift),
            (2, 3, Eviction::Hold),
            (40, 60, Eviction::Allowed),
        ] {
            let mut census = Census::default();
            census.seed(|| (0..ready).map(|n| (format!("r{n}"), true)).collect());
            for n in 0..lost {
                census.note(&format!("l{n}"), Some(true));
                census.note(&format!("l{n}"), Some(false));
            }
            assert_eq!(census.eviction(), expected, "{ready} ready, {lost} lost");
        }
    }

    #[test]
    fn one_node_after_the_other() {
        let mut census = Census::default();
        let now = crate::testing::now();
        assert_eq!(census.take_turn(now), Ok(()));
        assert_eq!(census.take_turn(now), Err(PACE));
        assert_eq!(census.take_turn(now + PACE), Ok(()));
    }
}
