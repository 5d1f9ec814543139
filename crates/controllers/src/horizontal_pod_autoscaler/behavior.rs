//! How fast replicas may come and go: stabilization windows, policies, bounds.
//!
//! Source: upstream's `pkg/controller/podautoscaler/horizontal.go`, from `stabilizeRecommendation` on.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};

/// For how long the highest recommendation counts where nothing else is said (`--horizontal-pod-autoscaler-downscale-stabilization`).
const DOWNSCALE_STABILIZATION: i32 = 300;
/// Without policies, so many times as many replicas as there are may be asked for at once, …
const UP_FACTOR: f64 = 2.0;
/// … or this many, if that is more.
const UP_LEAST: f64 = 4.0;

/// Something at a time.
type Mark = (Timestamp, i32);

/// What an autoscaler found and did lately; kept in memory, as upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What the metrics asked for.
    pub recommended: Vec<Mark>,
    /// How many replicas were added.
    pub added: Vec<Mark>,
    /// How many were taken away.
    pub removed: Vec<Mark>,
}

impl History {
    /// Notes a change of the count.
    pub fn scaled(&mut self, behavior: Option<&HorizontalPodAutoscalerBehavior>, from: i32, to: i32, now: Timestamp) {
        let Some(behavior) = behavior else { return };
        let (list, rules) = match to > from {
            true => (&mut self.added, &behavior.scale_up),
            false => (&mut self.removed, &behavior.scale_down),
        };
        let periods = rules.iter().flat_map(|r| r.policies.iter().flatten()).map(|p| p.period_seconds);
        let oldest = before(now, periods.max().unwrap_or(0));
        list.retain(|(at, _)| *at >= oldest);
        list.push((now, (to - from).abs()));
    }

    fn recommend(&mut self, replicas: i32, window: i32, now: Timestamp) {
        let oldest = before(now, window);
        self.recommended.retain(|(at, _)| *at >= oldest);
        self.recommended.push((now, replicas));
    }
}

fn before(now: Timestamp, seconds: i32) -> Timestamp {
    now.saturating_sub(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MIN)
}

/// What bounds a change.
pub struct Bounds<'a> {
    /// How many replicas are wanted now.
    pub current: i32,
    /// At least.
    pub least: i32,
    /// At most.
    pub most: i32,
    /// How fast.
    pub behavior: Option<&'a HorizontalPodAutoscalerBehavior>,
    /// Now.
    pub now: Timestamp,
}

/// What is left of a wish, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// So many replicas.
    pub replicas: i32,
    /// Reason and message of `AbleToScale`.
    pub able: (&'static str, &'static str),
    /// Whether `ScalingLimited`, its reason and message.
    pub limited: (bool, &'static str, &'static str),
}

const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const LOWEST: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const HIGHEST: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const WITHIN: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FAST_UP: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const TOO_FAST_DOWN: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const TOO_MANY: (&str, &str) = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: (&str, &str) = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");

/// What becomes of the wish for `desired` replicas, which is noted.
pub fn settle(bounds: &Bounds<'_>, history: &mut History, desired: i32) -> Settled {
    let (stable, able) = match bounds.behavior {
        Some(behavior) => stabilize(bounds, behavior, history, desired),
        None => {
            let oldest = before(bounds.now, DOWNSCALE_STABILIZATION);
            let recent = history.recommended.iter().filter(|(at, _)| *at >= oldest).map(|(_, n)| *n);
            let highest = recent.chain([desired]).max().unwrap_or(desired);
            history.recommend(desired, DOWNSCALE_STABILIZATION, bounds.now);
            (highest, HIGHEST)
        }
    };
    let (replicas, (reason, message)) = match bounds.behavior {
        Some(behavior) => at_rate(bounds, behavior, history, stable),
        None => plainly(bounds, stable),
    };
    let able = if stable == desired { READY } else { able };
    Settled { replicas, able, limited: (replicas != stable, reason, message) }
}

/// The lowest of recent wishes upwards, the highest downwards.
fn stabilize(
    bounds: &Bounds<'_>,
    behavior: &HorizontalPodAutoscalerBehavior,
    history: &mut History,
    desired: i32,
) -> (i32, (&'static str, &'static str)) {
    let window = |rules: &Option<HPAScalingRules>| rules.as_ref().and_then(|r| r.stabilization_window_seconds);
    let up = window(&behavior.scale_up).unwrap_or(0);
    let down = window(&behavior.scale_down).unwrap_or(DOWNSCALE_STABILIZATION);
    let (up_since, down_since) = (before(bounds.now, up), before(bounds.now, down));
    let recent = |since| history.recommended.iter().filter(move |(at, _)| *at > since).map(|(_, n)| *n);
    let lowest = recent(up_since).chain([desired]).min().unwrap_or(desired);
    let highest = recent(down_since).chain([desired]).max().unwrap_or(desired);
    let stable = bounds.current.max(lowest).min(highest);
    history.recommend(desired, up.max(down), bounds.now);
    (stable, if desired >= bounds.current { LOWEST } else { HIGHEST })
}

/// By the policies of each direction.
fn at_rate(
    bounds: &Bounds<'_>,
    behavior: &HorizontalPodAutoscalerBehavior,
    history: &History,
    desired: i32,
) -> (i32, (&'static str, &'static str)) {
    let current = bounds.current;
    if desired > current {
        let limit = limit(bounds, behavior.scale_up.as_ref(), history, Way::Up).max(current);
        let (most, why) = if bounds.most > limit { (limit, TOO_FAST_UP) } else { (bounds.most, TOO_MANY) };
        if desired > most {
            return (most, why);
        }
    } else if desired < current {
        let limit = limit(bounds, behavior.scale_down.as_ref(), history, Way::Down).min(current);
        let (least, why) = if bounds.least < limit { (limit, TOO_FAST_DOWN) } else { (bounds.least, TOO_FEW) };
        if desired < least {
            return (least, why);
        }
    }
    (desired, WITHIN)
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Up,
    Down,
}

/// How many replicas the policies of one direction let there be.
#[allow(clippy::cast_possible_truncation)]
fn limit(bounds: &Bounds<'_>, rules: Option<&HPAScalingRules>, history: &History, way: Way) -> i32 {
    let policies = rules.and_then(|r| r.policies.as_deref()).unwrap_or_default();
    let select = rules.and_then(|r| r.select_policy.as_deref()).unwrap_or("Max");
    if select == "Disabled" {
        return bounds.current;
    }
    let allowed = policies.iter().map(|policy| {
        let since = before(bounds.now, policy.period_seconds);
        let sum = |list: &[Mark]| list.iter().filter(|(at, _)| *at > since).map(|(_, n)| n).sum::<i32>();
        let start = bounds.current - sum(&history.added) + sum(&history.removed);
        let share = f64::from(policy.value) / 100.0;
        match (policy.type_.as_str(), way) {
            ("Percent", Way::Up) => (f64::from(start) * (1.0 + share)).ceil() as i32,
            ("Percent", Way::Down) => (f64::from(start) * (1.0 - share)) as i32,
            (_, Way::Up) => start.saturating_add(policy.value),
            (_, Way::Down) => start.saturating_sub(policy.value),
        }
    });
    // the least change is the lowest count upwards and the highest downwards
    let lowest = (way == Way::Up) == (select == "Min");
    let found = if lowest { allowed.min() } else { allowed.max() };
    found.unwrap_or(bounds.current)
}

/// Without behaviour.
#[allow(clippy::cast_possible_truncation)]
fn plainly(bounds: &Bounds<'_>, desired: i32) -> (i32, (&'static str, &'static str)) {
    let limit = (UP_FACTOR * f64::from(bounds.current)).max(UP_LEAST) as i32;
    let (most, why) = if bounds.most > limit { (limit, TOO_FAST_UP) } else { (bounds.most, TOO_MANY) };
    if desired < bounds.least {
        (bounds.least, TOO_FEW)
    } else if desired > most {
        (most, why)
    } else {
        (desired, WITHIN)
    }
}
