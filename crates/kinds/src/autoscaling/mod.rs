//! `autoscaling`: replica counts that follow load. Version 1 is another form of version 2.

pub mod horizontal_pod_autoscaler;
pub mod horizontal_pod_autoscaler_v1;
mod older_metrics;
mod validate;
