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
    /// To hold up its owners no longer: what it owns waits in turn, so they may well wait for each other in a circle.
    Unblock,
    /// To delete it.
    Delete(Propagation),
}

/// What an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// Nothing.
    Nothing,
    /// Something, and none of it waits for its own dependents.
    Some,
    /// Also something that waits for its own dependents to go.
    Leaving,
}

/// Decides about an object with owners, which is not being deleted yet. `blocks`: whether it holds up any of them.
pub fn plan(owners: &[(&str, Owner)], finalizers: &[String], blocks: bool, below: impl FnOnce() -> Below) -> Plan {
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
    let below = if leaving { below() } else { Below::Nothing };
    if below == Below::Leaving && blocks {
        return Plan::Unblock;
    }
    Plan::Delete(match () {
        // the owner must see the whole tree below it go
        () if below != Below::Nothing => Propagation::Foreground,
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
