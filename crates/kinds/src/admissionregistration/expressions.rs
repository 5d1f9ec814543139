//! Expressions of policies and match conditions: whether they compile, and to what they have to.
//!
//! They are compiled with the variables that they have when they run (`coracle_cel::admission`). Source: upstream's
//! `pkg/apis/admissionregistration/validation`.

use crate::check::Check;
use crate::place::Place;
use coracle_cel::admission::{self, Available};
use coracle_cel::{DYNAMIC, Decl, Env, Type};
use serde_json::json;
use std::sync::Arc;

/// What the expressions of one policy may use.
pub struct Expressions {
    params: bool,
    /// The policy's variables so far.
    variables: Vec<(String, Arc<Decl>)>,
}

impl Expressions {
    /// Those of a policy, which may have a parameter; or of a webhook, which has none.
    pub fn new(params: bool) -> Self {
        Self { params, variables: Vec::new() }
    }

    /// The condition under which a policy or webhook is asked at all. It sees no variables.
    pub fn condition(&self, check: &mut Check, at: &Place) {
        let env = self.plain(true);
        compiles(check, at, at.text().trim(), &env, &[Type::Bool]);
    }

    /// A variable, which the expressions behind it may use.
    pub fn variable(&mut self, check: &mut Check, name: &str, at: &Place) {
        let decl = match admission::compile(&self.composed(true), at.text(), &[]) {
            Ok(program) => Decl::of_type(program.output().clone()),
            Err(why) => {
                check.bad(at, why);
                // that it is wrong is said once
                Arc::clone(&DYNAMIC)
            }
        };
        self.variables.push((name.to_string(), decl));
    }

    /// Whether a request is good.
    pub fn verdict(&self, check: &mut Check, at: &Place) {
        compiles(check, at, at.text(), &self.composed(true), &[Type::Bool]);
    }

    /// What is said of one that is not. It must not depend on what somebody may do.
    pub fn message(&self, check: &mut Check, at: &Place) {
        compiles(check, at, at.text(), &self.composed(false), &[Type::String]);
    }

    /// What an audit annotation says; null for none.
    pub fn annotation(&self, check: &mut Check, at: &Place) {
        let wanted = [Type::String, Type::Null];
        if let Err(why) = admission::compile(&self.composed(true), at.text().trim(), &wanted) {
            check.bad(at, why);
        }
    }

    /// What is applied to an object.
    pub fn configuration(&self, check: &mut Check, at: &Place) {
        let env = self.composed(true).with_mutation();
        compiles(check, at, at.text(), &env, &[admission::object_type(&env)]);
    }

    /// The patches of an object.
    pub fn patch(&self, check: &mut Check, at: &Place) {
        let env = self.composed(true).with_mutation();
        compiles(check, at, at.text(), &env, &[admission::patch_type(&env)]);
    }

    fn plain(&self, authorizer: bool) -> Env {
        admission::env(Available { params: self.params, authorizer })
    }

    fn composed(&self, authorizer: bool) -> Env {
        match self.variables.as_slice() {
            [] => self.plain(authorizer),
            variables => admission::with_variables(self.plain(authorizer), variables),
        }
    }
}

fn compiles(check: &mut Check, at: &Place, text: &str, env: &Env, wanted: &[Type]) {
    if let Err(why) = admission::compile(env, text, wanted) {
        check.invalid(at.path.clone(), &json!(text), why);
    }
}
