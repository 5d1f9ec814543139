//! What PodDisruptionBudgets allow, as preemption counts it.

use coracle_api::LabelSelector;
use coracle_client::{SharedView, ViewExt};
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use std::collections::{BTreeSet, HashMap};

struct Budget {
    selector: LabelSelector,
    allowed: i32,
    /// Pods whose disruption is counted already.
    counted: BTreeSet<String>,
}

/// All budgets, read once, by namespace.
pub struct Budgets(HashMap<String, Vec<Budget>>);

impl Budgets {
    /// As they are. An empty or unreadable selector selects nothing.
    pub fn of(view: &SharedView) -> Self {
        let mut all: HashMap<String, Vec<Budget>> = HashMap::new();
        for budget in view.typed_list::<PodDisruptionBudget>("") {
            let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
            let selector = selector.and_then(|s| LabelSelector::from_spec(s).ok()).filter(|s| !s.is_empty());
            let Some(selector) = selector else { continue };
            let status = budget.status.as_ref();
            let allowed = status.and_then(|s| s.disruptions_allowed).unwrap_or(0);
            let counted = status.and_then(|s| s.disrupted_pods.as_ref()).into_iter().flatten();
            let counted = counted.map(|(name, _)| name.clone()).collect();
            all.entry(budget.meta().namespace.clone()).or_default().push(Budget { selector, allowed, counted });
        }
        Self(all)
    }

    /// For each pod, whether evicting it, after those before it, is more than some budget allows.
    pub fn violated<'a>(&self, pods: impl Iterator<Item = &'a Pod>) -> Vec<bool> {
        let mut used: HashMap<(&str, usize), i32> = HashMap::new();
        let mut violated = Vec::new();
        for pod in pods {
            let mut violates = false;
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let labels = pod.metadata.labels.as_ref().filter(|labels| !labels.is_empty());
            let (Some(labels), Some((namespace, budgets))) = (labels, self.0.get_key_value(namespace)) else {
                violated.push(false);
                continue;
            };
            for (index, budget) in budgets.iter().enumerate() {
                if budget.selector.matches(labels) && !budget.counted.contains(name) {
                    let used = used.entry((namespace, index)).or_default();
                    *used += 1;
                    violates |= *used > budget.allowed;
                }
            }
            violated.push(violates);
        }
        violated
    }
}
