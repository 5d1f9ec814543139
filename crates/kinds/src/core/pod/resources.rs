//! What is wrong with what a pod asks for as a whole: devices, and resources that its containers share.

use crate::amounts::{self, amount, entries};
use crate::check::Check;
use crate::column::{items, string};
use crate::go;
use coracle_api::{FieldError, Path, Quantity, validation};
use serde_json::Value;
use std::collections::BTreeMap;

/// `spec.resourceClaims`.
pub(super) fn claims(check: &mut Check, list: &Path, claims: &Value) {
    let mut names: Vec<&str> = Vec::new();
    for (index, claim) in items(claims).iter().enumerate() {
        let (path, name) = (list.index(index), string(&claim["name"]));
        if name.is_empty() {
            check.required(path.field("name"), "");
        } else if names.contains(&name) {
            check.duplicate(path.field("name"), name);
        } else {
            check.word(&path.field("name"), &claim["name"], validation::dns1123_label);
            names.push(name);
        }
        let fields = ["resourceClaimName", "resourceClaimTemplateName"];
        let why = match fields.iter().filter(|field| !claim[**field].is_null()).count() {
            0 => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            1 => None,
            _ => Some("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"),
        };
        if let Some(why) = why {
            let error = FieldError::invalid(&path, claim.clone(), why);
            check.push(error.shown_as(go::show(claim, go::POD_CLAIM)));
        }
        for field in fields.into_iter().filter(|field| claim[*field].is_string()) {
            check.word(&path.field(field), &claim[field], validation::dns1123_subdomain);
        }
    }
}

/// `spec.resources`.
pub(super) fn of_pod(check: &mut Check, path: &Path, spec: &Value) {
    let resources = &spec["resources"];
    if !resources.is_object() {
        return;
    }
    if !resources["claims"].is_null() {
        check.forbidden(path.field("claims"), "claims cannot be set for Resources at pod-level");
    }
    amounts::requirements(check, path, resources, amounts::pod_name, &[]);
    for (name, wanted) in of_containers(spec, "requests").into_iter().filter(|(name, _)| amounts::is_pod_level(name)) {
        let given = &resources["requests"][&name];
        let asked = amount(given).unwrap_or(Quantity::ZERO);
        if wanted > asked {
            let why = format!("must be greater than or equal to aggregate container requests of {wanted}");
            let shown = Value::String(asked.to_string());
            check.invalid(path.field("requests").key(&name), &shown, why);
        }
    }
    for (index, container) in items(&spec["containers"]).iter().enumerate() {
        for (name, limit) in entries(&container["resources"]["limits"]) {
            let most = amount(&resources["limits"][name]);
            if let (Some(most), Some(own)) = (most, amount(limit))
                && own > most
            {
                let at = path.field("containers").index(index).key(name).field("limits");
                check.invalid(at, limit, format!("must be less than or equal to pod limits of {most}"));
            }
        }
    }
}

/// What all containers together ask for, or may have (`list` is `requests` or `limits`): the main ones with their sidecars, or the most
/// that starting needs.
pub(super) fn of_containers(spec: &Value, list: &str) -> BTreeMap<String, Quantity> {
    let mut running: BTreeMap<String, Quantity> = BTreeMap::new();
    let add = |sum: &mut BTreeMap<String, Quantity>, container: &Value| {
        for (name, given) in entries(&container["resources"][list]) {
            *sum.entry(name.clone()).or_insert(Quantity::ZERO) += amount(given).unwrap_or(Quantity::ZERO);
        }
    };
    for container in items(&spec["containers"]) {
        add(&mut running, container);
    }
    let (mut sidecars, mut starting) = (BTreeMap::new(), BTreeMap::<String, Quantity>::new());
    for container in items(&spec["initContainers"]) {
        let sidecar = container["restartPolicy"] == "Always";
        let mut now = sidecars.clone();
        add(&mut now, container);
        for (name, given) in &now {
            let most = starting.entry(name.clone()).or_insert(Quantity::ZERO);
            *most = (*most).max(*given);
        }
        if sidecar {
            add(&mut running, container);
            sidecars = now;
        }
    }
    for (name, given) in starting {
        let most = running.entry(name).or_insert(Quantity::ZERO);
        *most = (*most).max(given);
    }
    running
}

/// What a pod as a whole asks for, or may have (`list` is `requests` or `limits`): its containers, or what the pod says itself, and its
/// overhead; the overhead is added to those limits only that there are.
///
/// Source: `k8s.io/component-helpers/resource`, `PodRequests` and `PodLimits`.
pub fn of_whole_pod(spec: &Value, list: &str) -> BTreeMap<String, Quantity> {
    let mut all = of_containers(spec, list);
    for (name, given) in entries(&spec["resources"][list]).filter(|(name, _)| amounts::is_pod_level(name)) {
        all.insert(name.clone(), amount(given).unwrap_or(Quantity::ZERO));
    }
    for (name, given) in entries(&spec["overhead"]) {
        let given = amount(given).unwrap_or(Quantity::ZERO);
        match all.get_mut(name) {
            Some(sum) if list == "requests" || !sum.is_zero() => *sum += given,
            None if list == "requests" => drop(all.insert(name.clone(), given)),
            _ => {}
        }
    }
    all
}
