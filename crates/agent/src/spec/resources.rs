//! Requests and limits in kernel units, and where a pod's cgroup is.

use super::{
    qos::{self, Qos},
    quantity,
};
use coracle_runtime::Resources;
use k8s_openapi::api::core::v1::{Container, Pod};

/// CFS period in microseconds.
const PERIOD: i64 = 100_000;

/// The pod's cgroup below the node's: `kubepods/burstable/pod<uid>`.
pub fn cgroup(pod: &Pod) -> String {
    format!("kubepods/{}/pod{}", qos::class(pod).cgroup(), super::uid(pod))
}

/// CPU thousandths to cgroup v1 shares.
pub fn shares(milli: i64) -> u64 {
    u64::try_from(milli * 1024 / 1000).unwrap_or(0).clamp(2, 262_144)
}

/// CPU thousandths to a quota per period of 100 ms, at least 1 ms.
pub fn quota(milli: i64) -> i64 {
    if milli <= 0 { 0 } else { (milli * PERIOD / 1000).max(1000) }
}

fn request(container: &Container, name: &str) -> i64 {
    let r = container.resources.as_ref();
    let found = quantity::of(r.and_then(|r| r.requests.as_ref()), name)
        .or_else(|| quantity::of(r.and_then(|r| r.limits.as_ref()), name));
    found.map_or(0, |q| if name == "cpu" { quantity::milli(q) } else { quantity::value(q) })
}

fn limit(container: &Container, name: &str) -> i64 {
    let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
    quantity::of(limits, name).map_or(0, |q| if name == "cpu" { quantity::milli(q) } else { quantity::value(q) })
}

/// How gladly the kernel kills a container's processes when memory is short.
pub fn oom_score_adj(pod: &Pod, container: &Container, machine_memory: i64) -> i32 {
    let critical = super::of(pod).priority.is_some_and(|p| p >= 2_000_000_000);
    match qos::class(pod) {
        _ if critical => -997,
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let asked = 1000 * request(container, "memory") / machine_memory.max(1);
            i32::try_from(1000 - asked).unwrap_or(3).clamp(3, 999)
        }
    }
}

/// One container's limits.
pub fn of_container(pod: &Pod, container: &Container, machine_memory: i64) -> Resources {
    Resources {
        cpu_shares: shares(request(container, "cpu")),
        cpu_quota: quota(limit(container, "cpu")),
        cpu_period: PERIOD as u64,
        memory: limit(container, "memory"),
        pids: 0,
        oom_score_adj: oom_score_adj(pod, container, machine_memory),
    }
}

/// The sum over containers, or what the largest init container needs if that is more. Sidecars count to both.
/// `None` as soon as one container has none: then the pod has no bound either.
fn sum(pod: &Pod, of: impl Fn(&Container) -> i64, all_must: bool) -> i64 {
    let mut complete = true;
    let mut take = |c: &Container| {
        let v = of(c);
        complete &= v > 0;
        v
    };
    let (mut sidecars, mut peak) = (0, 0);
    for init in super::init_containers(pod) {
        let v = take(init);
        if super::is_sidecar(init) {
            sidecars += v;
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + v);
        }
    }
    let total: i64 = super::of(pod).containers.iter().map(&mut take).sum::<i64>() + sidecars;
    if all_must && !complete { 0 } else { total.max(peak) }
}

/// CPU (thousandths) and memory (bytes) that a pod asks for, as the scheduler counts.
pub fn requests(pod: &Pod) -> (i64, i64) {
    (sum(pod, |c| request(c, "cpu"), false), sum(pod, |c| request(c, "memory"), false))
}

/// The limits of a pod's cgroup.
pub fn of_pod(pod: &Pod) -> Resources {
    let level = super::of(pod).resources.as_ref();
    let level_limit = |name| quantity::of(level.and_then(|l| l.limits.as_ref()), name);
    let level_request =
        |name| quantity::of(level.and_then(|l| l.requests.as_ref()), name).or_else(|| level_limit(name));
    let request = level_request("cpu").map_or_else(|| requests(pod).0, quantity::milli);
    let cpu = level_limit("cpu").map_or_else(|| sum(pod, |c| limit(c, "cpu"), true), quantity::milli);
    let memory = level_limit("memory").map_or_else(|| sum(pod, |c| limit(c, "memory"), true), quantity::value);
    Resources {
        cpu_shares: shares(request),
        cpu_quota: quota(cpu),
        cpu_period: PERIOD as u64,
        memory,
        pids: 0,
        // the sandbox itself goes last
        oom_score_adj: -998,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kernel_units() {
        for (milli, expected_shares, expected_quota) in
            [(0, 2, 0), (1, 2, 1000), (100, 102, 10_000), (1000, 1024, 100_000), (2500, 2560, 250_000)]
        {
            assert_eq!((shares(milli), quota(milli)), (expected_shares, expected_quota), "{milli}m");
        }
    }

    #[test]
    fn pods_are_bounded_only_if_every_container_is() {
        let limits = |memory: &str| json!({"limits": {"memory": memory}});
        for (init, containers, memory) in [
            (
                json!([]),
                json!([{"name": "a", "resources": limits("1Ki")}, {"name": "b", "resources": limits("2Ki")}]),
                3072,
            ),
            (json!([]), json!([{"name": "a", "resources": limits("1Ki")}, {"name": "b"}]), 0),
            (
                json!([{"name": "i", "resources": limits("9Ki")}]),
                json!([{"name": "a", "resources": limits("1Ki")}]),
                9216,
            ),
            (
                json!([{"name": "s", "restartPolicy": "Always", "resources": limits("4Ki")}]),
                json!([{"name": "a", "resources": limits("1Ki")}]),
                5120,
            ),
        ] {
            let pod: Pod =
                serde_json::from_value(json!({"spec": {"initContainers": init, "containers": containers}})).unwrap();
            assert_eq!(of_pod(&pod).memory, memory, "{init} {containers}");
        }
    }
}
