//! `coracle status`.

use super::Command;
use crate::{
    cluster::{layout::Layout, wait},
    settings::Values,
};
use anyhow::Result;
use coracle_api::{ListOptions, Resource};
use coracle_client::{Client, http::HttpClient};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use std::process::ExitCode;

/// The command.
pub static COMMAND: Command = Command {
    name: "status",
    about: "Show whether the cluster of a data directory runs, and how",
    settings: &["data-dir", "json"],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    let layout = Layout::open(&values.path("data-dir"))?;
    let Some(state) = layout.state() else {
        if values.on("json") {
            println!("{}", json!({"running": false}));
        } else {
            println!("no cluster runs in {}", layout.root().display());
        }
        return Ok(ExitCode::FAILURE);
    };
    let client = HttpClient::from_kubeconfig(&layout.kubeconfig(), None)?;
    let nodes = client.list(&Resource::of::<Node>(), "", &ListOptions::default()).await;
    let pods = client.list(&Resource::of::<Pod>(), "", &ListOptions::default()).await;
    let api = match &nodes {
        Ok(_) => "ready".to_string(),
        Err(error) => error.to_string(),
    };
    let nodes: Vec<(String, bool)> =
        nodes.map(|n| n.items.iter().map(|n| (n.meta().name.clone(), wait::ready(n))).collect()).unwrap_or_default();
    let pods: Vec<bool> = pods.map(|p| p.items.iter().map(|p| wait::ready(p)).collect()).unwrap_or_default();
    let ready_pods = pods.iter().filter(|ready| **ready).count();
    let supervised = state.supervisor.lives();
    if values.on("json") {
        let nodes: Vec<_> = nodes.iter().map(|(name, ready)| json!({"name": name, "ready": ready})).collect();
        println!(
            "{}",
            json!({"running": true, "name": state.name, "supervisor": supervised, "api": api, "nodes": nodes,
                "pods": {"total": pods.len(), "ready": ready_pods}, "kubeconfig": layout.kubeconfig()})
        );
    } else {
        println!(
            "cluster {:?}, supervisor {}",
            state.name,
            if supervised { "running" } else { "gone: `coracle up` takes over" }
        );
        println!("API {api} at https://{}:{}", state.gateway(), state.port);
        for (name, ready) in &nodes {
            let ip = state.nodes.iter().find(|n| n.name == *name).map_or("elsewhere".into(), |n| n.ip.to_string());
            println!("  {name} {ip} {}", if *ready { "Ready" } else { "NotReady" });
        }
        println!("{ready_pods} of {} pods ready", pods.len());
    }
    let well = supervised && api == "ready" && nodes.iter().all(|(_, ready)| *ready);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
