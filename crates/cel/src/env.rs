//! What expressions may use, and compiling them.

use crate::{
    check,
    cost::Range,
    decl::Decl,
    estimate, eval,
    eval::Variables,
    fault::{Fault, Result as Evaluated},
    ir::{Kind, Node},
    library::{self, Function},
    limits,
    parse::{self, Issue},
    types::{Object, Type},
    value::Value,
};
use std::{cell::Cell, collections::BTreeMap, fmt, sync::Arc};

/// The variables that expressions may use, with their declarations. Functions are there in any case.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: BTreeMap<String, Arc<Decl>>,
    /// The declaration from which sizes are estimated.
    root: Option<Arc<Decl>>,
    /// Whether expressions may make objects and patches.
    mutation: bool,
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// It is no expression, or types do not fit; in the order of the text.
    Invalid(Vec<Issue>),
    /// A part that does not depend on any value fails.
    Failing(Fault),
}

impl CompileError {
    /// The same in the words in which upstream reports it.
    pub fn detail(&self) -> String {
        match self {
            Self::Invalid(_) => format!("compilation failed: {self}"),
            Self::Failing(_) => format!("program instantiation failed: {self}"),
        }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(issues) => {
                for (at, issue) in issues.iter().enumerate() {
                    write!(f, "{}{issue}", if at > 0 { "\n" } else { "" })?;
                }
                Ok(())
            }
            Self::Failing(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for CompileError {}

/// An expression that is ready to run.
#[derive(Debug)]
pub struct Program {
    root: Node,
    cost: Range,
    variables: Vec<String>,
}

/// What a run of an expression gave, and what it cost.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The value, or why there is none.
    pub result: Evaluated<Value<'a>>,
    /// The cost so far, also of a run that failed.
    pub cost: u64,
}

impl Env {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more variable. A name may have dots: `variables.x`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, decl: Arc<Decl>) -> Self {
        self.variables.insert(name.into(), decl);
        self
    }

    /// With the declaration that sizes of values are estimated from, whichever variable they come from.
    #[must_use]
    pub fn with_sizes_of(mut self, decl: Arc<Decl>) -> Self {
        self.root = Some(decl);
        self
    }

    /// With `Object{…}`, `Object.spec{…}` and so on, `JSONPatch{…}` and `jsonpatch.escapeKey`, with which mutating policies make what they
    /// answer.
    #[must_use]
    pub fn with_mutation(mut self) -> Self {
        self.mutation = true;
        self
    }

    /// The function with this name.
    pub(crate) fn function(&self, name: &str) -> Option<&'static Function> {
        library::function(name).filter(|_| self.mutation || !name.starts_with("jsonpatch."))
    }

    /// The type that a structure is written with.
    pub(crate) fn structure(&self, name: &str) -> Option<Type> {
        let patch = || ["op", "path", "from"].map(|field| (field.to_string(), Type::String));
        let object = |fields, open| Type::Object(Arc::new(Object { name: name.to_string(), fields, open }));
        match name {
            _ if !self.mutation => None,
            "JSONPatch" => Some(object(patch().into_iter().chain([("value".to_string(), Type::Dyn)]).collect(), false)),
            "Object" => Some(object(BTreeMap::new(), true)),
            name if name.starts_with("Object.") => Some(object(BTreeMap::new(), true)),
            _ => None,
        }
    }

    /// The declaration of a variable.
    pub fn variable(&self, name: &str) -> Option<&Arc<Decl>> {
        self.variables.get(name)
    }

    /// Compiles an expression: parses, checks and estimates it.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let compiled = on_large_stack(|| self.compile_here(source));
        compiled.unwrap_or_else(|why| Err(CompileError::Invalid(vec![Issue::whole(why)])))
    }

    fn compile_here(&self, source: &str) -> Result<Program, CompileError> {
        let parsed = parse::parse(source).map_err(CompileError::Invalid)?;
        let mut root = check::check(&parsed, self)?;
        if height(&mut root) > 3 * limits::DEPTH {
            let why = format!("expression recursion limit exceeded: {}", limits::DEPTH);
            return Err(CompileError::Invalid(vec![Issue::whole(why)]));
        }
        let cost = estimate::estimate(&root, self.root.as_ref());
        let mut variables = Vec::new();
        used(&mut root, &mut variables);
        Ok(Program { root, cost, variables })
    }
}

/// The parser and the checker recurse: they get a stack that is sure to suffice. A panic of the parser is an error like others.
pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    const STACK: usize = 64 << 20;
    thread_local!(static LARGE: Cell<bool> = const { Cell::new(false) });
    if LARGE.get() {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("cel".into()).stack_size(STACK).spawn_scoped(scope, || {
            LARGE.set(true);
            work()
        });
        let thread = thread.map_err(|e| format!("internal error: no thread to compile in: {e}"))?;
        thread.join().map_err(|_| "internal error: the parser failed".to_string())
    })
}

impl Program {
    /// The type of its value.
    pub fn output(&self) -> &Type {
        &self.root.ty
    }

    /// What a run may cost.
    pub fn estimated_cost(&self) -> Range {
        self.cost
    }

    /// Whether it mentions a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.iter().any(|used| used == variable)
    }

    /// Runs it, up to a cost (usually [`limits::PER_CALL`]).
    pub fn run<'a>(&self, variables: &(impl Variables<'a> + ?Sized), limit: u64) -> Outcome<'a> {
        let (result, cost) = eval::run(&self.root, variables, limit);
        Outcome { result, cost }
    }
}

fn used(node: &mut Node, names: &mut Vec<String>) {
    if let Kind::Variable(name) = &node.kind
        && !names.iter().any(|there| **there == **name)
    {
        names.push(name.to_string());
    }
    node.children_mut(&mut |child| used(child, names));
}

fn height(node: &mut Node) -> usize {
    let mut below = 0;
    node.children_mut(&mut |child| below = below.max(height(child)));
    below + 1
}
