//! Real containers: needs root. The test's own executable is the shim and, since it is static, the program in the image.
//!
//! Run with a case's name to run only that; `figures` measures instead.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "containers/cases.rs"]
mod cases;
#[path = "containers/figures.rs"]
mod figures;
#[path = "containers/fixture.rs"]
mod fixture;
#[path = "containers/program.rs"]
mod program;

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = coracle_runtime::dispatch(&args) {
        return code;
    }
    if let Some(code) = program::run(&args) {
        return code;
    }
    let wanted: Vec<String> =
        args.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).filter(|a| !a.starts_with('-')).collect();
    if args.iter().any(|a| a == "--list") {
        cases::ALL.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: containers need root");
        return ExitCode::SUCCESS;
    }
    if wanted.first().is_some_and(|name| name == "figures") {
        figures::print();
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, case) in
        cases::ALL.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str())))
    {
        let result = std::panic::catch_unwind(|| fixture::run(*case));
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        failed += u8::from(result.is_err());
    }
    ExitCode::from(failed)
}
