//! What the conditions of a namespace say about what is left in it: pure.

use coracle_api::{Meta, Resource};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time};
use std::collections::BTreeMap;

/// What is left in a namespace.
#[derive(Debug, Default)]
pub struct Remains {
    /// How many objects, by resource.
    objects: BTreeMap<String, usize>,
    /// How many objects each finalizer holds.
    finalizers: BTreeMap<String, usize>,
    /// What could not be deleted, and why.
    failures: Vec<String>,
}

impl Remains {
    /// Nothing yet, but these failures.
    pub fn new(failures: Vec<String>) -> Self {
        Self { failures, ..Self::default() }
    }

    /// Counts one object.
    pub fn add(&mut self, resource: &Resource, meta: &Meta) {
        *self.objects.entry(format!("{}.{}", resource.plural, resource.group)).or_default() += 1;
        for finalizer in &meta.finalizers {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// `(type, reason and message when all is well, reason when not, message when not)`.
type Condition = (&'static str, (&'static str, &'static str), &'static str, Option<String>);

fn wanted(remains: &Remains) -> [Condition; 5] {
    let counted = |of: &BTreeMap<String, usize>, verb: &str| {
        let each: Vec<String> = of.iter().map(|(name, n)| format!("{name} {verb} {n} resource instances")).collect();
        each.join(", ")
    };
    let failures = (!remains.failures.is_empty()).then(|| {
        let (count, all) = (remains.failures.len(), remains.failures.join(", "));
        format!("Failed to delete all resource types, {count} remaining: {all}")
    });
    let objects = (!remains.objects.is_empty())
        .then(|| format!("Some resources are remaining: {}", counted(&remains.objects, "has")));
    let finalizers = (!remains.finalizers.is_empty()).then(|| {
        format!("Some content in the namespace has finalizers remaining: {}", counted(&remains.finalizers, "in"))
    });
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            ("ResourcesDiscovered", "All resources successfully discovered"),
            "DiscoveryFailed",
            None,
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            "GroupVersionParsingFailed",
            None,
        ),
        (
            "NamespaceDeletionContentFailure",
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            "ContentDeletionFailed",
            failures,
        ),
        (
            "NamespaceContentRemaining",
            ("ContentRemoved", "All content successfully removed"),
            "SomeResourcesRemain",
            objects,
        ),
        (
            "NamespaceFinalizersRemaining",
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            "SomeFinalizersRemain",
            finalizers,
        ),
    ]
}

/// The conditions after this look. While there has been nothing to say, nothing is said.
pub fn conditions(before: &[NamespaceCondition], remains: &Remains, now: Timestamp) -> Vec<NamespaceCondition> {
    let wanted = wanted(remains);
    if before.is_empty() && wanted.iter().all(|(_, _, _, bad)| bad.is_none()) {
        return Vec::new();
    }
    let mut after: Vec<NamespaceCondition> =
        before.iter().filter(|c| !wanted.iter().any(|(kind, ..)| *kind == c.type_)).cloned().collect();
    for (kind, (good_reason, good), bad_reason, bad) in wanted {
        let old = before.iter().find(|c| c.type_ == kind);
        let status = if bad.is_some() { "True" } else { "False" };
        let kept = old.filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
        after.push(NamespaceCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(if bad.is_some() { bad_reason } else { good_reason }.into()),
            message: Some(bad.unwrap_or_else(|| good.into())),
            last_transition_time: Some(kept.unwrap_or(Time(now))),
        });
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ago, now};

    #[test]
    fn conditions_say_what_is_left() {
        let pods = Resource::fixed("", "v1", "pods", "Pod", true);
        let sets = Resource::fixed("apps", "v1", "deployments", "Deployment", true);
        let held = Meta { finalizers: vec!["mine".into()], ..Meta::default() };
        let check = |before: &[NamespaceCondition], there: &[(&Resource, &Meta)], expected: &[(&str, &str)]| {
            let mut remains = Remains::default();
            there.iter().for_each(|(resource, meta)| remains.add(resource, meta));
            let after = conditions(before, &remains, now());
            for (kind, text) in expected {
                let found = after.iter().find(|c| c.type_ == *kind).unwrap();
                assert_eq!(found.message.as_deref(), Some(*text));
            }
            after
        };
        assert!(check(&[], &[], &[]).is_empty());
        let plain = Meta::default();
        let some = check(
            &[],
            &[(&pods, &plain), (&pods, &held), (&sets, &plain)],
            &[
                (
                    "NamespaceContentRemaining",
                    "Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances",
                ),
                (
                    "NamespaceFinalizersRemaining",
                    "Some content in the namespace has finalizers remaining: mine in 1 resource instances",
                ),
            ],
        );
        assert_eq!(some.len(), 5);
        check(&some, &[], &[("NamespaceContentRemaining", "All content successfully removed")]);
        let mut old = some.clone();
        old.iter_mut().for_each(|c| c.last_transition_time = Some(Time(ago(9))));
        let again = check(&old, &[(&pods, &held)], &[]);
        assert_eq!(again[3].last_transition_time, Some(Time(ago(9))));
    }
}
