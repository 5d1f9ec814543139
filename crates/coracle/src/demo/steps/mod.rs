//! The steps of the story, one file each.

pub mod cluster;
pub mod collector;
pub mod db;
pub mod pair;
pub mod restart;
pub mod web;

use coracle_api::Object;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// The objects that are not on their way out.
fn staying(objects: &BTreeMap<String, Arc<Object>>) -> Vec<Arc<Object>> {
    objects.values().filter(|o| !o.meta().is_deleting()).cloned().collect()
}

/// The uids of objects.
fn uids(objects: &[Arc<Object>]) -> Vec<String> {
    objects.iter().map(|o| o.meta().uid.clone()).collect()
}

/// The node that a pod runs on.
fn node_of(pod: &Object) -> String {
    pod.value()["spec"]["nodeName"].as_str().unwrap_or_default().to_string()
}

/// A pod's address.
fn ip_of(pod: &Object) -> String {
    pod.value()["status"]["podIP"].as_str().unwrap_or_default().to_string()
}

/// How often the containers of a pod were restarted.
fn restarts(pod: &Value) -> u64 {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses.into_iter().filter_map(|c| c["restartCount"].as_u64()).sum()
}

/// The ids of a pod's containers.
fn containers(pod: &Value) -> Vec<String> {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses.into_iter().filter_map(|c| c["containerID"].as_str().map(str::to_string)).collect()
}
