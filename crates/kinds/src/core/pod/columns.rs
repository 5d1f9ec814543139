//! How Pods are listed: one word that tells what matters most, as upstream's printer chooses it.

use crate::column::{AGE, Column, Context, NAME, human_duration, items, number, string, string_or};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Ready", |_, o| {
        let shown = Summary::of(o);
        json!(format!("{}/{}", shown.ready, shown.total))
    })
    .about("The aggregate readiness state of this pod for accepting traffic."),
    Column::text("Status", |_, o| json!(Summary::of(o).reason))
        .about("The aggregate status of the containers in this pod."),
    Column::text("Restarts", |c, o| json!(Summary::of(o).restarts(c)))
        .about("The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
    AGE,
    Column::text("IP", |_, o| {
        json!(string_or(&o["status"]["podIPs"][0]["ip"], string_or(&o["status"]["podIP"], "<none>")))
    })
    .wide(),
    Column::text("Node", |_, o| json!(string_or(&o["spec"]["nodeName"], "<none>"))).wide(),
    Column::text("Nominated Node", |_, o| json!(string_or(&o["status"]["nominatedNodeName"], "<none>"))).wide(),
    Column::text("Readiness Gates", |_, o| json!(gates(o))).wide(),
];

#[derive(Default)]
struct Summary {
    total: usize,
    ready: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let mut shown = Self { total: items(&pod["spec"]["containers"]).len(), ..Self::default() };
        shown.reason = match string(&status["reason"]) {
            "" => string(&status["phase"]).into(),
            reason => reason.into(),
        };
        let gated = items(&status["conditions"]).iter().find(|c| c["type"] == "PodScheduled");
        if gated.is_some_and(|c| c["reason"] == "SchedulingGated") {
            shown.reason = "SchedulingGated".into();
        }
        let initializing = shown.init_containers(pod);
        if !initializing || is_initialized(pod) {
            shown.containers(pod);
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            if status["reason"] == "NodeLost" {
                shown.reason = "Unknown".into();
            } else if !matches!(string(&status["phase"]), "Failed" | "Succeeded") {
                shown.reason = "Terminating".into();
            }
        }
        shown
    }

    fn note_restarts(&mut self, status: &Value) {
        let finished = status["lastState"]["terminated"]["finishedAt"].as_str().and_then(|s| s.parse().ok());
        self.last_restart = self.last_restart.max(finished);
    }

    // Whether init containers still run; then the reason counts them: `Init:0/2`.
    fn init_containers(&mut self, pod: &Value) -> bool {
        let specs = items(&pod["spec"]["initContainers"]);
        let sidecar =
            |status: &Value| specs.iter().any(|c| c["name"] == status["name"] && c["restartPolicy"] == "Always");
        self.total += specs.iter().filter(|c| c["restartPolicy"] == "Always").count();
        let mut blocked = None;
        let mut restarts = 0;
        let mut sidecar_restarts = 0;
        for (index, status) in items(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
            restarts += number(&status["restartCount"]);
            if sidecar(status) {
                sidecar_restarts += number(&status["restartCount"]);
            }
            self.note_restarts(status);
            let terminated = &status["state"]["terminated"];
            if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
                continue;
            }
            if sidecar(status) && status["started"] == true {
                if status["ready"] == true {
                    self.ready += 1;
                }
                continue;
            }
            let waiting = string(&status["state"]["waiting"]["reason"]);
            blocked = Some(if terminated.is_object() {
                format!("Init:{}", exit_reason(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", specs.len())
            });
            break;
        }
        let initializing = blocked.is_some();
        if let Some(reason) = blocked {
            self.reason = reason;
        }
        self.restarts = if initializing && !is_initialized(pod) { restarts } else { sidecar_restarts };
        if !initializing || is_initialized(pod) {
            // only restarts of what still runs count from here on
            self.last_restart = None;
            items(&pod["status"]["initContainerStatuses"])
                .iter()
                .filter(|s| sidecar(s))
                .for_each(|s| self.note_restarts(s));
        }
        initializing
    }

    fn containers(&mut self, pod: &Value) {
        let mut running = false;
        for status in items(&pod["status"]["containerStatuses"]).iter().rev() {
            self.restarts += number(&status["restartCount"]);
            self.note_restarts(status);
            let (waiting, terminated) = (&status["state"]["waiting"], &status["state"]["terminated"]);
            if !string(&waiting["reason"]).is_empty() {
                self.reason = string(&waiting["reason"]).into();
            } else if terminated.is_object() {
                self.reason = exit_reason(terminated);
            } else if status["ready"] == true && status["state"]["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        // A pod with one container done and another running is as good as its readiness.
        if self.reason == "Completed" && running {
            self.reason = if has_condition(pod, "Ready") { "Running".into() } else { "NotReady".into() };
        }
    }

    fn restarts(&self, context: &Context) -> String {
        match self.last_restart {
            Some(last) if self.restarts > 0 => {
                format!("{} ({} ago)", self.restarts, human_duration(context.now.as_second() - last.as_second()))
            }
            _ => self.restarts.to_string(),
        }
    }
}

fn exit_reason(terminated: &Value) -> String {
    match (string(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    items(&pod["status"]["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True")
}

fn is_initialized(pod: &Value) -> bool {
    has_condition(pod, "Initialized")
}

fn gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let met = gates.iter().filter(|g| has_condition(pod, string(&g["conditionType"]))).count();
    format!("{met}/{}", gates.len())
}
