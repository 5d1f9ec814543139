//! What becomes of an object, by its owners and by its own deletion: pure.

use coracle_api::{Meta, Propagation};

/// The finalizer of an owner that waits for its dependents to go.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that lets its dependents go on without it.
pub const ORPHAN: &str = "orphan";

/// What has become of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is there.
    Present,
    /// It waits for its dependents to go.
    Leaving,
    /// There is none with that uid.
    Absent,
    /// Nobody can tell: its kind is not served.
    Unknown,
}

/// What to do with a dependent.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Keep,
    /// To forget the owners with these uids: others are there.
    Drop(Vec<String>),
    /// To delete it.
    Delete(Propagation),
}

/// Decides about an object with owners, which is not being deleted yet.
pub fn plan(owners: &[(&str, Owner)], finalizers: &[String], has_dependents: impl FnOnce() -> bool) -> Plan {
    if owners.iter().any(|(_, owner)| *owner == Owner::Unknown) {
        return Plan::Keep;
    }
    let in_vain: Vec<&str> = owners.iter().filter(|(_, owner)| *owner != Owner::Present).map(|(uid, _)| *uid).collect();
    if in_vain.is_empty() {
        return Plan::Keep;
    }
    if in_vain.len() < owners.len() {
        return Plan::Drop(in_vain.into_iter().map(ToString::to_string).collect());
    }
    let has = |finalizer: &str| finalizers.iter().any(|f| f == finalizer);
    let leaving = owners.iter().any(|(_, owner)| *owner == Owner::Leaving);
    Plan::Delete(match () {
        // the owner must see the whole tree below it go
        () if leaving && has_dependents() => Propagation::Foreground,
        () if has(ORPHAN) => Propagation::Orphan,
        () if has(FOREGROUND) => Propagation::Foreground,
        () => Propagation::Background,
    })
}

/// What is left to do for an owner whose deletion has begun.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// To free its dependents, then it.
    Orphan,
    /// To wait for those that block it, and to see that all go.
    Wait,
    /// To let it go.
    Finish,
}

/// Decides about an owner with one of the finalizers.
pub fn begun<'a>(owner: &Meta, mut dependents: impl Iterator<Item = &'a Meta>) -> Begun {
    if owner.finalizers.iter().any(|f| f == ORPHAN) {
        return Begun::Orphan;
    }
    let blocked = dependents.any(|d| d.owner_references.iter().any(|r| r.uid == owner.uid && r.block_owner_deletion));
    if blocked { Begun::Wait } else { Begun::Finish }
}
