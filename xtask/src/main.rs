//! Development tasks: `cargo xtask schema` makes the schema table.

fn main() {}
