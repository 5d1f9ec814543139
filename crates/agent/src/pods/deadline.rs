//! `activeDeadlineSeconds`: how long a pod may be active on its node, counted from its `startTime`.

use crate::spec;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

/// Why such a pod failed.
pub const REASON: &str = "DeadlineExceeded";
/// The same in words.
pub const MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// When the pod has been active for too long; `None` without a deadline, or before it has started.
pub fn of(pod: &Pod, status: &Value) -> Option<Timestamp> {
    let seconds = spec::of(pod).active_deadline_seconds?;
    let start: Timestamp = status["startTime"].as_str()?.parse().ok()?;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn deadlines_count_from_the_start() {
        let start = json!({"startTime": "2026-01-01T00:00:00Z"});
        for (seconds, status, expected) in [
            (json!(5), &start, Some("2026-01-01T00:00:05Z")),
            (json!(null), &start, None),
            (json!(5), &json!({}), None),
            (json!(i64::MAX), &start, None),
        ] {
            let pod = json!({"metadata": {}, "spec": {"containers": [], "activeDeadlineSeconds": seconds}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert_eq!(of(&pod, status).map(|at| at.to_string()).as_deref(), expected, "{seconds} {status}");
        }
    }
}
