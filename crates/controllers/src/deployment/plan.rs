//! What a Deployment does to its replica sets: pure. One step at a time; each step's effect brings the next one.

use super::status::{self, Outlook};
use crate::{conditions, hash, rounding::fenceposts};
use coracle_api::Meta;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetStatus},
    core::v1::PodTemplateSpec,
};
use std::{collections::BTreeMap, time::Duration};

/// Of a replica set and its deployment: the how-manieth template this is.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions that a replica set had before it became the newest again.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// `spec.replicas` of the deployment when the set was last scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The most replicas the deployment could have then.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// The label that tells the pods of one template from those of another.
pub const TEMPLATE_HASH: &str = "pod-template-hash";

const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// A replica set as far as its deployment cares.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.minReadySeconds`.
    pub min_ready: i32,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its template.
    pub template: PodTemplateSpec,
    /// Its status.
    pub status: ReplicaSetStatus,
    /// Its age.
    pub created: Timestamp,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Set {
    /// From the object.
    pub fn new(meta: &Meta, set: &ReplicaSet) -> Self {
        let spec = set.spec.clone();
        Self {
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready: spec.min_ready_seconds.unwrap_or(0),
            annotations: meta.annotations.clone(),
            template: spec.template.unwrap_or_default(),
            status: set.status.clone().unwrap_or_default(),
            created: meta.creation_timestamp.unwrap_or(Timestamp::MIN),
            generation: meta.generation,
            deleting: meta.is_deleting(),
        }
    }

    fn number(&self, annotation: &str) -> Option<i32> {
        self.annotations.get(annotation)?.parse().ok()
    }

    /// Its revision; 0 if it has none.
    pub fn revision(&self) -> i64 {
        self.annotations.get(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
    }

    /// Pods that are ready for long enough.
    pub fn available(&self) -> i32 {
        self.status.available_replicas.unwrap_or(0)
    }
}

/// A replica set to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSet {
    /// Name: the deployment's and the hash.
    pub name: String,
    /// The value of the label [`TEMPLATE_HASH`].
    pub hash: String,
    /// `spec.replicas`.
    pub replicas: i32,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What to do, in this order.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// A replica set for a template that has none.
    pub create: Option<NewSet>,
    /// Sets before and after: replicas, annotations, minReadySeconds.
    pub update: Vec<(Set, Set)>,
    /// Old sets beyond the history limit.
    pub delete: Vec<String>,
    /// The deployment's revision, if it has to change.
    pub revision: Option<String>,
    /// The status afterwards.
    pub status: DeploymentStatus,
    /// When to look again although nothing changed.
    pub again: Option<Duration>,
}

/// What is known of a deployment.
pub struct World<'a> {
    /// Its header.
    pub meta: &'a Meta,
    /// It.
    pub deployment: &'a Deployment,
    /// Its replica sets.
    pub sets: Vec<Set>,
    /// Whether pods of old sets still run (only asked when recreating).
    pub old_pods_running: &'a dyn Fn(&[Set]) -> bool,
    /// Now.
    pub now: Timestamp,
}

/// A deployment's numbers, resolved.
pub struct Numbers {
    /// `spec.replicas`.
    pub desired: i32,
    /// How many more there may be for a while.
    pub surge: i32,
    /// How many may be missing for a while.
    pub unavailable: i32,
    /// `strategy.type` is RollingUpdate.
    pub rolling: bool,
}

impl Numbers {
    /// From the spec.
    pub fn new(spec: &DeploymentSpec) -> Self {
        let desired = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.clone().unwrap_or_default();
        let rolling = strategy.type_.as_deref() != Some("Recreate");
        let bounds = strategy.rolling_update.unwrap_or_default();
        let (surge, unavailable) = fenceposts(bounds.max_surge.as_ref(), bounds.max_unavailable.as_ref(), desired);
        let (surge, unavailable) = if rolling { (surge, unavailable.min(desired)) } else { (0, 0) };
        Self { desired, surge, unavailable, rolling }
    }
}

struct Step<'a> {
    world: &'a World<'a>,
    spec: DeploymentSpec,
    numbers: Numbers,
    /// Sets as they are to be.
    sets: Vec<Set>,
    /// Index of the set that has the deployment's template.
    newest: Option<usize>,
    plan: Plan,
    conditions: Vec<DeploymentCondition>,
}

/// Decides.
pub fn plan(world: &World<'_>) -> Plan {
    let spec = world.deployment.spec.clone();
    let numbers = Numbers::new(&spec);
    let mut sets = world.sets.clone();
    sets.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
    let newest = sets.iter().position(|set| same_template(&set.template, &spec.template));
    let conditions = world.deployment.status.clone().unwrap_or_default().conditions.unwrap_or_default();
    let mut step = Step { world, spec, numbers, sets, newest, plan: Plan::default(), conditions };
    let outlook = if world.meta.is_deleting() { Outlook::Still } else { step.decide() };
    step.finish(outlook)
}

/// Templates are compared without the label that only the replica set's copy has.
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let bare = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        let metadata = template.metadata.get_or_insert_default();
        if let Some(labels) = &mut metadata.labels {
            labels.remove(TEMPLATE_HASH);
        }
        metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
        metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
        template
    };
    bare(a) == bare(b)
}

impl Step<'_> {
    fn decide(&mut self) -> Outlook {
        let paused = self.spec.paused.unwrap_or(false);
        status::note_pause(&mut self.conditions, &self.spec, paused, self.world.now);
        if paused || self.was_scaled() {
            self.refresh_newest(paused);
            self.scale();
            if paused {
                self.clean_up();
            }
            return Outlook::Still;
        }
        if self.numbers.rolling {
            self.roll()
        } else {
            self.recreate()
        }
        Outlook::Rolling
    }

    fn old(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|i| Some(*i) != self.newest).collect()
    }

    fn active_old(&self) -> Vec<usize> {
        self.old().into_iter().filter(|i| self.sets[*i].replicas > 0).collect()
    }

    fn total(&self) -> i32 {
        self.sets.iter().map(|s| s.replicas).sum()
    }

    /// Whether the number of replicas changed since a set was scaled last: then it is spread over the sets before anything else.
    fn was_scaled(&self) -> bool {
        let desired = self.numbers.desired;
        let active: Vec<&Set> = self.sets.iter().filter(|s| s.replicas > 0).collect();
        // Who recreates has nothing to spread over several sets: the old ones go down in any case.
        (self.numbers.rolling || active.len() < 2)
            && active.iter().any(|s| s.number(DESIRED_REPLICAS).is_some_and(|d| d != desired))
    }

    /// Gives the newest set its revision and the deployment's annotations, or plans it if there is none.
    fn refresh_newest(&mut self, paused: bool) {
        let old = self.old();
        let revision = old.iter().map(|i| self.sets[*i].revision()).max().unwrap_or(0) + 1;
        let Some(newest) = self.newest else {
            if !paused {
                self.create_newest(revision);
            }
            return;
        };
        let set = &mut self.sets[newest];
        copy_annotations(&self.world.meta.annotations, &mut set.annotations);
        if set.revision() < revision
            && let Some(before) = set.annotations.insert(REVISION.into(), revision.to_string())
            && before.parse::<i64>().is_ok_and(|r| r > 0)
        {
            let history = set.annotations.entry(REVISION_HISTORY.into()).or_default();
            if !history.split(',').any(|r| r == before) {
                *history = if history.is_empty() { before } else { format!("{history},{before}") };
            }
        }
        set.min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        self.plan.revision = Some(set.revision().to_string());
        if conditions::get(&self.conditions, "Progressing").is_none() && status::has_deadline(&self.spec) {
            let message = format!("Found new replica set {:?}", set.name);
            let found = status::condition("Progressing", "True", "FoundNewReplicaSet", message, self.world.now);
            conditions::set(&mut self.conditions, found);
        }
    }

    fn create_newest(&mut self, revision: i64) {
        let collisions = self.world.deployment.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0);
        let hash = hash::template_hash(&self.spec.template, collisions);
        let mut annotations = BTreeMap::from([(REVISION.to_string(), revision.to_string())]);
        copy_annotations(&self.world.meta.annotations, &mut annotations);
        self.note_size(&mut annotations);
        let replicas = self.room_for_newest(0);
        let name = format!("{}-{hash}", self.world.meta.name);
        if status::has_deadline(&self.spec) {
            let message = format!("Created new replica set {name:?}");
            let created = status::condition("Progressing", "True", "NewReplicaSetCreated", message, self.world.now);
            conditions::set(&mut self.conditions, created);
        }
        self.plan.revision = Some(revision.to_string());
        self.plan.create = Some(NewSet { name, hash, replicas, annotations });
    }

    fn note_size(&self, annotations: &mut BTreeMap<String, String>) {
        let numbers = &self.numbers;
        annotations.insert(DESIRED_REPLICAS.into(), numbers.desired.to_string());
        annotations.insert(MAX_REPLICAS.into(), (numbers.desired + numbers.surge).to_string());
    }

    /// How many replicas the newest set, which has `replicas`, may have now.
    fn room_for_newest(&self, replicas: i32) -> i32 {
        let Numbers { desired, surge, rolling, .. } = self.numbers;
        if !rolling {
            return desired;
        }
        let room = desired + surge - self.total();
        if room <= 0 { replicas } else { replicas + room.min(desired - replicas) }
    }

    fn resize(&mut self, index: usize, replicas: i32) {
        let mut annotations = std::mem::take(&mut self.sets[index].annotations);
        self.note_size(&mut annotations);
        self.sets[index].annotations = annotations;
        self.sets[index].replicas = replicas;
    }

    /// Lets old sets go down completely before the new one comes up.
    fn recreate(&mut self) {
        let active = self.active_old();
        if !active.is_empty() {
            self.refresh_existing();
            for index in active {
                self.resize(index, 0);
            }
            return;
        }
        let old: Vec<Set> = self.old().into_iter().map(|i| self.sets[i].clone()).collect();
        if (self.world.old_pods_running)(&old) {
            self.refresh_existing();
            return;
        }
        self.refresh_newest(false);
        if let Some(newest) = self.newest {
            self.resize(newest, self.numbers.desired);
        }
        self.clean_up_if_complete();
    }

    fn refresh_existing(&mut self) {
        if self.newest.is_some() {
            self.refresh_newest(true);
        }
    }

    /// Up with the new, down with the old, within the bounds.
    fn roll(&mut self) {
        self.refresh_newest(false);
        let Some(newest) = self.newest else { return };
        let (have, desired) = (self.sets[newest].replicas, self.numbers.desired);
        let wanted = if have > desired { desired } else { self.room_for_newest(have) };
        if wanted != have {
            return self.resize(newest, wanted);
        }
        if self.shrink_old(newest) {
            return;
        }
        self.clean_up_if_complete();
    }

    /// Takes as many old pods away as availability allows, those that do not work first.
    fn shrink_old(&mut self, newest: usize) -> bool {
        let old = self.active_old();
        if old.is_empty() {
            return false;
        }
        let least = self.numbers.desired - self.numbers.unavailable;
        let new_unavailable = self.sets[newest].replicas - self.sets[newest].available();
        let most = self.total() - least - new_unavailable;
        if most <= 0 {
            return false;
        }
        let mut removed = 0;
        for index in &old {
            let broken = self.sets[*index].replicas - self.sets[*index].available();
            let take = broken.min(most - removed);
            if take > 0 {
                self.resize(*index, self.sets[*index].replicas - take);
                removed += take;
            }
        }
        let mut spare = self.sets.iter().map(Set::available).sum::<i32>() - least;
        for index in old {
            let take = self.sets[index].replicas.min(spare);
            if take > 0 {
                self.resize(index, self.sets[index].replicas - take);
                (spare, removed) = (spare - take, removed + take);
            }
        }
        removed > 0
    }

    /// Spreads a changed number of replicas over the sets.
    fn scale(&mut self) {
        let Numbers { desired, surge, rolling, .. } = self.numbers;
        let active: Vec<usize> = (0..self.sets.len()).filter(|i| self.sets[*i].replicas > 0).collect();
        let only = match active.as_slice() {
            [] => self.newest.or_else(|| self.sets.len().checked_sub(1)),
            [one] => Some(*one),
            _ => None,
        };
        if let Some(only) = only {
            self.resize(only, desired);
            return;
        }
        if self.newest.is_some_and(|n| self.is_saturated(&self.sets[n])) {
            for index in self.active_old() {
                self.resize(index, 0);
            }
            return;
        }
        if rolling {
            let allowed = if desired > 0 { desired + surge } else { 0 };
            self.scale_proportionally(active, allowed);
        }
    }

    fn is_saturated(&self, set: &Set) -> bool {
        let desired = self.numbers.desired;
        set.replicas == desired && set.number(DESIRED_REPLICAS) == Some(desired) && set.available() == desired
    }

    fn scale_proportionally(&mut self, mut active: Vec<usize>, allowed: i32) {
        let to_add = allowed - active.iter().map(|i| self.sets[*i].replicas).sum::<i32>();
        active.sort_by(|a, b| {
            let (a, b) = (&self.sets[*a], &self.sets[*b]);
            let by_age = if to_add > 0 { b.created.cmp(&a.created) } else { a.created.cmp(&b.created) };
            b.replicas.cmp(&a.replicas).then(by_age)
        });
        let mut added = 0;
        let mut sizes = Vec::new();
        for index in &active {
            let set = &self.sets[*index];
            let left = to_add - added;
            let share = self.share(set);
            let share = match to_add {
                0 => 0,
                n if n > 0 => share.min(left),
                _ => share.max(left),
            };
            added += share;
            sizes.push(set.replicas + share);
        }
        for (place, index) in active.into_iter().enumerate() {
            let leftover = if place == 0 { to_add - added } else { 0 };
            self.resize(index, (sizes[place] + leftover).max(0));
        }
    }

    /// By how much a set would change if it kept its share of all replicas.
    fn share(&self, set: &Set) -> i32 {
        let Numbers { desired, surge, .. } = self.numbers;
        if desired == 0 {
            return -set.replicas;
        }
        let last = self.world.deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        let before = set.number(MAX_REPLICAS).filter(|n| *n > 0).unwrap_or(last).max(1);
        let size = f64::from(set.replicas) * f64::from(desired + surge) / f64::from(before);
        size.round() as i32 - set.replicas
    }

    fn clean_up_if_complete(&mut self) {
        let status = status::counted(self.world, &self.sets, self.newest);
        if status::is_complete(self.world, &self.numbers, &status) {
            self.clean_up();
        }
    }

    /// Deletes the oldest sets beyond the history limit that have nothing left.
    fn clean_up(&mut self) {
        let Some(limit) = self.spec.revision_history_limit else { return };
        let mut old: Vec<&Set> = self.old().into_iter().map(|i| &self.sets[i]).filter(|s| !s.deleting).collect();
        old.sort_by_key(|s| (s.revision(), s.created));
        let beyond = old.len().saturating_sub(limit.max(0) as usize);
        let empty = |s: &&Set| {
            s.replicas == 0 && s.status.replicas == 0 && s.generation <= s.status.observed_generation.unwrap_or(0)
        };
        self.plan.delete = old.into_iter().take(beyond).filter(empty).map(|s| s.name.clone()).collect();
    }

    fn finish(mut self, outlook: Outlook) -> Plan {
        for before in &self.world.sets {
            if let Some(after) = self.sets.iter().find(|s| s.uid == before.uid)
                && after != before
            {
                self.plan.update.push((before.clone(), after.clone()));
            }
        }
        let current = self.world.meta.annotations.get(REVISION);
        self.plan.revision = self.plan.revision.take().filter(|r| Some(r) != current);
        let mut status = status::counted(self.world, &self.sets, self.newest);
        let pending = self.plan.create.as_ref().map(|c| c.name.as_str());
        let newest = self.newest.map(|n| self.sets[n].clone());
        self.plan.again = status::judge(
            self.world,
            &self.spec,
            &self.numbers,
            &self.sets,
            newest.as_ref(),
            pending,
            outlook,
            &mut self.conditions,
            &mut status,
        );
        status.conditions = Some(self.conditions).filter(|c| !c.is_empty());
        self.plan.status = status;
        self.plan
    }
}

fn copy_annotations(from: &BTreeMap<String, String>, to: &mut BTreeMap<String, String>) {
    for (key, value) in from {
        if !NOT_COPIED.contains(&key.as_str()) {
            to.insert(key.clone(), value.clone());
        }
    }
}
