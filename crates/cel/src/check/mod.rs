//! The checker: from the syntax tree to a checked expression, or to what is wrong with it.
//!
//! It finds the type of every node, which function a call means and which variable a name, and reports everything that is
//! certain to fail. Inference is by unification (`infer.rs`); what is not known in the end is dynamic.

mod calls;
mod literals;

use crate::{
    env::{CompileError, Env},
    fault::Fault,
    infer::Types,
    ir::{Kind, Loop, Mode, Node},
    limits, macros,
    parse::{Issue, Parsed},
    types::{Library, Type},
    value::Value,
};
use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use std::sync::Arc;

/// Checks a parsed expression.
pub(crate) fn check(parsed: &Parsed, env: &Env) -> Result<Node, CompileError> {
    let mut checker = Checker {
        parsed,
        env,
        types: Types::default(),
        issues: Vec::new(),
        failing: None,
        scope: Vec::new(),
        depth: 0,
        alike: Vec::new(),
        formatting: 0,
    };
    let mut root = checker.node(&parsed.root);
    if checker.issues.is_empty() {
        checker.finish(&mut root);
        checker.same_types();
    }
    match (checker.issues.is_empty(), checker.failing) {
        (true, None) => Ok(root),
        (true, Some(fault)) => Err(CompileError::Failing(fault)),
        (false, _) => {
            checker.issues.sort_by_key(|issue| (issue.line, issue.column));
            Err(CompileError::Invalid(checker.issues))
        }
    }
}

struct Checker<'c> {
    parsed: &'c Parsed,
    env: &'c Env,
    types: Types,
    issues: Vec<Issue>,
    /// What fails whatever the values are.
    failing: Option<Fault>,
    /// The variables of loops around the node; the place is the slot.
    scope: Vec<(String, Type)>,
    depth: usize,
    /// Elements of literals that shall be of one type, with their places.
    alike: Vec<Vec<(u64, Type)>>,
    /// How many calls of `format` are around the node: what is formatted need not be of one type.
    formatting: usize,
}

impl Checker<'_> {
    fn report(&mut self, id: u64, message: String) -> Node {
        let (line, column) = self.parsed.place(id);
        self.issues.push(Issue::at(&self.parsed.places.source, line, column, message));
        Node { ty: Type::Error, kind: Kind::Constant(Value::Null) }
    }

    fn node(&mut self, expr: &IdedExpr) -> Node {
        // macros add levels that the parser does not count
        if self.depth > 4 * limits::DEPTH {
            return self.report(expr.id, format!("expression recursion limit exceeded: {}", limits::DEPTH));
        }
        self.depth += 1;
        let node = match &expr.expr {
            Expr::Literal(literal) => literals::constant(literal),
            Expr::Ident(name) => self.name(expr.id, name),
            Expr::Select(select) => self.select(expr.id, select),
            Expr::Call(call) => self.call(expr.id, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(&map.entries),
            Expr::Struct(structure) => self.structure(expr.id, structure),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Unspecified => self.report(expr.id, "unexpected unspecified type: expression".into()),
        };
        self.depth -= 1;
        if self.types.is_huge(&node.ty) {
            return self.report(expr.id, "type of the expression is too complex".into());
        }
        node
    }

    fn name(&mut self, id: u64, name: &str) -> Node {
        match self.resolve(name) {
            Some(node) => node,
            None => self.report(id, format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    /// What a name, possibly with dots, stands for: a variable of a loop, a declared one, or a type.
    fn resolve(&self, name: &str) -> Option<Node> {
        let global = name.strip_prefix('.');
        if global.is_none()
            && let Some(slot) = self.scope.iter().rposition(|(there, _)| there == name)
        {
            return Some(Node { ty: self.scope[slot].1.clone(), kind: Kind::Local { slot, take: false } });
        }
        let name = global.unwrap_or(name);
        if let Some(decl) = self.env.variable(name) {
            return Some(Node { ty: decl.ty.clone(), kind: Kind::Variable(Arc::from(name)) });
        }
        let ty = Arc::new(type_named(name)?);
        Some(Node { ty: Type::Type(Arc::clone(&ty)), kind: Kind::Constant(Value::Type(ty)) })
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Node {
        if let Some(name) = qualified(&select.operand, &select.field)
            && !self.scope.iter().any(|(there, _)| name.split('.').next() == Some(there))
            && let Some(node) = self.resolve(&name)
        {
            // what is declared is there
            return if select.test { literals::constant(&LiteralValue::Boolean(true.into())) } else { node };
        }
        let mode = if select.test { Mode::Test } else { Mode::Value };
        self.field(id, &select.operand, &select.field, mode)
    }

    fn field(&mut self, id: u64, operand: &IdedExpr, field: &str, mode: Mode) -> Node {
        let operand = self.node(operand);
        let found = self.types.resolve(&operand.ty);
        let (target, optional) = match found.unwrap_optional() {
            Some(inner) => (self.types.resolve(inner), true),
            None => (found, mode == Mode::Optional),
        };
        let ty = match &target {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.field(field) {
                Some(ty) => ty.clone(),
                None => self.report(id, format!("undefined field '{field}'")).ty,
            },
            Type::Library(Library::Ip | Library::Cidr) => {
                self.report(id, format!("type '{target}' does not support field selection")).ty
            }
            Type::Library(_) => self.report(id, format!("undefined field '{field}'")).ty,
            Type::Unknown(_) => {
                self.types.unify(&Type::Dyn, &target);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.report(id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        let ty = match mode {
            Mode::Test => Type::Bool,
            _ if optional => Type::optional(ty),
            _ => ty,
        };
        Node { ty, kind: Kind::Select { operand: Box::new(operand), field: Arc::from(field), mode } }
    }

    fn comprehension(&mut self, expr: &ComprehensionExpr) -> Node {
        let (range, init) = (self.node(&expr.iter_range), self.node(&expr.accu_init));
        let two_variables = expr.iter_var2.is_some();
        let (first, second) = self.loop_variables(expr, &range.ty, two_variables);
        let slot = self.scope.len();
        let so_far = init.ty.clone();
        self.scope.push((expr.accu_var.clone(), so_far.clone()));
        self.scope.push((expr.iter_var.clone(), first));
        self.scope.push((expr.iter_var2.clone().unwrap_or_default(), second));
        let condition = self.node(&expr.loop_cond);
        self.must_be(&expr.loop_cond, &condition.ty, &Type::Bool);
        let mut step = self.node(&expr.loop_step);
        self.must_be(&expr.loop_step, &step.ty, &so_far);
        take_result(&mut step, slot);
        // the result sees what was collected, but not the variables; their slots stay
        for hidden in &mut self.scope[slot + 1..] {
            hidden.0.clear();
        }
        let result = self.node(&expr.result);
        self.scope.truncate(slot);
        let binding = expr.accu_var != macros::RESULT
            && matches!(&expr.iter_range.expr, Expr::List(list) if list.elements.is_empty())
            && matches!(&expr.loop_cond.expr, Expr::Literal(LiteralValue::Boolean(value)) if !value.inner());
        let ty = self.types.resolve(&result.ty);
        let made = Loop { range, init, condition, step, result, slot, two_variables, binding };
        Node { ty, kind: Kind::Loop(Box::new(made)) }
    }

    fn loop_variables(&mut self, expr: &ComprehensionExpr, range: &Type, two: bool) -> (Type, Type) {
        let range = self.types.resolve(range);
        match &range {
            Type::List(of) if two => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Dyn),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Unknown(_) => {
                self.types.unify(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(expr.iter_range.id, message);
                (Type::Error, Type::Error)
            }
        }
    }

    fn must_be(&mut self, expr: &IdedExpr, found: &Type, wanted: &Type) {
        if !self.types.unify(wanted, found) {
            let (wanted, found) = (self.types.finish(wanted), self.types.finish(found));
            self.report(expr.id, format!("expected type '{wanted}' but found '{found}'"));
        }
    }

    /// Writes the types that were found into the nodes.
    fn finish(&self, node: &mut Node) {
        node.ty = self.types.finish(&node.ty);
        node.children_mut(&mut |child| self.finish(child));
    }
}

/// `a.b.c` as a name, if it is nothing but names.
fn qualified(operand: &IdedExpr, field: &str) -> Option<String> {
    match &operand.expr {
        Expr::Ident(name) => Some(format!("{name}.{field}")),
        Expr::Select(select) if !select.test => Some(format!("{}.{field}", qualified(&select.operand, &select.field)?)),
        _ => None,
    }
}

fn type_named(name: &str) -> Option<Type> {
    let dynamic = || Arc::new(Type::Dyn);
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "null_type" => Type::Null,
        "list" => Type::List(dynamic()),
        "map" => Type::Map(dynamic(), dynamic()),
        "type" => Type::Type(dynamic()),
        "optional_type" => Type::Optional(dynamic()),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        _ => Type::Library(Library::NAMES.iter().find(|(_, there)| *there == name)?.0),
    })
}

/// The step of a loop that adds to its result may take it, so that it need not be copied.
fn take_result(step: &mut Node, slot: usize) {
    match &mut step.kind {
        Kind::Conditional(parts) => take_result(&mut parts[1], slot),
        Kind::Call { call, args } if matches!(call.function.name.as_str(), operators::ADD | macros::MAP_INSERT) => {
            if let Some(Node { kind: Kind::Local { slot: there, take }, .. }) = args.first_mut() {
                *take = *there == slot;
            }
        }
        _ => {}
    }
}
