//! Everything that reads what strangers send, as functions from bytes: one [`Target`] for each reader.
//!
//! A target may not panic, hang or swell, whatever the bytes are, and checks what must hold of the result. `fuzz/` gives each to libFuzzer
//! (docs/contributing.md); the test of this crate runs each on its seeds and on a number of mutations of them.
//! Development only.

mod mutate;
mod targets;

pub use mutate::Mutations;
pub use targets::all;

/// One reader.
pub struct Target {
    /// Its name, and that of the fuzz target.
    pub name: &'static str,
    /// Reads; panics if something is wrong.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: &'static [&'static [u8]],
}

/// Runs the target of that name, if there is one.
pub fn run(name: &str, input: &[u8]) {
    if let Some(target) = all().find(|t| t.name == name) {
        (target.run)(input);
    }
}
