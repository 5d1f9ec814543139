//! One rule of a role: what it allows, and whether it is contained in others.

use crate::auth::Attributes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// `rules[*]` of a Role or ClusterRole.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Allowed verbs, or `*`.
    pub verbs: Vec<String>,
    /// API groups, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources: `pods`, `pods/log`, `*/scale`, `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths; a final `*` matches any tail.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == wanted)
}

fn covers_path(pattern: &str, path: &str) -> bool {
    pattern == "*" || pattern == path || pattern.strip_suffix('*').is_some_and(|head| path.starts_with(head))
}

impl Rule {
    /// A rule over resources; each argument is a comma-separated list.
    pub fn resources(verbs: &str, groups: &str, resources: &str) -> Self {
        Self { verbs: split(verbs), api_groups: split(groups), resources: split(resources), ..Self::default() }
    }

    /// A rule over paths.
    pub fn paths(verbs: &str, paths: &str) -> Self {
        Self { verbs: split(verbs), non_resource_urls: split(paths), ..Self::default() }
    }

    /// Whether it allows this.
    pub fn allows(&self, a: &Attributes) -> bool {
        if !has(&self.verbs, &a.verb) {
            return false;
        }
        if a.resource.is_empty() {
            return self.non_resource_urls.iter().any(|p| covers_path(p, &a.path));
        }
        has(&self.api_groups, &a.group)
            && self.resources.iter().any(|r| names(r, &a.resource, &a.subresource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&a.name))
    }

    /// Whether one of `owned` allows all that this rule allows. This rule must be [simple](Rule::simple).
    fn is_covered_by(&self, owned: &[Rule]) -> bool {
        let all = |held: &[String], wanted: &[String]| wanted.iter().all(|w| has(held, w));
        owned.iter().any(|held| {
            if !all(&held.verbs, &self.verbs) {
                return false;
            }
            if !self.non_resource_urls.is_empty() {
                return self.non_resource_urls.iter().all(|p| held.non_resource_urls.iter().any(|h| covers_path(h, p)));
            }
            all(&held.api_groups, &self.api_groups)
                && self.resources.iter().all(|r| {
                    let (resource, sub) = r.split_once('/').unwrap_or((r, ""));
                    held.resources.iter().any(|h| h == r || names(h, resource, sub))
                })
                && (held.resource_names.is_empty()
                    || !self.resource_names.is_empty()
                        && self.resource_names.iter().all(|n| held.resource_names.contains(n)))
        })
    }

    /// The same as rules of one verb, one group, one resource, at most one name each.
    fn simple(&self) -> Vec<Rule> {
        let mut out = Vec::new();
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let one = Rule::resources(verb, group, resource);
                    if self.resource_names.is_empty() {
                        out.push(one);
                    } else {
                        out.extend(
                            self.resource_names
                                .iter()
                                .map(|name| Rule { resource_names: vec![name.clone()], ..one.clone() }),
                        );
                    }
                }
            }
            out.extend(self.non_resource_urls.iter().map(|path| Rule::paths(verb, path)));
        }
        out
    }
}

/// Whether the pattern of a rule names this resource.
fn names(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => subresource.is_empty() && pattern == resource,
        Some((head, tail)) => tail == subresource && (head == "*" || head == resource),
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::to_string).collect()
}

/// What of `wanted` is not in `owned`.
pub fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted.iter().flat_map(Rule::simple).filter(|rule| !rule.is_covered_by(owned)).collect()
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |l: &[String]| format!("[{}]", l.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" "));
        let mut parts = Vec::new();
        for (label, values) in [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("NonResourceURLs", &self.non_resource_urls),
            ("Verbs", &self.verbs),
        ] {
            if !values.is_empty() {
                parts.push(format!("{label}:{}", list(values).replace("\" \"", "\", \"")));
            }
        }
        write!(f, "{{{}}}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_what_it_names() {
        let check = |rule: &Rule, request: &str| {
            let p: Vec<&str> = request.split(' ').collect();
            let (resource, sub) = p[2].split_once('/').unwrap_or((p[2], ""));
            let a = Attributes {
                verb: p[0].into(),
                group: p[1].trim_matches('-').into(),
                resource: resource.into(),
                subresource: sub.into(),
                name: p.get(3).unwrap_or(&"").to_string(),
                ..Attributes::default()
            };
            rule.allows(&a)
        };
        let named = Rule { resource_names: vec!["a".into()], ..Rule::resources("get,update", "", "configmaps") };
        for (rule, request, expected) in [
            (Rule::resources("get", "", "pods"), "get - pods", true),
            (Rule::resources("get", "", "pods"), "list - pods", false),
            (Rule::resources("get", "", "pods"), "get - pods/log", false),
            (Rule::resources("get", "", "pods"), "get apps pods", false),
            (Rule::resources("*", "*", "*"), "delete apps deployments/scale x", true),
            (Rule::resources("get", "", "pods/log"), "get - pods/log x", true),
            (Rule::resources("get", "", "pods/log"), "get - pods x", false),
            (Rule::resources("update", "*", "*/scale"), "update apps deployments/scale x", true),
            (Rule::resources("update", "*", "*/scale"), "update apps deployments x", false),
            (named.clone(), "get - configmaps a", true),
            (named.clone(), "get - configmaps b", false),
            (named, "get - configmaps", false),
        ] {
            assert_eq!(check(&rule, request), expected, "{rule} {request}");
        }
    }

    #[test]
    fn paths_match_whole_or_by_head() {
        let check = |pattern: &str, path: &str| {
            let a = Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() };
            Rule::paths("get", pattern).allows(&a)
        };
        assert!(check("/healthz", "/healthz"));
        assert!(!check("/healthz", "/healthz/etcd"));
        assert!(check("/healthz/*", "/healthz/etcd"));
        assert!(check("*", "/metrics"));
        assert!(!check("/api", "/apis"));
    }

    #[test]
    fn a_grant_may_not_exceed_what_is_held() {
        let held = [Rule::resources("get,list", "", "pods,secrets"), Rule::resources("*", "apps", "*")];
        for (wanted, lacking) in [
            (Rule::resources("get", "", "pods"), 0),
            (Rule::resources("get,delete", "", "pods,secrets"), 2),
            (Rule::resources("*", "", "pods"), 1),
            (Rule::resources("get", "apps", "deployments/scale"), 0),
            (Rule::resources("get", "*", "deployments"), 1),
            (Rule { resource_names: vec!["a".into()], ..Rule::resources("get", "", "secrets") }, 0),
            (Rule::paths("get", "/metrics"), 1),
        ] {
            assert_eq!(missing(&held, std::slice::from_ref(&wanted)).len(), lacking, "{wanted}");
        }
        assert_eq!(
            Rule::resources("get,list", "", "pods").to_string(),
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["get", "list"]}"#
        );
    }
}
