//! The API server: request path, registry, admission, authentication and authorization, discovery, OpenAPI.
//!
//! Invariants: every write goes through the registry (admission and validation included), whoever asks; reads copy an object's
//! bytes and never parse them; nothing here knows a particular kind, apart from the few rules that upstream puts into storage
//! (service addresses, pod binding and eviction, namespace finalisation).

pub mod admission;
mod answer;
mod app;
pub mod auth;
mod books;
mod bootstrap;
pub mod catalog;
mod client;
pub mod custom;
mod decode;
mod discovery;
pub mod egress;
mod flow_control;
mod frames;
mod health;
pub mod http;
mod metrics;
mod openapi;
mod options;
mod proxy;
pub mod registry;
mod resources;
pub mod route;
pub mod runtime_config;
mod server;
pub mod storage;
mod table;
mod usage;
pub mod view;
pub mod watch;
pub mod webhook;

pub use auth::User;
pub use server::{KUBERNETES_VERSION, Server, ServerConfig, StartError};
