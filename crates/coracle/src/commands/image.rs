//! `coracle image`: the images that all nodes of this machine share.

use super::{Action, Command};
use crate::{cluster::layout::Layout, settings::Values};
use anyhow::{Context, Result};
use coracle_runtime::ImageStore;
use indicatif::{ProgressBar, ProgressStyle};
use std::{path::PathBuf, process::ExitCode};
use tokio::sync::mpsc;

/// The command.
pub static COMMAND: Command = Command {
    name: "image",
    about: "The images on this machine",
    settings: &[],
    arguments: &[],
    action: Action::Group(&[&LOAD, &DEMO, &LIST, &REMOVE]),
};

static LOAD: Command = Command {
    name: "load",
    about: "Read images from OCI or Docker archives",
    settings: &["data-dir", "images-dir"],
    arguments: &["ARCHIVE..."],
    action: crate::run!(load),
};

static DEMO: Command = Command {
    name: "demo",
    about: "Make the images of the demo from this program, for examples/ and the chart",
    settings: &["data-dir", "images-dir"],
    arguments: &[],
    action: crate::run!(demo),
};

static LIST: Command = Command {
    name: "list",
    about: "List images",
    settings: &["data-dir", "images-dir", "json"],
    arguments: &[],
    action: crate::run!(list),
};

static REMOVE: Command = Command {
    name: "remove",
    about: "Remove images by name or id",
    settings: &["data-dir", "images-dir"],
    arguments: &["IMAGE..."],
    action: crate::run!(remove),
};

fn open(values: &Values) -> Result<ImageStore> {
    let dir = match values.get("images-dir") {
        "" => Layout::open(&values.path("data-dir"))?.images(),
        dir => dir.into(),
    };
    ImageStore::open(&dir, Vec::new()).with_context(|| format!("the images in {} cannot be used", dir.display()))
}

async fn load(values: Values) -> Result<ExitCode> {
    let store = open(&values)?;
    for archive in &values.arguments {
        let (progress, mut seen) = mpsc::channel::<coracle_runtime::Progress>(16);
        let bar =
            ProgressBar::no_length().with_style(ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes}")?);
        let shown = bar.clone();
        let watching = tokio::spawn(async move {
            while let Some(step) = seen.recv().await {
                shown.set_message(step.item);
                shown.set_length(step.total.max(step.done));
                shown.set_position(step.done);
            }
        });
        let (store, path) = (store.clone(), PathBuf::from(archive));
        let images = tokio::task::spawn_blocking(move || store.load(&path, Some(&progress))).await?;
        watching.await?;
        bar.finish_and_clear();
        for image in images.with_context(|| format!("{archive} cannot be loaded"))? {
            println!("{} {}", image.tags.first().unwrap_or(&image.id), image.id);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn demo(values: Values) -> Result<ExitCode> {
    let store = open(&values)?;
    let archive = Layout::open(&values.path("data-dir"))?.run().join(format!("demo-{}.tar", std::process::id()));
    let loaded = tokio::task::spawn_blocking(move || {
        let loaded = crate::demo::images::archive(&archive).and_then(|()| Ok(store.load(&archive, None)?));
        // half of an archive is of no use either
        let _ = std::fs::remove_file(&archive);
        loaded
    });
    let images = loaded.await?.context("the demo images cannot be made")?;
    for name in images.iter().flat_map(|image| &image.tags) {
        println!("{name}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(values: Values) -> Result<ExitCode> {
    let images = open(&values)?.list()?;
    if values.on("json") {
        println!("{}", serde_json::to_string_pretty(&images)?);
        return Ok(ExitCode::SUCCESS);
    }
    for image in images {
        for name in if image.tags.is_empty() { &image.digests } else { &image.tags } {
            println!("{name}\t{}\t{}", image.id, indicatif::HumanBytes(image.size));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(values: Values) -> Result<ExitCode> {
    let store = open(&values)?;
    for name in &values.arguments {
        store.remove(name).with_context(|| format!("{name} cannot be removed"))?;
        println!("{name} removed");
    }
    Ok(ExitCode::SUCCESS)
}
