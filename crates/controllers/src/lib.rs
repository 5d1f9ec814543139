//! The control loops, one a file: a pure plan and an apply.
//!
//! Adding one is a file with an `impl Controller` and a line in [`all`]. Each file decides in a function without I/O
//! (`plan(desired, observed, now)`, tested as tables) and then applies the plan through the client.

pub mod framework;

mod conditions;
mod custom_resources;
mod hash;
mod members;
mod owners;
mod pods;
mod revisions;
mod rounding;

mod settings;

mod certificates;
mod cluster_roles;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod garbage;
mod horizontal_pod_autoscaler;
mod job;
mod job_ttl;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod pod_gc;
mod replicaset;
mod resource_quota;
mod service_accounts;
mod statefulset;
mod taint_eviction;
mod token_cleaner;
mod volumes;

#[cfg(test)]
mod testing;

pub use framework::{Context, Controller, Controllers, Key, Keys, Requeue};
pub use settings::ClusterSettings;

/// Every controller.
pub fn all(settings: &ClusterSettings) -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(certificates::Certificates::new(settings)),
        Box::new(cluster_roles::ClusterRoles),
        Box::new(cronjob::CronJobs),
        Box::new(daemonset::DaemonSets::default()),
        Box::new(deployment::Deployments::default()),
        Box::new(disruption::Disruption::default()),
        Box::new(endpoints::lists::EndpointLists::default()),
        Box::new(endpoints::mirror::Mirror),
        Box::new(endpoints::slices::EndpointSlices::default()),
        Box::new(garbage::Garbage::default()),
        Box::new(horizontal_pod_autoscaler::HorizontalPodAutoscalers::default()),
        Box::new(namespace::Namespaces::default()),
        Box::new(job::Jobs::default()),
        Box::new(job_ttl::JobTtl),
        Box::new(node_ipam::NodeIpam::new(settings)),
        Box::new(node_lifecycle::NodeLifecycle::default()),
        Box::new(pod_gc::PodGc::default()),
        Box::new(replicaset::replica_sets()),
        Box::new(replicaset::replication_controllers()),
        Box::new(resource_quota::ResourceQuotas::default()),
        Box::new(service_accounts::RootCa::new(settings)),
        Box::new(service_accounts::ServiceAccounts),
        Box::new(statefulset::StatefulSets::default()),
        Box::new(token_cleaner::TokenCleaner),
        Box::new(taint_eviction::TaintEviction::default()),
        Box::new(volumes::binder::Binder::default()),
        Box::new(volumes::ephemeral::Ephemeral),
        Box::new(volumes::local_path::LocalPath::default()),
        Box::new(volumes::protection::ClaimProtection),
        Box::new(volumes::protection::VolumeProtection),
    ]
}
