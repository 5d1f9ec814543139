//! LimitRanges: what containers ask for that say nothing, and the least and most that containers, pods and claims may ask for.
//!
//! Source: `plugin/pkg/admission/limitranger`, <https://kubernetes.io/docs/concepts/policy/limit-range/>.

use super::{Operation, Plugin, Request, text};
use async_trait::async_trait;
use coracle_api::{Quantity, Resource, Result};
use coracle_kinds::core::pod::whole_pod;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const RANGES: Resource = Resource::fixed("", "v1", "limitranges", "LimitRange", true);
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// The plugin.
pub struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<()> {
        if is_pod(request) {
            for limit in limits(request) {
                fill(object, &limit);
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<()> {
        let claims = request.is("", "persistentvolumeclaims", "")
            && matches!(request.operation, Operation::Create | Operation::Update);
        if !claims && !is_pod(request) {
            return Ok(());
        }
        let mut wrong = Vec::new();
        for limit in limits(request) {
            let kind = text(&limit, "/type");
            for Asked { requests, limits } in asked(kind, claims, object) {
                bounds(&mut wrong, &limit, &requests, limits.as_ref());
            }
        }
        match wrong.as_slice() {
            [] => Ok(()),
            [one] => Err(request.forbid(object, one)),
            all => Err(request.forbid(object, format!("[{}]", all.join(", ")))),
        }
    }
}

/// What containers ask for is fixed when their pod is made; but for `pods/resize`.
fn is_pod(request: &Request<'_>) -> bool {
    request.creates("", "pods") || request.operation == Operation::Update && request.is("", "pods", "resize")
}

/// The items of all LimitRanges of the namespace.
fn limits(request: &Request<'_>) -> Vec<Value> {
    let ranges = request.view.list(&RANGES, request.namespace);
    ranges.iter().flat_map(|range| range.value()["spec"]["limits"].as_array().cloned().unwrap_or_default()).collect()
}

/// Gives containers the amounts that they do not name, and notes it.
fn fill(pod: &mut Value, limit: &Value) {
    if limit["type"] != "Container" {
        return;
    }
    let mut notes = Vec::new();
    for (list, kind) in [("containers", "container"), ("initContainers", "init container")] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let name = text(container, "/name").to_string();
            for (field, from, word) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")] {
                let set = fill_list(&mut container["resources"], field, &limit[from]);
                if !set.is_empty() {
                    notes.push(format!("{} {word} for {kind} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let annotations = &mut pod["metadata"]["annotations"];
        if !annotations.is_object() {
            *annotations = json!({});
        }
        annotations[ANNOTATION] = json!(format!("LimitRanger plugin set: {}", notes.join("; ")));
    }
}

/// The names that were filled in.
fn fill_list(resources: &mut Value, field: &str, defaults: &Value) -> Vec<String> {
    let mut set = Vec::new();
    for (name, amount) in defaults.as_object().into_iter().flatten() {
        if resources[field][name].is_null() {
            resources[field][name] = amount.clone();
            set.push(name.clone());
        }
    }
    set
}

type Amounts = BTreeMap<String, Quantity>;

/// What something asks for; claims know no limits.
struct Asked {
    requests: Amounts,
    limits: Option<Amounts>,
}

/// Everything in `object` that an item of this type bounds.
fn asked(kind: &str, claim: bool, object: &Value) -> Vec<Asked> {
    let spec = &object["spec"];
    match kind {
        "PersistentVolumeClaim" if claim => {
            vec![Asked { requests: amounts(&spec["resources"]["requests"]), limits: None }]
        }
        "Container" if !claim => {
            let lists = ["containers", "initContainers"].into_iter();
            let containers = lists.flat_map(|list| spec[list].as_array().into_iter().flatten());
            let of = |c: &Value| Asked {
                requests: amounts(&c["resources"]["requests"]),
                limits: Some(amounts(&c["resources"]["limits"])),
            };
            containers.map(of).collect()
        }
        "Pod" if !claim => {
            vec![Asked { requests: whole_pod(spec, "requests"), limits: Some(whole_pod(spec, "limits")) }]
        }
        _ => Vec::new(),
    }
}

fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flat_map(Map::iter);
    entries.filter_map(|(name, amount)| Some((name.clone(), amount.as_str()?.parse().ok()?))).collect()
}

/// What is too little, too much, or too far apart.
fn bounds(wrong: &mut Vec<String>, limit: &Value, requests: &Amounts, limits: Option<&Amounts>) {
    let kind = text(limit, "/type");
    let capped = |name: &str| limits.and_then(|limits| limits.get(name));
    for (name, least) in amounts(&limit["min"]) {
        let what = format!("minimum {name} usage per {kind} is {least}");
        match (requests.get(&name), capped(&name)) {
            (None, _) => wrong.push(format!("{what}.  No request is specified")),
            (Some(request), _) if *request < least => wrong.push(format!("{what}, but request is {request}")),
            (_, Some(limit)) if *limit < least => wrong.push(format!("{what}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, most) in amounts(&limit["max"]) {
        let what = format!("maximum {name} usage per {kind} is {most}");
        match (requests.get(&name), capped(&name)) {
            (None, _) if limits.is_none() => wrong.push(format!("{what}.  No request is specified")),
            (_, None) if limits.is_some() => wrong.push(format!("{what}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => wrong.push(format!("{what}, but limit is {limit}")),
            (Some(request), _) if *request > most => wrong.push(format!("{what}, but request is {request}")),
            _ => {}
        }
    }
    for (name, most) in amounts(&limit["maxLimitRequestRatio"]) {
        let what = format!("{name} max limit to request ratio per {kind} is {most}");
        let real = |amount: Option<&Quantity>| amount.copied().filter(|amount| !amount.is_zero());
        match (real(requests.get(&name)), real(capped(&name))) {
            (None, _) => wrong.push(format!("{what}, but no request is specified or request is 0")),
            (_, None) => wrong.push(format!("{what}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let ratio = limit.as_f64() / request.as_f64();
                if ratio > most.as_f64() {
                    wrong.push(format!("{what}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Case;

    fn case(resource: Resource, limit: &Value) -> Case {
        let case = Case::create(resource);
        let range = json!({"metadata": {"namespace": "ns", "name": "r"}, "spec": {"limits": [limit]}});
        case.world.put(&RANGES, range);
        case
    }

    fn pods() -> Resource {
        Resource::fixed("", "v1", "pods", "Pod", true)
    }

    #[test]
    fn containers_that_say_nothing_get_the_defaults() {
        let limit =
            json!({"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "1"}});
        let check = |containers: Value, init: Value, expected: Value, note: Value| {
            let pod = json!({"metadata": {"namespace": "ns", "name": "p"}, "spec": {"containers": containers, "initContainers": init}});
            let out = case(pods(), &limit).run(&LimitRanger, &pod).unwrap();
            let resources = |list: &str| {
                out["spec"][list].as_array().unwrap().iter().map(|c| c["resources"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(json!([resources("containers"), resources("initContainers")]), expected, "{pod}");
            assert_eq!(out["metadata"]["annotations"][ANNOTATION], note, "{pod}");
        };
        let all = json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}});
        check(
            json!([{"name": "a"}]),
            json!([{"name": "i", "resources": {"requests": {"cpu": "1"}}}]),
            json!([[all], [all]]),
            json!(
                "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; cpu, memory limit for init container i"
            ),
        );
        check(json!([{"name": "a", "resources": all}]), json!([]), json!([[all], []]), Value::Null);
    }

    #[test]
    fn bounds_are_kept() {
        let check = |resource: Resource, limit: Value, spec: Value, expected: &str| {
            let object = json!({"metadata": {"namespace": "ns", "name": "x"}, "spec": spec});
            let found = case(resource.clone(), &limit).refusal(&LimitRanger, &object);
            let expected = if expected.is_empty() {
                String::new()
            } else {
                format!("{} \"x\" is forbidden: {expected}", resource.plural)
            };
            assert_eq!(found, expected, "{limit} {spec}");
        };
        let pod = |requests: Value, limits: Value| json!({"containers": [{"name": "a", "resources": {"requests": requests, "limits": limits}}]});
        let two = |kind: &str| json!({"type": kind, "min": {"cpu": "100m"}, "max": {"cpu": "1"}});
        for kind in ["Container", "Pod"] {
            check(pods(), two(kind), pod(json!({"cpu": "100m"}), json!({"cpu": "1"})), "");
            check(
                pods(),
                two(kind),
                pod(json!({"cpu": "50m"}), json!({"cpu": "1500m"})),
                &format!(
                    "[minimum cpu usage per {kind} is 100m, but request is 50m, maximum cpu usage per {kind} is 1, but limit is 1500m]"
                ),
            );
            check(
                pods(),
                two(kind),
                pod(json!({}), json!({})),
                &format!(
                    "[minimum cpu usage per {kind} is 100m.  No request is specified, maximum cpu usage per {kind} is 1.  No limit is specified]"
                ),
            );
        }
        let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"memory": "2"}});
        check(pods(), ratio.clone(), pod(json!({"memory": "1Gi"}), json!({"memory": "2Gi"})), "");
        check(
            pods(),
            ratio.clone(),
            pod(json!({"memory": "1Gi"}), json!({"memory": "3Gi"})),
            "memory max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        );
        check(
            pods(),
            ratio,
            pod(json!({"memory": "1Gi"}), json!({})),
            "memory max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        );
        let together = json!({"type": "Pod", "max": {"cpu": "1"}});
        let half = json!({"name": "a", "resources": {"limits": {"cpu": "600m"}}});
        check(
            pods(),
            together,
            json!({"containers": [half, half]}),
            "maximum cpu usage per Pod is 1, but limit is 1200m",
        );
        let claims = Resource::fixed("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true);
        let storage = json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
        let claim = |size: &str| json!({"resources": {"requests": {"storage": size}}});
        check(claims.clone(), storage.clone(), claim("2Gi"), "");
        check(
            claims.clone(),
            storage.clone(),
            claim("3Gi"),
            "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi",
        );
        check(
            claims,
            storage,
            claim("1Mi"),
            "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi",
        );
    }
}
