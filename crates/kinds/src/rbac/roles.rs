//! Role and ClusterRole: lists of permissions.

use crate::column::DEFAULT;
use crate::descriptor::{Kind, NameRule};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};

/// Role.
pub static ROLE: Kind = Kind::new::<Role>("role", "io.k8s.api.rbac.v1.Role")
    .names(NameRule::PathSegment)
    .create_on_update()
    .columns(DEFAULT);

/// ClusterRole.
pub static CLUSTER_ROLE: Kind = Kind::new::<ClusterRole>("clusterrole", "io.k8s.api.rbac.v1.ClusterRole")
    .names(NameRule::PathSegment)
    .create_on_update()
    .columns(DEFAULT);
