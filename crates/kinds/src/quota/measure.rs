//! What objects use.
//!
//! Source: `pkg/quota/v1/evaluator/core`, one evaluator per kind.

use super::Usage;
use crate::amounts::{self, amount, entries};
use crate::column::{items, string};
use crate::core::pod::whole_pod;
use coracle_api::{Quantity, quantity::Format};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How objects of a resource are measured. All are counted; pods, Services and claims use more than a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure<'a> {
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Plural name.
    pub plural: &'a str,
}

/// Core resources that quotas also know by their bare name.
const BARE: &[&str] =
    &["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// What pods use of their node, by their names in quotas.
const COMPUTE: &[&str] = &[
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// What each container has to say if a quota bounds it.
const REQUIRED: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const DEVICE_CLASS: &str = ".deviceclass.resource.k8s.io/devices";

impl<'a> Measure<'a> {
    /// How objects of `plural` in `group` are measured.
    pub fn of(group: &'a str, plural: &'a str) -> Self {
        Self { group, plural }
    }

    /// `count/jobs.batch`.
    pub fn count(&self) -> String {
        if self.group.is_empty() {
            format!("count/{}", self.plural)
        } else {
            format!("count/{}.{}", self.plural, self.group)
        }
    }

    /// Whether this is what says how much of `name` is used.
    pub fn knows(&self, name: &str) -> bool {
        if let Some(counted) = name.strip_prefix("count/") {
            return counted.strip_prefix(self.plural).is_some_and(|rest| match self.group {
                "" => rest.is_empty(),
                group => rest.strip_prefix('.') == Some(group),
            });
        }
        match (self.group, self.plural) {
            ("", "pods") => {
                COMPUTE.contains(&name)
                    || amounts::is_huge_pages(name)
                    || name
                        .strip_prefix("requests.")
                        .is_some_and(|n| amounts::is_huge_pages(n) || amounts::is_extended(n))
            }
            ("", "services") => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
            ("", "persistentvolumeclaims") => {
                matches!(name, "persistentvolumeclaims" | "requests.storage") || name.contains(STORAGE_CLASS)
            }
            ("resource.k8s.io", "resourceclaims") => name.ends_with(DEVICE_CLASS),
            ("", plural) => BARE.contains(&plural) && name == plural,
            _ => false,
        }
    }

    /// Whether a quota may refuse this write: creations, and what changes what an object uses.
    pub fn judges(&self, creates: bool, subresource: &str) -> bool {
        match (self.group, self.plural) {
            ("", "pods") => creates && subresource.is_empty() || !creates && subresource == "resize",
            ("", "services" | "persistentvolumeclaims") | ("resource.k8s.io", "resourceclaims") => {
                subresource.is_empty()
            }
            _ => creates && subresource.is_empty(),
        }
    }

    /// What an object uses at a time.
    pub fn usage(&self, object: &Value, now: Timestamp) -> Usage {
        let mut usage = Usage::from([(self.count(), ONE)]);
        if self.group.is_empty() && BARE.contains(&self.plural) {
            usage.insert(self.plural.to_string(), ONE);
        }
        match (self.group, self.plural) {
            ("", "pods") => pod(object, now, &mut usage),
            ("", "services") => service(&object["spec"], &mut usage),
            ("", "persistentvolumeclaims") => claim(object, &mut usage),
            ("resource.k8s.io", "resourceclaims") => devices(&object["spec"]["devices"], &mut usage),
            _ => {}
        }
        usage
    }

    /// What of `names` containers fail to specify, `limits.cpu for: a,b; requests.memory for: a`; nothing if all is there.
    pub(super) fn unspecified(&self, object: &Value, names: &[&String]) -> Option<String> {
        if (self.group, self.plural) != ("", "pods") {
            return None;
        }
        // who says it for the pod as a whole need not say it for each container
        let whole = &object["spec"]["resources"];
        if ["requests", "limits"].iter().any(|list| entries(&whole[*list]).any(|(name, _)| amounts::is_pod_level(name)))
        {
            return None;
        }
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for container in items(&object["spec"]["containers"]).iter().chain(items(&object["spec"]["initContainers"])) {
            for name in names.iter().map(|n| n.as_str()).filter(|n| REQUIRED.contains(n)) {
                let (list, resource) = match name.split_once('.') {
                    Some((list, resource)) => (list, resource),
                    None => ("requests", name),
                };
                if container["resources"][list][resource].is_null() {
                    missing.entry(name).or_default().insert(string(&container["name"]));
                }
            }
        }
        let all = missing
            .iter()
            .map(|(name, of)| format!("{name} for: {}", of.iter().copied().collect::<Vec<_>>().join(",")));
        (!missing.is_empty()).then(|| all.collect::<Vec<_>>().join("; "))
    }
}

const ONE: Quantity = Quantity::from_millis(1000);

/// Until it has ended, or should be gone by now (its node may be lost).
fn pod(pod: &Value, now: Timestamp, usage: &mut Usage) {
    if matches!(string(&pod["status"]["phase"]), "Succeeded" | "Failed") || overdue(pod).is_some_and(|end| end < now) {
        return;
    }
    usage.insert("pods".into(), ONE);
    for (name, given) in whole_pod(&pod["spec"], "requests") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || amounts::is_huge_pages(&name) {
            usage.insert(name.clone(), given);
            usage.insert(format!("requests.{name}"), given);
        } else if amounts::is_extended(&name) {
            usage.insert(format!("requests.{name}"), given);
        }
    }
    for (name, given) in whole_pod(&pod["spec"], "limits") {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), given);
        }
    }
}

/// When a pod that is being deleted no longer counts, whatever becomes of it: twice its grace period after the request.
pub fn overdue(pod: &Value) -> Option<Timestamp> {
    let (at, grace) = (&pod["metadata"]["deletionTimestamp"], &pod["metadata"]["deletionGracePeriodSeconds"]);
    let at: Timestamp = at.as_str()?.parse().ok()?;
    at.checked_add(SignedDuration::from_secs(grace.as_i64()?)).ok()
}

fn service(spec: &Value, usage: &mut Usage) {
    let ports = items(&spec["ports"]);
    let node_ports = match string(&spec["type"]) {
        "NodePort" => ports.len(),
        "LoadBalancer" => {
            usage.insert("services.loadbalancers".into(), ONE);
            let given = || ports.iter().filter(|port| port["nodePort"].as_i64().is_some_and(|n| n != 0)).count();
            if spec["allocateLoadBalancerNodePorts"] == false { given() } else { ports.len() }
        }
        _ => 0,
    };
    if node_ports > 0 {
        usage.insert("services.nodeports".into(), whole(node_ports));
    }
}

fn claim(claim: &Value, usage: &mut Usage) {
    let spec = &claim["spec"];
    let annotated = &claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
    let class = if annotated.is_string() { string(annotated) } else { string(&spec["storageClassName"]) };
    let asked = [&spec["resources"]["requests"]["storage"], &claim["status"]["allocatedResources"]["storage"]];
    let storage = asked.into_iter().filter_map(amount).max();
    if let Some(storage) = storage {
        usage.insert("requests.storage".into(), storage);
    }
    if !class.is_empty() {
        usage.insert(format!("{class}{STORAGE_CLASS}persistentvolumeclaims"), ONE);
        if let Some(storage) = storage {
            usage.insert(format!("{class}{STORAGE_CLASS}requests.storage"), storage);
        }
    }
}

/// Devices that a claim may get at most, by class. Of alternatives the largest counts, for each class.
fn devices(devices: &Value, usage: &mut Usage) {
    let wanted = |request: &Value| {
        // how many "all" are nobody knows before; upstream takes the largest number that one claim may get
        const MOST: i64 = 32;
        let count = if request["allocationMode"] == "All" { MOST } else { request["count"].as_i64().unwrap_or(1) };
        (format!("{}{DEVICE_CLASS}", string(&request["deviceClassName"])), Quantity::new(count, Format::DecimalSi))
    };
    for request in items(&devices["requests"]) {
        let mut most = Usage::new();
        let exactly = &request["exactly"];
        let alternatives = items(&request["firstAvailable"]).iter();
        for one in alternatives.chain(exactly.is_object().then_some(exactly)) {
            let (name, count) = wanted(one);
            let known = most.entry(name).or_insert(count);
            *known = (*known).max(count);
        }
        for (name, count) in most {
            *usage.entry(name).or_insert(Quantity::ZERO) += count;
        }
    }
}

fn whole(count: usize) -> Quantity {
    Quantity::new(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// The resources whose objects say how much of `name` is used, as (group, plural).
pub fn measured_by(name: &str) -> (String, String) {
    if let Some(counted) = name.strip_prefix("count/") {
        let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
        return (group.into(), plural.into());
    }
    let special =
        [("", "services"), ("", "persistentvolumeclaims"), ("resource.k8s.io", "resourceclaims"), ("", "pods")];
    let of = special.iter().find(|(group, plural)| Measure::of(group, plural).knows(name));
    of.map_or_else(|| (String::new(), name.to_string()), |(group, plural)| ((*group).into(), (*plural).into()))
}

/// The names in a quota's `hard`.
pub fn bounded(quota: &Value) -> impl Iterator<Item = &String> {
    entries(&quota["spec"]["hard"]).map(|(name, _)| name)
}
