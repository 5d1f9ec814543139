//! `apiextensions.k8s.io`: kinds added while the cluster runs.

mod definition;

pub use definition::{
    Approval, KIND as CUSTOM_RESOURCE_DEFINITION, approval_of, is_bundle, is_protected, set_condition,
};
