//! ResourceQuota: what objects use, which quotas they count against, and whether there is room. Pure; the server charges with every write,
//! the controller counts from scratch.
//!
//! Source: <https://kubernetes.io/docs/concepts/policy/resource-quotas/>, `pkg/quota/v1`.

mod measure;
mod scopes;

pub use measure::{Measure, bounded, measured_by, overdue};
pub use scopes::covers;

use crate::amounts::{amount, entries};
use coracle_api::Quantity;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Amounts by the names that quotas use: `pods`, `requests.cpu`, `count/jobs.batch`.
pub type Usage = BTreeMap<String, Quantity>;

/// Why a quota does not allow a write; the text of upstream's admission plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A pod has to say what it asks for where its quota bounds that.
    #[error("failed quota: {quota}: must specify {what}")]
    Unspecified {
        /// The quota.
        quota: String,
        /// `limits.cpu for: a,b; requests.memory for: a`.
        what: String,
    },
    /// Nobody has counted yet.
    #[error("status unknown for quota: {quota}, resources: {names}")]
    Unknown {
        /// The quota.
        quota: String,
        /// Names, with commas.
        names: String,
    },
    /// There is no room.
    #[error("exceeded quota: {quota}, requested: {requested}, used: {used}, limited: {limited}")]
    Exceeded {
        /// The quota.
        quota: String,
        /// What the write would add.
        requested: String,
        /// What is in use.
        used: String,
        /// What may be in use.
        limited: String,
    },
}

/// One write to an object, as quotas see it.
pub struct Write<'a> {
    /// How objects of its kind are measured.
    pub measure: Measure<'a>,
    /// The version before.
    pub old: Option<&'a Value>,
    /// The version after.
    pub new: Option<&'a Value>,
    /// Whether a quota may refuse it; else it is only counted.
    pub refusable: bool,
    /// The time: pods that should be gone by now do not count.
    pub now: Timestamp,
}

impl Write<'_> {
    /// What the write does to `status.used` of a quota; nothing if it does not concern it. A quota whose status lags behind its spec is
    /// written unchanged, so that a count that goes on meanwhile fails and begins anew.
    ///
    /// # Errors
    /// When the quota does not allow the write.
    pub fn charge(&self, quota: &Value) -> Result<Option<Value>, Refusal> {
        let hard = &quota["status"]["hard"];
        let names: Vec<&String> = entries(hard).map(|(n, _)| n).filter(|n| self.measure.knows(n)).collect();
        let counted = |object: Option<&Value>| match object {
            Some(object) if covers(quota, self.measure, object) => self.measure.usage(object, self.now),
            _ => Usage::new(),
        };
        if names.is_empty() {
            let waiting =
                quota["spec"]["hard"] != *hard && entries(&quota["spec"]["hard"]).any(|(n, _)| self.measure.knows(n));
            return Ok((waiting && self.old.is_some() != self.new.is_some()).then(|| quota["status"]["used"].clone()));
        }
        let (before, after) = (counted(self.old), counted(self.new));
        if self.refusable && !after.is_empty() {
            self.complete(quota, &names)?;
        }
        let used = &quota["status"]["used"];
        let mut new_used = used.clone();
        let mut over: Vec<&String> = Vec::new();
        let mut changed = false;
        let get = |usage: &Usage, name: &String| usage.get(name).copied().unwrap_or(Quantity::ZERO);
        for name in &names {
            let (was, is) = (get(&before, name), get(&after, name));
            if was == is {
                continue;
            }
            let total = amount(&used[name.as_str()]).unwrap_or(Quantity::ZERO) + is - was;
            if is > was && amount(&hard[name.as_str()]).is_some_and(|most| total > most) {
                over.push(name);
            }
            changed = true;
            new_used[name.as_str()] = json!(total.max(Quantity::ZERO).to_string());
        }
        if self.refusable && !over.is_empty() {
            let show = |value: &dyn Fn(&str) -> String| {
                over.iter().map(|name| format!("{name}={}", value(name))).collect::<Vec<_>>().join(",")
            };
            return Err(Refusal::Exceeded {
                quota: name_of(quota),
                requested: show(&|n| (get(&after, &n.to_string()) - get(&before, &n.to_string())).to_string()),
                used: show(&|n| amount(&used[n]).unwrap_or(Quantity::ZERO).to_string()),
                limited: show(&|n| amount(&hard[n]).unwrap_or(Quantity::ZERO).to_string()),
            });
        }
        Ok(changed.then_some(new_used))
    }

    /// What a write that may be refused has to say, and what has to be known to judge it.
    fn complete(&self, quota: &Value, names: &[&String]) -> Result<(), Refusal> {
        if let Some(what) = self.new.and_then(|object| self.measure.unspecified(object, names)) {
            return Err(Refusal::Unspecified { quota: name_of(quota), what });
        }
        let unknown: Vec<&str> =
            names.iter().map(|n| n.as_str()).filter(|n| quota["status"]["used"][*n].is_null()).collect();
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Unknown { quota: name_of(quota), names: unknown.join(",") })
        }
    }
}

fn name_of(quota: &Value) -> String {
    quota["metadata"]["name"].as_str().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
