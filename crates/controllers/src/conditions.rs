//! Conditions of workloads share one shape in JSON but have a type each; this is that shape.

/// A condition type of some kind.
pub trait Condition: Clone {
    /// `type`.
    fn kind(&self) -> &str;
    /// `status`.
    fn status(&self) -> &str;
    /// `reason`.
    fn reason(&self) -> &str;
    /// Takes over when the other one last changed its status.
    fn keep_transition_of(&mut self, other: &Self);
}

/// Some of the types have optional fields, some have not.
trait Text {
    fn text(&self) -> &str;
}

impl Text for String {
    fn text(&self) -> &str {
        self
    }
}

impl Text for Option<String> {
    fn text(&self) -> &str {
        self.as_deref().unwrap_or_default()
    }
}

macro_rules! condition {
    ($($kind:path),*) => {$(
        impl Condition for $kind {
            fn kind(&self) -> &str {
                self.type_.text()
            }
            fn status(&self) -> &str {
                self.status.text()
            }
            fn reason(&self) -> &str {
                self.reason.as_deref().unwrap_or_default()
            }
            fn keep_transition_of(&mut self, other: &Self) {
                self.last_transition_time = other.last_transition_time.clone();
            }
        }
    )*};
}

condition!(
    k8s_openapi::api::apps::v1::DeploymentCondition,
    k8s_openapi::api::apps::v1::ReplicaSetCondition,
    k8s_openapi::api::batch::v1::JobCondition
);

/// The condition of that type.
pub fn get<'a, C: Condition>(conditions: &'a [C], kind: &str) -> Option<&'a C> {
    conditions.iter().find(|c| c.kind() == kind)
}

/// Sets a condition, unless it stands there with that status and reason already. It keeps its transition time if its status stays.
pub fn set<C: Condition>(conditions: &mut Vec<C>, mut new: C) {
    if let Some(old) = get(conditions, new.kind()) {
        if old.status() == new.status() && old.reason() == new.reason() {
            return;
        }
        if old.status() == new.status() {
            new.keep_transition_of(old);
        }
    }
    remove(conditions, new.kind());
    conditions.push(new);
}

/// Takes a condition away.
pub fn remove<C: Condition>(conditions: &mut Vec<C>, kind: &str) {
    conditions.retain(|c| c.kind() != kind);
}
