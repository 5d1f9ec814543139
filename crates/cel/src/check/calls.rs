//! Calls: which function, which of its signatures, and what can be done about them before an expression runs.

use super::{Checker, qualified};
use crate::{
    ir::{Call, Kind, Mode, Node},
    library::{self, Function},
    types::Type,
    value::Value,
};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

impl Checker<'_> {
    pub(super) fn call(&mut self, id: u64, call: &CallExpr) -> Node {
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
            (Some(_), Some(name)) => Some(name).filter(|name| self.env.function(name).is_some()),
            (Some(_), None) => None,
        };
        let formats = usize::from(call.func_name == "format");
        self.formatting += formats;
        let arguments: Vec<Node> = call.args.iter().map(|arg| self.node(arg)).collect();
        self.formatting -= formats;
        self.literal(call);
        let target = call.target.as_ref().filter(|_| global.is_none()).map(|target| self.node(target));
        let name = global.as_deref().unwrap_or(&call.func_name);
        let Some(function) = self.env.function(name) else {
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
}
