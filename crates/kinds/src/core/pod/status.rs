//! What is wrong with a pod's status.

use crate::check::{Check, dual_stack};
use crate::column::{items, string};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

const STATUSES: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
];

/// The status at `path` of the pod `new`, which was `old`.
pub(super) fn validate(check: &mut Check, path: &Path, new: &Value, old: &Value) {
    let (now, before) = (&new["status"], &old["status"]);
    for (field, list) in STATUSES {
        ended(check, &path.field(field), (&now[field], &before[field]), (list, &old["spec"]));
    }
    claims(check, &path.field("resourceClaimStatuses"), new);
    addresses(check, &path.field("podIPs"), &now["podIPs"]);
    if let Some(first) = items(&now["hostIPs"]).first()
        && string(&first["ip"]) != string(&now["hostIP"])
    {
        let at = path.field("hostIPs").index(0).field("ip");
        check.invalid(at, &first["ip"], "must be equal to `hostIP`");
    }
    addresses(check, &path.field("hostIPs"), &now["hostIPs"]);
    for (field, _) in STATUSES {
        for (index, status) in items(&now[field]).iter().enumerate() {
            user(check, &path.field(field).index(index).field("linux"), &status["user"]["linux"], new);
        }
    }
    devices(check, path, new);
}

/// What has ended for good stays so.
fn ended(check: &mut Check, path: &Path, (new, old): (&Value, &Value), (list, spec): (&str, &Value)) {
    let policy = if list == "ephemeralContainers" { "Never" } else { string(&spec["restartPolicy"]) };
    if policy == "Always" {
        return;
    }
    for (index, before) in items(old).iter().enumerate() {
        let Some(end) = before["state"].get("terminated").filter(|end| end.is_object()) else { continue };
        let container = items(&spec[list]).iter().find(|c| c["name"] == before["name"]);
        let own = container.map_or("", |c| string(&c["restartPolicy"]));
        let rules = container.is_some_and(|c| !items(&c["restartPolicyRules"]).is_empty());
        let failed = end["exitCode"].as_i64().unwrap_or(0) != 0;
        let effective = if own.is_empty() { policy } else { own };
        if effective == "Always" || (failed && effective == "OnFailure") || rules {
            continue;
        }
        let back = items(new).iter().any(|s| s["name"] == before["name"] && !s["state"]["terminated"].is_object());
        if back {
            check.forbidden(path.index(index).field("state"), "may not be transitioned to non-terminated state");
        }
    }
}

fn claims(check: &mut Check, path: &Path, pod: &Value) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, status) in items(&pod["status"]["resourceClaimStatuses"]).iter().enumerate() {
        let (at, name) = (path.index(index).field("name"), string(&status["name"]));
        if !items(&pod["spec"]["resourceClaims"]).iter().any(|c| c["name"] == name) {
            check.invalid(at.clone(), &json!(name), "must match the name of an entry in `spec.resourceClaims`");
        }
        if seen.contains(&name) {
            check.duplicate(at.clone(), name);
        }
        seen.push(name);
        if status["resourceClaimName"].is_string() {
            check.word(&at, &status["resourceClaimName"], validation::dns1123_subdomain);
        }
    }
}

/// Addresses, at most one of each family.
fn addresses(check: &mut Check, path: &Path, list: &Value) {
    let shown = |address: &Value| format!("{{\"IP\":{}}}", json!(string(&address["ip"])));
    for (index, address) in items(list).iter().enumerate() {
        check.word(&path.index(index), &address["ip"], validation::ip);
    }
    if items(list).len() < 2 {
        return;
    }
    if !dual_stack(items(list).iter().map(|a| string(&a["ip"]))) || items(list).len() > 2 {
        let error = FieldError::invalid(path, list.clone(), "may specify no more than one IP for each IP family");
        check.push(error.shown_as(crate::go::list(list, shown)));
    }
    for (index, address) in items(list).iter().enumerate() {
        if items(list)[..index].iter().any(|other| other["ip"] == address["ip"]) {
            check.push(FieldError::duplicate(path.index(index), address.clone()).shown_as(shown(address)));
        }
    }
}

fn user(check: &mut Check, path: &Path, user: &Value, pod: &Value) {
    if !user.is_object() {
        return;
    }
    if pod["spec"]["os"]["name"] == "windows" {
        check.forbidden(path.clone(), "cannot be set for a windows pod");
        return;
    }
    check.id(path.field("uid"), &user["uid"]);
    check.id(path.field("gid"), &user["gid"]);
    for (index, group) in items(&user["supplementalGroups"]).iter().enumerate() {
        check.id(path.field("supplementalGroups").index(index), group);
    }
}

/// The health of devices that containers were given.
fn devices(check: &mut Check, path: &Path, pod: &Value) {
    for (field, list) in STATUSES {
        for (index, status) in items(&pod["status"][field]).iter().enumerate() {
            let at = path.field(field).index(index).field("allocatedResourcesStatus");
            let given = &status["allocatedResourcesStatus"];
            if list == "ephemeralContainers" {
                if !items(given).is_empty() {
                    check.forbidden(at, "must not be specified in container status");
                }
                continue;
            }
            let container = items(&pod["spec"][list]).iter().find(|c| c["name"] == status["name"]);
            for (index, resource) in items(given).iter().enumerate() {
                device(check, &at.index(index), resource, container);
            }
        }
    }
}

fn device(check: &mut Check, path: &Path, resource: &Value, container: Option<&Value>) {
    let name = string(&resource["name"]);
    // a container that is not there (any more) is nobody's fault
    if let Some(container) = container {
        let wanted = &container["resources"];
        let (found, why) = match name.strip_prefix("claim:") {
            Some(claim) => {
                let full = |c: &Value| match string(&c["request"]) {
                    "" => string(&c["name"]).to_string(),
                    request => format!("{}/{request}", string(&c["name"])),
                };
                let why = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
                (items(&wanted["claims"]).iter().any(|c| full(c) == claim), why)
            }
            None => (wanted["requests"].get(name).is_some(), "must match one of the container's resource requests"),
        };
        if !found {
            check.invalid(path.field("name"), &json!(name), why);
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, one) in items(&resource["resources"]).iter().enumerate() {
        let at = path.field("resources").index(index);
        let health = string(&one["health"]);
        if !matches!(health, "Healthy" | "Unhealthy" | "Unknown") {
            let known = ["Healthy", "Unhealthy", "Unknown"];
            check.push(FieldError::not_supported(at.field("health"), health, &known));
        }
        let id = string(&one["resourceID"]);
        if seen.contains(&id) {
            check.duplicate(at.field("resourceID"), id);
        }
        seen.push(id);
    }
}
