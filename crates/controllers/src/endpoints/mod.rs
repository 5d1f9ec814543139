//! The addresses behind Services, in three loops.
//!
//! - [`slices`]: EndpointSlices of Services with a selector;
//! - [`lists`]: the older Endpoints of the same Services;
//! - [`mirror`]: EndpointSlices of Endpoints that people make for Services without a selector.
//!
//! [`pack`] decides how endpoints are spread over slices; [`pod`] what a pod is as an endpoint. A pod that becomes ready is in its slice
//! with the next write: nothing here waits to collect changes.

pub mod lists;
pub mod mirror;
mod pack;
mod pod;
pub mod slices;

#[cfg(test)]
mod tests;

/// Label of a slice: the Service that it belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label of a slice: who keeps it.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Label of what belongs to a Service without an address of its own.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Annotation that is about one object and is not passed on.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotation with the time of the last change.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
