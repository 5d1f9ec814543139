//! `/stats/summary`: what the node and its pods use, as a kubelet tells it.
//!
//! `usageNanoCores` is the average of the last seconds. Who asks first, or after a long silence, waits for a second reading.

use super::usage::{self, Counters, PodUsage, Running};
use crate::{context::Node, pods, spec};
use serde_json::{Value, json};
use std::{collections::HashSet, time::Duration};

/// The window of the first answer.
const WINDOW: Duration = Duration::from_secs(1);
/// The node among what averages are kept of; ids of containers are hex digits.
const NODE: &str = "node";

pub(super) async fn summary(node: &Node) -> Value {
    let (first, cold) = look(node).await;
    if !cold {
        return first;
    }
    node.clock.sleep(WINDOW).await;
    look(node).await.0
}

/// One look, and whether of something running nothing can be told yet.
async fn look(node: &Node) -> (Value, bool) {
    let (all, whole) = (usage::pods(node).await, usage::whole(node).await);
    let ids = all.iter().flat_map(|p| &p.containers).map(|c| c.id.as_str()).chain([NODE]);
    node.averages.keep_only(&ids.collect::<HashSet<_>>());
    let mut cold = false;
    let mut average = |id: &str, counters: Counters, started| {
        let average = node.averages.tell(id, counters, started);
        cold |= average.is_none();
        average
    };
    let whole_average = average(NODE, whole, None);
    let listed: Vec<Value> = all.iter().map(|pod| of_pod(pod, &mut average)).collect();
    let available = crate::eviction::memory().available;
    let mut memory = memory(whole);
    memory["availableBytes"] = json!(available);
    let value = json!({
        "node": {"nodeName": node.config.node_name, "cpu": cpu(whole, whole_average), "memory": memory},
        "pods": listed,
    });
    (value, cold)
}

fn of_pod(of: &PodUsage, average: &mut impl FnMut(&str, Counters, Option<jiff::Timestamp>) -> Option<u64>) -> Value {
    let (pod, mut containers) = (&of.pod, Vec::new());
    let mut sum: Option<(Counters, u64)> = None;
    for container in &of.containers {
        let Running { id, name, started, counters } = container;
        let average = average(id, *counters, *started);
        containers.push(json!({
            "name": name, "startTime": started.map(pods::status::time),
            "cpu": cpu(*counters, average), "memory": memory(*counters),
        }));
        let (total, cores) = sum.get_or_insert((Counters { used: Default::default(), ..*counters }, 0));
        total.at = total.at.max(counters.at);
        total.used.cpu_nanos += counters.used.cpu_nanos;
        total.used.memory += counters.used.memory;
        total.used.memory_working_set += counters.used.memory_working_set;
        total.used.pids += counters.used.pids;
        *cores += average.unwrap_or(0);
    }
    let mut value = json!({
        "podRef": {"name": spec::name(pod), "namespace": spec::namespace(pod), "uid": spec::uid(pod)},
        "startTime": pod.status.as_ref().and_then(|s| s.start_time.clone()),
        "containers": containers,
    });
    if let Some((total, cores)) = sum {
        value["cpu"] = cpu(total, Some(cores));
        value["memory"] = memory(total);
        value["process_stats"] = json!({"process_count": total.used.pids});
    }
    value
}

fn cpu(counters: Counters, average: Option<u64>) -> Value {
    let mut value = json!({"time": pods::status::time(counters.at), "usageCoreNanoSeconds": counters.used.cpu_nanos});
    if let Some(average) = average {
        value["usageNanoCores"] = json!(average);
    }
    value
}

fn memory(counters: Counters) -> Value {
    json!({
        "time": pods::status::time(counters.at),
        "usageBytes": counters.used.memory, "workingSetBytes": counters.used.memory_working_set,
    })
}
