//! The Common Expression Language as Kubernetes has it.
//!
//! ```text
//! text ─ parse ─ check ─────────────── Program ─ run ─ value, cost
//!          │       │ types, functions     │
//!   crate `cel`   Env (Decl per variable) └ estimate ─ cost it may have
//! ```
//!
//! The crate `cel` parses. Everything behind that is here, because Kubernetes needs what its interpreter does not have: types from
//! schemas, costs that are estimated and counted as upstream does, values that are looked at where they lie in an object's JSON.
//!
//! - [`Env`] declares variables, [`Env::compile`] makes a [`Program`], [`Program::run`] gives a [`Value`].
//! - [`Decl`] says what a value is; [`Decl::from_schema`] reads it from a structural schema.
//! - [`rules`] are the `x-kubernetes-validations` of a schema: checked when it is defined, run over every object.
//! - [`admission`] declares what policies and match conditions may use, [`device`] what chooses devices.
//! - `library/` has the functions, one file a library.
//!
//! Nothing here does I/O or knows the time, and no text, however odd, makes it panic.

pub mod admission;
mod check;
mod compare;
mod cost;
mod decl;
pub mod device;
mod env;
mod escape;
mod estimate;
mod eval;
mod fault;
mod infer;
mod ir;
mod json;
mod library;
pub mod limits;
mod macros;
mod parse;
pub mod rules;
mod types;
mod value;
mod work;

pub use cost::Range;
pub use decl::{DYNAMIC, Decl, ListKind};
pub use env::{CompileError, Env, Outcome, Program};
pub use escape::{escape, is_keyword};
pub use eval::Variables;
pub use fault::Fault;
pub use json::{owned as from_owned_json, write as to_json};
pub use library::{Authorize, Decision, Question, Subject, authorizer};
pub use parse::Issue;
pub use types::{Library, Type};
pub use value::{List, Map, Moment, Text, Value};
