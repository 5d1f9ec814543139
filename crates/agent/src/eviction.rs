//! When a node is short of something: hard eviction thresholds, in the kubelet's form (`--eviction-hard`), and what is measured against them.
//!
//! Source: <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/>.

use coracle_api::quantity::Quantity;
use std::{fmt, fs, path::Path, str::FromStr};

/// What a machine of its own keeps free. A tenth of a modern disk is far more than a node needs, hence less than the kubelet's 10 %.
pub const DEFAULT: &str = "memory.available<100Mi,nodefs.available<5%,nodefs.inodesFree<5%,imagefs.available<5%";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Bytes of memory that are free or can be freed.
    Memory,
    /// Bytes of the file system with the data directory.
    NodeBytes,
    /// Inodes of the same.
    NodeInodes,
    /// Bytes of the file system with the images.
    ImageBytes,
    /// Inodes of the same.
    ImageInodes,
    /// Process numbers.
    Pids,
}

/// Signals by the kubelet's names.
const SIGNALS: [(&str, Signal); 6] = [
    ("memory.available", Signal::Memory),
    ("nodefs.available", Signal::NodeBytes),
    ("nodefs.inodesFree", Signal::NodeInodes),
    ("imagefs.available", Signal::ImageBytes),
    ("imagefs.inodesFree", Signal::ImageInodes),
    ("pid.available", Signal::Pids),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Amount(u64),
    /// Of the whole, 0 to 1.
    Share(f64),
}

/// The least of each signal that must be left, `memory.available<100Mi,nodefs.available<5%`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds(Vec<(Signal, Limit)>);

/// Why a text says no thresholds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadThreshold {
    /// No `<`.
    #[error("{0:?} is not of the form SIGNAL<AMOUNT, such as nodefs.available<5%")]
    Form(String),
    /// Not a signal.
    #[error("{text:?} is no signal; there are {known}", text = .0, known = SIGNALS.map(|(name, _)| name).join(", "))]
    Signal(String),
    /// Twice the same.
    #[error("{0} is given twice")]
    Twice(String),
    /// Not an amount.
    #[error("{0:?} is neither a quantity (500Mi) nor a percentage between 0% and 100%")]
    Limit(String),
}

impl FromStr for Limit {
    type Err = BadThreshold;

    fn from_str(text: &str) -> Result<Self, BadThreshold> {
        let bad = || BadThreshold::Limit(text.to_string());
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| bad())?;
            return if (0.0..=100.0).contains(&percent) { Ok(Self::Share(percent / 100.0)) } else { Err(bad()) };
        }
        let amount: Quantity = text.parse().map_err(|_| bad())?;
        u64::try_from(amount.value()).map(Self::Amount).map_err(|_| bad())
    }
}

impl FromStr for Thresholds {
    type Err = BadThreshold;

    fn from_str(text: &str) -> Result<Self, BadThreshold> {
        let mut found: Vec<(Signal, Limit)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, limit) = part.split_once('<').ok_or_else(|| BadThreshold::Form(part.to_string()))?;
            let signal = SIGNALS.iter().find(|(known, _)| *known == name);
            let signal = signal.ok_or_else(|| BadThreshold::Signal(name.to_string()))?.1;
            if found.iter().any(|(earlier, _)| *earlier == signal) {
                return Err(BadThreshold::Twice(name.to_string()));
            }
            found.push((signal, limit.parse()?));
        }
        Ok(Self(found))
    }
}

impl fmt::Display for Thresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (signal, limit)) in self.0.iter().enumerate() {
            let name = SIGNALS.iter().find(|(_, known)| known == signal).map_or("", |(name, _)| name);
            let comma = if at == 0 { "" } else { "," };
            match limit {
                Limit::Amount(amount) => write!(f, "{comma}{name}<{amount}")?,
                Limit::Share(share) => write!(f, "{comma}{name}<{}%", share * 100.0)?,
            }
        }
        Ok(())
    }
}

/// How much there is of something, and how much of it is left. Zero of zero: it could not be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// All of it.
    pub total: u64,
    /// What is left.
    pub available: u64,
}

/// What was measured, by signal.
pub type Measured = dyn Fn(Signal) -> Amount;

/// What a node is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// `MemoryPressure`.
    pub memory: bool,
    /// `DiskPressure`.
    pub disk: bool,
    /// `PIDPressure`.
    pub pids: bool,
}

impl Thresholds {
    /// What must be left of `total`; 0 without a threshold.
    pub fn kept(&self, signal: Signal, total: u64) -> u64 {
        let limit = self.0.iter().find(|(known, _)| *known == signal).map(|(_, limit)| *limit);
        match limit {
            None => 0,
            Some(Limit::Amount(amount)) => amount,
            // both are below 2^53 wherever it matters, and a byte more or less does not
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            Some(Limit::Share(share)) => (total as f64 * share) as u64,
        }
    }

    /// Which of what was measured is below its threshold.
    pub fn pressure(&self, measured: &Measured) -> Pressure {
        let mut pressure = Pressure::default();
        for (signal, _) in &self.0 {
            let Amount { total, available } = measured(*signal);
            let short = total > 0 && available < self.kept(*signal, total);
            match signal {
                Signal::Memory => pressure.memory |= short,
                Signal::Pids => pressure.pids |= short,
                _ => pressure.disk |= short,
            }
        }
        pressure
    }
}

/// Measures a signal. `data` and `images` are directories on the file systems of the node and of its images.
pub fn measure(signal: Signal, data: &Path, images: &Path) -> Amount {
    match signal {
        Signal::Memory => memory(),
        Signal::Pids => pids(),
        Signal::NodeBytes => bytes(data),
        Signal::NodeInodes => inodes(data),
        Signal::ImageBytes => bytes(images),
        Signal::ImageInodes => inodes(images),
    }
}

/// Memory of the machine, and how much of it is free or can be freed.
pub fn memory() -> Amount {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Amount { total: meminfo(&text, "MemTotal"), available: meminfo(&text, "MemAvailable") }
}

/// Size of the file system under `path`, and what of it programs may still take.
pub fn bytes(path: &Path) -> Amount {
    nix::sys::statvfs::statvfs(path).map_or(Amount::default(), |found| Amount {
        total: found.blocks() * found.fragment_size(),
        available: found.blocks_available() * found.fragment_size(),
    })
}

/// As [`bytes`]; file systems that make inodes as they need them have none, and are never short of them.
fn inodes(path: &Path) -> Amount {
    nix::sys::statvfs::statvfs(path)
        .map_or(Amount::default(), |found| Amount { total: found.files(), available: found.files_available() })
}

/// Process numbers: the kernel's limits, and the tasks that there are.
fn pids() -> Amount {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let (most, threads) = (number("/proc/sys/kernel/pid_max"), number("/proc/sys/kernel/threads-max"));
    let total = most.into_iter().chain(threads).min().unwrap_or(0);
    // the fourth field is RUNNING/ALL
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let tasks = load.split(' ').nth(3).and_then(|field| field.split_once('/')?.1.parse::<u64>().ok());
    Amount { total, available: total.saturating_sub(tasks.unwrap_or(0)) }
}

fn meminfo(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read() {
        for (text, expected) in [
            ("memory.available<100Mi, nodefs.available<5%", "memory.available<104857600,nodefs.available<5%"),
            ("", ""),
            ("memory.available", r#""memory.available" is not of the form SIGNAL<AMOUNT, such as nodefs.available<5%"#),
            ("nodefs.available<101%", r#""101%" is neither a quantity (500Mi) nor a percentage between 0% and 100%"#),
            ("nodefs.available<-1", r#""-1" is neither a quantity (500Mi) nor a percentage between 0% and 100%"#),
            ("pid.available<1,pid.available<2", "pid.available is given twice"),
            (
                "disk<1",
                r#""disk" is no signal; there are memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, imagefs.inodesFree, pid.available"#,
            ),
        ] {
            let found = text.parse::<Thresholds>().map_or_else(|e| e.to_string(), |t| t.to_string());
            assert_eq!(found, expected, "{text}");
        }
        DEFAULT.parse::<Thresholds>().unwrap();
    }

    #[test]
    fn pressure_is_what_is_left_against_what_must_be() {
        let left = |total, available| Amount { total, available };
        for (text, signal, amount, expected) in [
            ("memory.available<100", Signal::Memory, left(1000, 99), "memory"),
            ("memory.available<100", Signal::Memory, left(1000, 100), ""),
            ("nodefs.available<10%", Signal::NodeBytes, left(1000, 99), "disk"),
            ("imagefs.inodesFree<10%", Signal::ImageInodes, left(1000, 99), "disk"),
            ("imagefs.inodesFree<10%", Signal::ImageInodes, left(0, 0), ""),
            ("pid.available<5", Signal::Pids, left(10, 4), "pids"),
            ("pid.available<5", Signal::Memory, left(10, 4), ""),
        ] {
            let found = text.parse::<Thresholds>().unwrap().pressure(&move |asked| {
                if asked == signal { amount } else { left(1000, 1000) }
            });
            let names = [(found.memory, "memory"), (found.disk, "disk"), (found.pids, "pids")];
            let names: Vec<&str> = names.iter().filter(|(short, _)| *short).map(|(_, name)| *name).collect();
            assert_eq!(names.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       24 kB\nMemAvailable:    1024 kB\n";
        for (field, expected) in [("MemTotal", 24 << 10), ("MemAvailable", 1 << 20), ("Nothing", 0)] {
            assert_eq!(meminfo(text, field), expected);
        }
    }

    #[test]
    fn this_machine_is_measured() {
        for (name, signal) in SIGNALS {
            let Amount { total, available } = measure(signal, Path::new("/"), Path::new("/"));
            assert!(
                available <= total && (total > 0 || name.ends_with("inodesFree")),
                "{name}: {available} of {total}"
            );
        }
    }
}
