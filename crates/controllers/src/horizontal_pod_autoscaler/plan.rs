//! One look at an autoscaler: what its metrics ask for, what it may do, what is said of it.
//!
//! Source: upstream's `pkg/controller/podautoscaler/horizontal.go`; reasons and messages are its.

use super::{
    behavior::{Bounds, History, settle},
    metric::{self, Reading},
    replicas::{Scene, Tolerance},
};
use coracle_api::LabelSelector;
use coracle_client::{EventType, Typed};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        autoscaling::v2::{
            HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec,
            HorizontalPodAutoscalerStatus, MetricStatus,
        },
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

/// How far from the target nothing is done where nothing else is said (`--horizontal-pod-autoscaler-tolerance`).
const TOLERANCE: f64 = 0.1;

/// The scale of what is scaled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// How many replicas are wanted.
    pub wanted: i32,
    /// How many there are.
    pub there: i32,
    /// Which pods they are, as text.
    pub selector: String,
}

/// What is known.
pub struct World<'a> {
    /// The autoscaler.
    pub scaler: &'a Typed<HorizontalPodAutoscaler>,
    /// The scale of its target, or why it cannot be had.
    pub scale: Result<Scale, String>,
    /// The pods under the scale's selector.
    pub pods: &'a [Typed<Pod>],
    /// All autoscalers of these pods, by name.
    pub owners: &'a [String],
    /// One for each metric, if they were asked for.
    pub readings: &'a [Result<Reading, String>],
    /// What it found and did lately.
    pub history: &'a History,
    /// Now.
    pub now: Timestamp,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Plan {
    /// The status, as it is without a change of the count.
    pub status: HorizontalPodAutoscalerStatus,
    /// The change of the count.
    pub rescale: Option<Rescale>,
    /// Type, reason, message.
    pub events: Vec<(EventType, &'static str, String)>,
    /// What is remembered.
    pub history: History,
    /// What went wrong.
    pub failed: Option<String>,
}

/// A change of the count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescale {
    /// As it is.
    pub from: i32,
    /// As it is to be.
    pub to: i32,
    /// Why.
    pub why: String,
}

/// What is to be done, as far as the scale alone says it.
#[derive(Debug, PartialEq, Eq)]
pub enum Aim {
    /// Nothing: somebody set the count to zero.
    Off,
    /// To a bound.
    To(i32, &'static str),
    /// What the metrics say.
    Measure,
}

/// What is to be done with a scale: whether metrics are needed.
pub fn aim(spec: &HorizontalPodAutoscalerSpec, scale: &Scale) -> Aim {
    let least = spec.min_replicas.unwrap_or(1);
    match scale.wanted {
        0 if least != 0 => Aim::Off,
        wanted if wanted > spec.max_replicas => {
            Aim::To(spec.max_replicas, "Current number of replicas above Spec.MaxReplicas")
        }
        wanted if wanted < least => Aim::To(least, "Current number of replicas below Spec.MinReplicas"),
        _ => Aim::Measure,
    }
}

/// The next step.
pub fn plan(world: &World<'_>) -> Plan {
    let status = world.scaler.status.clone().unwrap_or_default();
    let mut plan = Plan { status, history: world.history.clone(), ..Plan::default() };
    let spec = &world.scaler.spec;
    let scale = match &world.scale {
        Ok(scale) => scale,
        Err(why) => {
            let message = format!("the HPA controller was unable to get the target's current scale: {why}");
            plan.say(world, "AbleToScale", false, "FailedGetScale", message);
            return plan.fail("FailedGetScale", why.clone());
        }
    };
    let found = "the HPA controller was able to get the target's current scale";
    plan.say(world, "AbleToScale", true, "SucceededGetScale", found.into());
    if plan.history.recommended.is_empty() {
        plan.history.recommended.push((world.now, scale.wanted));
    }
    match aim(spec, scale) {
        Aim::Off => {
            let message = "scaling is disabled since the replica count of the target is zero";
            plan.say(world, "ScalingActive", false, "ScalingDisabled", message.into());
            plan.count(world, scale.wanted, Some(scale.wanted), None);
        }
        Aim::To(to, why) => {
            plan.count(world, scale.wanted, Some(to), None);
            plan.rescale = Some(Rescale { from: scale.wanted, to, why: why.into() });
        }
        Aim::Measure => measure(world, spec, scale, &mut plan),
    }
    plan
}

/// What the metrics ask for, within bounds.
fn measure(world: &World<'_>, spec: &HorizontalPodAutoscalerSpec, scale: &Scale, plan: &mut Plan) {
    let mut statuses = None;
    let wish = selects(world, scale, plan).and_then(|()| wish(world, spec, scale, plan, &mut statuses));
    let (wanted, metric) = match wish {
        Ok(wish) => wish,
        Err(why) => {
            plan.count(world, scale.wanted, None, statuses);
            plan.events.push((EventType::Warning, "FailedComputeMetricsReplicas", why.clone()));
            plan.failed = Some(why);
            return;
        }
    };
    let why = match wanted.cmp(&scale.wanted) {
        std::cmp::Ordering::Greater => format!("{metric} above target"),
        std::cmp::Ordering::Less => "All metrics below target".into(),
        std::cmp::Ordering::Equal => String::new(),
    };
    let bounds = Bounds {
        current: scale.wanted,
        least: spec.min_replicas.unwrap_or(1),
        most: spec.max_replicas,
        behavior: spec.behavior.as_ref(),
        now: world.now,
    };
    let settled = settle(&bounds, &mut plan.history, wanted);
    plan.say(world, "AbleToScale", true, settled.able.0, settled.able.1.into());
    let (limited, reason, message) = settled.limited;
    plan.say(world, "ScalingLimited", limited, reason, message.into());
    plan.count(world, scale.wanted, Some(settled.replicas), statuses);
    if settled.replicas != scale.wanted {
        plan.rescale = Some(Rescale { from: scale.wanted, to: settled.replicas, why });
    }
}

/// Whether it is clear which pods are meant, and that they are nobody else's.
fn selects(world: &World<'_>, scale: &Scale, plan: &mut Plan) -> Result<(), String> {
    if scale.selector.is_empty() {
        let message = "the HPA target's scale is missing a selector";
        plan.say(world, "ScalingActive", false, "InvalidSelector", message.into());
        return Err(plan.warn("SelectorRequired", "selector is required".into()));
    }
    if let Err(error) = LabelSelector::parse(&scale.selector) {
        let why = format!("couldn't convert selector into a corresponding internal selector object: {error}");
        plan.say(world, "ScalingActive", false, "InvalidSelector", why.clone());
        return Err(plan.warn("InvalidSelector", why));
    }
    if world.owners.len() > 1 {
        let namespace = &world.scaler.meta().namespace;
        let all: Vec<String> = world.owners.iter().map(|name| format!("{{{name} {namespace}}}")).collect();
        let why = format!("pods by selector {} are controlled by multiple HPAs: [{}]", scale.selector, all.join(" "));
        plan.say(world, "ScalingActive", false, "AmbiguousSelector", why.clone());
        return Err(plan.warn("AmbiguousSelector", why));
    }
    Ok(())
}

/// The highest count that a metric asks for, and which one that is.
fn wish(
    world: &World<'_>,
    spec: &HorizontalPodAutoscalerSpec,
    scale: &Scale,
    plan: &mut Plan,
    statuses: &mut Option<Vec<MetricStatus>>,
) -> Result<(i32, String), String> {
    let scene = Scene {
        pods: world.pods,
        wanted: scale.wanted,
        there: scale.there,
        tolerance: tolerance(spec),
        now: world.now,
    };
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    let statuses = statuses.insert(vec![MetricStatus::default(); metrics.len()]);
    let mut best: Option<(i32, String)> = None;
    let mut first = None;
    let mut invalid = 0;
    for (index, spec) in metrics.iter().enumerate() {
        let unread = Err("it was not asked for".to_string());
        let reading = world.readings.get(index).unwrap_or(&unread);
        match metric::judge(&scene, &world.scaler.meta().namespace, spec, reading) {
            Ok(judged) => {
                statuses[index] = judged.status;
                if best.as_ref().is_none_or(|(n, _)| *n == 0 || judged.replicas > *n) {
                    best = Some((judged.replicas, judged.name));
                }
            }
            Err(fault) => {
                plan.warn(fault.reason, fault.why.clone());
                invalid += 1;
                first.get_or_insert(fault);
            }
        }
    }
    let replicas = best.as_ref().map_or(0, |(n, _)| *n);
    let told = first.as_ref().map(|fault| {
        format!("invalid metrics ({invalid} invalid out of {}), first error is: {}", metrics.len(), fault.whole)
    });
    match (best, first) {
        // where one metric is missing, nobody knows whether there are too many
        (Some(best), fault) if fault.is_none() || replicas >= scale.wanted => {
            let message = format!("the HPA was able to successfully calculate a replica count from {}", best.1);
            plan.say(world, "ScalingActive", true, "ValidMetricFound", message);
            plan.failed = told;
            Ok(best)
        }
        (_, Some(fault)) => {
            let message = format!("the HPA was unable to compute the replica count: {}", fault.why);
            plan.say(world, "ScalingActive", false, fault.reason, message);
            Err(told.unwrap_or_default())
        }
        (_, None) => Ok((0, String::new())),
    }
}

fn tolerance(spec: &HorizontalPodAutoscalerSpec) -> Tolerance {
    let of = |rules: Option<&HPAScalingRules>| {
        let said = rules.and_then(|r| r.tolerance.as_ref()?.0.parse::<coracle_api::Quantity>().ok());
        said.map_or(TOLERANCE, coracle_api::Quantity::as_f64)
    };
    let behavior = spec.behavior.as_ref();
    Tolerance {
        up: of(behavior.and_then(|b| b.scale_up.as_ref())),
        down: of(behavior.and_then(|b| b.scale_down.as_ref())),
    }
}

impl Plan {
    /// The count was changed.
    pub fn scaled(&mut self, world: &World<'_>) {
        let Some(Rescale { from, to, why }) = self.rescale.clone() else { return };
        let message = format!("the HPA controller was able to update the target scale to {to}");
        self.say(world, "AbleToScale", true, "SucceededRescale", message);
        self.events.push((EventType::Normal, "SuccessfulRescale", format!("New size: {to}; reason: {why}")));
        let behavior = world.scaler.spec.behavior.as_ref();
        self.history.scaled(behavior, from, to, world.now);
        self.status.last_scale_time = Some(Time(world.now));
    }

    /// The count could not be changed.
    pub fn refused(&mut self, world: &World<'_>, error: &str) {
        let Some(Rescale { to, why, .. }) = self.rescale.clone() else { return };
        self.events.push((
            EventType::Warning,
            "FailedRescale",
            format!("New size: {to}; reason: {why}; error: {error}"),
        ));
        let message = format!("the HPA controller was unable to update the target scale: {error}");
        self.say(world, "AbleToScale", false, "FailedUpdateScale", message);
        self.status.desired_replicas = world.scaler.status.as_ref().map_or(0, |s| s.desired_replicas);
        self.failed = Some(error.to_string());
    }

    /// Counts and metrics of the status; `desired`: as before if it is not known.
    fn count(&mut self, world: &World<'_>, current: i32, desired: Option<i32>, metrics: Option<Vec<MetricStatus>>) {
        self.status.current_replicas = Some(current);
        self.status.desired_replicas = desired.unwrap_or(self.status.desired_replicas);
        self.status.current_metrics = metrics;
        self.status.observed_generation = Some(world.scaler.meta().generation);
    }

    fn warn(&mut self, reason: &'static str, why: String) -> String {
        self.events.push((EventType::Warning, reason, why.clone()));
        why
    }

    fn fail(mut self, reason: &'static str, why: String) -> Self {
        self.failed = Some(self.warn(reason, why));
        self
    }

    fn say(&mut self, world: &World<'_>, kind: &str, holds: bool, reason: &str, message: String) {
        let all = self.status.conditions.get_or_insert_default();
        let at = all.iter().position(|c| c.type_ == kind).unwrap_or_else(|| {
            all.push(HorizontalPodAutoscalerCondition { type_: kind.into(), ..Default::default() });
            all.len() - 1
        });
        let condition = &mut all[at];
        let status = if holds { "True" } else { "False" };
        if condition.status != status {
            condition.last_transition_time = Some(Time(world.now));
        }
        condition.status = status.into();
        condition.reason = Some(reason.into());
        condition.message = Some(message);
        condition.observed_generation = Some(world.scaler.meta().generation);
    }
}
