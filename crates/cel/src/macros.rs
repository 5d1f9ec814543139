//! Macros: comprehensions with one and two variables, `has`, `cel.bind`, `optMap`, `sortBy`.
//!
//! Each is rewritten into the one loop that the syntax tree has, so that types, costs and evaluation need to know nothing of them.
//! The rewritten forms are those of upstream, because a rule's cost is the cost of what it is rewritten to.

use cel::{
    Env,
    common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, operators},
    parser::{Macro, MacroExprHelper, ParseError},
};

/// The hidden variable that collects a loop's result.
pub(crate) const RESULT: &str = "@result";
/// The function that adds an entry to a map.
pub(crate) const MAP_INSERT: &str = "cel.@mapInsert";
const SORT_INPUT: &str = "@__sortBy_input__";

type Expansion = Result<Option<IdedExpr>, ParseError>;
type Make = fn(&mut MacroExprHelper<'_>, Vec<IdedExpr>) -> Result<Parts, ParseError>;

/// What differs between loops: how the result starts, while what they run, a step, and what the result is.
struct Parts {
    init: IdedExpr,
    condition: IdedExpr,
    step: IdedExpr,
    result: IdedExpr,
}

/// Adds them.
pub(crate) fn add_to(env: &mut Env) {
    // a name, how many variables there are, how many arguments follow them
    let loops: &[(&str, usize, usize, Make)] = &[
        ("all", 1, 1, all),
        ("all", 2, 1, all),
        ("exists", 1, 1, exists),
        ("exists", 2, 1, exists),
        ("existsOne", 1, 1, exists_one),
        ("existsOne", 2, 1, exists_one),
        ("exists_one", 1, 1, exists_one),
        ("exists_one", 2, 1, exists_one),
        ("map", 1, 1, transform_list),
        ("map", 1, 2, transform_list),
        ("filter", 1, 1, filter),
        ("transformList", 2, 1, transform_list),
        ("transformList", 2, 2, transform_list),
        ("transformMap", 2, 1, transform_map),
        ("transformMap", 2, 2, transform_map),
        ("transformMapEntry", 2, 1, transform_map_entry),
        ("transformMapEntry", 2, 2, transform_map_entry),
    ];
    let macros = loops
        .iter()
        .map(|&(name, variables, more, make)| {
            Macro::receiver(name, variables + more, move |helper, target, args| {
                repeat(helper, target, args, variables, make)
            })
        })
        .chain([
            Macro::global("has", 1, has),
            Macro::receiver("bind", 3, bind),
            Macro::receiver("optMap", 2, |helper, target, args| map_optional(helper, target, args, true)),
            Macro::receiver("optFlatMap", 2, |helper, target, args| map_optional(helper, target, args, false)),
            Macro::receiver("sortBy", 2, sort_by),
        ]);
    for expansion in macros {
        // each name stands once with so many arguments, so that none is refused
        let _ = env.add_macro(expansion);
    }
}

fn has(helper: &mut MacroExprHelper<'_>, _: &mut Option<IdedExpr>, args: &mut Vec<IdedExpr>) -> Expansion {
    let argument = args.pop().unwrap_or_default();
    match argument.expr {
        Expr::Select(mut select) if !select.test => {
            select.test = true;
            Ok(Some(helper.next_expr(Expr::Select(select))))
        }
        _ => Err(helper.new_error(argument.id, "invalid argument to has() macro")),
    }
}

fn repeat(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
    variables: usize,
    make: Make,
) -> Expansion {
    let Some(range) = target.take() else { return Ok(None) };
    let mut rest = std::mem::take(args).into_iter();
    let first = name(helper, rest.next().unwrap_or_default())?;
    let second = match variables {
        2 => {
            let second = rest.next().unwrap_or_default();
            let id = second.id;
            let second = name(helper, second)?;
            if first == second {
                return Err(helper.new_error(id, format!("duplicate variable name: {first}")));
            }
            Some(second)
        }
        _ => None,
    };
    // the variable's name goes along, because a step may use it
    let key = helper.next_expr(Expr::Ident(first.clone()));
    let parts = make(helper, std::iter::once(key).chain(rest).collect())?;
    Ok(Some(helper.next_expr(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: range,
        iter_var: first,
        iter_var2: second,
        accu_var: RESULT.into(),
        accu_init: parts.init,
        loop_cond: parts.condition,
        loop_step: parts.step,
        result: parts.result,
    })))))
}

fn all(helper: &mut MacroExprHelper<'_>, mut args: Vec<IdedExpr>) -> Result<Parts, ParseError> {
    let predicate = args.pop().unwrap_or_default();
    let (init, result) = (literal(helper, LiteralValue::Boolean(true.into())), result(helper));
    let so_far = self::result(helper);
    let condition = call(helper, operators::NOT_STRICTLY_FALSE, vec![so_far]);
    let so_far = self::result(helper);
    let step = call(helper, operators::LOGICAL_AND, vec![so_far, predicate]);
    Ok(Parts { init, condition, step, result })
}

fn exists(helper: &mut MacroExprHelper<'_>, mut args: Vec<IdedExpr>) -> Result<Parts, ParseError> {
    let predicate = args.pop().unwrap_or_default();
    let (init, result) = (literal(helper, LiteralValue::Boolean(false.into())), result(helper));
    let so_far = self::result(helper);
    let not = call(helper, operators::LOGICAL_NOT, vec![so_far]);
    let condition = call(helper, operators::NOT_STRICTLY_FALSE, vec![not]);
    let so_far = self::result(helper);
    let step = call(helper, operators::LOGICAL_OR, vec![so_far, predicate]);
    Ok(Parts { init, condition, step, result })
}

fn exists_one(helper: &mut MacroExprHelper<'_>, mut args: Vec<IdedExpr>) -> Result<Parts, ParseError> {
    let predicate = args.pop().unwrap_or_default();
    let init = literal(helper, LiteralValue::Int(0.into()));
    let condition = literal(helper, LiteralValue::Boolean(true.into()));
    let (so_far, one) = (result(helper), literal(helper, LiteralValue::Int(1.into())));
    let more = call(helper, operators::ADD, vec![so_far, one]);
    let so_far = result(helper);
    let step = call(helper, operators::CONDITIONAL, vec![predicate, more, so_far]);
    let (so_far, one) = (result(helper), literal(helper, LiteralValue::Int(1.into())));
    let result = call(helper, operators::EQUALS, vec![so_far, one]);
    Ok(Parts { init, condition, step, result })
}

fn transform_list(helper: &mut MacroExprHelper<'_>, mut args: Vec<IdedExpr>) -> Result<Parts, ParseError> {
    let element = args.pop().unwrap_or_default();
    let so_far = result(helper);
    let element = helper.next_expr(Expr::List(ListExpr::new(vec![element])));
    let step = call(helper, operators::ADD, vec![so_far, element]);
    let init = helper.next_expr(Expr::List(ListExpr::default()));
    Ok(transformation(helper, init, step, args))
}

/// The elements themselves, those that pass.
fn filter(helper: &mut MacroExprHelper<'_>, mut args: Vec<IdedExpr>) -> Result<Parts, ParseError> {
    let predicate = args.pop().unwrap_or_default();
    let element = args.first().cloned().unwrap_or_default();
    args.extend([predicate, element]);
    transform_list(helper, args)
}

fn transform_map(helper: &mut MacroExprHelper<'_>, mut args: Vec<IdedExpr>) -> Result<Parts, ParseError> {
    let value = args.pop().unwrap_or_default();
    let key = args.remove(0);
    let so_far = result(helper);
    let step = call(helper, MAP_INSERT, vec![so_far, key, value]);
    let init = helper.next_expr(Expr::Map(MapExpr::default()));
    args.insert(0, IdedExpr::default());
    Ok(transformation(helper, init, step, args))
}

fn transform_map_entry(helper: &mut MacroExprHelper<'_>, mut args: Vec<IdedExpr>) -> Result<Parts, ParseError> {
    let entry = args.pop().unwrap_or_default();
    let so_far = result(helper);
    let step = call(helper, MAP_INSERT, vec![so_far, entry]);
    let init = helper.next_expr(Expr::Map(MapExpr::default()));
    Ok(transformation(helper, init, step, args))
}

/// `args` is the key, and the filter if there is one.
fn transformation(helper: &mut MacroExprHelper<'_>, init: IdedExpr, step: IdedExpr, mut args: Vec<IdedExpr>) -> Parts {
    let filter = if args.len() > 1 { args.pop() } else { None };
    let step = match filter {
        None => step,
        Some(filter) => {
            let so_far = result(helper);
            call(helper, operators::CONDITIONAL, vec![filter, step, so_far])
        }
    };
    let condition = literal(helper, LiteralValue::Boolean(true.into()));
    Parts { init, condition, step, result: result(helper) }
}

/// `cel.bind(name, value, body)`: a loop over nothing whose result is the body.
fn bind(helper: &mut MacroExprHelper<'_>, target: &mut Option<IdedExpr>, args: &mut Vec<IdedExpr>) -> Expansion {
    if !matches!(target.as_ref().map(|t| &t.expr), Some(Expr::Ident(name)) if name == "cel") {
        return Ok(None);
    }
    let mut args = std::mem::take(args).into_iter();
    let name = name(helper, args.next().unwrap_or_default())?;
    let (value, body) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    Ok(Some(binding(helper, name, value, body)))
}

fn binding(helper: &mut MacroExprHelper<'_>, name: String, value: IdedExpr, body: IdedExpr) -> IdedExpr {
    let comprehension = ComprehensionExpr {
        iter_range: helper.next_expr(Expr::List(ListExpr::default())),
        iter_var: "#unused".into(),
        iter_var2: None,
        accu_init: value,
        loop_cond: literal(helper, LiteralValue::Boolean(false.into())),
        loop_step: helper.next_expr(Expr::Ident(name.clone())),
        accu_var: name,
        result: body,
    };
    helper.next_expr(Expr::Comprehension(Box::new(comprehension)))
}

/// `optional.optMap(v, e)`: `e` of the value if there is one.
fn map_optional(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
    wrap: bool,
) -> Expansion {
    let Some(target) = target.take() else { return Ok(None) };
    let mut args = std::mem::take(args).into_iter();
    let variable = args.next().unwrap_or_default();
    let Expr::Ident(variable) = variable.expr else {
        let function = if wrap { "optMap" } else { "optFlatMap" };
        return Err(helper.new_error(variable.id, format!("{function}() variable name must be a simple identifier")));
    };
    let there = member(helper, target.clone(), "hasValue");
    let value = member(helper, target, "value");
    let mapped = binding(helper, variable, value, args.next().unwrap_or_default());
    let mapped = if wrap { call(helper, "optional.of", vec![mapped]) } else { mapped };
    let none = call(helper, "optional.none", Vec::new());
    Ok(Some(call(helper, operators::CONDITIONAL, vec![there, mapped, none])))
}

/// `list.sortBy(e, key)`: the list sorted along with the list of its keys.
fn sort_by(helper: &mut MacroExprHelper<'_>, target: &mut Option<IdedExpr>, args: &mut Vec<IdedExpr>) -> Expansion {
    let Some(list) = target.take() else { return Ok(None) };
    let mut args = std::mem::take(args).into_iter();
    let variable = name(helper, args.next().unwrap_or_default())?;
    let key = args.next().unwrap_or_default();
    let so_far = result(helper);
    let element = helper.next_expr(Expr::List(ListExpr::new(vec![key])));
    let keys = ComprehensionExpr {
        iter_range: helper.next_expr(Expr::Ident(SORT_INPUT.into())),
        iter_var: variable,
        iter_var2: None,
        accu_var: RESULT.into(),
        accu_init: helper.next_expr(Expr::List(ListExpr::default())),
        loop_cond: literal(helper, LiteralValue::Boolean(true.into())),
        loop_step: call(helper, operators::ADD, vec![so_far, element]),
        result: result(helper),
    };
    let keys = helper.next_expr(Expr::Comprehension(Box::new(keys)));
    let input = helper.next_expr(Expr::Ident(SORT_INPUT.into()));
    let sorted = helper.next_expr(Expr::Call(CallExpr {
        func_name: "@sortByAssociatedKeys".into(),
        target: Some(Box::new(input)),
        args: vec![keys],
    }));
    Ok(Some(binding(helper, SORT_INPUT.into(), list, sorted)))
}

fn member(helper: &mut MacroExprHelper<'_>, target: IdedExpr, function: &str) -> IdedExpr {
    let target = Some(Box::new(target));
    helper.next_expr(Expr::Call(CallExpr { func_name: function.into(), target, args: Vec::new() }))
}

fn name(helper: &MacroExprHelper<'_>, expr: IdedExpr) -> Result<String, ParseError> {
    match expr.expr {
        Expr::Ident(name) if name == RESULT || name == "__result__" => {
            Err(helper.new_error(expr.id, "iteration variable overwrites accumulator variable"))
        }
        Expr::Ident(name) => Ok(name),
        _ => Err(helper.new_error(expr.id, "argument must be a simple name")),
    }
}

fn result(helper: &mut MacroExprHelper<'_>) -> IdedExpr {
    helper.next_expr(Expr::Ident(RESULT.into()))
}

fn literal(helper: &mut MacroExprHelper<'_>, value: LiteralValue) -> IdedExpr {
    helper.next_expr(Expr::Literal(value))
}

fn call(helper: &mut MacroExprHelper<'_>, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    helper.next_expr(Expr::Call(CallExpr { func_name: function.into(), target: None, args }))
}
