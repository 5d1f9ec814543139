//! Role and ClusterRole: lists of permissions.

use crate::check::Check;
use crate::column::DEFAULT;
use crate::descriptor::{Kind, NameRule, Rules};
use crate::place::Place;
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
            let role = Place::of(role);
            role.field("rules").items().for_each(|at| self.rule(check, &at));
            let aggregation = role.field("aggregationRule");
            if self.cluster && aggregation.given() {
                let selectors = aggregation.field("clusterRoleSelectors");
                check.needs(&selectors, "at least one clusterRoleSelector required if aggregationRule is non-nil");
                selectors.items().for_each(|at| check.selects(&at));
            }
        })
    }
}

impl RoleRules {
    fn rule(&self, check: &mut Check, at: &Place) {
        check.declared(&at.field("verbs"));
        let (urls, names, resources) = (at.field("nonResourceURLs"), at.field("resourceNames"), at.field("resources"));
        if !urls.empty() {
            if !self.cluster {
                check.bad(&urls, "namespaced rules cannot apply to non-resource URLs");
            }
            if [&at.field("apiGroups"), &resources, &names].iter().any(|list| !list.empty()) {
                check.bad(&urls, "rules cannot apply to both regular resources and non-resource URLs");
            }
            return;
        }
        check.needs(&at.field("apiGroups"), "resource rules must supply at least one api group");
        check.needs(&resources, "resource rules must supply at least one resource");
    }
}
