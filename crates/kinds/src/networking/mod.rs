//! `networking.k8s.io`: who may talk to whom, and how traffic comes in.

pub mod ingress;
pub mod ingress_class;
pub mod network_policy;
pub mod service_network;
