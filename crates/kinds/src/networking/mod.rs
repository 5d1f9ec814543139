//! `networking.k8s.io`: who may talk to whom, and how traffic comes in.

pub mod ingress;
pub mod minor;
pub mod network_policy;
