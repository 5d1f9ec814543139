//! The built-in kinds: one descriptor each, with defaults, validation, update rules and columns.
//!
//! Invariants: no I/O; one entry per kind in [`all`], per further version in [`optional`]; the server knows kinds only through [`Kind`].

pub(crate) mod amounts;
pub mod binding;
#[cfg(test)]
mod case_files;
#[cfg(test)]
mod cases;
mod check;
pub mod column;
pub mod descriptor;
pub mod fields;
mod gated;
pub(crate) mod go;
pub mod lifecycle;
pub mod made;
mod names;
mod place;
pub mod placement;
pub mod quota;
mod reset;
mod rules;
mod shapes;
mod subresource;
mod warn;

pub mod admissionregistration;
pub mod apiregistration;
pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod coordination;
pub mod core;
pub mod custom;
pub mod discovery;
pub mod events;
pub mod extensions;
pub mod flowcontrol;
pub mod metrics;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod review;
pub mod scheduling;
pub mod storage;
pub mod storagemigration;
pub mod versions;
pub mod workload;

pub use column::{Column, Context, SelectableField};
pub use descriptor::{Action, Deletion, Kind, NameRule, Part, Rules, StoredAs, Subresource, Verdict};
pub use made::SharedKind;

/// Every built-in kind that is served unless told otherwise, in the order of discovery.
pub fn all() -> &'static [&'static Kind] {
    ALL
}

/// Built-in kinds and versions of kinds that are served only on request: upstream's beta and alpha.
pub fn optional() -> &'static [&'static Kind] {
    versions::OPTIONAL
}

/// Every built-in kind whose objects are kept as such, served or not.
pub fn stored() -> impl Iterator<Item = &'static Kind> {
    ALL.iter().chain(versions::OPTIONAL).copied().filter(|k| k.is_stored() && k.stored_as.is_none())
}

/// The built-in kind of this group, version and plural, served or not.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    let mut all = ALL.iter().chain(versions::OPTIONAL).copied();
    all.find(|k| k.resource.group == group && k.resource.version == version && k.resource.plural == plural)
}

static ALL: &[&Kind] = &[
    &core::minor::COMPONENT_STATUS,
    &core::config_map::KIND,
    &core::endpoints::KIND,
    &core::event::KIND,
    &core::minor::LIMIT_RANGE,
    &core::namespace::KIND,
    &core::node::KIND,
    &core::persistent_volume_claim::KIND,
    &core::persistent_volume::KIND,
    &core::pod::KIND,
    &core::pod_template::KIND,
    &core::replication_controller::KIND,
    &core::minor::RESOURCE_QUOTA,
    &core::secret::KIND,
    &core::service_account::KIND,
    &core::service::KIND,
    &review::BINDING,
    &apiregistration::API_SERVICE,
    &apps::controller_revision::KIND,
    &apps::daemon_set::KIND,
    &apps::deployment::KIND,
    &apps::replica_set::KIND,
    &apps::stateful_set::KIND,
    &events::EVENT,
    &review::SELF_SUBJECT_REVIEW,
    &review::TOKEN_REVIEW,
    &review::LOCAL_SUBJECT_ACCESS_REVIEW,
    &review::SELF_SUBJECT_ACCESS_REVIEW,
    &review::SELF_SUBJECT_RULES_REVIEW,
    &review::SUBJECT_ACCESS_REVIEW,
    &autoscaling::horizontal_pod_autoscaler::KIND,
    &autoscaling::horizontal_pod_autoscaler_v1::KIND,
    &batch::cron_job::KIND,
    &batch::job::KIND,
    &certificates::CERTIFICATE_SIGNING_REQUEST,
    &certificates::CLUSTER_TRUST_BUNDLE,
    &certificates::POD_CERTIFICATE_REQUEST,
    &networking::ingress_class::KIND,
    &networking::ingress::KIND,
    &networking::service_network::IP_ADDRESS,
    &networking::network_policy::KIND,
    &networking::service_network::SERVICE_CIDR,
    &policy::pod_disruption_budget::KIND,
    &rbac::bindings::CLUSTER_ROLE_BINDING,
    &rbac::roles::CLUSTER_ROLE,
    &rbac::bindings::ROLE_BINDING,
    &rbac::roles::ROLE,
    &storage::csi::DRIVER,
    &storage::csi::NODE,
    &storage::csi::STORAGE_CAPACITY,
    &storage::storage_class::KIND,
    &storage::volume_attachment::KIND,
    &storage::volume_attributes_class::KIND,
    &admissionregistration::MUTATING_ADMISSION_POLICY,
    &admissionregistration::MUTATING_ADMISSION_POLICY_BINDING,
    &admissionregistration::MUTATING_WEBHOOK_CONFIGURATION,
    &admissionregistration::VALIDATING_ADMISSION_POLICY,
    &admissionregistration::VALIDATING_ADMISSION_POLICY_BINDING,
    &admissionregistration::VALIDATING_WEBHOOK_CONFIGURATION,
    &extensions::CUSTOM_RESOURCE_DEFINITION,
    &scheduling::PRIORITY_CLASS,
    &coordination::LEASE,
    &node::RUNTIME_CLASS,
    &discovery::endpoint_slice::KIND,
    &flowcontrol::FLOW_SCHEMA,
    &flowcontrol::PRIORITY_LEVEL_CONFIGURATION,
    &resource::DEVICE_CLASS,
    &resource::DEVICE_TAINT_RULE,
    &resource::RESOURCE_CLAIM,
    &resource::RESOURCE_CLAIM_TEMPLATE,
    &resource::RESOURCE_SLICE,
    &storagemigration::STORAGE_VERSION_MIGRATION,
    &metrics::NODE_METRICS,
    &metrics::POD_METRICS,
];
