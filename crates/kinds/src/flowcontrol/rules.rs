//! Defaults and validation of flow schemas and priority levels.
//!
//! Source: `pkg/apis/flowcontrol/validation`, `pkg/apis/flowcontrol/v1/defaults.go`.

use super::objects;
use crate::check::Check;
use crate::descriptor::{Part, Rules};
use crate::fields::{default, default_number, ensure, same, take, within};
use crate::place::{Place, TextRule};
use coracle_api::{FieldError, Status, validation};
use serde_json::{Value, json};

/// FlowSchema.
pub struct Flow;

/// PriorityLevelConfiguration.
pub struct Level;

impl Rules for Flow {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        default_number(ensure(object, "spec"), "matchingPrecedence", 1000);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(object);
            flow(check, &at.field("spec"), at.field("metadata.name").text());
            fixed(check, &at, &objects::flows(), |spec| spec);
            conditions(check, &at);
        })
    }

    fn validate_update(&self, new: &Value, _old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Status { status(new) } else { self.validate(new) }
    }
}

impl Rules for Level {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        let spec = ensure(object, "spec");
        within(spec, "exempt", |exempt| {
            default(exempt, "nominalConcurrencyShares", 0);
            default(exempt, "lendablePercent", 0);
        });
        within(spec, "limited", |limited| {
            default(limited, "nominalConcurrencyShares", 30);
            default(limited, "lendablePercent", 0);
            within(limited, "limitResponse", |response| {
                within(response, "queuing", |queuing| {
                    default_number(queuing, "queues", 64);
                    default_number(queuing, "handSize", 8);
                    default_number(queuing, "queueLengthLimit", 50);
                });
            });
        });
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(object);
            level(check, &at.field("spec"), at.field("metadata.name").text());
            // how much of it others may borrow is the administrator's choice
            fixed(check, &at, &objects::levels(), |mut spec| {
                if at.field("metadata.name").text() == "exempt" {
                    take(&mut spec, "exempt");
                }
                spec
            });
            conditions(check, &at);
        })
    }

    fn validate_update(&self, new: &Value, _old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Status { status(new) } else { self.validate(new) }
    }
}

fn status(object: &Value) -> Vec<FieldError> {
    Check::run(|check| conditions(check, &Place::of(object)))
}

/// A mandatory object says what it must say, as far as `part` looks.
fn fixed(check: &mut Check, at: &Place, all: &[Value], part: impl Fn(Value) -> Value) {
    let name = at.field("metadata.name").text();
    let Some(spec) = objects::mandatory_spec(all, name) else { return };
    if !same(&part(at.field("spec").value.clone()), &part(spec)) {
        let except = if part(json!({"exempt": 1})) == json!({}) { " except the 'spec.exempt' field" } else { "" };
        check.bad(&at.field("spec"), format!("spec of '{name}'{except} must equal the fixed value"));
    }
}

fn conditions(check: &mut Check, at: &Place) {
    let mut seen: Vec<&str> = Vec::new();
    for kind in at.field("status.conditions").items().map(|condition| condition.field("type")) {
        if seen.contains(&kind.text()) {
            check.push(FieldError::duplicate(&kind.path, kind.text()));
        }
        seen.push(kind.text());
        check.needs(&kind, "must not be empty");
    }
}

fn flow(check: &mut Check, at: &Place, name: &str) {
    let (precedence, distinguisher) = (at.field("matchingPrecedence"), at.field("distinguisherMethod"));
    if precedence.number() <= 0 {
        check.bad(&precedence, "must be a positive value");
    }
    if precedence.number() > 10_000 {
        check.bad(&precedence, "must not be greater than 10000");
    }
    if precedence.number() == 1 && name != "exempt" {
        check.bad(&precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = distinguisher.field("type");
    if distinguisher.given() && !["ByNamespace", "ByUser"].contains(&method.text()) {
        let shown = json!({"Type": method.text()});
        check.push(FieldError::not_supported(&method.path, shown, &["ByNamespace", "ByUser"]));
    }
    let level = at.field("priorityLevelConfiguration.name");
    if check.needs(&level, "must reference a priority level") {
        check.keeps(&level, validation::dns1123_subdomain);
    }
    at.field("rules").items().for_each(|at| rule(check, &at));
}

fn rule(check: &mut Check, at: &Place) {
    let (subjects, resources, others) = (at.field("subjects"), at.field("resourceRules"), at.field("nonResourceRules"));
    subjects.items().for_each(|at| subject(check, &at));
    check.needs(&subjects, "subjects must contain at least one value");
    if resources.empty() && others.empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        check.required(at.path.clone(), why);
    }
    resources.items().for_each(|at| resource_rule(check, &at));
    others.items().for_each(|at| url_rule(check, &at));
}

const SUBJECTS: [(&str, &str); 3] = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];

fn subject(check: &mut Check, at: &Place) {
    let kind = at.field("kind").text();
    let Some((_, own)) = SUBJECTS.iter().find(|(known, _)| *known == kind) else {
        return check.among(&at.field("kind"), &["Group", "ServiceAccount", "User"]);
    };
    let own = at.field(own);
    if !own.given() {
        let field = SUBJECTS.iter().find(|(known, _)| *known == kind).map_or("", |(_, field)| field);
        check.required(own.path.clone(), &format!("{field} is required when subject kind is '{kind}'"));
    } else if kind == "ServiceAccount" {
        if check.needs(&own.field("name"), "") && own.field("name").text() != "*" {
            check.keeps(&own.field("name"), validation::dns1123_subdomain);
        }
        if check.needs(&own.field("namespace"), "must specify namespace for service account") {
            check.keeps(&own.field("namespace"), validation::dns1123_label);
        }
    } else {
        check.needs(&own.field("name"), "");
    }
    for (known, field) in SUBJECTS.iter().filter(|(known, _)| *known != kind) {
        if at.field(field).given() {
            check.barred(&at.field(field), &format!("{field} is forbidden when subject kind is not '{known}'"));
        }
    }
}

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

fn has_star(list: &Place) -> bool {
    list.items().any(|item| item.text() == "*")
}

/// A list with `*` has nothing else; says whether it has `*`.
fn star_alone(check: &mut Check, list: &Place, others: &str) -> bool {
    if has_star(list) && list.len() > 1 {
        check.bad(list, format!("if '*' is present, must not specify other {others}"));
    }
    has_star(list)
}

fn verbs(check: &mut Check, at: &Place) {
    let verbs = at.field("verbs");
    let known = verbs.items().all(|verb| VERBS.contains(&verb.text()));
    if check.needs(&verbs, "verbs must contain at least one value") && !star_alone(check, &verbs, "verbs") && !known {
        check.push(FieldError::not_supported(&verbs.path, verbs.value.clone(), VERBS));
    }
}

fn resource_rule(check: &mut Check, at: &Place) {
    verbs(check, at);
    for (list, others, why) in [
        ("apiGroups", "api groups", "resource rules must supply at least one api group"),
        ("resources", "resources", "resource rules must supply at least one resource"),
    ] {
        let list = at.field(list);
        if check.needs(&list, why) {
            star_alone(check, &list, others);
        }
    }
    let namespaces = at.field("namespaces");
    if namespaces.empty() && at.value["clusterScope"] != true {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        check.required(namespaces.path, why);
    } else if !star_alone(check, &namespaces, "namespaces") {
        for namespace in namespaces.items() {
            for message in validation::dns1123_label(namespace.text()) {
                let intro = "each member of this list must be '*' or a DNS-1123 label; ";
                check.bad(&namespace, format!("{intro}{message}"));
            }
        }
    }
}

fn url_rule(check: &mut Check, at: &Place) {
    verbs(check, at);
    let urls = at.field("nonResourceURLs");
    if check.needs(&urls, "nonResourceURLs must contain at least one value")
        && !star_alone(check, &urls, "non-resource URLs")
    {
        urls.items().for_each(|at| check.keeps(&at, url_path as TextRule));
    }
}

fn url_path(path: &str) -> Vec<String> {
    let stars = path.matches('*').count();
    let why = match path {
        "" => "must not be empty",
        "/" => return Vec::new(),
        _ if !path.starts_with('/') => "must start with slash",
        _ if path.contains(' ') => "must not contain white-space",
        _ if path.contains("//") => "must not contain double slash",
        _ if stars > 1 || stars == 1 && !path.ends_with("/*") => "wildcard can only do suffix matching",
        _ => return Vec::new(),
    };
    vec![why.into()]
}

fn level(check: &mut Check, at: &Place, name: &str) {
    let (kind, limited, exempt) = (at.field("type"), at.field("limited"), at.field("exempt"));
    if (name == "exempt") != (kind.text() == "Exempt") {
        check.bad_text(&kind, "type must be 'Exempt' if and only if name is 'exempt'");
    }
    if !check.declared(&kind) {
        return;
    }
    match kind.text() {
        "Exempt" => {
            check.later(|check| {
                if limited.given() {
                    check.barred(&limited, "")
                }
            });
            shares(check, &exempt);
        }
        "Limited" => {
            if exempt.given() {
                check.barred(&exempt, "must be nil if the type is Limited");
            }
            if limited.given() {
                limited_level(check, &limited);
            } else {
                check.later(|check| check.required(limited.path.clone(), ""));
            }
        }
        _ => check.among(&kind, &["Exempt", "Limited"]),
    }
}

fn shares(check: &mut Check, at: &Place) {
    let (shares, lendable) = (at.field("nominalConcurrencyShares"), at.field("lendablePercent"));
    if shares.number() < 0 {
        check.bad(&shares, "must be a non-negative integer");
    }
    if !(0..=100).contains(&lendable.number()) {
        check.bad(&lendable, "must be between 0 and 100, inclusive");
    }
}

fn limited_level(check: &mut Check, at: &Place) {
    let (shares, lendable) = (at.field("nominalConcurrencyShares"), at.field("lendablePercent"));
    if shares.number() < 0 {
        check.bad(&shares, "must be a non-negative integer");
    }
    response(check, &at.field("limitResponse"));
    if !(0..=100).contains(&lendable.number()) {
        check.bad(&lendable, "must be between 0 and 100, inclusive");
    }
    let borrowing = at.field("borrowingLimitPercent");
    if borrowing.number() < 0 {
        check.bad(&borrowing, "if specified, must be a non-negative integer");
    }
}

fn response(check: &mut Check, at: &Place) {
    let (kind, queuing) = (at.field("type"), at.field("queuing"));
    if !check.declared(&kind) {
        return;
    }
    match (kind.text(), queuing.given()) {
        ("Reject", true) => check.later(|check| check.barred(&queuing, "")),
        ("Queue", false) => check.later(|check| check.required(queuing.path.clone(), "")),
        ("Queue", true) => queues(check, &queuing),
        ("Reject", false) => {}
        _ => check.among(&kind, &["Queue", "Reject"]),
    }
}

const MOST_QUEUES: i64 = 10_000_000;
const HASH_BITS: i64 = 60;

fn queues(check: &mut Check, at: &Place) {
    let (queues, hand) = (at.field("queues"), at.field("handSize"));
    check.positive(&at.field("queueLengthLimit"));
    if check.positive(&queues) && queues.number() > MOST_QUEUES {
        check.bad(&queues, format!("must not be greater than {MOST_QUEUES}"));
    }
    if !check.positive(&hand) {
        return;
    }
    let (deck, hand_size) = (queues.number(), hand.number());
    if hand_size > deck {
        return check.bad(&hand, format!("should not be greater than queues ({deck})"));
    }
    if entropy_bits(deck, hand_size) > HASH_BITS {
        let why = format!(
            "required entropy bits of deckSize {deck} and handSize {hand_size} should not be greater than {HASH_BITS}"
        );
        check.bad(&hand, why);
    }
}

/// How many bits of a hash it takes to deal a hand.
fn entropy_bits(deck: i64, hand: i64) -> i64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "both are small by now")]
    let bits = ((deck as f64).log2() * hand as f64).ceil() as i64;
    bits
}
