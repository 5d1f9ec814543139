//! Role and ClusterRole: lists of permissions.

use crate::check::{Check, filled, path};
use crate::column::DEFAULT;
use crate::column::items;
use crate::descriptor::{Kind, NameRule, Rules};
use coracle_api::FieldError;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use serde_json::Value;

/// Role.
pub static ROLE: Kind = Kind::new::<Role>("role", "io.k8s.api.rbac.v1.Role")
    .rules(&RoleRules { cluster: false })
    .names(NameRule::PathSegment)
    .create_on_update()
    .columns(DEFAULT);

/// ClusterRole.
pub static CLUSTER_ROLE: Kind = Kind::new::<ClusterRole>("clusterrole", "io.k8s.api.rbac.v1.ClusterRole")
    .rules(&RoleRules { cluster: true })
    .names(NameRule::PathSegment)
    .create_on_update()
    .columns(DEFAULT);

struct RoleRules {
    cluster: bool,
}

impl Rules for RoleRules {
    fn validate(&self, role: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            for (index, rule) in items(&role["rules"]).iter().enumerate() {
                self.rule(check, &path("rules").index(index), rule);
            }
            for (index, selector) in items(&role["aggregationRule"]["clusterRoleSelectors"]).iter().enumerate() {
                check.selector(&path("aggregationRule").field("clusterRoleSelectors").index(index), selector);
            }
        })
    }
}

impl RoleRules {
    fn rule(&self, check: &mut Check, path: &coracle_api::Path, rule: &Value) {
        if !filled(rule, "verbs") {
            check.required(path.field("verbs"), "verbs must contain at least one value");
        }
        if filled(rule, "nonResourceURLs") {
            let urls = &rule["nonResourceURLs"];
            if !self.cluster {
                let why = "namespaced rules cannot apply to non-resource URLs";
                check.invalid(path.field("nonResourceURLs"), urls, why);
            }
            if filled(rule, "apiGroups") || filled(rule, "resources") || filled(rule, "resourceNames") {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                check.invalid(path.field("nonResourceURLs"), urls, why);
            }
            return;
        }
        if !filled(rule, "apiGroups") {
            check.required(path.field("apiGroups"), "resource rules must supply at least one api group");
        }
        if !filled(rule, "resources") {
            check.required(path.field("resources"), "resource rules must supply at least one resource");
        }
    }
}
