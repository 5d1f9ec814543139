//! RoleBinding and ClusterRoleBinding: who has a role.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, items, string};
use crate::descriptor::{Kind, NameRule, Part, Rules};
use crate::fields::{default, each, ensure};
use crate::go::{self, Field, Show};
use crate::place::Place;
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

const ROLE_REF: &[Field] =
    &[Field("APIGroup", "apiGroup", Show::Text), Field("Kind", "kind", Show::Text), Field("Name", "name", Show::Text)];

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
            let binding = Place::of(binding);
            let role = binding.field("roleRef");
            check.among(&role.field("apiGroup"), &[GROUP]);
            let kinds: &[&str] = if self.cluster { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
            check.among(&role.field("kind"), kinds);
            if check.declared(&role.field("name")) {
                check.keeps(&role.field("name"), validation::path_segment);
            }
            binding.field("subjects").items().for_each(|at| self.subject(check, &at));
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        if new["roleRef"] != old["roleRef"] {
            let error = FieldError::invalid("roleRef", new["roleRef"].clone(), "cannot change roleRef");
            errors.push(error.shown_as(go::show(&new["roleRef"], ROLE_REF)));
        }
        errors
    }
}

impl BindingRules {
    fn subject(&self, check: &mut Check, at: &Place) {
        let (name, group) = (at.field("name"), at.field("apiGroup"));
        check.declared(&name);
        match at.field("kind").text() {
            "ServiceAccount" => {
                check.may_keep(&name, validation::dns1123_subdomain);
                check.among(&group, &[""]);
                if self.cluster {
                    check.needs(&at.field("namespace"), "");
                }
            }
            kind @ ("User" | "Group") => {
                if name.empty() {
                    check.bad_text(&name, format!("{} name cannot be empty", kind.to_lowercase()));
                }
                check.among(&group, &[GROUP]);
            }
            _ => check.among(&at.field("kind"), &["ServiceAccount", "User", "Group"]),
        }
    }
}
