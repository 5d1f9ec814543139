//! How many replicas a metric asks for.
//!
//! Source: upstream's `pkg/controller/podautoscaler/replica_calculator.go` and `metrics/utilization.go`. Amounts are thousandths.

use crate::pods;
use coracle_api::Quantity;
use coracle_client::Typed;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition};
use std::collections::{BTreeMap, BTreeSet};

/// For so long after its start a pod's processor usage may be that of its start.
const CPU_INITIALIZATION: SignedDuration = SignedDuration::from_secs(300);
/// A pod that became unready within this time of its start has never been ready.
const INITIAL_READINESS_DELAY: SignedDuration = SignedDuration::from_secs(30);

/// What one pod uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How much.
    pub value: i64,
    /// The end of the time in which it was measured.
    pub at: Timestamp,
    /// How long that was.
    pub window: SignedDuration,
}

/// What pods use, by their names.
pub type Samples = BTreeMap<String, Sample>;

/// How far from the target nothing is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Above.
    pub up: f64,
    /// Below.
    pub down: f64,
}

impl Tolerance {
    fn allows(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// What all metrics of one autoscaler are looked at with.
pub struct Scene<'a> {
    /// The pods that are scaled.
    pub pods: &'a [Typed<Pod>],
    /// How many are wanted now.
    pub wanted: i32,
    /// How many there are.
    pub there: i32,
    /// How far from the target nothing is done.
    pub tolerance: Tolerance,
    /// Now.
    pub now: Timestamp,
}

/// What a metric asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// So many replicas.
    pub replicas: i32,
    /// Percent of what was requested, if that is what is looked at.
    pub utilization: Option<i32>,
    /// What is used: by a pod on the average, or as a whole.
    pub usage: i64,
}

/// What is used, compared with the target.
struct Figure {
    ratio: f64,
    utilization: Option<i32>,
    usage: i64,
}

/// Pods by what is known of them.
#[derive(Default)]
struct Groups<'a> {
    ready: usize,
    unready: BTreeSet<&'a str>,
    missing: BTreeSet<&'a str>,
    /// Failed, or on their way out.
    ignored: BTreeSet<&'a str>,
}

impl<'a> Groups<'a> {
    fn new(scene: &Scene<'a>, samples: &Samples, cpu: bool) -> Self {
        let mut groups = Self::default();
        for pod in scene.pods {
            if pod.meta().is_deleting() || pods::phase(pod) == "Failed" {
                groups.ignored.insert(pod.name());
            } else if pods::phase(pod) == "Pending" {
                groups.unready.insert(pod.name());
            } else if let Some(sample) = samples.get(pod.name()) {
                if cpu && starts(pod, sample, scene.now) {
                    groups.unready.insert(pod.name());
                } else {
                    groups.ready += 1;
                }
            } else {
                groups.missing.insert(pod.name());
            }
        }
        groups
    }
}

/// Whether what a pod uses of a processor may be what it needs to start.
fn starts(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let ready: Option<&PodCondition> = conditions.iter().find(|c| c.type_ == "Ready");
    let started = status.and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    let (Some(ready), Some(started)) = (ready, started) else { return true };
    let since = ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |t| t.0);
    let after = |at: Timestamp, span: SignedDuration| at.saturating_add(span).unwrap_or(Timestamp::MAX);
    let unready = ready.status == "False";
    if after(started, CPU_INITIALIZATION) > now {
        // not yet a whole window since it became what it is
        unready || sample.at < after(since, sample.window)
    } else {
        unready && after(started, INITIAL_READINESS_DELAY) > since
    }
}

/// As the average utilization of what pods (of one of their containers) request is to be `target` percent.
///
/// # Errors
/// What is missing, in upstream's words.
pub fn by_utilization(
    scene: &Scene<'_>,
    samples: &Samples,
    resource: &str,
    container: Option<&str>,
    target: i32,
) -> Result<Proposal, String> {
    let requests = requests(scene.pods, resource, container);
    let compare = |values: &BTreeMap<&str, i64>| {
        let requests = requests.as_ref().map_err(Clone::clone)?;
        // samples of pods that are not there any more say nothing
        let known =
            values.iter().filter_map(|(pod, value)| Some((i128::from(*value), i128::from(*requests.get(pod)?))));
        let (used, requested, count) = known.fold((0, 0, 0), |(a, b, n), (v, r)| (a + v, b + r, n + 1));
        if requested == 0 {
            return Err("no metrics returned matched known pods".to_string());
        }
        let percent = i32::try_from(used * 100 / requested).unwrap_or(i32::MAX);
        let usage = clamped(used / count);
        Ok(Figure { ratio: f64::from(percent) / f64::from(target), utilization: Some(percent), usage })
    };
    // of pods of which nothing is known it is assumed that they use all that they may
    let assumed = |pod: &str| {
        let request = requests.as_ref().ok().and_then(|all| all.get(pod).copied()).unwrap_or(0);
        clamped(i128::from(request) * i128::from(target.max(100)) / 100)
    };
    propose(scene, samples, resource == "cpu", &compare, &assumed)
}

/// As a pod is to use `target` on the average. `resource`: empty for metrics that are none.
///
/// # Errors
/// What is missing, in upstream's words.
pub fn by_average(scene: &Scene<'_>, samples: &Samples, resource: &str, target: i64) -> Result<Proposal, String> {
    let compare = |values: &BTreeMap<&str, i64>| {
        let usage = clamped(values.values().copied().map(i128::from).sum::<i128>() / values.len() as i128);
        Ok(Figure { ratio: usage as f64 / target as f64, utilization: None, usage })
    };
    propose(scene, samples, resource == "cpu", &compare, &|_| target)
}

/// As something as a whole is to be `target`.
///
/// # Errors
/// When there are no pods.
pub fn by_value(scene: &Scene<'_>, usage: i64, target: i64) -> Result<Proposal, String> {
    let ratio = usage as f64 / target as f64;
    let replicas = if scene.wanted == 0 {
        // from nothing, or to it
        up(ratio)
    } else if scene.tolerance.allows(ratio) {
        scene.wanted
    } else if scene.pods.is_empty() {
        return Err(format!("unable to calculate ready pods: {NO_PODS}"));
    } else {
        let ready = scene.pods.iter().filter(|pod| pods::phase(pod) == "Running" && pods::is_ready(pod)).count();
        up(ratio * ready as f64)
    };
    Ok(Proposal { replicas, utilization: None, usage })
}

/// As something as a whole is to be `target` for each pod.
pub fn by_share(scene: &Scene<'_>, usage: i64, target: i64) -> Proposal {
    let (there, all) = (f64::from(scene.there), usage as f64);
    let near = scene.tolerance.allows(all / (target as f64 * there));
    let replicas = if near { scene.there } else { up(all / target as f64) };
    let usage = if scene.there == 0 { 0 } else { whole(all / there) };
    Proposal { replicas, utilization: None, usage }
}

const NO_PODS: &str = "no pods returned by selector while calculating replica count";

fn propose(
    scene: &Scene<'_>,
    samples: &Samples,
    cpu: bool,
    compare: &dyn Fn(&BTreeMap<&str, i64>) -> Result<Figure, String>,
    assumed: &dyn Fn(&str) -> i64,
) -> Result<Proposal, String> {
    if scene.pods.is_empty() {
        return Err(NO_PODS.into());
    }
    let groups = Groups::new(scene, samples, cpu);
    let out = |pod: &&str| groups.ignored.contains(pod) || groups.unready.contains(pod);
    let mut values: BTreeMap<&str, i64> = samples.iter().map(|(pod, s)| (pod.as_str(), s.value)).collect();
    values.retain(|pod, _| !out(pod));
    if values.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let Figure { ratio, utilization, usage } = compare(&values)?;
    let tell = |replicas| Ok(Proposal { replicas, utilization, usage });
    let with_unready = !groups.unready.is_empty() && ratio > 1.0;
    if !with_unready && groups.missing.is_empty() {
        let near = scene.tolerance.allows(ratio);
        return tell(if near { scene.wanted } else { up(ratio * groups.ready as f64) });
    }
    // what is not known is taken for what speaks against a change
    if ratio < 1.0 {
        values.extend(groups.missing.iter().map(|pod| (*pod, assumed(pod))));
    } else if ratio > 1.0 {
        values.extend(groups.missing.iter().map(|pod| (*pod, 0)));
    }
    if with_unready {
        values.extend(groups.unready.iter().map(|pod| (*pod, 0)));
    }
    let again = compare(&values)?.ratio;
    let replicas = up(again * values.len() as f64);
    let turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    let against = (again < 1.0 && replicas > scene.wanted) || (again > 1.0 && replicas < scene.wanted);
    tell(if scene.tolerance.allows(again) || turned || against { scene.wanted } else { replicas })
}

/// The nearest amount that can be told.
fn clamped(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

/// Rounded up, within bounds.
#[allow(clippy::cast_possible_truncation)]
fn up(count: f64) -> i32 {
    count.ceil() as i32
}

#[allow(clippy::cast_possible_truncation)]
fn whole(amount: f64) -> i64 {
    amount.ceil() as i64
}

/// What each pod requests of a resource: for itself, or with all its containers (sidecars included), or with one of them.
fn requests<'a>(
    pods: &'a [Typed<Pod>],
    resource: &str,
    container: Option<&str>,
) -> Result<BTreeMap<&'a str, i64>, String> {
    pods.iter().map(|pod| Ok((pod.name(), request(pod, resource, container)?))).collect()
}

fn request(pod: &Typed<Pod>, resource: &str, container: Option<&str>) -> Result<i64, String> {
    let Some(spec) = &pod.spec else { return Ok(0) };
    let of_pod = spec.resources.as_ref().and_then(|r| r.requests.as_ref()).filter(|r| !r.is_empty());
    if let (None, Some(own)) = (container, of_pod)
        && let Some(amount) = own.get(resource)
    {
        return Ok(millis(&amount.0));
    }
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let wanted = |c: &&Container| container.is_none_or(|name| name == c.name);
    let mut found: Vec<&Container> = spec.containers.iter().chain(sidecars).filter(wanted).collect();
    if let (Some(name), true) = (container, found.is_empty()) {
        return Err(format!("container {name} not found in Pod {}", pod.name()));
    }
    found.truncate(if container.is_some() { 1 } else { usize::MAX });
    let one = |c: &Container| {
        let requests = c.resources.as_ref().and_then(|r| r.requests.as_ref());
        let amount = requests.and_then(|all| all.get(resource)).map(|amount| millis(&amount.0));
        amount.ok_or_else(|| format!("missing request for {resource} in container {} of Pod {}", c.name, pod.name()))
    };
    found.into_iter().map(one).try_fold(0_i64, |sum, amount| Ok(sum.saturating_add(amount?)))
}

/// A quantity in thousandths; nothing if it is none, which the server does not let in.
pub fn millis(text: &str) -> i64 {
    text.parse::<Quantity>().map_or(0, Quantity::milli_value)
}
