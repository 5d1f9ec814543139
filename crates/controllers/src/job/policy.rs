//! `spec.podFailurePolicy`: what the failure of a pod means for its job.

use coracle_client::Typed;
use k8s_openapi::api::{
    batch::v1::{Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern},
    core::v1::Pod,
};

/// What a failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One failure more.
    Count,
    /// It does not count.
    Ignore,
    /// The pod's index has failed for good.
    FailIndex,
    /// The job has failed, for this reason.
    FailJob(String),
}

/// The first rule that matches decides.
pub fn verdict(job: &Job, pod: &Typed<Pod>) -> Verdict {
    let policy = job.spec.as_ref().and_then(|s| s.pod_failure_policy.as_ref());
    for (number, rule) in policy.iter().flat_map(|p| p.rules.iter().enumerate()) {
        let codes = rule.on_exit_codes.as_ref().and_then(|wanted| exit_code(wanted, pod));
        let why = codes.or_else(|| condition(rule.on_pod_conditions.as_deref().unwrap_or_default(), pod));
        let Some(why) = why else { continue };
        return match rule.action.as_str() {
            "FailJob" => Verdict::FailJob(format!("{why} matching {} rule at index {number}", rule.action)),
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

fn exit_code(wanted: &PodFailurePolicyOnExitCodesRequirement, pod: &Typed<Pod>) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let mut failed = all.filter_map(|c| {
        let code = c.state.as_ref()?.terminated.as_ref()?.exit_code;
        (code != 0 && wanted.container_name.as_ref().is_none_or(|name| *name == c.name)).then_some((c, code))
    });
    let (container, code) = failed.find(|(_, code)| match wanted.operator.as_str() {
        "In" => wanted.values.contains(code),
        "NotIn" => !wanted.values.contains(code),
        _ => false,
    })?;
    let name = format!("{}/{}", pod.meta().namespace, pod.name());
    Some(format!("Container {} for pod {name} failed with exit code {code}", container.name))
}

fn condition(wanted: &[PodFailurePolicyOnPodConditionsPattern], pod: &Typed<Pod>) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|c| {
        let status = |w: &PodFailurePolicyOnPodConditionsPattern| w.status.clone().unwrap_or_else(|| "True".into());
        wanted.iter().any(|w| w.type_ == c.type_ && status(w) == c.status)
    })?;
    Some(format!("Pod {}/{} has condition {}", pod.meta().namespace, pod.name(), found.type_))
}
