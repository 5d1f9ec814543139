//! Claims, their templates, and classes of devices.

use super::devices::default_request;
use crate::amounts;
use crate::check::{Check, IMMUTABLE};
use crate::column::{items, string};
use crate::core::pod::scheduling;
use crate::descriptor::{Part, Rules};
use crate::fields::{each, same, take, within};
use crate::place::Place;
use coracle_api::{FieldError, Status, validation};
use serde_json::{Value, json};

const OF_A_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

fn every_request(claim: &mut Value, mut change: impl FnMut(&mut Value)) {
    within(claim, "devices", |devices| {
        each(devices, "requests", |request| {
            within(request, "exactly", &mut change);
            each(request, "firstAvailable", &mut change);
        });
    });
}

fn drop_disabled(claim: &mut Value) {
    every_request(claim, |request| drop(take(request, "derivedAttributes")));
}

/// Rules of claims.
pub struct ClaimRules;

impl Rules for ClaimRules {
    fn default(&self, claim: &mut Value) -> Result<(), Status> {
        within(claim, "spec", |spec| every_request(spec, default_request));
        Ok(())
    }

    fn prepare_create(&self, claim: &mut Value) {
        within(claim, "spec", drop_disabled);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        if part == Part::Status {
            drop_deallocated(new, old);
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| claim(check, &Place::of(object).field("spec.devices")))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => status(check, new, old),
            _ => check.declared_unchanged(&Place::of(new).field("spec"), &old["spec"]),
        })
    }
}

/// What tells an allocated device.
fn id(device: &Value) -> String {
    let parts = ["driver", "pool", "device"].map(|field| string(&device[field]));
    parts.join("/")
}

fn shared_id(device: &Value) -> String {
    match string(&device["shareID"]) {
        "" => id(device),
        share => format!("{}/{share}", id(device)),
    }
}

fn allocated(claim: &Value) -> &[Value] {
    items(&claim["status"]["allocation"]["devices"]["results"])
}

/// What was said of devices goes with them.
fn drop_deallocated(new: &mut Value, old: &Value) {
    let kept: Vec<String> = allocated(new).iter().map(id).collect();
    let gone: Vec<String> = allocated(old).iter().map(id).filter(|id| !kept.contains(id)).collect();
    within(new, "status", |status| {
        if let Some(devices) = status["devices"].as_array_mut() {
            devices.retain(|device| !gone.contains(&id(device)));
            if devices.is_empty() {
                take(status, "devices");
            }
        }
    });
}

/// The names by which a claim's requests may be meant.
struct Names<'v>(&'v Value);

impl Names<'_> {
    fn has(&self, name: &str) -> bool {
        let (first, second) = name.split_once('/').unwrap_or((name, ""));
        // of several requests of one name the last counts
        let Some(request) = items(&self.0["requests"]).iter().rfind(|r| r["name"] == first) else { return false };
        !name.contains('/') || items(&request["firstAvailable"]).iter().any(|sub| sub["name"] == second)
    }

    fn judge(&self, check: &mut Check, at: &Place) {
        let name = at.text();
        if name.split('/').count() > 2 {
            return check.bad_text(at, OF_A_REQUEST);
        }
        for part in name.split('/') {
            check.messages(&at.path, &json!(part), validation::dns1123_label(part));
        }
        if !self.has(name) {
            check.bad_text(at, OF_A_REQUEST);
        }
    }

    fn judge_all(&self, check: &mut Check, list: &Place) {
        check.set(list, 32, |name| name, |check, at| self.judge(check, at));
    }
}

/// `spec.devices` of a claim.
fn claim(check: &mut Check, at: &Place) {
    let names = Names(at.value);
    check.set(&at.field("requests"), 32, |request| &request["name"], request);
    check.listed(&at.field("constraints"), 32, |check, at| {
        names.judge_all(check, &at.field("requests"));
        let (equal, distinct) = (at.field("matchAttribute"), at.field("distinctAttribute"));
        match [&equal, &distinct].into_iter().find(|attribute| attribute.given()) {
            Some(attribute) => check.later(|check| check.fully_qualified(attribute)),
            None => {
                let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
                check.required(at.path.clone(), why);
            }
        }
    });
    check.listed(&at.field("config"), 32, |check, at| {
        names.judge_all(check, &at.field("requests"));
        check.configuration(at, false);
    });
}

fn request(check: &mut Check, at: &Place) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    check.keeps(&at.field("name"), validation::dns1123_label);
    let (exactly, first) = (at.field("exactly"), at.field("firstAvailable"));
    match (exactly.given(), !first.empty()) {
        (false, false) => check.required(at.path.clone(), ONE),
        (true, true) => {
            check.invalid(at.path.clone(), &Value::Null, format!("{ONE}, but multiple fields are set"));
        }
        (true, false) => {
            if check.needs(&exactly.field("deviceClassName"), "") {
                check.keeps(&exactly.field("deviceClassName"), validation::dns1123_subdomain);
            }
            what(check, &exactly);
        }
        (false, true) => check.set(
            &first,
            8,
            |sub| &sub["name"],
            |check, at| {
                check.keeps(&at.field("name"), validation::dns1123_label);
                check.later(|check| check.must_keep(&at.field("deviceClassName"), validation::dns1123_subdomain));
                what(check, at);
            },
        ),
    }
}

/// Which devices, and how many.
fn what(check: &mut Check, at: &Place) {
    check.selectors(&at.field("selectors"), false);
    let (mode, count) = (at.field("allocationMode"), at.field("count"));
    match mode.text() {
        "All" if count.number() != 0 => check.bad(&count, "must not be specified when allocationMode is 'All'"),
        "ExactCount" if count.number() <= 0 => check.bad(&count, "must be greater than zero"),
        "All" | "ExactCount" => {}
        _ => check.later(|check| check.among(&mode, &["All", "ExactCount"])),
    }
    check.device_tolerations(&at.field("tolerations"));
}

fn status(check: &mut Check, new: &Value, old: &Value) {
    let at = Place::of(new).field("status");
    let (reserved, allocation) = (at.field("reservedFor"), at.field("allocation"));
    let before = &old["status"];
    check.set(
        &reserved,
        256,
        |consumer| &consumer["uid"],
        |check, at| {
            for field in ["resource", "name", "uid"] {
                check.needs(&at.field(field), "");
            }
        },
    );
    let known: Vec<String> = allocated(new).iter().map(shared_id).collect();
    for device in at.field("devices").items() {
        reported(check, &device, &known);
    }
    check.later(|check| {
        let mut seen: Vec<String> = Vec::new();
        for device in at.field("devices").items() {
            let id = shared_id(device.value);
            if seen.contains(&id) {
                check.twice(&device);
            }
            seen.push(id);
        }
    });
    if !reserved.empty() {
        let added = |consumer: &&Value| !items(&before["reservedFor"]).contains(consumer);
        if !allocation.given() {
            check.barred(&reserved, "may not be specified when `allocated` is not set");
        } else if new["metadata"]["deletionTimestamp"].is_string() && items(reserved.value).iter().any(|c| added(&c)) {
            let why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            check.barred(&reserved, why);
        }
    }
    match (before["allocation"].is_object(), allocation.given()) {
        (true, true) if !same(allocation.value, &before["allocation"]) => {
            check.later(|check| {
                check.invalid(allocation.path.clone(), &Value::Null, "field cannot be modified once set");
            });
        }
        (false, true) => allocate(check, &allocation, &Names(&new["spec"]["devices"])),
        _ => {}
    }
}

fn allocate(check: &mut Check, at: &Place, names: &Names) {
    check.listed(&at.field("devices.results"), 32, |check, at| {
        names.judge(check, &at.field("request"));
        check.declared_driver_name(&at.field("driver"));
        check.later(|check| check.pool(&at.field("pool")));
        check.keeps(&at.field("device"), validation::dns1123_label);
        check.binding(at);
        check.device_tolerations(&at.field("tolerations"));
        if at.field("shareID").given() {
            check.later(|check| check.uuid(&at.field("shareID")));
        }
    });
    check.listed(&at.field("devices.config"), 64, |check, at| {
        if check.declared(&at.field("source")) {
            check.later(|check| check.among(&at.field("source"), &["FromClaim", "FromClass"]));
        }
        names.judge_all(check, &at.field("requests"));
        check.configuration(at, false);
    });
    if at.field("nodeSelector").given() {
        scheduling::node_selector(check, &at.path.field("nodeSelector"), &at.value["nodeSelector"]);
    }
}

/// What a driver says of an allocated device.
fn reported(check: &mut Check, at: &Place, known: &[String]) {
    check.driver_name(&at.field("driver"));
    check.pool(&at.field("pool"));
    check.keeps(&at.field("device"), validation::dns1123_label);
    if at.field("shareID").given() {
        check.later(|check| check.uuid(&at.field("shareID")));
    }
    let id = shared_id(at.value);
    if !known.contains(&id) {
        let error = FieldError::invalid(&at.path, id.as_str(), "must be an allocated device in the claim");
        check.push(error.shown_as(id));
    }
    let conditions = at.field("conditions");
    check.fits(&conditions, 8);
    check.conditions(&conditions);
    if at.field("data").given() {
        check.raw(&at.field("data"), false);
    }
    let network = at.field("networkData");
    check.later(|check| {
        check.no_longer(&network.field("interfaceName"), 256);
        check.no_longer(&network.field("hardwareAddress"), 128);
    });
    check.set(&network.field("ips"), 16, |ip| ip, |check, at| check.keeps(at, validation::interface_address));
}

/// Rules of templates.
pub struct TemplateRules;

impl Rules for TemplateRules {
    fn default(&self, template: &mut Value) -> Result<(), Status> {
        within(template, "spec", |spec| within(spec, "spec", |spec| every_request(spec, default_request)));
        Ok(())
    }

    fn prepare_create(&self, template: &mut Value) {
        within(template, "spec", |spec| within(spec, "spec", drop_disabled));
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(object).field("spec");
            let metadata = at.field("metadata");
            let annotations = metadata.field("annotations");
            check.extend(validation::validate_annotations(annotations.value, &annotations.path));
            check.labels(&metadata.path.field("labels"), &metadata.value["labels"]);
            claim(check, &at.field("spec.devices"));
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new).field("spec");
            if !same(at.value, &old["spec"]) {
                check.bad(&at, IMMUTABLE);
            }
        })
    }
}

/// Rules of classes.
pub struct ClassRules;

impl Rules for ClassRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        class(object, &Value::Null)
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        class(new, &old["spec"])
    }
}

/// What was stored stays good, whatever is asked of new classes.
fn class(object: &Value, old: &Value) -> Vec<FieldError> {
    Check::run(|check| {
        let at = Place::of(object).field("spec");
        let stored = |list: &Place, before: &Value| old.is_object() && same(list.value, before);
        let (selectors, config) = (at.field("selectors"), at.field("config"));
        check.selectors(&selectors, stored(&selectors, &old["selectors"]));
        let kept = stored(&config, &old["config"]);
        check.listed(&config, 32, |check, at| check.configuration(at, kept));
        let extended = at.field("extendedResourceName");
        if extended.given() && !amounts::is_extended(extended.text()) {
            check.later(|check| check.bad(&extended, "must be a valid extended resource name"));
        }
    })
}
