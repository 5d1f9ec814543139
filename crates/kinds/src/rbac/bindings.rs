//! RoleBinding and ClusterRoleBinding: who has a role.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, items, string};
use crate::descriptor::{Kind, NameRule, Part, Rules};
use crate::fields::{default, each, ensure};
use coracle_api::{FieldError, Status, validation};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use serde_json::{Value, json};

/// RoleBinding.
pub static ROLE_BINDING: Kind = Kind::new::<RoleBinding>("rolebinding", "io.k8s.api.rbac.v1.RoleBinding")
    .names(NameRule::PathSegment)
    .create_on_update()
    .rules(&BindingRules { cluster: false })
    .columns(COLUMNS);

/// ClusterRoleBinding.
pub static CLUSTER_ROLE_BINDING: Kind =
    Kind::new::<ClusterRoleBinding>("clusterrolebinding", "io.k8s.api.rbac.v1.ClusterRoleBinding")
        .names(NameRule::PathSegment)
        .create_on_update()
        .rules(&BindingRules { cluster: true })
        .columns(COLUMNS);

const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Role", |_, o| json!(format!("{}/{}", string(&o["roleRef"]["kind"]), string(&o["roleRef"]["name"])))),
    AGE,
    Column::text("Users", |_, o| subjects(o, "User")).wide(),
    Column::text("Groups", |_, o| subjects(o, "Group")).wide(),
    Column::text("ServiceAccounts", |_, o| subjects(o, "ServiceAccount")).wide(),
];

fn subjects(object: &Value, kind: &str) -> Value {
    let named =
        items(&object["subjects"]).iter().filter(|s| s["kind"] == kind).map(|s| match string(&s["namespace"]) {
            "" => string(&s["name"]).to_string(),
            namespace => format!("{namespace}/{}", string(&s["name"])),
        });
    json!(named.collect::<Vec<_>>().join(", "))
}

const GROUP: &str = "rbac.authorization.k8s.io";

fn defaults(binding: &mut Value) {
    default(ensure(binding, "roleRef"), "apiGroup", GROUP);
    each(binding, "subjects", |subject| {
        if subject["kind"] == "User" || subject["kind"] == "Group" {
            default(subject, "apiGroup", GROUP);
        }
    });
}

struct BindingRules {
    cluster: bool,
}

impl Rules for BindingRules {
    fn default(&self, binding: &mut Value) -> Result<(), Status> {
        defaults(binding);
        Ok(())
    }

    fn validate(&self, binding: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, role) = (path("roleRef"), &binding["roleRef"]);
            if role["apiGroup"] != GROUP {
                let given = string(&role["apiGroup"]);
                check.push(FieldError::not_supported(at.field("apiGroup"), given, &[GROUP]));
            }
            let kinds: &[&str] = if self.cluster { &["ClusterRole"] } else { &["ClusterRole", "Role"] };
            if !kinds.contains(&string(&role["kind"])) {
                check.push(FieldError::not_supported(at.field("kind"), string(&role["kind"]), kinds));
            }
            check.required_text(at.field("name"), &role["name"], validation::path_segment);
            for (index, subject) in items(&binding["subjects"]).iter().enumerate() {
                self.subject(check, &path("subjects").index(index), subject);
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        if new["roleRef"] != old["roleRef"] {
            errors.push(FieldError::invalid("roleRef", new["roleRef"].clone(), "cannot change roleRef"));
        }
        errors
    }
}

impl BindingRules {
    fn subject(&self, check: &mut Check, at: &coracle_api::Path, subject: &Value) {
        if string(&subject["name"]).is_empty() {
            check.required(at.field("name"), "");
        }
        let group = string(&subject["apiGroup"]);
        match string(&subject["kind"]) {
            "ServiceAccount" => {
                check.text(at.field("name"), &subject["name"], validation::dns1123_subdomain);
                if !group.is_empty() {
                    check.push(FieldError::not_supported(at.field("apiGroup"), group, &[""]));
                }
                if string(&subject["namespace"]).is_empty() && self.cluster {
                    check.required(at.field("namespace"), "");
                }
            }
            "User" | "Group" if group != GROUP => {
                check.push(FieldError::not_supported(at.field("apiGroup"), group, &[GROUP]));
            }
            "User" | "Group" => {}
            kind => {
                let kinds = ["ServiceAccount", "User", "Group"];
                check.push(FieldError::not_supported(at.field("kind"), kind, &kinds));
            }
        }
    }
}
