//! `discovery.k8s.io`: the addresses behind Services.

pub mod endpoint_slice;
