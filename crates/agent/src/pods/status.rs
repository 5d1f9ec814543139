//! The status of a pod as a kubelet reports it: a pure function of spec, containers and probes.

use super::{
    observed::Observed,
    plan::{Health, Waiting, comes_again, restarts},
};
use crate::spec::{self, qos};
use coracle_runtime::{Container as Found, ContainerState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Annotation of a container: the image as its status names it.
pub const IMAGE: &str = "coracle.dev/image";
/// Annotation of a container: the image as the pod named it when it was started.
pub const IMAGE_ASKED: &str = "coracle.dev/image-asked";
/// Annotation of a container: the image's digest.
pub const IMAGE_ID: &str = "coracle.dev/image-id";

/// What a status is made from.
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The status that the server has.
    pub old: &'a Value,
    /// What is there.
    pub observed: &'a Observed,
    /// What probes say, by container id.
    pub health: &'a BTreeMap<String, Health>,
    /// Why containers wait, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// Addresses of the pod.
    pub pod_ips: &'a [String],
    /// Addresses of the node.
    pub host_ips: &'a [String],
    /// The pod is ending, or over: nothing is started any more.
    pub ending: bool,
    /// The node has ended the pod: reason and message.
    pub failed: Option<(&'a str, &'a str)>,
    /// Now.
    pub now: Timestamp,
}

/// Which list of the pod a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Init,
    Main,
    Ephemeral,
}

impl Kind {
    fn statuses(self) -> &'static str {
        match self {
            Self::Init => "initContainerStatuses",
            Self::Main => "containerStatuses",
            Self::Ephemeral => "ephemeralContainerStatuses",
        }
    }
}

/// RFC 3339 in whole seconds.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The whole status.
pub fn build(facts: &Facts<'_>) -> Value {
    let pod = facts.pod;
    let pod_spec = spec::of(pod);
    let initialized = initialized(facts);
    let all = |list: &[Container], kind| -> Vec<Value> {
        list.iter().map(|c| container(facts, c, kind, initialized)).collect()
    };
    let init = all(spec::init_containers(pod), Kind::Init);
    let main = all(&pod_spec.containers, Kind::Main);
    let ephemeral: Vec<Container> = spec::ephemeral::all(pod).iter().map(spec::ephemeral::container).collect();
    let ephemeral = all(&ephemeral, Kind::Ephemeral);
    let phase = phase(facts, &init, &main);
    let mut status = json!({
        "phase": phase,
        "qosClass": qos::class(pod).as_str(),
        "startTime": facts.old["startTime"].as_str().map_or_else(|| time(facts.now), str::to_string),
        "hostIP": facts.host_ips.first(),
        "hostIPs": ips(facts.host_ips),
        "containerStatuses": main,
        "conditions": conditions(facts, phase, &init, &main),
    });
    if !init.is_empty() {
        status["initContainerStatuses"] = json!(init);
    }
    if !ephemeral.is_empty() {
        status["ephemeralContainerStatuses"] = json!(ephemeral);
    }
    if !facts.pod_ips.is_empty() {
        status["podIP"] = json!(facts.pod_ips[0]);
        status["podIPs"] = ips(facts.pod_ips);
    }
    if let Some(generation) = pod.metadata.generation {
        status["observedGeneration"] = json!(generation);
    }
    if phase == "Failed" {
        // whoever ended the pod has said why
        let told = facts.failed.map(|(reason, message)| json!({"reason": reason, "message": message}));
        let told = told.as_ref().unwrap_or(facts.old);
        for key in ["reason", "message"] {
            if told[key].is_string() {
                status[key] = told[key].clone();
            }
        }
    }
    status
}

/// The status of a pod that the node does not take.
pub fn rejected(pod: &Pod, old: &Value, reason: &str, message: &str, now: Timestamp) -> Value {
    let mut status = json!({
        "phase": "Failed", "reason": reason, "message": format!("Pod was rejected: {message}"),
        "qosClass": qos::class(pod).as_str(), "startTime": time(now),
    });
    if let Some(conditions) = old.get("conditions") {
        status["conditions"] = conditions.clone();
    }
    status
}

fn ips(list: &[String]) -> Value {
    list.iter().map(|ip| json!({"ip": ip})).collect()
}

fn succeeded(found: Option<&Found>) -> bool {
    found.is_some_and(|c| c.state == ContainerState::Exited && c.exit_code == Some(0))
}

/// Whether all init containers are through (sidecars: started).
fn initialized(facts: &Facts<'_>) -> bool {
    let started = facts.observed.main_started(facts.pod)
        || spec::of(facts.pod).containers.iter().any(|c| facts.observed.latest(&c.name).is_some());
    started
        || spec::init_containers(facts.pod).iter().all(|c| {
            let found = facts.observed.latest(&c.name);
            if spec::is_sidecar(c) {
                found.is_some_and(|f| facts.health.get(&f.id).is_some_and(|h| h.started))
            } else {
                succeeded(found)
            }
        })
}

fn old_status<'a>(facts: &Facts<'a>, name: &str, kind: Kind) -> &'a Value {
    static NONE: Value = Value::Null;
    let list = &facts.old[kind.statuses()];
    list.as_array().and_then(|l| l.iter().find(|s| s["name"] == name)).unwrap_or(&NONE)
}

fn terminated(found: &Found) -> Value {
    let mut state = json!({
        "exitCode": found.exit_code.unwrap_or(137),
        "reason": match found.reason.as_str() {
            "" if found.exit_code == Some(0) => "Completed",
            "" => "Error",
            reason => reason,
        },
        "containerID": format!("coracle://{}", found.id),
        "startedAt": found.started.map(time),
        "finishedAt": found.finished.map(time),
    });
    if !found.message.is_empty() {
        state["message"] = json!(found.message);
    }
    state
}

/// One entry of `containerStatuses`.
fn container(facts: &Facts<'_>, container: &Container, kind: Kind, initialized: bool) -> Value {
    let name = &container.name;
    let old = old_status(facts, name, kind);
    let found = facts.observed.latest(name);
    let previous = facts.observed.previous(name);
    let waiting = facts.waiting.get(name);
    let mut last = previous.map(terminated);
    let state = match found {
        Some(c) if c.state == ContainerState::Running => json!({"running": {"startedAt": c.started.map(time)}}),
        Some(c) if c.state == ContainerState::Exited => match waiting {
            Some(why) if !facts.ending => {
                last = Some(terminated(c));
                json!({"waiting": {"reason": why.reason, "message": why.message}})
            }
            _ => json!({"terminated": terminated(c)}),
        },
        other => {
            if let (Some(c), Some(_)) = (other, waiting) {
                last = last.or_else(|| (c.exit_code.is_some()).then(|| terminated(c)));
            }
            match waiting {
                Some(why) => json!({"waiting": {"reason": why.reason, "message": why.message}}),
                // containers whose records are gone keep what was reported of them
                None if other.is_none() && old["state"].get("terminated").is_some() => old["state"].clone(),
                None if kind != Kind::Main || initialized => {
                    let reason = if kind == Kind::Ephemeral || spec::init_containers(facts.pod).is_empty() {
                        "ContainerCreating"
                    } else {
                        "PodInitializing"
                    };
                    json!({"waiting": {"reason": reason}})
                }
                None => json!({"waiting": {"reason": "PodInitializing"}}),
            }
        }
    };
    let running = found.filter(|c| c.state == ContainerState::Running);
    let health = running.and_then(|c| facts.health.get(&c.id));
    let ready = match kind {
        Kind::Init if !spec::is_sidecar(container) => succeeded(found),
        // nobody waits for it
        Kind::Ephemeral => false,
        Kind::Init | Kind::Main => health.is_some_and(|h| h.ready),
    };
    let restarts = found.map_or(old["restartCount"].as_i64().unwrap_or(0), |c| i64::from(c.spec.attempt));
    let annotation = |key: &str| found.and_then(|c| c.spec.annotations.get(key));
    let image = annotation(IMAGE).or(container.image.as_ref()).cloned().unwrap_or_default();
    let mut status = json!({
        "name": name,
        "state": state,
        "lastState": last.map_or(json!({}), |l| json!({"terminated": l})),
        "ready": ready,
        "restartCount": restarts,
        "image": image,
        "imageID": annotation(IMAGE_ID).cloned().unwrap_or_default(),
    });
    if kind != Kind::Ephemeral {
        status["started"] = json!(health.is_some_and(|h| h.started));
    }
    if let Some(c) = found {
        status["containerID"] = json!(format!("coracle://{}", c.id));
    } else if let Some(id) = old["containerID"].as_str() {
        status["containerID"] = json!(id);
        status["imageID"] = old["imageID"].clone();
    }
    status
}

/// The phase. A pod is not over while anything of it runs: who hears that it is may give away what it used.
fn phase(facts: &Facts<'_>, init: &[Value], main: &[Value]) -> &'static str {
    match facts.old["phase"].as_str() {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        _ => {}
    }
    let phase = phase_by_containers(facts, init, main);
    if matches!(phase, "Succeeded" | "Failed") && facts.observed.running().next().is_some() {
        return if facts.observed.main_started(facts.pod) { "Running" } else { "Pending" };
    }
    phase
}

/// The phase that states of containers ask for, by upstream's rules.
fn phase_by_containers(facts: &Facts<'_>, init: &[Value], main: &[Value]) -> &'static str {
    let policy = spec::of(facts.pod).restart_policy.as_deref().unwrap_or("Always");
    let mut pending_init = false;
    for (status, container) in init.iter().zip(spec::init_containers(facts.pod)) {
        if spec::is_sidecar(container) {
            continue;
        }
        let state = &status["state"];
        match state["terminated"]["exitCode"].as_i64() {
            Some(0) => {}
            Some(_) if policy == "Never" => return "Failed",
            _ => pending_init = true,
        }
    }
    let count = |test: &dyn Fn(&Value) -> bool| main.iter().filter(|s| test(s)).count();
    let running = count(&|s| s["state"].get("running").is_some());
    if facts.failed.is_some() && running == 0 {
        return "Failed";
    }
    let stopped = count(&|s| s["state"].get("terminated").is_some() || s["lastState"].get("terminated").is_some());
    let stopped =
        stopped - count(&|s| s["state"].get("running").is_some() && s["lastState"].get("terminated").is_some());
    let succeeded = count(&|s| s["state"]["terminated"]["exitCode"] == 0);
    let waiting = main.len() - running - stopped;
    if facts.ending && running == 0 && stopped > 0 && waiting == 0 {
        return if stopped == succeeded { "Succeeded" } else { "Failed" };
    }
    let restarting = |(s, c): (&Value, &Container)| {
        let exit = s["state"]["terminated"]["exitCode"].as_i64().or(s["lastState"]["terminated"]["exitCode"].as_i64());
        let found = facts.observed.latest(&c.name).filter(|found| found.state == ContainerState::Exited);
        found.map_or_else(
            || restarts(facts.pod, c, i32::try_from(exit.unwrap_or(1)).unwrap_or(1)),
            |found| comes_again(facts.pod, c, facts.observed, found),
        )
    };
    match () {
        () if pending_init && running == 0 && stopped == 0 => "Pending",
        () if waiting > 0 => "Pending",
        () if running > 0 => "Running",
        () if stopped > 0 && main.iter().zip(&spec::of(facts.pod).containers).any(restarting) => "Running",
        () if stopped > 0 && stopped == succeeded => "Succeeded",
        () if stopped > 0 => "Failed",
        () => "Pending",
    }
}

fn conditions(facts: &Facts<'_>, phase: &str, init: &[Value], main: &[Value]) -> Value {
    let over = phase == "Succeeded" || phase == "Failed";
    let names = |list: &[Value], test: &dyn Fn(&Value) -> bool| -> Vec<String> {
        list.iter().filter(|s| test(s)).filter_map(|s| s["name"].as_str().map(str::to_string)).collect()
    };
    let sidecars: Vec<Value> = init
        .iter()
        .zip(spec::init_containers(facts.pod))
        .filter(|(_, c)| spec::is_sidecar(c))
        .map(|(s, _)| s.clone())
        .collect();
    let mut unready = names(&sidecars, &|s| s["ready"] != true);
    unready.extend(names(main, &|s| s["ready"] != true));
    let incomplete: Vec<String> = init
        .iter()
        .zip(spec::init_containers(facts.pod))
        .filter(|(s, c)| if spec::is_sidecar(c) { s["started"] != true } else { s["ready"] != true })
        .filter_map(|(s, _)| s["name"].as_str().map(str::to_string))
        .collect();
    let initialized = initialized(facts) || (phase == "Succeeded");
    let not_ready = match () {
        () if phase == "Succeeded" => Some(("PodCompleted", String::new())),
        () if phase == "Failed" => Some(("PodFailed", String::new())),
        () if !unready.is_empty() => {
            Some(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))))
        }
        () => None,
    };
    let old = facts.old["conditions"].as_array().cloned().unwrap_or_default();
    let gates: Vec<String> = spec::of(facts.pod)
        .readiness_gates
        .iter()
        .flatten()
        .filter(|g| !old.iter().any(|c| c["type"] == g.condition_type.as_str() && c["status"] == "True"))
        .map(|g| format!("corresponding condition of pod readiness gate \"{}\" does not exist.", g.condition_type))
        .collect();
    let ready = match (&not_ready, gates.is_empty()) {
        (None, false) => Some(("ReadinessGatesNotReady", gates.join(", "))),
        (other, _) => other.clone(),
    };
    let sandbox = facts.observed.ready_sandbox().is_some() && !facts.pod_ips.is_empty() && !over;
    let mut wanted = vec![
        condition("PodReadyToStartContainers", sandbox, None),
        condition(
            "Initialized",
            initialized,
            match () {
                () if phase == "Succeeded" => Some(("PodCompleted", String::new())),
                () if !initialized => Some((
                    "ContainersNotInitialized",
                    format!("containers with incomplete status: [{}]", incomplete.join(" ")),
                )),
                () => None,
            },
        ),
        condition("Ready", ready.is_none(), ready),
        condition("ContainersReady", not_ready.is_none(), not_ready),
    ];
    if !old.iter().any(|c| c["type"] == "PodScheduled") {
        wanted.push(condition("PodScheduled", true, None));
    }
    for condition in &mut wanted {
        let before = old.iter().find(|c| c["type"] == condition["type"] && c["status"] == condition["status"]);
        let since = before.map(|c| c["lastTransitionTime"].clone()).filter(Value::is_string);
        condition["lastTransitionTime"] = since.unwrap_or_else(|| json!(time(facts.now)));
        condition["lastProbeTime"] = Value::Null;
        if let Some(generation) = facts.pod.metadata.generation {
            condition["observedGeneration"] = json!(generation);
        }
    }
    let kept = old.into_iter().filter(|c| !wanted.iter().any(|w| w["type"] == c["type"]));
    let all: Vec<Value> = wanted.iter().cloned().chain(kept).collect();
    Value::Array(all)
}

fn condition(kind: &str, holds: bool, why: Option<(&str, String)>) -> Value {
    let mut out = Map::new();
    out.insert("type".into(), json!(kind));
    out.insert("status".into(), json!(if holds { "True" } else { "False" }));
    if let Some((reason, message)) = why {
        out.insert("reason".into(), json!(reason));
        if !message.is_empty() {
            out.insert("message".into(), json!(message));
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::{ContainerSpec, Sandbox, SandboxSpec};

    fn found(text: &str, attempt: u32) -> Found {
        let mut words = text.split(' ');
        let name = words.next().unwrap().to_string();
        let state = if words.next() == Some("running") { ContainerState::Running } else { ContainerState::Exited };
        let at = Timestamp::from_second(1000 + i64::from(attempt)).unwrap();
        let exit_code = words.next().map(|e| e.parse().unwrap());
        Found {
            id: format!("{name}{attempt}"),
            sandbox: "s".into(),
            spec: ContainerSpec { name, attempt, ..ContainerSpec::default() },
            state,
            pid: None,
            created: at,
            started: Some(at),
            finished: Some(at),
            exit_code,
            signal: None,
            reason: String::new(),
            message: String::new(),
        }
    }

    fn sandbox() -> Sandbox {
        let created = Timestamp::UNIX_EPOCH;
        Sandbox { id: "s".into(), spec: SandboxSpec::default(), ready: true, netns: None, created }
    }

    fn check(spec: Value, containers: &[&str], waiting: &[(&str, &str)], ending: bool, expected: &str) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})).unwrap();
        let containers: Vec<Found> = containers.iter().enumerate().map(|(i, t)| found(t, i as u32)).collect();
        let observed = Observed::new(vec![sandbox()], containers);
        let health =
            observed.running().map(|c| (c.id.clone(), Health { started: true, ready: true, failed: None })).collect();
        let waiting = waiting
            .iter()
            .map(|(n, r)| (n.to_string(), Waiting { reason: r.to_string(), ..Waiting::default() }))
            .collect();
        let facts = Facts {
            pod: &pod,
            old: &Value::Null,
            observed: &observed,
            health: &health,
            waiting: &waiting,
            pod_ips: &["10.0.0.1".into()],
            host_ips: &["1.1.1.1".into()],
            ending,
            failed: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let status = build(&facts);
        let holds = |kind: &str| {
            let list = status["conditions"].as_array().unwrap();
            list.iter().find(|c| c["type"] == kind).unwrap()["status"].as_str().unwrap().to_string()
        };
        let states: Vec<String> = ["initContainerStatuses", "containerStatuses"]
            .iter()
            .flat_map(|k| status[*k].as_array().cloned().unwrap_or_default())
            .map(|s| {
                let (kind, detail) = s["state"].as_object().unwrap().iter().next().unwrap();
                let reason = detail["reason"].as_str().map(|r| format!("({r})")).unwrap_or_default();
                let last = if s["lastState"].get("terminated").is_some() { "<" } else { "" };
                format!("{kind}{reason}{last}#{}", s["restartCount"])
            })
            .collect();
        let shown = format!(
            "{} init={} ready={} {}",
            status["phase"].as_str().unwrap(),
            holds("Initialized"),
            holds("Ready"),
            states.join(" ")
        );
        assert_eq!(shown, expected, "{spec}");
    }

    #[test]
    fn phases_conditions_and_states() {
        let one = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a"}]});
        let init = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
        check(one("Always"), &[], &[], false, "Pending init=True ready=False waiting(ContainerCreating)#0");
        check(
            one("Always"),
            &[],
            &[("a", "ErrImagePull")],
            false,
            "Pending init=True ready=False waiting(ErrImagePull)#0",
        );
        check(one("Always"), &["a running"], &[], false, "Running init=True ready=True running#0");
        check(one("Always"), &["a exited 1"], &[], false, "Running init=True ready=False terminated(Error)#0");
        check(one("Always"), &["a exited 1", "a running"], &[], false, "Running init=True ready=True running<#1");
        check(
            one("Always"),
            &["a exited 1", "a exited 1"],
            &[("a", "CrashLoopBackOff")],
            false,
            "Running init=True ready=False waiting(CrashLoopBackOff)<#1",
        );
        check(one("Never"), &["a exited 0"], &[], false, "Succeeded init=True ready=False terminated(Completed)#0");
        check(one("Never"), &["a exited 1"], &[], false, "Failed init=True ready=False terminated(Error)#0");
        check(one("OnFailure"), &["a exited 1"], &[], false, "Running init=True ready=False terminated(Error)#0");
        check(one("Always"), &["a exited 0"], &[], true, "Succeeded init=True ready=False terminated(Completed)#0");
        check(
            init("Always"),
            &["i running"],
            &[],
            false,
            "Pending init=False ready=False running#0 waiting(PodInitializing)#0",
        );
        check(
            init("Never"),
            &["i exited 1"],
            &[],
            false,
            "Failed init=False ready=False terminated(Error)#0 waiting(PodInitializing)#0",
        );
        check(
            init("Always"),
            &["i exited 0", "a running"],
            &[],
            false,
            "Running init=True ready=True terminated(Completed)#0 running#1",
        );
    }

    #[test]
    fn no_pod_is_over_while_a_container_runs() {
        let side = || {
            json!({"restartPolicy": "Never", "containers": [{"name": "a"}],
            "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}]})
        };
        let through = "init=True ready=False";
        check(
            side(),
            &["s running", "i exited 0", "a exited 0"],
            &[],
            false,
            &format!("Running {through} running#0 terminated(Completed)#1 terminated(Completed)#2"),
        );
        check(
            side(),
            &["s exited 0", "i exited 0", "a exited 0"],
            &[],
            false,
            &format!("Succeeded {through} terminated(Completed)#0 terminated(Completed)#1 terminated(Completed)#2"),
        );
        check(
            side(),
            &["s running", "i exited 1"],
            &[],
            false,
            "Pending init=False ready=False running#0 terminated(Error)#1 waiting(PodInitializing)#0",
        );
    }

    #[test]
    fn a_container_stopped_to_be_started_again_keeps_its_pod() {
        for (again, expected) in [(false, "Succeeded"), (true, "Running")] {
            let pod = json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "a"}]}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let mut observed = Observed::new(vec![sandbox()], vec![found("a exited 0", 0)]);
            observed.again.extend(again.then(|| "a0".to_string()));
            let status = build(&Facts {
                pod: &pod,
                old: &Value::Null,
                observed: &observed,
                health: &BTreeMap::new(),
                waiting: &BTreeMap::new(),
                pod_ips: &[],
                host_ips: &[],
                ending: false,
                failed: None,
                now: Timestamp::UNIX_EPOCH,
            });
            assert_eq!(status["phase"], expected);
        }
    }

    #[test]
    fn a_pod_that_the_node_ended_has_failed_once_nothing_runs() {
        let why = "phase Failed reason DeadlineExceeded";
        for (old, container, failed, expected) in [
            (Value::Null, "a running", Some(("DeadlineExceeded", "too long")), "phase Running reason null"),
            (Value::Null, "a exited 0", Some(("DeadlineExceeded", "too long")), why),
            (Value::Null, "i running", Some(("DeadlineExceeded", "too long")), "phase Pending reason null"),
            (Value::Null, "i exited 137", Some(("DeadlineExceeded", "too long")), why),
            (json!({"phase": "Failed", "reason": "DeadlineExceeded"}), "a exited 0", None, why),
            (json!({"phase": "Running", "reason": "Other"}), "a exited 1", None, "phase Running reason null"),
        ] {
            let pod: Pod = serde_json::from_value(
                json!({"spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}}),
            )
            .unwrap();
            let observed = Observed::new(vec![sandbox()], vec![found(container, 0)]);
            let status = build(&Facts {
                pod: &pod,
                old: &old,
                observed: &observed,
                health: &BTreeMap::new(),
                waiting: &BTreeMap::new(),
                pod_ips: &[],
                host_ips: &[],
                ending: failed.is_some(),
                failed,
                now: Timestamp::UNIX_EPOCH,
            });
            let shown = format!("phase {} reason {}", status["phase"], status["reason"]).replace('"', "");
            assert_eq!(shown, expected, "{container} {old}");
        }
    }
}
