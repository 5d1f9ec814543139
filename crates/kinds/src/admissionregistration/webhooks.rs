//! Webhook configurations: who is asked, about what, and what happens when nobody answers.

use super::matching;
use crate::check::Check;
use crate::descriptor::{Part, Rules};
use crate::fields::{default, each, within};
use crate::place::Place;
use coracle_api::{FieldError, Status, validation};
use serde_json::Value;

/// Rules of both kinds of configurations.
pub struct Configuration {
    /// Whether its webhooks change objects.
    pub mutates: bool,
}

/// What an older configuration may keep.
struct Strict {
    side_effects: bool,
    versions: bool,
    unique_names: bool,
    conditions: bool,
}

const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];

impl Rules for Configuration {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        each(object, "webhooks", |hook| {
            default(hook, "failurePolicy", "Fail");
            default(hook, "timeoutSeconds", 10);
            matching::default_matching(hook);
            matching::default_scopes(hook, "rules");
            within(hook, "clientConfig", |config| within(config, "service", |service| default(service, "port", 443)));
            if self.mutates {
                default(hook, "reinvocationPolicy", "Never");
            }
        });
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let strict = Strict { side_effects: true, versions: true, unique_names: true, conditions: true };
        Check::run(|check| self.hooks(check, &Place::of(object).field("webhooks"), &strict))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let (new, old) = (Place::of(new).field("webhooks"), Place::of(old).field("webhooks"));
        let conditions =
            |hooks: &Place| hooks.items().map(|h| h.field("matchConditions").value.clone()).collect::<Vec<_>>();
        let names: Vec<&str> = old.items().map(|hook| hook.field("name").text()).collect();
        let strict = Strict {
            side_effects: old.items().all(|hook| QUIET.contains(&hook.field("sideEffects").text())),
            versions: old.items().all(|hook| knows_a_version(&hook.field("admissionReviewVersions"))),
            unique_names: names.iter().enumerate().all(|(i, name)| !names[..i].contains(name)),
            conditions: conditions(&new) != conditions(&old),
        };
        Check::run(|check| self.hooks(check, &new, &strict))
    }
}

const QUIET: &[&str] = &["None", "NoneOnDryRun"];
const ANY_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];

fn knows_a_version(versions: &Place) -> bool {
    versions.empty() || versions.items().any(|v| REVIEW_VERSIONS.contains(&v.text()))
}

impl Configuration {
    fn hooks(&self, check: &mut Check, list: &Place, strict: &Strict) {
        let mut names: Vec<&str> = Vec::new();
        for at in list.items() {
            self.hook(check, &at, strict);
            review_versions(check, &at.field("admissionReviewVersions"), strict.versions);
            let name = at.field("name");
            if strict.unique_names && !name.empty() && names.contains(&name.text()) {
                check.twice(&name);
            }
            names.push(name.text());
        }
    }

    fn hook(&self, check: &mut Check, at: &Place, strict: &Strict) {
        check.fully_qualified_name(&at.field("name"));
        at.field("rules").items().for_each(|at| matching::rule(check, &at));
        check.may_be(&at.field("failurePolicy"), matching::FAILURE_POLICIES);
        matching::match_policy(check, at);
        let (effects, allowed) = (at.field("sideEffects"), if strict.side_effects { QUIET } else { ANY_SIDE_EFFECTS });
        match effects.given() {
            true => check.among(&effects, allowed),
            false => check.required(effects.path, &format!("must specify one of {}", allowed.join(", "))),
        }
        let timeout = at.field("timeoutSeconds");
        if timeout.given() && !(1..=30).contains(&timeout.number()) {
            check.bad(&timeout, "the timeout value must be between 1 and 30 seconds");
        }
        matching::selectors(check, at);
        if self.mutates {
            check.may_be(&at.field("reinvocationPolicy"), matching::REINVOCATION_POLICIES);
        }
        let config = at.field("clientConfig");
        match (config.field("url").given(), config.field("service").given()) {
            (true, false) => check.webhook_url(&config.field("url")),
            (false, true) => check.webhook_service(&config.field("service")),
            _ => check.required(config.path, "exactly one of url or service is required"),
        }
        if strict.conditions {
            matching::conditions(check, &at.field("matchConditions"), false);
        }
    }
}

fn review_versions(check: &mut Check, list: &Place, strict: bool) {
    if !check.needs(list, &format!("must specify one of {}", REVIEW_VERSIONS.join(", "))) {
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        if seen.contains(&at.text()) {
            check.bad(&at, "duplicate version");
            continue;
        }
        seen.push(at.text());
        check.keeps(&at, validation::dns1035_label);
    }
    if strict && !knows_a_version(list) {
        check.bad(list, format!("must include at least one of {}", REVIEW_VERSIONS.join(", ")));
    }
}
