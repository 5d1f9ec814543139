//! Endpoints into slices, with as few writes as possible: every write of a slice goes to every node.
//!
//! Order of preference, as upstream's: what is in a slice stays there; slices that change anyway are filled up; what is left goes into one
//! slice that has room for all of it, or into new ones. A slice that would be deleted is used again instead of creating one.

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// A slice without its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// `IPv4` or `IPv6`.
    pub address_type: String,
    /// Sorted by name.
    pub ports: Vec<EndpointPort>,
    /// In the order of the slice.
    pub endpoints: Vec<Endpoint>,
    /// All its labels.
    pub labels: Labels,
    /// All its annotations; `None` in a plan: they stay as they are.
    pub annotations: Option<Labels>,
}

/// Endpoints that have the same ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// `IPv4` or `IPv6`.
    pub address_type: String,
    /// Their ports.
    pub ports: Vec<EndpointPort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// What every slice of one Service has.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Its labels.
    pub labels: Labels,
    /// Its annotations, if they are ours to say.
    pub annotations: Option<Labels>,
}

/// One write. Numbers are places in the list of existing slices.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A new slice.
    Create(Slice),
    /// Another content.
    Update(usize, Slice),
    /// Not needed any more.
    Delete(usize),
}

/// A slice that stays.
struct Kept {
    place: usize,
    endpoints: Vec<Endpoint>,
    dirty: bool,
}

/// What to write so that the slices hold exactly the groups. There is at least one slice for each of `types`, be it empty.
pub fn pack(existing: &[Slice], groups: Vec<Group>, types: &[&str], header: &Header, max: usize) -> Vec<Action> {
    let mut actions = Vec::new();
    for (place, slice) in existing.iter().enumerate() {
        if !types.contains(&slice.address_type.as_str()) {
            actions.push(Action::Delete(place));
        }
    }
    for address_type in types {
        let groups = groups.iter().filter(|g| g.address_type == *address_type && !g.endpoints.is_empty());
        one_type(existing, groups.cloned().collect(), address_type, header, max, &mut actions);
    }
    actions
}

fn one_type(
    existing: &[Slice],
    groups: Vec<Group>,
    address_type: &str,
    header: &Header,
    max: usize,
    actions: &mut Vec<Action>,
) {
    let mut unused: Vec<usize> = (0..existing.len()).filter(|i| existing[*i].address_type == address_type).collect();
    let mut create: Vec<Slice> = Vec::new();
    let slice = |ports: &[EndpointPort], endpoints| Slice {
        address_type: address_type.to_string(),
        ports: ports.to_vec(),
        endpoints,
        labels: header.labels.clone(),
        annotations: header.annotations.clone(),
    };
    let mut kept_any = false;
    for group in groups {
        let (kept, new) = spread(existing, &mut unused, &group, header, max);
        for one in kept {
            kept_any = true;
            if one.dirty {
                actions.push(Action::Update(one.place, slice(&group.ports, one.endpoints)));
            }
        }
        create.extend(new.into_iter().map(|endpoints| slice(&group.ports, endpoints)));
    }
    if !kept_any && create.is_empty() {
        create.push(slice(&[], Vec::new()));
    }
    for new in create {
        if unused.is_empty() {
            actions.push(Action::Create(new));
            continue;
        }
        let place = unused.remove(0);
        if !same(&existing[place], &new) {
            actions.push(Action::Update(place, new));
        }
    }
    actions.extend(unused.into_iter().map(Action::Delete));
}

/// Whether an existing slice is as the plan wants it.
fn same(existing: &Slice, wanted: &Slice) -> bool {
    existing.ports == wanted.ports
        && existing.endpoints == wanted.endpoints
        && existing.labels == wanted.labels
        && (wanted.annotations.is_none() || existing.annotations == wanted.annotations)
}

/// One group: the slices that keep some of it (taken from `unused`), and the contents of new ones.
fn spread(
    existing: &[Slice],
    unused: &mut Vec<usize>,
    group: &Group,
    header: &Header,
    max: usize,
) -> (Vec<Kept>, Vec<Vec<Endpoint>>) {
    let mut rest: BTreeMap<String, Endpoint> = group.endpoints.iter().map(|e| (identity(e), e.clone())).collect();
    let mut kept: Vec<Kept> = Vec::new();
    unused.retain(|place| {
        let slice = &existing[*place];
        if slice.ports != group.ports {
            return true;
        }
        let stays: Vec<Endpoint> = slice.endpoints.iter().filter_map(|e| rest.remove(&identity(e))).collect();
        if stays.is_empty() {
            return true;
        }
        let header_differs = slice.labels != header.labels
            || header.annotations.as_ref().is_some_and(|wanted| Some(wanted) != slice.annotations.as_ref());
        let dirty = stays != slice.endpoints || header_differs;
        kept.push(Kept { place: *place, endpoints: stays, dirty });
        false
    });
    let mut rest: Vec<Endpoint> = rest.into_values().collect();
    let fill = |one: &mut Kept, rest: &mut Vec<Endpoint>| {
        let room = max.saturating_sub(one.endpoints.len()).min(rest.len());
        one.dirty |= room > 0;
        one.endpoints.extend(rest.drain(..room));
    };
    kept.sort_by_key(|one| std::cmp::Reverse(one.endpoints.len()));
    kept.iter_mut().filter(|one| one.dirty).for_each(|one| fill(one, &mut rest));
    let mut new = Vec::new();
    while !rest.is_empty() {
        // the fullest slice with room for all of the rest
        let found = kept.iter_mut().find(|one| one.endpoints.len() + rest.len() <= max);
        match found {
            Some(one) => fill(one, &mut rest),
            None => new.push(rest.drain(..rest.len().min(max)).collect()),
        }
    }
    (kept, new)
}

/// What makes two versions of an endpoint the same endpoint.
fn identity(endpoint: &Endpoint) -> String {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let target = endpoint.target_ref.as_ref();
    let target = target.map(|t| format!("{}/{}", text(&t.namespace), text(&t.name))).unwrap_or_default();
    format!("{target} {} {}", endpoint.addresses.join(","), text(&endpoint.hostname))
}
