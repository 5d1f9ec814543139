//! Quality of service: which pods suffer first.

use super::quantity;
use k8s_openapi::api::core::v1::{Container, Pod};

/// The class of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Limits for CPU and memory everywhere, requests equal to them.
    Guaranteed,
    /// Something in between.
    Burstable,
    /// No requests and no limits.
    BestEffort,
}

impl Qos {
    /// As in `status.qosClass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// The name of its cgroup.
    pub fn cgroup(self) -> &'static str {
        match self {
            Self::Guaranteed => "guaranteed",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }
}

/// The class of `pod`.
pub fn class(pod: &Pod) -> Qos {
    let spec = super::of(pod);
    let all = || super::init_containers(pod).iter().chain(&spec.containers);
    let named = |c: &Container, resource: &str| {
        let r = c.resources.as_ref();
        let request = quantity::of(r.and_then(|r| r.requests.as_ref()), resource).map(quantity::amount);
        let limit = quantity::of(r.and_then(|r| r.limits.as_ref()), resource).map(quantity::amount);
        (request, limit)
    };
    let (mut any, mut guaranteed) = (false, true);
    if let Some(pod_level) = &spec.resources {
        for resource in ["cpu", "memory"] {
            let request = quantity::of(pod_level.requests.as_ref(), resource);
            let limit = quantity::of(pod_level.limits.as_ref(), resource);
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    } else {
        for container in all() {
            for resource in ["cpu", "memory"] {
                let (request, limit) = named(container, resource);
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes() {
        for (containers, expected) in [
            (json!([{"name": "a"}]), Qos::BestEffort),
            (json!([{"name": "a", "resources": {"requests": {"cpu": "1"}}}]), Qos::Burstable),
            (
                json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}}]),
                Qos::Guaranteed,
            ),
            (
                json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}, {"name": "b"}]),
                Qos::Burstable,
            ),
            (json!([{"name": "a", "resources": {"requests": {"cpu": "0"}}}]), Qos::BestEffort),
        ] {
            let pod: Pod = serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap();
            assert_eq!(class(&pod), expected, "{containers}");
        }
    }
}
