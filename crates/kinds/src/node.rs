//! `node.k8s.io`: how containers are run.

use crate::column::{AGE, Column, NAME};
use crate::descriptor::Kind;
use k8s_openapi::api::node::v1::RuntimeClass;

/// RuntimeClass.
pub static RUNTIME_CLASS: Kind = Kind::new::<RuntimeClass>("runtimeclass", "io.k8s.api.node.v1.RuntimeClass")
    .columns(&[NAME, Column::text("Handler", |_, o| o["handler"].clone()), AGE]);
