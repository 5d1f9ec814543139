//! EndpointSlice: a part of a Service's addresses.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, items, number, string, string_or};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::{default, each, set};
use coracle_api::{FieldError, Status};
use coracle_api::{FieldErrorKind, validation};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<EndpointSlice>("endpointslice", "io.k8s.api.discovery.v1.EndpointSlice")
    .generation()
    .rules(&SliceRules)
    .columns(&[
        NAME,
        Column::text("AddressType", |_, o| o["addressType"].clone()),
        Column::text("Ports", |_, o| json!(ports(o))),
        Column::text("Endpoints", |_, o| json!(endpoints(o))),
        AGE,
    ]);

fn shorten(list: Vec<String>) -> String {
    match list.len() {
        0 => "<unset>".into(),
        1..=3 => list.join(","),
        n => format!("{} + {} more...", list[..3].join(","), n - 3),
    }
}

fn ports(slice: &Value) -> String {
    let one = |port: &Value| match number(&port["port"]) {
        0 => string_or(&port["name"], "*").to_string(),
        n => n.to_string(),
    };
    shorten(items(&slice["ports"]).iter().map(one).collect())
}

fn endpoints(slice: &Value) -> String {
    let all = items(&slice["endpoints"]).iter().flat_map(|e| items(&e["addresses"]));
    shorten(all.map(|a| string(a).to_string()).collect())
}

fn defaults(slice: &mut Value) {
    each(slice, "ports", |port| {
        if !port["name"].is_string() {
            set(port, "name", "");
        }
        default(port, "protocol", "TCP");
    });
}

struct SliceRules;

impl Rules for SliceRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            check.required_one_of(path("addressType"), &object["addressType"], &["FQDN", "IPv4", "IPv6"]);
            if items(&object["endpoints"]).len() > MAX {
                let found = items(&object["endpoints"]).len();
                check.push(FieldError::new("endpoints", FieldErrorKind::TooMany(found, MAX), ""));
            }
            for (index, endpoint) in items(&object["endpoints"]).iter().enumerate() {
                let at = path("endpoints").index(index);
                let addresses = items(&endpoint["addresses"]);
                if addresses.is_empty() {
                    check.required(at.field("addresses"), "must contain at least 1 address");
                }
                for (index, address) in addresses.iter().enumerate() {
                    let at = at.field("addresses").index(index);
                    if object["addressType"] == "FQDN" {
                        check.text(at, address, validation::dns1123_subdomain);
                    } else {
                        check.text(at, address, validation::ip);
                    }
                }
                check.text(at.field("hostname"), &endpoint["hostname"], validation::dns1123_label);
            }
            let mut names: Vec<&str> = Vec::new();
            for (index, port) in items(&object["ports"]).iter().enumerate() {
                let at = path("ports").index(index);
                let name = string(&port["name"]);
                check.text(at.field("name"), &port["name"], validation::dns1123_label);
                if names.contains(&name) {
                    check.push(FieldError::duplicate(at.field("name"), name));
                }
                names.push(name);
                check.required_one_of(at.field("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
                if port["port"].is_number() {
                    check.port(at.field("port"), &port["port"]);
                }
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            check.immutable(path("addressType"), &new["addressType"], &old["addressType"]);
        }));
        errors
    }
}

const MAX: usize = 1000;
