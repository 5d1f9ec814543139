//! ServiceCIDR and IPAddress: the ranges of service addresses, and which of them are taken.

use crate::check::{Check, IMMUTABLE};
use crate::column::{AGE, Column, NAME, SelectableField, items, string};
use crate::descriptor::{Kind, NameRule, Part, Rules, Subresource, text};
use crate::place::Place;
use coracle_api::{FieldError, validation};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use serde_json::{Value, json};

/// IPAddress: an address of the service network that is taken.
pub static IP_ADDRESS: Kind = Kind::new::<IPAddress>("ipaddress", "io.k8s.api.networking.v1.IPAddress")
    .short(&["ip"])
    .names(NameRule::Address)
    .rules(&AddressRules)
    .selectable(&[SelectableField {
        path: "spec.parentRef.resource",
        get: |o| text(&o["spec"]["parentRef"]["resource"]),
    }])
    .columns(&[NAME, Column::text("ParentRef", |_, o| json!(parent(o))), AGE]);

/// ServiceCIDR: a range of service addresses.
pub static SERVICE_CIDR: Kind = Kind::new::<ServiceCIDR>("servicecidr", CIDR)
    .rules(&RangeRules)
    .subresources(&[Subresource::status::<ServiceCIDR>(CIDR)])
    .columns(&[
        NAME,
        Column::text("CIDRs", |_, o| {
            json!(items(&o["spec"]["cidrs"]).iter().map(string).collect::<Vec<_>>().join(","))
        }),
        AGE,
    ]);

const CIDR: &str = "io.k8s.api.networking.v1.ServiceCIDR";

fn parent(object: &Value) -> String {
    let parent = &object["spec"]["parentRef"];
    let parts = ["resource", "group"].map(|f| string(&parent[f])).into_iter().filter(|s| !s.is_empty());
    let resource = parts.collect::<Vec<_>>().join(".");
    let name = [string(&parent["namespace"]), string(&parent["name"])].into_iter().filter(|s| !s.is_empty());
    format!("{resource}/{}", name.collect::<Vec<_>>().join("/"))
}

struct AddressRules;

impl Rules for AddressRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| parent_reference(check, &Place::of(object).field("spec.parentRef")))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new).field("spec.parentRef");
            parent_reference(check, &at);
            check.declared_unchanged(&at, &old["spec"]["parentRef"]);
        })
    }
}

fn parent_reference(check: &mut Check, at: &Place) {
    if !check.declared(at) {
        return;
    }
    check.may_keep(&at.field("group"), validation::dns1123_subdomain);
    for name in ["resource", "name"] {
        if check.declared(&at.field(name)) {
            check.keeps(&at.field(name), validation::path_segment);
        }
    }
    check.may_keep(&at.field("namespace"), validation::path_segment);
}

struct RangeRules;

impl Rules for RangeRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| ranges(check, &Place::of(object).field("spec.cidrs")))
    }

    // A second family may join the first; nothing else may change.
    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let (new, old) = (Place::of(new).field("spec.cidrs"), Place::of(old).field("spec.cidrs"));
        let same_so_far = |check: &mut Check| {
            for (at, _) in new.items().zip(old.items()).filter(|(new, old)| new.value != old.value) {
                check.bad(&at, IMMUTABLE);
            }
        };
        Check::run(|check| {
            ranges(check, &new);
            match (old.len(), new.len()) {
                (before, now) if before == now => same_so_far(check),
                (1, 2) => {
                    same_so_far(check);
                    ranges(check, &new);
                }
                _ => check.bad(&new, IMMUTABLE),
            }
        })
    }
}

fn ranges(check: &mut Check, at: &Place) {
    if !check.needs(at, "at least one CIDR required") {
        return;
    }
    if at.len() > 2 {
        let shown = json!({"CIDRs": at.value});
        return check.invalid(at.path.clone(), &shown, "may only hold up to 2 values");
    }
    at.items().for_each(|at| check.keeps(&at, validation::canonical_cidr));
    let families: Vec<bool> =
        at.items().filter_map(|at| validation::parse_cidr(at.text())).map(|(address, _)| address.is_ipv4()).collect();
    if families.len() == 2 && families[0] == families[1] {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        check.bad(at, why);
    }
}
