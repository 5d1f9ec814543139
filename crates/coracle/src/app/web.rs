//! `web`: says who it is, what it was configured with, and how often it was asked.

use super::{env, http};
use anyhow::Result;
use serde_json::json;
use std::{cell::Cell, rc::Rc};

/// Serves on port 8080.
pub async fn run() -> Result<()> {
    let asked = Rc::new(Cell::new(0u64));
    println!("web {} in {} on {}", env("APP_VERSION"), env("POD_NAME"), env("NODE_NAME"));
    http::serve("0.0.0.0:8080", move |_, path, _| match path {
        "/" => {
            asked.set(asked.get() + 1);
            Some(json!({
                "pod": env("POD_NAME"), "node": env("NODE_NAME"), "version": env("APP_VERSION"), "asked": asked.get(),
                "greeting": {"env": env("GREETING"), "file": read("/etc/web/greeting")},
                "secret": !env("PASSWORD").is_empty() && env("PASSWORD") == read("/etc/secret/password"),
            }))
        }
        "/healthz" => Some(json!("ok")),
        _ => None,
    })
    .await
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_string()
}
