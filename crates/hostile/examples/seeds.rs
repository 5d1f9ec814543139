//! Writes the seeds of all targets where libFuzzer looks for them: `cargo run -p coracle-hostile --example seeds fuzz/corpus`.

use std::{fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let corpus = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "fuzz/corpus".into()));
    for target in coracle_hostile::all() {
        let directory = corpus.join(target.name);
        fs::create_dir_all(&directory)?;
        for (number, seed) in target.seeds.iter().enumerate() {
            fs::write(directory.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
