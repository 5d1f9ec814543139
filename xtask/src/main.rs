//! Development tasks: `cargo xtask schema [--check]` makes (or checks) the schema table of the built-in API types.

mod schema;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["schema"] => schema::run(schema::Mode::Write),
        ["schema", "--check"] => schema::run(schema::Mode::Check),
        _ => bail!("usage: cargo xtask schema [--check]"),
    }
}
