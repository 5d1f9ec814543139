//! The words in which a request is refused, exactly as upstream (clients and people search for them).

use super::{Attributes, User};
use coracle_api::Status;
use serde_json::json;

/// 403 for `user` doing `attributes`; `reason` may be empty.
pub fn forbidden(user: &User, attributes: &Attributes, reason: &str) -> Status {
    let mut what = message(user, attributes);
    if !reason.is_empty() {
        what = format!("{what}: {reason}");
    }
    let Attributes { group, resource, name, .. } = attributes;
    if resource.is_empty() {
        return Status { details: json!({}), ..Status::new(403, "Forbidden", format!("forbidden: {what}")) };
    }
    let qualified = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
    let mut details = json!({"kind": resource});
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !group.is_empty() {
        details["group"] = json!(group);
    }
    let message = if name.is_empty() {
        format!("{qualified} is forbidden: {what}")
    } else {
        format!("{qualified} {name:?} is forbidden: {what}")
    };
    Status { details, ..Status::new(403, "Forbidden", message) }
}

fn message(user: &User, attributes: &Attributes) -> String {
    let Attributes { verb, group, resource, subresource, namespace, path, .. } = attributes;
    let name = &user.name;
    if resource.is_empty() {
        return format!("User {name:?} cannot {verb} path {path:?}");
    }
    let resource = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
    let place =
        if namespace.is_empty() { "at the cluster scope".into() } else { format!("in the namespace {namespace:?}") };
    format!("User {name:?} cannot {verb} resource {resource:?} in API group {group:?} {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_upstream() {
        let user = User { name: "x".into(), ..User::default() };
        let at = |verb: &str, group: &str, resource: &str, sub: &str, namespace: &str, name: &str| Attributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: sub.into(),
            namespace: namespace.into(),
            name: name.into(),
            path: if resource.is_empty() { "/metrics".into() } else { String::new() },
            ..Attributes::default()
        };
        for (attributes, reason, expected) in [
            (
                at("list", "", "pods", "", "default", ""),
                "",
                r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                at("patch", "apps", "deployments", "scale", "a", "d"),
                "why",
                r#"deployments.apps "d" is forbidden: User "x" cannot patch resource "deployments/scale" in API group "apps" in the namespace "a": why"#,
            ),
            (
                at("get", "", "nodes", "", "", "n"),
                "",
                r#"nodes "n" is forbidden: User "x" cannot get resource "nodes" in API group "" at the cluster scope"#,
            ),
            (at("get", "", "", "", "", ""), "", r#"forbidden: User "x" cannot get path "/metrics""#),
        ] {
            assert_eq!(forbidden(&user, &attributes, reason).message, expected);
        }
    }
}
