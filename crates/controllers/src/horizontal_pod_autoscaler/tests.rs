//! `cases/horizontal_pod_autoscaler.txt`: the world before, what follows, and the status after.
//!
//! ```text
//! hpa [min=N] [max=N] [desired=N] [was=CONDITION:STATUS]       up|down [window=S] [select=S] [policies=Pods:4/15,…] [tolerance=T]
//! scale [wanted=N] [there=N] [selector=S] [error=TEXT]         pod NAME [cpu=Q] [memory=Q] [qps=Q] [request=Q] [ready=S|unready=S]
//! metric cpu|memory|pods|object|external …                         [started=S] [window=S] [measured=S] [pending|failed|succeeded|deleting|gone]
//! recommended|added|removed N age=S                            refused WHY
//! ```

use super::{
    behavior::History,
    metric::Reading,
    plan::{Plan, Scale, World, plan},
    replicas::{Sample, Samples, millis},
};
use crate::testing::{self, Line, ago, now};
use coracle_client::Typed;
use jiff::SignedDuration;
use k8s_openapi::{
    api::{
        autoscaling::v2::{HorizontalPodAutoscaler, MetricStatus, MetricValueStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use std::fmt::Write;

fn pod(line: &Line<'_>) -> Typed<Pod> {
    let phase =
        ["Pending", "Failed", "Succeeded"].into_iter().find(|p| line.is(&p.to_lowercase())).unwrap_or("Running");
    let unready = line.number("unready");
    let since = unready.or(line.number("ready")).unwrap_or(900);
    let requests = line.text("request").map(|r| json!({"cpu": r, "memory": r}));
    typed_pod(line, phase, &json!({"name": "web", "resources": {"requests": requests}}), unready.is_some(), since)
}

fn typed_pod(line: &Line<'_>, phase: &str, container: &Value, unready: bool, since: i64) -> Typed<Pod> {
    testing::typed(json!({
        "metadata": {"name": line.name(), "deletionTimestamp": line.is("deleting").then(|| Time(now()))},
        "spec": {"containers": [container]},
        "status": {
            "phase": phase,
            "startTime": Time(ago(line.number("started").unwrap_or(1000))),
            "conditions": [{
                "type": "Ready", "status": if unready { "False" } else { "True" },
                "lastTransitionTime": Time(ago(since)),
            }],
        },
    }))
}

fn samples(pods: &[&Line<'_>], what: &str) -> Reading {
    let one = |line: &&&Line<'_>| {
        let value = millis(line.text(what)?);
        let window = SignedDuration::from_secs(line.number("window").unwrap_or(15));
        let at = ago(line.number("measured").unwrap_or(0));
        Some((line.name().to_string(), Sample { value, at, window }))
    };
    Reading::Pods(pods.iter().filter_map(|line| one(&line)).collect::<Samples>())
}

/// The spec of a metric, and what is read of it.
fn metric(line: &Line<'_>, pods: &[&Line<'_>]) -> (Value, Result<Reading, String>) {
    let target = match (line.number("utilization"), line.text("average"), line.text("value")) {
        (Some(percent), ..) => json!({"type": "Utilization", "averageUtilization": percent}),
        (_, Some(average), _) => json!({"type": "AverageValue", "averageValue": average}),
        (.., value) => json!({"type": "Value", "value": value}),
    };
    let kind = line.name();
    let (spec, found) = match kind {
        "pods" => {
            (json!({"type": "Pods", "pods": {"metric": {"name": "qps"}, "target": target}}), samples(pods, "qps"))
        }
        "object" => {
            let about = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "i"});
            let source = json!({"describedObject": about, "metric": {"name": "hits"}, "target": target});
            (json!({"type": "Object", "object": source}), Reading::Whole(line.text("now").map_or(0, millis)))
        }
        "external" => {
            let metric = json!({"name": "queue", "selector": {"matchLabels": {"q": "a"}}});
            let source = json!({"metric": metric, "target": target});
            (json!({"type": "External", "external": source}), Reading::Whole(line.text("now").map_or(0, millis)))
        }
        resource => {
            let container = line.text("container");
            let source = json!({"name": resource, "container": container, "target": target});
            let (kind, field) =
                if container.is_some() { ("ContainerResource", "containerResource") } else { ("Resource", "resource") };
            let mut source = source;
            if container.is_none() {
                source.as_object_mut().unwrap().remove("container");
            }
            (json!({"type": kind, field: source}), samples(pods, resource))
        }
    };
    let error = line.text("error").map(|text| text.replace('_', " "));
    (spec, error.map_or(Ok(found), Err))
}

/// `up` or `down`, with the server's defaults.
fn rules(line: Option<&Line<'_>>, window: Option<i64>, defaults: &str) -> Value {
    let text = |key: &str| line.and_then(|l| l.text(key));
    let policies = text("policies").unwrap_or(defaults).split(',').map(|policy| {
        let (kind, rest) = policy.split_once(':').unwrap();
        let (value, period) = rest.split_once('/').unwrap();
        json!({"type": kind, "value": value.parse::<i32>().unwrap(), "periodSeconds": period.parse::<i32>().unwrap()})
    });
    json!({
        "stabilizationWindowSeconds": line.and_then(|l| l.number("window")).or(window),
        "selectPolicy": text("select").unwrap_or("Max"), "policies": policies.collect::<Vec<_>>(),
        "tolerance": text("tolerance"),
    })
}

fn scaler(lines: &[Line<'_>], metrics: &[Value]) -> Typed<HorizontalPodAutoscaler> {
    let of = |what: &str| lines.iter().find(|l| l.what == what);
    let line = of("hpa").expect("an autoscaler");
    let behavior = (of("up").is_some() || of("down").is_some()).then(|| {
        json!({
            "scaleUp": rules(of("up"), Some(0), "Pods:4/15,Percent:100/15"),
            "scaleDown": rules(of("down"), None, "Percent:100/15"),
        })
    });
    let was = line.text("was").and_then(|w| w.split_once(':')).map(|(kind, status)| {
        json!([{"type": kind, "status": status, "reason": "r", "message": "m", "lastTransitionTime": Time(ago(77))}])
    });
    testing::typed(json!({
        "metadata": {"name": "h", "generation": 2},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": line.number("min").unwrap_or(1), "maxReplicas": line.number("max").unwrap_or(10),
            "metrics": metrics, "behavior": behavior,
        },
        "status": {"desiredReplicas": line.number("desired").unwrap_or(0), "currentReplicas": 0, "conditions": was},
    }))
}

fn history(lines: &[Line<'_>]) -> History {
    let list = |what: &str| {
        let of = lines.iter().filter(|l| l.what == what);
        of.map(|l| (ago(l.number("age").unwrap()), l.name().parse().unwrap())).collect()
    };
    History { recommended: list("recommended"), added: list("added"), removed: list("removed") }
}

fn found(text: &str) -> String {
    let lines = Line::all(text);
    let of_pods: Vec<&Line<'_>> = lines.iter().filter(|l| l.what == "pod").collect();
    let pods: Vec<Typed<Pod>> = of_pods.iter().filter(|l| !l.is("gone")).map(|l| pod(l)).collect();
    let (metrics, readings): (Vec<Value>, Vec<_>) =
        lines.iter().filter(|l| l.what == "metric").map(|l| metric(l, &of_pods)).unzip();
    let scaler = scaler(&lines, &metrics);
    let line = lines.iter().find(|l| l.what == "scale").expect("a scale");
    let wanted = line.number("wanted").map_or(pods.len() as i32, |n| n as i32);
    let scale = Scale {
        wanted,
        there: line.number("there").map_or(wanted, |n| n as i32),
        selector: line.text("selector").unwrap_or("app=web").trim_matches('-').to_string(),
    };
    let scale = line.text("error").map_or(Ok(scale), |why| Err(why.replace('_', " ")));
    let owners: Vec<String> = line.text("owners").unwrap_or("h").split(',').map(String::from).collect();
    let history = history(&lines);
    let world = World {
        scaler: &scaler,
        scale,
        pods: &pods,
        owners: &owners,
        readings: &readings,
        history: &history,
        now: now(),
    };
    let mut plan = plan(&world);
    match lines.iter().find(|l| l.what == "refused") {
        Some(line) => plan.refused(&world, &line.words.join(" ")),
        None => plan.scaled(&world),
    }
    told(&plan)
}

fn told(plan: &Plan) -> String {
    let status = &plan.status;
    let mut out = format!("current={} desired={}\n", status.current_replicas.unwrap_or(0), status.desired_replicas);
    if let Some(rescale) = &plan.rescale {
        let _ = writeln!(out, "rescale {} to {}", rescale.from, rescale.to);
    }
    for m in status.current_metrics.iter().flatten() {
        let _ = writeln!(out, "metric {}", metric_told(m));
    }
    for c in status.conditions.iter().flatten() {
        let since = c.last_transition_time.as_ref().map_or(0, |t| now().duration_since(t.0).as_secs());
        let (reason, message) = (c.reason.as_deref().unwrap_or("-"), c.message.as_deref().unwrap_or("-"));
        let _ = writeln!(out, "{}={} since {since}s {reason}: {message}", c.type_, c.status);
    }
    for (_, reason, message) in &plan.events {
        let _ = writeln!(out, "event {reason}: {message}");
    }
    out
}

fn metric_told(status: &MetricStatus) -> String {
    let value = |current: &MetricValueStatus| {
        let percent = current.average_utilization.map(|p| format!(" {p}%")).unwrap_or_default();
        let average = current.average_value.as_ref().map(|q| format!(" average {}", q.0)).unwrap_or_default();
        let value = current.value.as_ref().map(|q| format!(" {}", q.0)).unwrap_or_default();
        format!("{percent}{average}{value}")
    };
    let current = match status {
        MetricStatus { resource: Some(s), .. } => value(&s.current),
        MetricStatus { container_resource: Some(s), .. } => value(&s.current),
        MetricStatus { pods: Some(s), .. } => value(&s.current),
        MetricStatus { object: Some(s), .. } => value(&s.current),
        MetricStatus { external: Some(s), .. } => value(&s.current),
        _ => " unknown".into(),
    };
    format!("{}{current}", status.type_)
}

#[test]
fn cases() {
    testing::check("horizontal_pod_autoscaler.txt", found);
}
