//! One metric of an autoscaler: from what was read to a count, a status, or what is wrong.

use super::replicas::{Proposal, Samples, Scene, by_average, by_share, by_utilization, by_value, millis};
use coracle_api::{Quantity as Amount, quantity::Format};
use k8s_openapi::{
    api::autoscaling::v2::{
        ContainerResourceMetricStatus, ExternalMetricStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
        ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};

/// What was read, in thousandths.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Of each pod.
    Pods(Samples),
    /// Of something else.
    Whole(i64),
}

/// What a metric says.
#[derive(Debug)]
pub struct Judged {
    /// How many replicas it asks for.
    pub replicas: i32,
    /// How it is called.
    pub name: String,
    /// What it is now.
    pub status: MetricStatus,
}

/// Why a metric says nothing.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The condition's and the event's reason.
    pub reason: &'static str,
    /// The event's message.
    pub why: String,
    /// The same with what it was about.
    pub whole: String,
}

/// What a metric asks for.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub fn judge(
    scene: &Scene<'_>,
    namespace: &str,
    spec: &MetricSpec,
    reading: &Result<Reading, String>,
) -> Result<Judged, Fault> {
    let known = match spec.type_.as_str() {
        "Resource" => resource(scene, spec, reading),
        "ContainerResource" => container(scene, spec, reading),
        "Pods" => of_pods(scene, spec, reading),
        "Object" => object(scene, namespace, spec, reading),
        "External" => external(scene, namespace, spec, reading),
        _ => None,
    };
    known.unwrap_or_else(|| {
        let why = format!("unknown metric source type {:?}", spec.type_);
        Err(Fault { reason: "InvalidMetricSourceType", why: why.clone(), whole: why })
    })
}

/// `None`: the spec lacks the part that its type names, which the server does not let in.
type Verdict = Option<Result<Judged, Fault>>;

fn resource(scene: &Scene<'_>, spec: &MetricSpec, reading: &Result<Reading, String>) -> Verdict {
    let source = spec.resource.as_ref()?;
    Some(match used(scene, &source.name, None, &source.target, reading) {
        Ok((proposal, name)) => {
            let current = current_use(&source.name, &proposal);
            let status = ResourceMetricStatus { name: source.name.clone(), current };
            Ok(Judged {
                replicas: proposal.replicas,
                name,
                status: MetricStatus { resource: Some(status), ..of(spec) },
            })
        }
        Err(why) => {
            let whole = format!("failed to get {} resource metric value: {why}", source.name);
            Err(Fault { reason: "FailedGetResourceMetric", why, whole })
        }
    })
}

fn container(scene: &Scene<'_>, spec: &MetricSpec, reading: &Result<Reading, String>) -> Verdict {
    let source = spec.container_resource.as_ref()?;
    Some(match used(scene, &source.name, Some(&source.container), &source.target, reading) {
        Ok((proposal, name)) => {
            let status = ContainerResourceMetricStatus {
                name: source.name.clone(),
                container: source.container.clone(),
                current: current_use(&source.name, &proposal),
            };
            let status = MetricStatus { container_resource: Some(status), ..of(spec) };
            Ok(Judged { replicas: proposal.replicas, name, status })
        }
        Err(why) => {
            let whole = format!("failed to get {} container metric value: {why}", source.container);
            Err(Fault { reason: "FailedGetContainerResourceMetric", why, whole })
        }
    })
}

/// What pods, or one container of each, use of a resource.
fn used(
    scene: &Scene<'_>,
    resource: &str,
    container: Option<&str>,
    target: &MetricTarget,
    reading: &Result<Reading, String>,
) -> Result<(Proposal, String), String> {
    let samples = samples(reading).map_err(|e| format!("unable to get metrics for resource {resource}: {e}"));
    if let Some(average) = &target.average_value {
        let found = samples.and_then(|s| by_average(scene, s, resource, millis(&average.0)));
        let found = found.map_err(|e| format!("failed to get {resource} usage: {e}"))?;
        return Ok((found, format!("{resource} resource")));
    }
    let Some(percent) = target.average_utilization else {
        let why = "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set";
        return Err(why.into());
    };
    let found = samples.and_then(|s| by_utilization(scene, s, resource, container, percent));
    let found = found.map_err(|e| format!("failed to get {resource} utilization: {e}"))?;
    let what = if container.is_some() { "container resource" } else { "resource" };
    Ok((found, format!("{resource} {what} utilization (percentage of request)")))
}

fn of_pods(scene: &Scene<'_>, spec: &MetricSpec, reading: &Result<Reading, String>) -> Verdict {
    let source = spec.pods.as_ref()?;
    let name = &source.metric.name;
    let target = source.target.average_value.as_ref().map_or(0, |q| millis(&q.0));
    let samples = samples(reading).map_err(|e| format!("unable to get metric {name}: {e}"));
    Some(match samples.and_then(|s| by_average(scene, s, "", target)) {
        Ok(proposal) => {
            let status = PodsMetricStatus { metric: source.metric.clone(), current: average(&proposal) };
            let status = MetricStatus { pods: Some(status), ..of(spec) };
            Ok(Judged { replicas: proposal.replicas, name: format!("pods metric {name}"), status })
        }
        Err(why) => {
            let whole = format!("failed to get pods metric value: {why}");
            Err(Fault { reason: "FailedGetPodsMetric", why, whole })
        }
    })
}

fn object(scene: &Scene<'_>, namespace: &str, spec: &MetricSpec, reading: &Result<Reading, String>) -> Verdict {
    let source = spec.object.as_ref()?;
    let (metric, about) = (&source.metric, &source.described_object);
    let read = whole(reading)
        .map_err(|e| format!("unable to get metric {} on {} {namespace}/{}: {e}", metric.name, about.kind, about.name));
    let fault = |why: String, whole: String| {
        let whole = format!("failed to get object metric value: {whole}");
        Err(Fault { reason: "FailedGetObjectMetric", why, whole })
    };
    let (proposal, name, current) = match (source.target.type_.as_str(), &source.target) {
        ("Value", MetricTarget { value: Some(target), .. }) => {
            match read.and_then(|usage| by_value(scene, usage, millis(&target.0))) {
                Ok(proposal) => (proposal, format!("{} metric {}", about.kind, metric.name), value(&proposal)),
                Err(why) => return Some(fault(why.clone(), why)),
            }
        }
        ("AverageValue", MetricTarget { average_value: Some(target), .. }) => {
            match read.map(|usage| by_share(scene, usage, millis(&target.0))) {
                Ok(proposal) => (proposal, external_name(&metric.name, metric.selector.as_ref()), average(&proposal)),
                Err(why) => {
                    return Some(fault(why.clone(), format!("failed to get {} object metric: {why}", metric.name)));
                }
            }
        }
        _ => {
            let why = "invalid object metric source: neither a value target nor an average value target was set";
            return Some(fault(why.into(), why.into()));
        }
    };
    let status = ObjectMetricStatus { described_object: about.clone(), metric: metric.clone(), current };
    let status = MetricStatus { object: Some(status), ..of(spec) };
    Some(Ok(Judged { replicas: proposal.replicas, name, status }))
}

fn external(scene: &Scene<'_>, namespace: &str, spec: &MetricSpec, reading: &Result<Reading, String>) -> Verdict {
    let source = spec.external.as_ref()?;
    let (metric, target) = (&source.metric, &source.target);
    let selector = show(metric.selector.as_ref());
    let read = whole(reading)
        .map_err(|e| format!("unable to get external metric {namespace}/{}/{selector}: {e}", metric.name));
    let fault = |why: String, whole: String| {
        let whole = format!("failed to get {} external metric value: {whole}", metric.name);
        Err(Fault { reason: "FailedGetExternalMetric", why, whole })
    };
    let (proposal, current) = if let Some(target) = &target.average_value {
        match read.map(|usage| by_share(scene, usage, millis(&target.0))) {
            Ok(proposal) => (proposal, average(&proposal)),
            Err(why) => {
                return Some(fault(why.clone(), format!("failed to get {} external metric: {why}", metric.name)));
            }
        }
    } else if let Some(target) = &target.value {
        match read.and_then(|usage| by_value(scene, usage, millis(&target.0))) {
            Ok(proposal) => (proposal, value(&proposal)),
            Err(why) => {
                return Some(fault(why.clone(), format!("failed to get external metric {}: {why}", metric.name)));
            }
        }
    } else {
        let why = "invalid external metric source: neither a value target nor an average value target was set";
        return Some(fault(why.into(), why.into()));
    };
    let status = ExternalMetricStatus { metric: metric.clone(), current };
    let status = MetricStatus { external: Some(status), ..of(spec) };
    let name = external_name(&metric.name, metric.selector.as_ref());
    Some(Ok(Judged { replicas: proposal.replicas, name, status }))
}

fn of(spec: &MetricSpec) -> MetricStatus {
    MetricStatus { type_: spec.type_.clone(), ..MetricStatus::default() }
}

fn samples(reading: &Result<Reading, String>) -> Result<&Samples, String> {
    match reading {
        Ok(Reading::Pods(samples)) => Ok(samples),
        Ok(Reading::Whole(_)) => Err("no metrics of pods were returned".into()),
        Err(why) => Err(why.clone()),
    }
}

fn whole(reading: &Result<Reading, String>) -> Result<i64, String> {
    match reading {
        Ok(Reading::Whole(usage)) => Ok(*usage),
        Ok(Reading::Pods(_)) => Err("no metric of an object was returned".into()),
        Err(why) => Err(why.clone()),
    }
}

/// What is used of a resource, as metrics servers write it.
fn current_use(resource: &str, proposal: &Proposal) -> MetricValueStatus {
    let format = if resource == "memory" { Format::BinarySi } else { Format::DecimalSi };
    let usage = Amount::from_millis(proposal.usage).shown_as(format).to_string();
    MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(Quantity(usage)),
        ..MetricValueStatus::default()
    }
}

fn average(proposal: &Proposal) -> MetricValueStatus {
    let usage = Quantity(Amount::from_millis(proposal.usage).to_string());
    MetricValueStatus { average_value: Some(usage), ..MetricValueStatus::default() }
}

fn value(proposal: &Proposal) -> MetricValueStatus {
    let usage = Quantity(Amount::from_millis(proposal.usage).to_string());
    MetricValueStatus { value: Some(usage), ..MetricValueStatus::default() }
}

fn external_name(name: &str, selector: Option<&LabelSelector>) -> String {
    format!("external metric {name}({})", show(selector))
}

/// A selector as Go prints it.
fn show(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".into() };
    let labels = selector.match_labels.iter().flatten().map(|(k, v)| format!("{k}: {v},")).collect::<String>();
    let terms = selector.match_expressions.iter().flatten().map(|term| {
        let values = term.values.as_deref().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", term.key, term.operator)
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        terms.collect::<String>()
    )
}
