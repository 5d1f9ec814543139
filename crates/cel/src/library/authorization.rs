//! Questions to the authorizer: `authorizer.group('apps').resource('deployments').check('create').allowed()`.

use super::{Entry, Opaque, entry, strings::text};
use crate::{
    cost::{Cost, ONE},
    fault::{Fault, Result},
    types::Library,
    value::Value,
};
use std::{fmt, sync::Arc};

/// Who decides.
pub trait Authorize: Send + Sync {
    /// Whether the one who makes the request, or a service account in his place, may do something.
    fn authorize(&self, question: &Question) -> Decision;
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// A service account instead of the request's user: namespace and name.
    pub service_account: Option<(String, String)>,
    /// `get`, `create`, ….
    pub verb: String,
    /// What it is about.
    pub subject: Subject,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Subject {
    /// A path that is no resource.
    Path(String),
    Resource {
        group: String,
        resource: String,
        subresource: String,
        namespace: String,
        name: String,
        field_selector: Option<String>,
        label_selector: Option<String>,
    },
}

impl Default for Subject {
    fn default() -> Self {
        Self::Path(String::new())
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, if there is something to say.
    pub reason: String,
    /// Why there is no answer; empty if there is one.
    pub error: String,
}

/// A question, as far as it is asked.
#[derive(Clone)]
pub struct Builder {
    authorizer: Arc<dyn Authorize>,
    question: Question,
    stage: Library,
}

impl Builder {
    pub(super) fn library(&self) -> Library {
        self.stage
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.question)
    }
}

impl PartialEq for Builder {
    fn eq(&self, other: &Self) -> bool {
        self.stage == other.stage && self.question == other.question
    }
}

/// The variable `authorizer`.
pub fn authorizer<'a>(authorizer: Arc<dyn Authorize>) -> Value<'a> {
    let builder = Builder { authorizer, question: Question::default(), stage: Library::Authorizer };
    Value::Opaque(Opaque::Authorization(Arc::new(builder)))
}

/// A question about a resource, to which only the verb lacks.
pub(crate) fn resource_check<'a>(authorizer: Arc<dyn Authorize>, subject: Subject) -> Value<'a> {
    let question = Question { subject, ..Question::default() };
    Value::Opaque(Opaque::Authorization(Arc::new(Builder { authorizer, question, stage: Library::ResourceCheck })))
}

pub(super) fn entries() -> Vec<Entry> {
    let step = |id: &str, from: &str, rest: &str, cost, eval: super::Eval| {
        entry(
            id,
            format!("kubernetes.authorization.{from}.{rest}").replace("-> ", "-> kubernetes.authorization."),
            cost,
            eval,
        )
    };
    let answer = |id: &str, rest: &str, eval: super::Eval| {
        entry(format!("decision_{id}"), format!("kubernetes.authorization.Decision.{rest}"), ONE, eval)
    };
    vec![
        step("authorizer_path", "Authorizer", "path(string) -> PathCheck", ONE, |args| {
            let path = text(args, 1)?.to_string();
            if path.is_empty() {
                return Err(Fault::other("path must not be empty"));
            }
            next(args, Library::PathCheck, |question| question.subject = Subject::Path(path))
        }),
        step("authorizer_group", "Authorizer", "group(string) -> GroupCheck", ONE, |args| {
            let wanted = text(args, 1)?.to_string();
            next(args, Library::GroupCheck, |question| {
                question.subject = Subject::Resource {
                    group: wanted,
                    resource: String::new(),
                    subresource: String::new(),
                    namespace: String::new(),
                    name: String::new(),
                    field_selector: None,
                    label_selector: None,
                };
            })
        }),
        step("authorizer_serviceaccount", "Authorizer", "serviceAccount(string, string) -> Authorizer", ONE, |args| {
            let account = (text(args, 1)?.to_string(), text(args, 2)?.to_string());
            let wrong = coracle_api::validation::label_name(&account.0, false)
                .into_iter()
                .chain(coracle_api::validation::subdomain_name(&account.1, false))
                .collect::<Vec<_>>();
            if !wrong.is_empty() {
                return Err(Fault::other(format!("Invalid service account name: {}", wrong.join(", "))));
            }
            next(args, Library::Authorizer, |question| question.service_account = Some(account))
        }),
        step("groupcheck_resource", "GroupCheck", "resource(string) -> ResourceCheck", ONE, |args| {
            let wanted = text(args, 1)?.to_string();
            next(args, Library::ResourceCheck, |question| {
                if let Subject::Resource { resource, .. } = &mut question.subject {
                    *resource = wanted;
                }
            })
        }),
        step("resourcecheck_subresource", "ResourceCheck", "subresource(string) -> ResourceCheck", ONE, |args| {
            let wanted = text(args, 1)?.to_string();
            next(args, Library::ResourceCheck, |question| {
                if let Subject::Resource { subresource, .. } = &mut question.subject {
                    *subresource = wanted;
                }
            })
        }),
        step("resourcecheck_namespace", "ResourceCheck", "namespace(string) -> ResourceCheck", ONE, |args| {
            let wanted = text(args, 1)?.to_string();
            next(args, Library::ResourceCheck, |question| {
                if let Subject::Resource { namespace, .. } = &mut question.subject {
                    *namespace = wanted;
                }
            })
        }),
        step("resourcecheck_name", "ResourceCheck", "name(string) -> ResourceCheck", ONE, |args| {
            let wanted = text(args, 1)?.to_string();
            next(args, Library::ResourceCheck, |question| {
                if let Subject::Resource { name, .. } = &mut question.subject {
                    *name = wanted;
                }
            })
        }),
        step(
            "authorizer_fieldselector",
            "ResourceCheck",
            "fieldSelector(string) -> ResourceCheck",
            Cost::Selector,
            |args| {
                let wanted = text(args, 1)?.to_string();
                next(args, Library::ResourceCheck, |question| {
                    if let Subject::Resource { field_selector, .. } = &mut question.subject {
                        *field_selector = Some(wanted);
                    }
                })
            },
        ),
        step(
            "authorizer_labelselector",
            "ResourceCheck",
            "labelSelector(string) -> ResourceCheck",
            Cost::Selector,
            |args| {
                let wanted = text(args, 1)?.to_string();
                next(args, Library::ResourceCheck, |question| {
                    if let Subject::Resource { label_selector, .. } = &mut question.subject {
                        *label_selector = Some(wanted);
                    }
                })
            },
        ),
        step("pathcheck_check", "PathCheck", "check(string) -> Decision", CHECK, check),
        step("resourcecheck_check", "ResourceCheck", "check(string) -> Decision", CHECK, check),
        answer("errored", "errored() -> bool", |args| Ok(Value::Bool(!decision(args)?.error.is_empty()))),
        answer("error", "error() -> string", |args| Ok(Value::text(&decision(args)?.error))),
        answer("allowed", "allowed() -> bool", |args| Ok(Value::Bool(decision(args)?.allowed))),
        answer("reason", "reason() -> string", |args| Ok(Value::text(&decision(args)?.reason))),
    ]
}

/// An expression may ask two questions.
const CHECK: Cost = Cost::Fixed(350_000);

fn builder<'v>(args: &'v [Value<'_>]) -> Result<&'v Builder> {
    match args.first() {
        Some(Value::Opaque(Opaque::Authorization(builder))) => Ok(builder),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn next<'a>(args: &[Value<'a>], stage: Library, change: impl FnOnce(&mut Question)) -> Result<Value<'a>> {
    let mut builder = Builder { stage, ..builder(args)?.clone() };
    change(&mut builder.question);
    Ok(Value::Opaque(Opaque::Authorization(Arc::new(builder))))
}

fn check<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let builder = builder(args)?;
    let question = Question { verb: text(args, 1)?.to_string(), ..builder.question.clone() };
    Ok(Value::Opaque(Opaque::Decision(Arc::new(builder.authorizer.authorize(&question)))))
}

fn decision<'v>(args: &'v [Value<'_>]) -> Result<&'v Decision> {
    match args.first() {
        Some(Value::Opaque(Opaque::Decision(decision))) => Ok(decision),
        _ => Err(Fault::NoSuchOverload),
    }
}
