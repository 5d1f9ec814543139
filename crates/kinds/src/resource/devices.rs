//! What claims, classes and slices say alike: lists of named things, drivers, pools, taints, configuration.

use crate::check::Check;
use crate::column::items;
use crate::fields;
use crate::place::Place;
use coracle_api::{FieldError, validation};
use coracle_cel::device::{self, Unfit};
use serde_json::{Value, json};

/// How long an expression, parameters and data may be.
pub const LONGEST: usize = 10 * 1024;
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

impl Check {
    /// A list of at most `most` entries. Upstream's types declare how many.
    pub(super) fn listed<'v>(&mut self, list: &Place<'v>, most: usize, mut item: impl FnMut(&mut Self, &Place<'v>)) {
        if self.later(|check| check.fits(list, most)) {
            list.items().for_each(|at| item(self, &at));
        }
    }

    /// The same, where no two entries have the same `key`.
    pub(super) fn set<'v>(
        &mut self,
        list: &Place<'v>,
        most: usize,
        key: impl Fn(&'v Value) -> &'v Value,
        item: impl FnMut(&mut Self, &Place<'v>),
    ) {
        self.listed(list, most, item);
        if list.len() <= most {
            self.later(|check| {
                let mut seen: Vec<&Value> = Vec::new();
                for at in list.items() {
                    if seen.contains(&key(at.value)) {
                        check.twice(&at);
                    }
                    seen.push(key(at.value));
                }
            });
        }
    }

    /// The name of a pool of devices.
    pub(super) fn pool(&mut self, at: &Place) {
        if self.needs(at, "") {
            self.no_longer(at, 253);
            for part in at.text().split('/') {
                for message in validation::dns1123_subdomain(part) {
                    self.invalid(at.path.clone(), &json!(part), message);
                }
            }
        }
    }

    /// The name of an attribute or a capacity, with or without the domain of who defined it. The name is a key: `at` is the map.
    pub(super) fn qualified(&mut self, at: &Place, name: &str) {
        let shown = |check: &mut Self, text: &str, why: &str| check.invalid(at.path.clone(), &json!(text), why);
        match name.split('/').collect::<Vec<_>>()[..] {
            [id] => self.identifier(at, id),
            [domain, id] => {
                if domain.is_empty() {
                    shown(self, "", "the domain must not be empty");
                } else {
                    self.driver_name(&Place::at(at.path.clone(), &json!(domain)));
                }
                if id.is_empty() {
                    shown(self, "", "the name must not be empty");
                } else {
                    self.identifier(at, id);
                }
            }
            _ => shown(self, name, "must not contain more than one slash"),
        }
    }

    fn identifier(&mut self, at: &Place, id: &str) {
        if id.len() > 32 {
            self.too_long(at, 32);
        }
        for message in validation::c_identifier(id) {
            self.invalid(at.path.clone(), &json!(id), message);
        }
    }

    /// A name that must have its domain.
    pub(super) fn fully_qualified(&mut self, at: &Place) {
        self.qualified(at, at.text());
        if !at.text().contains('/') {
            self.bad(at, "a fully qualified name must be a domain and a name separated by a slash");
        }
    }

    /// A UUID in its usual form.
    pub(super) fn uuid(&mut self, at: &Place) {
        let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let parts: Vec<&str> = at.text().split('-').collect();
        if parts.iter().map(|p| p.len()).ne([8, 4, 4, 4, 12]) || !parts.into_iter().all(hex) {
            let why = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
            self.bad(at, why);
        }
    }

    /// A taint of a device.
    pub(super) fn taint(&mut self, at: &Place, old: Option<&Value>) {
        let effect = at.field("effect");
        self.keeps(&at.field("key"), validation::qualified_name);
        self.may_keep(&at.field("value"), validation::label_value);
        if old.is_none_or(|old| old["effect"] != *effect.value) && self.declared(&effect) {
            self.later(|check| check.among(&effect, EFFECTS));
        }
    }

    /// Tolerations of taints of devices.
    pub(super) fn device_tolerations(&mut self, list: &Place) {
        for at in list.items() {
            let (key, value, operator) = (at.field("key"), at.field("value"), at.field("operator"));
            self.later(|check| check.may_keep(&key, validation::qualified_name));
            match operator.text() {
                "Exists" if !value.empty() => self.bad(&value, "must be empty for operator `Exists`"),
                "Exists" => {}
                "Equal" => self.keeps(&value, validation::label_value),
                _ => {
                    if self.declared(&operator) {
                        self.later(|check| check.among(&operator, &["Equal", "Exists"]));
                    }
                }
            }
            if !at.field("effect").empty() {
                self.later(|check| check.among(&at.field("effect"), EFFECTS));
            }
        }
    }

    /// Selectors of devices.
    pub(super) fn selectors(&mut self, list: &Place, stored: bool) {
        self.listed(list, 32, |check, at| {
            let cel = at.field("cel");
            if !cel.given() {
                check.required(cel.path, "");
            } else if !stored {
                check.device_expression(&cel.field("expression"));
            }
        });
    }

    /// An expression over a device.
    fn device_expression(&mut self, at: &Place) {
        if at.text().len() > LONGEST {
            // too long to be compiled
            return self.too_long(at, LONGEST);
        }
        match device::compile(at.text()) {
            Ok(_) => {}
            Err(Unfit::Invalid(why)) => self.bad_text(at, why),
            Err(Unfit::Failing(why)) => self.push(FieldError::internal(&at.path, why)),
            Err(Unfit::TooComplex) => self.barred(at, "too complex, exceeds cost limit"),
        }
    }

    /// Configuration for a driver.
    pub(super) fn configuration(&mut self, at: &Place, stored: bool) {
        let opaque = at.field("opaque");
        if !opaque.given() {
            return self.required(opaque.path, "");
        }
        self.declared_driver_name(&opaque.field("driver"));
        self.raw(&opaque.field("parameters"), stored);
    }

    /// An object of any kind.
    pub(super) fn raw(&mut self, at: &Place, stored: bool) {
        if !at.given() {
            self.required(at.path.clone(), "");
        } else if !stored && at.value.to_string().len() > LONGEST {
            self.too_long(at, LONGEST);
        } else if !at.value.is_object() {
            self.invalid(at.path.clone(), &json!("<value omitted>"), "must be a valid JSON object");
        }
    }

    /// What has to be true before a pod is bound, and what must not.
    pub(super) fn binding(&mut self, at: &Place) {
        let (wanted, failures) = (at.field("bindingConditions"), at.field("bindingFailureConditions"));
        for list in [&wanted, &failures] {
            self.listed(list, 4, |check, at| check.keeps(at, validation::qualified_name));
        }
        let repeated = |list: &Place, at: &Place, index: usize| items(list.value)[..index].contains(at.value);
        for (index, at) in wanted.items().enumerate() {
            if repeated(&wanted, &at, index) {
                self.twice(&at);
            }
        }
        for (index, at) in failures.items().enumerate() {
            if repeated(&failures, &at, index) {
                self.twice(&at);
            }
            if items(wanted.value).contains(at.value) {
                self.bad(&at, "bindingFailureConditions must not overlap with bindingConditions");
            }
        }
        if wanted.empty() && !failures.empty() {
            self.bad(&wanted, "bindingConditions are required to use bindingFailureConditions");
        }
        if failures.empty() && !wanted.empty() {
            self.bad(&failures, "bindingFailureConditions are required to use bindingConditions");
        }
    }

    /// Exactly one of some fields says where something is.
    pub(super) fn one_place(&mut self, at: &Place, given: &[&str], why: &str, more: &str) {
        match given {
            [] => self.required(at.path.clone(), why),
            [_] => {}
            many => {
                let names = many.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                self.push(FieldError::invalid(&at.path, format!("{{{names}}}"), format!("{why}{more}")));
            }
        }
    }
}

/// What a request for devices is unless it says otherwise.
pub fn default_request(request: &mut Value) {
    fields::default(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        fields::default_number(request, "count", 1);
    }
    fields::each(request, "tolerations", |toleration| fields::default(toleration, "operator", "Equal"));
}
