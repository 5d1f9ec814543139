//! The checker: from the syntax tree to a checked expression, or to what is wrong with it.
//!
//! It finds the type of every node, which function a call means and which variable a name, and reports everything that is
//! certain to fail. Inference is by unification (`infer.rs`); what is not known in the end is dynamic.

use crate::{
    env::{CompileError, Env},
    fault::Fault,
    infer::Types,
    ir::{Call, Kind, Loop, Mode, Node},
    library::{self, Function},
    limits, macros,
    parse::{Issue, Parsed},
    types::{Library, Type},
    value::Value,
};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue, SelectExpr,
    operators,
};
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
            Expr::Literal(literal) => constant(literal),
            Expr::Ident(name) => self.name(expr.id, name),
            Expr::Select(select) => self.select(expr.id, select),
            Expr::Call(call) => self.call(expr.id, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(&map.entries),
            Expr::Struct(object) => {
                self.report(expr.id, format!("undeclared reference to '{}' (in container '')", object.type_name))
            }
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
        if !select.test
            && let Some(name) = qualified(&select.operand, &select.field)
            && !self.scope.iter().any(|(there, _)| name.split('.').next() == Some(there))
            && let Some(node) = self.resolve(&name)
        {
            return node;
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

    fn call(&mut self, id: u64, call: &CallExpr) -> Node {
        if call.func_name == operators::OPT_SELECT
            && let [operand, field] = call.args.as_slice()
        {
            return match &field.expr {
                Expr::Literal(LiteralValue::String(name)) => self.field(id, operand, name.inner(), Mode::Optional),
                _ => self.report(field.id, "unsupported optional field selection".into()),
            };
        }
        let namespaced = call.target.as_ref().and_then(|target| qualified(target, &call.func_name));
        let global = match (&call.target, namespaced) {
            (None, _) => Some(call.func_name.trim_start_matches('.').to_string()),
            (Some(_), Some(name)) => Some(name).filter(|name| library::function(name).is_some()),
            (Some(_), None) => None,
        };
        let formats = usize::from(call.func_name == "format");
        self.formatting += formats;
        let arguments: Vec<Node> = call.args.iter().map(|arg| self.node(arg)).collect();
        self.formatting -= formats;
        self.literal(call);
        let target = call.target.as_ref().filter(|_| global.is_none()).map(|target| self.node(target));
        let name = global.as_deref().unwrap_or(&call.func_name);
        let Some(function) = library::function(name) else {
            return self.report(id, format!("undeclared reference to '{name}' (in container '')"));
        };
        let member = target.is_some();
        let arguments: Vec<Node> = target.into_iter().chain(arguments).collect();
        if matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR) {
            return self.logical(call, name == operators::LOGICAL_AND, arguments);
        }
        self.overloaded(id, function, member, arguments)
    }

    /// Literals that a function will certainly refuse.
    fn literal(&mut self, call: &CallExpr) {
        let Some(IdedExpr { id, expr: Expr::Literal(literal) }) = call.args.first() else { return };
        let good = match (call.func_name.as_str(), literal) {
            ("matches", LiteralValue::String(text)) => library::pattern(text.inner()).is_ok(),
            ("duration", LiteralValue::String(text)) => library::time::duration(text.inner()).is_ok(),
            ("timestamp", LiteralValue::String(text)) => library::time::timestamp(text.inner()).is_ok(),
            ("timestamp", LiteralValue::Int(seconds)) => library::time::of_seconds(*seconds.inner()).is_ok(),
            _ => true,
        };
        if !good {
            self.report(*id, format!("invalid {} argument", call.func_name));
        }
    }

    fn logical(&mut self, call: &CallExpr, and: bool, arguments: Vec<Node>) -> Node {
        for (argument, expr) in arguments.iter().zip(&call.args) {
            if !self.types.unify(&argument.ty, &Type::Bool) {
                let ty = self.types.resolve(&argument.ty);
                self.report(expr.id, format!("expected type 'bool' but found '{ty}'"));
            }
        }
        match <[Node; 2]>::try_from(arguments) {
            Ok(sides) => Node { ty: Type::Bool, kind: Kind::Logical { and, sides: Box::new(sides) } },
            Err(_) => self.report(0, "unexpected number of operands".into()),
        }
    }

    /// Finds the signatures that fit; several may, if types are not known.
    fn overloaded(&mut self, id: u64, function: &'static Function, member: bool, arguments: Vec<Node>) -> Node {
        let given: Vec<Type> = arguments.iter().map(|argument| argument.ty.clone()).collect();
        let (mut overloads, mut result) = (Vec::new(), None::<Type>);
        for overload in function.overloads.iter().filter(|o| o.member == member) {
            let fresh = self.types.fresh(overload.parameters);
            let wanted: Vec<Type> = overload.arguments.iter().map(|ty| fresh.instantiate(ty)).collect();
            if !self.types.unify_all(&given, &wanted) {
                continue;
            }
            overloads.push(overload);
            let found = self.types.resolve(&fresh.instantiate(&overload.result));
            result = Some(match result {
                Some(known) if known != found && known != Type::Dyn => Type::Dyn,
                Some(known) => known,
                None => found,
            });
        }
        let Some(ty) = result else {
            let shown: Vec<String> = given.iter().map(|ty| self.types.finish(ty).to_string()).collect();
            let (receiver, rest) = match member {
                true => (format!("{}.", shown[0]), &shown[1..]),
                false => (String::new(), &shown[..]),
            };
            let name = &function.name;
            let message =
                format!("found no matching overload for '{name}' applied to '{receiver}({})'", rest.join(", "));
            return self.report(id, message);
        };
        let call = Call { function, overloads, member };
        let kind = self.shape(call, arguments);
        Node { ty, kind }
    }

    /// Operators that are evaluated in their own way become nodes of their own kind.
    fn shape(&mut self, call: Call, mut arguments: Vec<Node>) -> Kind {
        match (call.function.name.as_str(), arguments.len()) {
            (operators::INDEX | operators::OPT_INDEX, 2) => {
                let optional = call.function.name == operators::OPT_INDEX;
                let (index, operand) = (arguments.pop(), arguments.pop());
                match (operand, index) {
                    (Some(operand), Some(index)) => {
                        Kind::Index { operand: Box::new(operand), index: Box::new(index), call, optional }
                    }
                    _ => Kind::Constant(Value::Null),
                }
            }
            (operators::CONDITIONAL, 3) => match <[Node; 3]>::try_from(arguments) {
                Ok(parts) => Kind::Conditional(Box::new(parts)),
                Err(_) => Kind::Constant(Value::Null),
            },
            _ => self.fold_call(call, arguments),
        }
    }

    /// Conversions of constants are done once and cost nothing; patterns that are constant are looked at now.
    fn fold_call(&mut self, call: Call, args: Vec<Node>) -> Kind {
        const CONVERSIONS: &[&str] =
            &["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];
        let name = call.function.name.as_str();
        let value = match (args.as_slice(), call.overloads.as_slice()) {
            ([argument], [overload]) if CONVERSIONS.contains(&name) => {
                argument.constant().map(|value| (overload.eval)(&mut [value.clone()]))
            }
            ([_, pattern, ..], _) if matches!(name, "find" | "findAll") => {
                if let Some(Value::String(pattern)) = pattern.constant()
                    && let Err(fault) = library::pattern(pattern)
                {
                    self.failing.get_or_insert(fault);
                }
                None
            }
            _ => None,
        };
        let kind = Kind::Call { call, args };
        match value {
            Some(Ok(value)) => Kind::Folded { value, from: Box::new(Node { ty: Type::Dyn, kind }) },
            Some(Err(fault)) => {
                self.failing.get_or_insert(fault);
                kind
            }
            None => kind,
        }
    }

    fn list(&mut self, list: &ListExpr) -> Node {
        let mut types = Vec::with_capacity(list.elements.len());
        let mut elements = Vec::with_capacity(list.elements.len());
        for (at, expr) in list.elements.iter().enumerate() {
            let element = self.node(expr);
            let optional = list.optional_indices.contains(&at);
            types.push((expr.id, self.present(expr, &element.ty, optional)));
            elements.push((element, optional));
        }
        let of = self.join(types);
        fold(Node { ty: Type::list(of), kind: Kind::List { elements } })
    }

    fn map(&mut self, entries: &[IdedEntryExpr]) -> Node {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut nodes = Vec::with_capacity(entries.len());
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let key = self.node(&entry.key);
            keys.push((entry.key.id, key.ty.clone()));
            let value = self.node(&entry.value);
            values.push((entry.value.id, self.present(&entry.value, &value.ty, entry.optional)));
            nodes.push((key, value, entry.optional));
        }
        let (keys, values) = (self.join(keys), self.join(values));
        fold(Node { ty: Type::map(keys, values), kind: Kind::Map { entries: nodes } })
    }

    /// The type of an element or entry that is left out if it is absent.
    fn present(&mut self, expr: &IdedExpr, ty: &Type, optional: bool) -> Type {
        let ty = self.types.resolve(ty);
        match (optional, ty.unwrap_optional()) {
            (true, Some(inner)) => inner.clone(),
            (true, None) if !ty.is_dynamic() => {
                self.report(expr.id, format!("expected type 'optional_type({ty})' but found '{ty}'")).ty
            }
            _ => ty,
        }
    }

    /// The type of the elements of a literal.
    fn join(&mut self, types: Vec<(u64, Type)>) -> Type {
        let mut joined: Option<Type> = None;
        for (_, next) in &types {
            joined = Some(match joined {
                Some(so_far) if self.types.unify(&so_far, next) => self.types.more_general(&so_far, next),
                Some(_) => Type::Dyn,
                None => next.clone(),
            });
        }
        if self.formatting == 0 {
            self.alike.push(types);
        }
        joined.unwrap_or_else(|| self.types.unknown())
    }

    /// Reports literals with elements of several types, once the types are known.
    fn same_types(&mut self) {
        for types in std::mem::take(&mut self.alike) {
            let mut types = types.into_iter().map(|(id, ty)| (id, self.types.finish(&ty)));
            let Some((_, first)) = types.next() else { continue };
            let other = types.find(|(_, ty)| *ty != first);
            if let Some((id, other)) = other {
                self.report(id, format!("expected type '{first}' but found '{other}'"));
            }
        }
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

fn constant(literal: &LiteralValue) -> Node {
    let (ty, value) = match literal {
        LiteralValue::Boolean(value) => (Type::Bool, Value::Bool(*value.inner())),
        LiteralValue::Bytes(bytes) => (Type::Bytes, Value::Bytes(bytes.inner().into())),
        LiteralValue::Double(number) => (Type::Double, Value::Double(*number.inner())),
        LiteralValue::Int(number) => (Type::Int, Value::Int(*number.inner())),
        LiteralValue::Null => (Type::Null, Value::Null),
        LiteralValue::String(text) => (Type::String, Value::text(text.inner())),
        LiteralValue::UInt(number) => (Type::Uint, Value::Uint(*number.inner())),
    };
    Node { ty, kind: Kind::Constant(value) }
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

/// Lists and maps of constants are constants.
fn fold(node: Node) -> Node {
    let value = match &node.kind {
        Kind::List { elements } => {
            let constant = |(element, optional): &(Node, bool)| element.constant().filter(|_| !optional).cloned();
            elements.iter().map(constant).collect::<Option<Vec<_>>>().map(Value::list)
        }
        Kind::Map { entries } => {
            let constant = |(key, value, optional): &(Node, Node, bool)| {
                Some((key.constant()?.clone(), value.constant().filter(|_| !optional)?.clone()))
            };
            let entries = entries.iter().map(constant).collect::<Option<Vec<_>>>();
            entries.and_then(|entries| crate::value::Map::literal(entries).ok()).map(Value::Map)
        }
        _ => None,
    };
    match value {
        Some(value) => Node { ty: node.ty.clone(), kind: Kind::Folded { value, from: Box::new(node) } },
        None => node,
    }
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
