//! `batch`: work that ends.

pub mod cron_job;
pub mod job;
mod job_status;
mod policies;
pub mod schedule;
