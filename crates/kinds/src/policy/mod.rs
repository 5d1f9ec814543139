//! `policy`: limits on disruption.

pub mod pod_disruption_budget;
