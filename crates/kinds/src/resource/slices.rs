//! What drivers publish, and rules that taint it.

use crate::check::{Check, IMMUTABLE};
use crate::column::items;
use crate::core::pod::scheduling;
use crate::descriptor::{Part, Rules};
use crate::fields::{each, same, take, within};
use crate::place::Place;
use coracle_api::{FieldError, Quantity, validation};
use semver::Version;
use serde_json::{Value, json};

/// Rules of slices.
pub struct SliceRules;

/// Values of attributes that are lists, and what else only features use that are off.
const LISTS: &[&str] = &["bools", "ints", "strings", "versions"];

fn drop_disabled(slice: &mut Value) {
    within(slice, "spec", |spec| {
        take(spec, "partitionTypeAttribute");
        take(spec, "skipNodeOperations");
        each(spec, "devices", |device| {
            take(device, "nodeAllocatableResources");
            let attributes = device.get_mut("attributes").and_then(Value::as_object_mut);
            for attribute in attributes.into_iter().flat_map(|map| map.values_mut()) {
                for list in LISTS {
                    take(attribute, list);
                }
            }
        });
    });
}

impl Rules for SliceRules {
    fn prepare_create(&self, slice: &mut Value) {
        drop_disabled(slice);
    }

    fn prepare_update(&self, new: &mut Value, _old: &Value, _part: Part) {
        drop_disabled(new);
    }

    fn stamp(&self, slice: &mut Value, _old: Option<&Value>, now: &str) {
        within(slice, "spec", |spec| {
            each(spec, "devices", |device| {
                each(device, "taints", |taint| {
                    if taint["timeAdded"].is_null() {
                        taint["timeAdded"] = json!(now);
                    }
                });
            });
        });
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        slice(object, None)
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        slice(new, Some(&old["spec"]))
    }
}

fn slice(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    Check::run(|check| {
        let at = Place::of(object).field("spec");
        check.driver_name(&at.field("driver"));
        pool(check, &at.field("pool"));
        if let Some(old) = old {
            let kept = [
                (at.field("pool.name"), &old["pool"]["name"]),
                (at.field("driver"), &old["driver"]),
                (at.field("nodeName"), &old["nodeName"]),
            ];
            for (at, before) in kept {
                if !same(at.value, before) {
                    check.bad(&at, IMMUTABLE);
                }
            }
        }
        nodes(check, &at);
        if at.field("sharedCounters").given() && at.field("devices").given() {
            check.invalid(at.path.clone(), &json!(""), "only one of `sharedCounters` or `devices` is allowed");
        }
        devices(check, &at, old);
        check.set(&at.field("sharedCounters"), 8, |set| &set["name"], |check, at| counters(check, at, "name"));
    })
}

fn pool(check: &mut Check, at: &Place) {
    check.pool(&at.field("name"));
    let (count, generation) = (at.field("resourceSliceCount"), at.field("generation"));
    if count.number() <= 0 {
        check.invalid(count.path.clone(), &json!(count.number()), "must be greater than zero");
    }
    if generation.number() < 0 {
        check.bad(&generation, "must be greater than or equal to zero");
    }
}

fn nodes(check: &mut Check, at: &Place) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut given = Vec::new();
    let name = at.field("nodeName");
    if name.given() && name.empty() {
        check.bad(&name, "must be either unset or set to a non-empty string");
    } else if name.given() {
        given.push("nodeName");
        check.keeps(&name, validation::dns1123_subdomain);
    }
    let selector = at.field("nodeSelector");
    if selector.given() {
        given.push("nodeSelector");
        scheduling::node_selector(check, &selector.path, selector.value);
        let terms = selector.field("nodeSelectorTerms");
        if terms.len() != 1 {
            check.bad(&terms, "must have exactly one node selector term");
        }
    }
    for field in ["allNodes", "perDeviceNodeSelection"] {
        flag(check, &at.field(field), field, &mut given);
    }
    check.one_place(at, &given, ONE, ", but multiple fields are set");
}

fn flag<'n>(check: &mut Check, at: &Place, name: &'n str, given: &mut Vec<&'n str>) {
    match at.value {
        Value::Bool(true) => given.push(name),
        Value::Bool(false) => check.bad(at, "must be either unset or set to true"),
        _ => {}
    }
}

fn devices(check: &mut Check, at: &Place, old: Option<&Value>) {
    let list = at.field("devices");
    let costly = |device: &Value| ["taints", "consumesCounters"].iter().any(|f| !items(&device[*f]).is_empty());
    let most = if items(list.value).iter().any(costly) { 64 } else { 128 };
    if !check.fits(&list, most) {
        return;
    }
    for at_device in list.items() {
        let before = old.and_then(|o| items(&o["devices"]).iter().find(|d| d["name"] == at_device.value["name"]));
        device(check, &at_device, before, at.field("perDeviceNodeSelection").value == &json!(true));
    }
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        let name = at.field("name").text();
        if seen.contains(&name) {
            check.duplicate(at.path, name);
        }
        seen.push(name);
    }
}

fn device(check: &mut Check, at: &Place, old: Option<&Value>, chooses: bool) {
    check.keeps(&at.field("name"), validation::dns1123_label);
    let (attributes, capacity, taints) = (at.field("attributes"), at.field("capacity"), at.field("taints"));
    let facts = attributes.len() + capacity.len();
    if facts > 32 {
        let why = "the total number of attributes and capacities must not exceed 32";
        check.invalid(at.path.clone(), &json!(facts), why);
    }
    for (name, attribute) in attributes.entries() {
        check.qualified(&attributes, name);
        self::attribute(check, &attribute);
    }
    let changed = |place: &Place, field: &str| old.is_none_or(|old| !same(&old[field], place.value));
    if changed(&capacity, "capacity") {
        let shared = at.field("allowMultipleAllocations").value == &json!(true);
        for (name, at) in capacity.entries() {
            check.qualified(&capacity, name);
            let policy = at.field("requestPolicy");
            if policy.given() && shared {
                self::policy(check, &policy, &at.value["value"]);
            } else if policy.given() {
                check.barred(&policy, "allowMultipleAllocations must be true");
            }
        }
    }
    if changed(&taints, "taints") && check.fits(&taints, 16) {
        taints.items().for_each(|at| check.taint(&at, None));
    }
    check.set(
        &at.field("consumesCounters"),
        2,
        |used| &used["counterSet"],
        |check, at| counters(check, at, "counterSet"),
    );
    where_it_is(check, at, chooses);
    check.binding(at);
}

fn where_it_is(check: &mut Check, at: &Place, chooses: bool) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    let (name, selector, all) = (at.field("nodeName"), at.field("nodeSelector"), at.field("allNodes"));
    if !chooses {
        if [&name, &selector, &all].iter().any(|place| place.given()) {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            check.invalid(at.path.clone(), &Value::Null, why);
        }
        return;
    }
    let mut given = Vec::new();
    if name.given() && name.empty() {
        check.bad(&name, "must not be empty");
    } else if name.given() {
        given.push("nodeName");
        check.keeps(&name, validation::dns1123_subdomain);
    }
    if selector.given() {
        given.push("nodeSelector");
        scheduling::node_selector(check, &selector.path, selector.value);
    }
    flag(check, &all, "allNodes", &mut given);
    check.one_place(at, &given, ONE, "");
}

/// A named set of counters, or what is used of it.
fn counters(check: &mut Check, at: &Place, name: &str) {
    check.later(|check| check.must_keep(&at.field(name), validation::dns1123_label));
    let counters = at.field("counters");
    if check.declared(&counters) && check.fits(&counters, 32) {
        for (name, _) in counters.entries() {
            check.later(|check| check.messages(&counters.path, &json!(name), validation::dns1123_label(name)));
        }
    }
}

fn attribute(check: &mut Check, at: &Place) {
    const VALUES: &[&str] = &["int", "bool", "string", "version"];
    check.no_longer(&at.field("string"), 64);
    let version = at.field("version");
    if version.given() {
        if Version::parse(version.text()).is_err() {
            check.bad(&version, "must be a string compatible with semver.org spec 2.0.0");
        }
        check.no_longer(&version, 64);
    }
    let given: Vec<&str> = VALUES.iter().copied().filter(|field| at.field(field).given()).collect();
    if given.len() != 1 {
        let all: Vec<String> = VALUES.iter().chain(LISTS).map(|field| format!("`{field}`")).collect();
        let (shown, how) = match given.is_empty() {
            true => (String::new(), "one"),
            false => (format!("{{{}}}", given.join(", ")), "exactly one"),
        };
        let why = format!("must specify {how} of: {}", all.join(", "));
        check.later(|check| check.invalid(at.path.clone(), &json!(shown), why));
    }
}

fn amount(value: &Value) -> Quantity {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// How much of a capacity may be asked for.
fn policy(check: &mut Check, at: &Place, capacity: &Value) {
    let (values, range, default) = (at.field("validValues"), at.field("validRange"), at.field("default"));
    let most = amount(capacity);
    let needed = |check: &mut Check, by: &str| check.needs(&default, &format!("required when {by} is defined"));
    if !values.empty() && range.given() {
        let why =
            "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
        check.barred(at, why);
    } else if !values.empty() && needed(check, "validValues") {
        choices(check, &values, most, amount(default.value));
    } else if range.given() && needed(check, "validRange") {
        within_range(check, &range, most, amount(default.value));
    }
}

fn shown(check: &mut Check, at: &Place, amount: Quantity, why: impl std::fmt::Display) {
    check.invalid(at.path.clone(), &json!(amount.to_string()), why);
}

fn choices(check: &mut Check, values: &Place, most: Quantity, default: Quantity) {
    let all: Vec<(Place, Quantity)> = values.items().map(|at| (at.clone(), amount(at.value))).collect();
    for pair in all.windows(2) {
        if let [(_, first), (at, second)] = pair
            && first > second
        {
            shown(check, at, *second, "values must be sorted in ascending order");
        }
    }
    if check.fits(values, 10) {
        for (at, value) in all.iter().filter(|(_, value)| *value > most) {
            shown(check, at, *value, format!("option is larger than capacity value: {most}"));
        }
        for (index, (at, value)) in all.iter().enumerate() {
            if all[..index].iter().any(|(_, before)| before == value) {
                check.twice(at);
            }
        }
    }
    if values.len() > 10 || !all.iter().any(|(_, value)| *value == default) {
        shown(check, values, default, "default value is not valid according to the requestPolicy");
    }
}

fn within_range(check: &mut Check, at: &Place, most: Quantity, default: Quantity) {
    let (min, max, step) = (at.field("min"), at.field("max"), at.field("step"));
    if !check.needs(&min, "required when validRange is defined") {
        return;
    }
    let default_at = at.field("default");
    let least = amount(min.value);
    if least > most {
        shown(check, &min, least, format!("min is larger than capacity value: {most}"));
    }
    if default < least {
        shown(check, &default_at, default, format!("default is less than min: {least}"));
    }
    if max.given() {
        let limit = amount(max.value);
        if least > limit {
            shown(check, &max, least, format!("min is larger than max: {limit}"));
        }
        if limit > most {
            shown(check, &max, limit, format!("max is larger than capacity value: {most}"));
        }
        if default > limit {
            shown(check, &default_at, default, format!("default is more than max: {limit}"));
        }
    }
    if step.given() {
        steps(check, &step, most, default, least, &max);
    }
}

fn steps(check: &mut Check, at: &Place, most: Quantity, default: Quantity, least: Quantity, max: &Place) {
    let step = amount(at.value);
    if step <= Quantity::ZERO {
        return shown(check, at, step, "must be greater than zero");
    }
    if least + step > most {
        let why = format!("one step {} is larger than capacity value: {most}", least + step);
        shown(check, at, step, why);
    }
    let limit = max.given().then(|| amount(max.value));
    for value in [Some(default), limit].into_iter().flatten() {
        if (value - least).milli_value() % step.milli_value() != 0 {
            let why = format!("value is not a multiple of a given step ({step}) from ({least})");
            shown(check, at, value, why);
        }
    }
}

/// Rules of rules that taint devices.
pub struct TaintRules;

impl Rules for TaintRules {
    fn stamp(&self, rule: &mut Value, old: Option<&Value>, now: &str) {
        within(rule, "spec", |spec| {
            within(spec, "taint", |taint| {
                let before = old.map(|old| &old["spec"]["taint"]);
                let other = |b: &Value| b["timeAdded"] == taint["timeAdded"] && b["effect"] != taint["effect"];
                if taint["timeAdded"].is_null() || before.is_some_and(other) {
                    taint["timeAdded"] = json!(now);
                }
            });
        });
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| tainting(check, object, None))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => {
                let conditions = Place::of(new).field("status.conditions");
                check.conditions(&conditions);
                check.fits(&conditions, 8);
            }
            _ => tainting(check, new, Some(&old["spec"]["taint"])),
        })
    }
}

fn tainting(check: &mut Check, object: &Value, old: Option<&Value>) {
    let at = Place::of(object).field("spec");
    let selector = at.field("deviceSelector");
    let (driver, pool, device) = (selector.field("driver"), selector.field("pool"), selector.field("device"));
    if driver.given() {
        check.driver_name(&driver);
    }
    if pool.given() {
        check.pool(&pool);
    }
    if device.given() {
        check.keeps(&device, validation::dns1123_label);
    }
    check.taint(&at.field("taint"), old);
}
