//! The API server: request path, registry, admission, authentication and authorization, discovery, OpenAPI.
//!
//! Invariants: every write goes through the registry (admission and validation included), whoever asks; reads copy an object's
//! bytes and never parse them; nothing here knows a particular kind, apart from the few rules that upstream puts into storage
//! (service addresses, pod binding and eviction, namespace finalisation).

pub mod admission;
pub mod auth;
pub mod catalog;
mod decode;
pub mod http;
pub mod registry;
pub mod route;
pub mod storage;
pub mod view;
pub mod watch;
