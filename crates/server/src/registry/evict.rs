//! Eviction: a deletion that asks the disruption budgets first.
//!
//! Source: `pkg/registry/core/pod/storage/eviction.go`.

use super::{Caller, Change, Deleted, Registry, Target, core_key};
use coracle_api::{DeleteOptions, LabelSelector, Object, Resource, Result, Status, WriteOptions};
use coracle_client::View;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};
use std::sync::Arc;

const BUDGETS: Resource = Resource::fixed("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true);

impl Registry {
    /// `POST pods/<name>/eviction`.
    ///
    /// # Errors
    /// 429 when a budget does not allow it now, 500 when several budgets cover the pod.
    pub async fn evict(&self, caller: &Caller, pod: Target<'_>, body: &Value, options: &WriteOptions) -> Result<()> {
        let mut delete: DeleteOptions = match &body["deleteOptions"] {
            Value::Null => DeleteOptions::default(),
            given => serde_json::from_value(given.clone())
                .map_err(|e| Status::bad_request(format!("deleteOptions cannot be decoded: {e}")))?,
        };
        if options.dry_run {
            delete.dry_run = vec!["All".into()];
        }
        let target = Target { subresource: "", ..pod };
        let current = self.get(target)?;
        if self.needs_budget(&current) {
            self.take_from_budget(caller, target, &current, options).await?;
        }
        if !options.dry_run {
            self.mark(caller, target, &current, &mut delete, options).await?;
        }
        self.delete(caller, target, &delete).await.map(|_: Deleted| ())
    }

    /// Says in the pod why it goes: controllers of jobs tell a disruption from a failure by that. A deletion that is meant for one version
    /// is then meant for the marked one.
    async fn mark(
        &self,
        caller: &Caller,
        pod: Target<'_>,
        current: &Object,
        delete: &mut DeleteOptions,
        options: &WriteOptions,
    ) -> Result<()> {
        let wanted = delete.preconditions.as_mut();
        let version = wanted.and_then(|p| p.resource_version.as_mut()).filter(|v| !v.is_empty());
        if version.as_ref().is_some_and(|v| **v != current.revision().to_string()) {
            // the deletion says so in its own words
            return Ok(());
        }
        let now = self.now().to_string();
        let change = |object: &mut Value| {
            disrupted(object, &now);
            Ok(())
        };
        let marked = self
            .update_unchecked(caller, Target { subresource: "status", ..pod }, Change::With(&change), options)
            .await?;
        if let Some(version) = version {
            *version = marked.revision().to_string();
        }
        Ok(())
    }

    /// Pods that do not count as available anyway may go without asking.
    fn needs_budget(&self, pod: &Object) -> bool {
        let value = pod.value();
        let phase = value["status"]["phase"].as_str().unwrap_or_default();
        !matches!(phase, "Succeeded" | "Failed" | "Pending") && !pod.meta().is_deleting()
    }

    async fn take_from_budget(
        &self,
        caller: &Caller,
        pod: Target<'_>,
        current: &Arc<Object>,
        options: &WriteOptions,
    ) -> Result<()> {
        let covering: Vec<Arc<Object>> =
            self.view.list(&BUDGETS, pod.namespace).into_iter().filter(|budget| covers(budget, current)).collect();
        let budget = match covering.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            _ => {
                return Err(Status::new(
                    500,
                    "",
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        };
        if !ready(current) && tolerates_unready(&budget) {
            return Ok(());
        }
        let served = self.catalog.of(&BUDGETS).ok_or_else(|| Status::internal("budgets are not served"))?;
        let name = budget.meta().name.clone();
        let target = Target { served: &served, namespace: pod.namespace, name: &name, subresource: "status" };
        let now = self.now().to_string();
        let change = |object: &mut Value| spend(object, pod.name, &now);
        self.update_unchecked(caller, target, Change::With(&change), options).await.map(drop)
    }

    /// Whether an object of the core group exists (used by the rules above and by namespace checks).
    pub fn core_exists(&self, plural: &str, namespace: &str, name: &str) -> bool {
        self.store.snapshot().get(&core_key(plural, namespace, name)).is_some()
    }
}

fn covers(budget: &Object, pod: &Object) -> bool {
    let Ok(view) = budget.view::<PodDisruptionBudget>() else { return false };
    let selector = view.spec.as_ref().and_then(|s| s.selector.as_ref());
    // a missing selector covers nothing, an empty one everything
    selector.and_then(|s| LabelSelector::from_spec(s).ok()).is_some_and(|s| s.matches(&pod.meta().labels))
}

fn ready(pod: &Object) -> bool {
    let value = pod.value();
    let conditions = value["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn tolerates_unready(budget: &Object) -> bool {
    let value = budget.value();
    match value["spec"]["unhealthyPodEvictionPolicy"].as_str() {
        Some("AlwaysAllow") => true,
        _ => {
            let (now, wanted) = (&value["status"]["currentHealthy"], &value["status"]["desiredHealthy"]);
            now.as_i64().unwrap_or(0) >= wanted.as_i64().unwrap_or(0) && wanted.as_i64().unwrap_or(0) > 0
        }
    }
}

/// Takes one disruption from a budget, or refuses.
fn spend(budget: &mut Value, pod: &str, now: &str) -> Result<()> {
    let name = budget["metadata"]["name"].as_str().unwrap_or_default().to_string();
    let generation = budget["metadata"]["generation"].as_i64().unwrap_or(0);
    let status = &mut budget["status"];
    if status["observedGeneration"].as_i64().unwrap_or(0) < generation {
        return Err(refused(&name, "", 10));
    }
    let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
    if allowed <= 0 {
        let message = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            status["desiredHealthy"].as_i64().unwrap_or(0),
            status["currentHealthy"].as_i64().unwrap_or(0)
        );
        return Err(refused(&name, &message, 0));
    }
    status["disruptionsAllowed"] = json!(allowed - 1);
    if !status["disruptedPods"].is_object() {
        status["disruptedPods"] = json!({});
    }
    status["disruptedPods"][pod] = json!(now);
    Ok(())
}

/// Sets the condition of a pod that is evicted.
fn disrupted(pod: &mut Value, now: &str) {
    let conditions = &mut pod["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(all) = conditions.as_array_mut() else { return };
    let (kind, since) = ("DisruptionTarget", |c: &Value| c["lastTransitionTime"].clone());
    let before = all.iter().find(|c| c["type"] == kind && c["status"] == "True").map(since);
    all.retain(|c| c["type"] != kind);
    all.push(json!({
        "type": kind, "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastTransitionTime": before.unwrap_or_else(|| json!(now)),
    }));
}

fn refused(_budget: &str, why: &str, retry: u32) -> Status {
    let message = if why.is_empty() {
        "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget is still being processed by the server."
    } else {
        "Cannot evict pod as it would violate the pod's disruption budget."
    };
    let mut status = Status::too_many_requests(message, retry);
    if !why.is_empty() {
        status.details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evicted_pod_says_why_it_goes() {
        let mut pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        disrupted(&mut pod, "2026-01-01T00:00:00Z");
        disrupted(&mut pod, "2026-01-02T00:00:00Z");
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 2);
        assert_eq!(conditions[1]["reason"], "EvictionByEvictionAPI");
        assert_eq!(conditions[1]["lastTransitionTime"], "2026-01-01T00:00:00Z");
    }

    #[test]
    fn budgets_are_spent_one_by_one() {
        let mut budget = json!({
            "metadata": {"name": "b", "generation": 1},
            "status": {"observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 2, "currentHealthy": 3},
        });
        spend(&mut budget, "p", "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(budget["status"]["disruptionsAllowed"], 0);
        let refusal = spend(&mut budget, "q", "2026-01-01T00:00:00Z").unwrap_err();
        assert_eq!((refusal.code, refusal.reason.as_str()), (429, "TooManyRequests"));
        budget["metadata"]["generation"] = json!(2);
        assert!(spend(&mut budget, "q", "").unwrap_err().message.contains("still being processed"));
    }
}
