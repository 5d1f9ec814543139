//! Acting as somebody else (`Impersonate-*` headers): every part of the other identity must be allowed to the real user.

use super::{Attributes, Authorizer, Decision, User, forbidden::forbidden};
use crate::route::decode;
use coracle_api::{Result, Status};
use http::HeaderMap;

const EXTRA: &str = "impersonate-extra-";

/// The user to go on with: `user` itself without such headers, else the impersonated one.
///
/// # Errors
/// 403 for a part that `user` may not impersonate; 400 for headers without a user.
pub fn impersonate(authorizer: &dyn Authorizer, user: User, headers: &HeaderMap) -> Result<User> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    let (name, uid) = (text("impersonate-user"), text("impersonate-uid"));
    let groups: Vec<String> =
        headers.get_all("impersonate-group").iter().filter_map(|v| v.to_str().ok()).map(Into::into).collect();
    let mut asked = User { name, uid, groups, ..User::default() };
    for (key, value) in headers {
        if let (Some(key), Ok(value)) = (key.as_str().strip_prefix(EXTRA), value.to_str()) {
            asked.extra.entry(decode(key)).or_default().push(value.to_string());
        }
    }
    if asked == User::default() {
        return Ok(user);
    }
    if asked.name.is_empty() {
        return Err(Status::bad_request(format!(
            "requested {:?} without impersonating a user name",
            if asked.uid.is_empty() { "groups or extra" } else { "uid" }
        )));
    }
    for attributes in parts(&asked) {
        if let Decision::Deny(reason) = authorizer.authorize(&user, &attributes) {
            return Err(forbidden(&user, &attributes, &reason));
        }
    }
    Ok(completed(asked))
}

/// What the real user must be allowed to `impersonate`.
fn parts(asked: &User) -> Vec<Attributes> {
    let part = |group: &str, resource: &str, sub: &str, namespace: &str, name: &str| Attributes {
        verb: "impersonate".into(),
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        subresource: sub.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    };
    let mut out = vec![match service_account(&asked.name) {
        Some((namespace, name)) => part("", "serviceaccounts", "", namespace, name),
        None => part("", "users", "", "", &asked.name),
    }];
    out.extend(asked.groups.iter().map(|group| part("", "groups", "", "", group)));
    for (key, values) in &asked.extra {
        out.extend(values.iter().map(|value| part("authentication.k8s.io", "userextras", key, "", value)));
    }
    if !asked.uid.is_empty() {
        out.push(part("authentication.k8s.io", "uids", "", "", &asked.uid));
    }
    out
}

/// Namespace and name of a service account's user name.
pub fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// Adds the groups that follow from the name.
fn completed(mut user: User) -> User {
    if user.groups.is_empty()
        && let Some((namespace, _)) = service_account(&user.name)
    {
        user.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    let always = if user.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !user.in_group("system:authenticated") && !user.in_group("system:unauthenticated") {
        user.groups.push(always.into());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::Resource;
    use serde_json::Value;

    /// Allows `root` all, `alice` only the user bob and the group g.
    struct Rules;

    impl Authorizer for Rules {
        fn authorize(&self, user: &User, a: &Attributes) -> Decision {
            let ok = user.name == "root" || [("users", "bob"), ("groups", "g")].contains(&(&a.resource, &a.name));
            if ok { Decision::Allow } else { Decision::Deny(String::new()) }
        }
        fn rules(&self, _: &User, _: &str) -> Value {
            Value::Null
        }
        fn may_grant(&self, _: &User, _: &Resource, _: &Value) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_part_needs_permission() {
        for (user, headers, expected) in [
            ("alice", &[][..], "alice "),
            ("alice", &[("impersonate-user", "bob")], "bob system:authenticated"),
            ("alice", &[("impersonate-user", "bob"), ("impersonate-group", "g")], "bob g,system:authenticated"),
            (
                "alice",
                &[("impersonate-user", "eve")],
                r#"users "eve" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope"#,
            ),
            (
                "alice",
                &[("impersonate-user", "bob"), ("impersonate-extra-scopes", "x")],
                r#"userextras.authentication.k8s.io "x" is forbidden: User "alice" cannot impersonate resource "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope"#,
            ),
            ("alice", &[("impersonate-group", "g")], "requested \"groups or extra\" without impersonating a user name"),
            (
                "root",
                &[("impersonate-user", "system:serviceaccount:a:b")],
                "system:serviceaccount:a:b system:serviceaccounts,system:serviceaccounts:a,system:authenticated",
            ),
            ("root", &[("impersonate-user", "system:anonymous")], "system:anonymous system:unauthenticated"),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            let user = User { name: user.into(), ..User::default() };
            let shown = match impersonate(&Rules, user, &map) {
                Ok(user) => format!("{} {}", user.name, user.groups.join(",")),
                Err(status) => status.message,
            };
            assert_eq!(shown, expected);
        }
    }
}
