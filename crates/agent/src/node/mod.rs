//! The node itself: how it joins, what it reports, how it shows that it lives.

pub mod join;
mod lease;
pub mod network;
mod register;
pub mod serving;
pub mod status;

pub use lease::renew as renew_lease;
pub use register::{register, report};
