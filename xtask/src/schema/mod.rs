//! The schema table: facts of every built-in API type, read from the sources of `k8s-openapi` (types, descriptions,
//! list topology) and `k8s-pb` (patch markers), and of protobuf from `wire.txt`, written as text that is checked in.
//!
//! Reading sources instead of linking them keeps ordinary builds (and this one) free of two big crates.

mod literal;
mod metrics;
mod openapi;
mod overrides;
mod protobuf;
mod wire;
mod write;

use crate::{
    Mode,
    metadata::{self, packages, text},
};
use anyhow::{Context, Result, bail};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// One API type.
#[derive(Default)]
pub struct Type {
    description: String,
    fields: BTreeMap<String, Field>,
    /// The whole type is one value for server-side apply.
    atomic: bool,
    /// Not a struct: raw JSON, a quantity, a time.
    scalar: Option<&'static str>,
    kind: Option<Kind>,
}

/// What makes a type a kind with a resource.
struct Kind {
    group: String,
    version: String,
    kind: String,
    plural: String,
    namespaced: bool,
    list: Option<String>,
}

/// One field of a type.
#[derive(Default)]
pub struct Field {
    description: String,
    shape: String,
    required: bool,
    /// Where and how it stands in protobuf, as in `wire.txt`; empty if unknown.
    wire: String,
    patch: String,
    default: String,
}

/// Entry point of the task.
pub fn run(mode: Mode) -> Result<()> {
    let sources = sources()?;
    let mut types = openapi::read(&sources.k8s_openapi)?;
    types.extend(metrics::types());
    protobuf::add(&sources.k8s_pb, &mut types)?;
    wire::add(&mut types)?;
    overrides::add(&mut types);
    let table = write::table(&types);
    let descriptions = write::descriptions(&types);
    let dir = metadata::root().join("crates/api/src/schema");
    let (table_path, descriptions_path) = (dir.join("builtin.txt"), dir.join("descriptions.txt.gz"));
    if mode == Mode::Check {
        let mut kept = String::new();
        GzDecoder::new(fs::File::open(&descriptions_path)?).read_to_string(&mut kept)?;
        if fs::read_to_string(&table_path)? != table || kept != descriptions {
            bail!("the schema table is stale: run `cargo xtask schema` and commit the result");
        }
        return Ok(());
    }
    fs::write(&table_path, table)?;
    let mut gz = GzEncoder::new(Vec::new(), Compression::best());
    gz.write_all(descriptions.as_bytes())?;
    fs::write(&descriptions_path, gz.finish()?)?;
    println!("{} types", types.len());
    Ok(())
}

struct Sources {
    k8s_openapi: PathBuf,
    k8s_pb: PathBuf,
}

fn sources() -> Result<Sources> {
    let metadata = metadata::read()?;
    let find = |name: &str| -> Result<PathBuf> {
        let package =
            packages(&metadata).find(|p| text(p, "name") == name).with_context(|| format!("no crate {name}"))?;
        Ok(Path::new(text(package, "manifest_path")).with_file_name("src"))
    };
    Ok(Sources { k8s_openapi: find("k8s-openapi")?.join("v1_37"), k8s_pb: find("k8s-pb")? })
}

/// All Rust files below `dir`, sorted.
fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
