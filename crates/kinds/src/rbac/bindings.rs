//! RoleBinding and ClusterRoleBinding: who has a role.

use crate::column::{AGE, Column, NAME, items, string};
use crate::descriptor::{Defaults, Kind, NameRule};
use crate::fields::{default, each, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use serde_json::{Value, json};

/// RoleBinding.
pub static ROLE_BINDING: Kind = Kind::new::<RoleBinding>("rolebinding", "io.k8s.api.rbac.v1.RoleBinding")
    .names(NameRule::PathSegment)
    .create_on_update()
    .rules(&Defaults(defaults))
    .columns(COLUMNS);

/// ClusterRoleBinding.
pub static CLUSTER_ROLE_BINDING: Kind =
    Kind::new::<ClusterRoleBinding>("clusterrolebinding", "io.k8s.api.rbac.v1.ClusterRoleBinding")
        .names(NameRule::PathSegment)
        .create_on_update()
        .rules(&Defaults(defaults))
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
