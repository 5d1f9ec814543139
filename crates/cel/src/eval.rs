//! Runs checked expressions, and counts what they cost as they run.

use crate::{
    compare,
    cost::{self, Cost},
    fault::{Fault, Result},
    ir::{Call, Kind, Loop, Mode, Node},
    limits,
    value::{List, Map, Text, Value, display},
    work,
};
use std::sync::Arc;

/// The values of an expression's variables.
pub trait Variables<'a> {
    /// The value of a declared variable; `None` if it has none this time.
    fn get(&self, name: &str) -> Option<Result<Value<'a>>>;
}

/// Variables in a list.
impl<'a> Variables<'a> for [(&str, Value<'a>)] {
    fn get(&self, name: &str) -> Option<Result<Value<'a>>> {
        self.iter().find(|(there, _)| *there == name).map(|(_, value)| Ok(value.clone()))
    }
}

/// Variables in an array.
impl<'a, const N: usize> Variables<'a> for [(&str, Value<'a>); N] {
    fn get(&self, name: &str) -> Option<Result<Value<'a>>> {
        Variables::get(self.as_slice(), name)
    }
}

/// Runs an expression and says what it cost; also a failed one has cost something.
pub(crate) fn run<'a>(node: &Node, variables: &(impl Variables<'a> + ?Sized), limit: u64) -> (Result<Value<'a>>, u64) {
    let before = work::start();
    let mut machine = Machine { variables, locals: Vec::new(), cost: 0, limit };
    let result = machine.value(node);
    work::end(before);
    (result, machine.cost)
}

struct Machine<'m, 'a, V: ?Sized> {
    variables: &'m V,
    /// The variables of loops by slot. A result so far may be an error that a later round makes up for.
    locals: Vec<Result<Value<'a>>>,
    cost: u64,
    limit: u64,
}

impl<'a, V: Variables<'a> + ?Sized> Machine<'_, 'a, V> {
    fn charge(&mut self, cost: u64) -> Result<()> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit || work::is_exhausted() { Err(Fault::CostLimit) } else { Ok(()) }
    }

    /// A result that costs something also if it is an error.
    fn charged<T>(&mut self, cost: u64, result: Result<T>) -> Result<T> {
        self.charge(cost)?;
        result
    }

    /// The value of a node. Reading a variable and each selection that follows costs one.
    fn value(&mut self, node: &Node) -> Result<Value<'a>> {
        match &node.kind {
            Kind::Constant(value) | Kind::Folded { value, .. } => Ok(value.clone()),
            Kind::Variable(_) | Kind::Local { .. } | Kind::Index { .. } => self.attribute_and_base(node),
            Kind::Select { mode: Mode::Value | Mode::Optional, .. } => self.attribute_and_base(node),
            Kind::Select { mode: Mode::Test, .. } | Kind::Conditional(_) => self.attribute(node),
            Kind::Logical { and, sides } => self.logical(*and, sides),
            Kind::Call { call, args } => self.call(call, args),
            Kind::List { elements } => self.list(elements),
            Kind::Map { entries } => self.map(entries),
            Kind::Structure { fields, .. } => {
                let made = self.fields(fields).and_then(Map::owned).map(Value::Map);
                self.charged(cost::STRUCTURE, made)
            }
            Kind::Loop(inner) => self.repeat(inner),
        }
    }

    fn attribute_and_base(&mut self, node: &Node) -> Result<Value<'a>> {
        let value = self.attribute(node);
        self.charged(if starts_with_condition(node) { 0 } else { cost::ACCESS }, value)
    }

    /// The same without the cost of where a chain of selections starts: chains in branches and indexes are parts of the chain
    /// around them.
    fn attribute(&mut self, node: &Node) -> Result<Value<'a>> {
        match &node.kind {
            Kind::Variable(name) => match self.variables.get(name) {
                Some(value) => value,
                None => Err(Fault::other(format!("no such attribute(s): {name}"))),
            },
            Kind::Local { slot, take } => match self.locals.get_mut(*slot) {
                Some(value) if *take => std::mem::replace(value, Ok(Value::Null)),
                Some(value) => value.clone(),
                None => Err(Fault::other("no such attribute(s)")),
            },
            Kind::Select { operand, field, mode } => {
                let selected = select(self.attribute(operand)?, field, *mode);
                // what is asked for in case it is there, and is not, costs nothing
                let absent = *mode != Mode::Test && matches!(selected, Ok(Value::Optional(None)));
                self.charged(if absent { 0 } else { cost::ACCESS }, selected)
            }
            Kind::Index { operand, index, optional, .. } => {
                let operand = self.attribute(operand)?;
                let found = self.attribute(index).and_then(|index| element(operand, &index, *optional));
                let absent = matches!(found, Ok(Value::Optional(None)));
                self.charged(if absent { 0 } else { cost::ACCESS }, found)
            }
            Kind::Conditional(parts) => match self.value(&parts[0])? {
                Value::Bool(true) => self.attribute(&parts[1]),
                Value::Bool(false) => self.attribute(&parts[2]),
                _ => Err(Fault::NoSuchOverload),
            },
            _ => self.value(node),
        }
    }

    /// `&&` and `||` need only one side where that side decides, whichever it is.
    fn logical(&mut self, and: bool, sides: &[Node; 2]) -> Result<Value<'a>> {
        let mut fault = None;
        for side in sides {
            match self.value(side) {
                Ok(Value::Bool(value)) if value != and => return Ok(Value::Bool(value)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => fault = fault.or(Some(Fault::NoSuchOverload)),
                Err(found) if found.is_absorbable() => fault = fault.or(Some(found)),
                Err(found) => return Err(found),
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None => Ok(Value::Bool(and)),
        }
    }

    fn call(&mut self, call: &Call, args: &[Node]) -> Result<Value<'a>> {
        if call.function.name == "@not_strictly_false" {
            return self.not_false(&args[0]);
        }
        if call.member && matches!(call.function.name.as_str(), "or" | "orValue") {
            return self.alternative(args, call.function.name == "orValue");
        }
        let cost = runtime_cost(call, args);
        let mut values = Vec::with_capacity(args.len());
        let mut fault = None;
        for arg in args {
            match self.value(arg) {
                Ok(value) => values.push(value),
                Err(found) if found.is_absorbable() && args.len() <= 2 => {
                    values.push(Value::Null);
                    fault = fault.or(Some(found));
                }
                Err(found) => return Err(found),
            }
        }
        // a call on an error is not made, but costs
        if let Some(fault) = fault {
            let cost = cost.of_call(&values, &Value::Null);
            return self.charged(cost, Err(fault));
        }
        let overload = match call.overloads.as_slice() {
            [only] => Some(*only).filter(|overload| overload.takes(&values)),
            _ => call.function.overloads.iter().find(|o| o.member == call.member && o.takes(&values)),
        };
        let overload = overload.ok_or(Fault::NoSuchOverload)?;
        if self.cost.saturating_add(cost.before_call(&values)) > self.limit {
            return Err(Fault::CostLimit);
        }
        let result = (overload.eval)(&mut values);
        let cost = cost.of_call(&values, result.as_ref().unwrap_or(&Value::Null));
        let result = self.charged(cost, result)?;
        if matches!(&result, Value::String(text) if text.len() > limits::TEXT_BYTES) {
            return Err(Fault::other(format!("string of more than {} bytes", limits::TEXT_BYTES)));
        }
        Ok(result)
    }

    /// The value of an optional, or else another one, which is looked at only then.
    fn alternative(&mut self, args: &[Node], unwrap: bool) -> Result<Value<'a>> {
        match self.value(&args[0])? {
            Value::Optional(None) => self.value(&args[1]),
            Value::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            there @ Value::Optional(_) => Ok(there),
            _ => Err(Fault::NoSuchOverload),
        }
    }

    /// Whether a loop may go on: also if its result so far is an error.
    fn not_false(&mut self, node: &Node) -> Result<Value<'a>> {
        let value = match self.value(node) {
            Err(fault) if fault.is_absorbable() => Value::Bool(true),
            value => value?,
        };
        self.charge(1)?;
        Ok(Value::Bool(!matches!(value, Value::Bool(false))))
    }

    fn list(&mut self, elements: &[(Node, bool)]) -> Result<Value<'a>> {
        let list = self.elements(elements).map(Value::list);
        self.charged(cost::LIST, list)
    }

    fn elements(&mut self, elements: &[(Node, bool)]) -> Result<Vec<Value<'a>>> {
        let mut items = Vec::with_capacity(elements.len());
        for (element, optional) in elements {
            match self.value(element)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(value)) if *optional => items.push((*value).clone()),
                value => items.push(value),
            }
        }
        Ok(items)
    }

    fn map(&mut self, entries: &[(Node, Node, bool)]) -> Result<Value<'a>> {
        let map = self.entries(entries).and_then(Map::literal).map(Value::Map);
        self.charged(cost::MAP, map)
    }

    fn entries(&mut self, entries: &[(Node, Node, bool)]) -> Result<Vec<(Value<'a>, Value<'a>)>> {
        let mut made = Vec::with_capacity(entries.len());
        for (key, value, optional) in entries {
            let key = self.value(key)?;
            match self.value(value)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(value)) if *optional => made.push((key, (*value).clone())),
                value => made.push((key, value)),
            }
        }
        Ok(made)
    }

    fn fields(&mut self, fields: &[(Arc<str>, Node, bool)]) -> Result<Vec<(Value<'a>, Value<'a>)>> {
        let mut made = Vec::with_capacity(fields.len());
        for (name, value, optional) in fields {
            let name = Value::String(Text::Shared(Arc::clone(name)));
            match self.value(value)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(value)) if *optional => made.push((name, (*value).clone())),
                value => made.push((name, value)),
            }
        }
        Ok(made)
    }

    fn repeat(&mut self, inner: &Loop) -> Result<Value<'a>> {
        let range = self.value(&inner.range)?;
        let init = self.value(&inner.init);
        if let Err(fault) = &init
            && !fault.is_absorbable()
        {
            return init;
        }
        self.locals.truncate(inner.slot);
        self.locals.resize(inner.slot, Ok(Value::Null));
        self.locals.extend([init, Ok(Value::Null), Ok(Value::Null)]);
        if !inner.binding {
            self.rounds(inner, range)?;
        }
        let result = self.value(&inner.result);
        self.locals.truncate(inner.slot);
        result
    }

    fn rounds(&mut self, inner: &Loop, range: Value<'a>) -> Result<()> {
        match range {
            Value::List(list) => {
                for at in 0..list.len() {
                    let element = list.get(at).unwrap_or(Ok(Value::Null));
                    let (first, second) = match inner.two_variables {
                        true => (Ok(Value::Int(at as i64)), element),
                        false => (element, Ok(Value::Null)),
                    };
                    if !self.round(inner, first, second)? {
                        break;
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                for key in map.keys() {
                    let value = match inner.two_variables {
                        true => map.get(&key).map(Option::unwrap_or_default),
                        false => Ok(Value::Null),
                    };
                    if !self.round(inner, Ok(key), value)? {
                        break;
                    }
                }
                Ok(())
            }
            _ => Err(Fault::NoSuchOverload),
        }
    }

    /// One round; whether there shall be another one.
    fn round(&mut self, inner: &Loop, first: Result<Value<'a>>, second: Result<Value<'a>>) -> Result<bool> {
        self.locals[inner.slot + 1] = first;
        self.locals[inner.slot + 2] = second;
        if matches!(self.value(&inner.condition)?, Value::Bool(false)) {
            return Ok(false);
        }
        let step = self.value(&inner.step);
        self.locals.truncate(inner.slot + 3);
        match step {
            Err(fault) if !fault.is_absorbable() => Err(fault),
            step => {
                // later rounds may make up for an error
                self.locals[inner.slot] = step;
                Ok(true)
            }
        }
    }
}

/// Whether a chain of selections starts with `a ? b : c`, which is no place of its own.
fn starts_with_condition(node: &Node) -> bool {
    match &node.kind {
        Kind::Select { operand, .. } | Kind::Index { operand, .. } => starts_with_condition(operand),
        kind => matches!(kind, Kind::Conditional(_)),
    }
}

/// What a call costs; where types leave it open which signature is meant, its cost is that of all, or one.
fn runtime_cost(call: &Call, args: &[Node]) -> Cost {
    match call.overloads.as_slice() {
        // looking for a value among constants is looking it up
        [only] if only.cost == Cost::InList && args.get(1).is_some_and(is_constant_set) => Cost::Fixed(0),
        [only] => only.cost,
        [first, rest @ ..] if rest.iter().all(|other| other.cost == first.cost) => first.cost,
        _ => cost::ONE,
    }
}

fn is_constant_set(node: &Node) -> bool {
    let simple = |value: Result<Value<'_>>| {
        matches!(
            value,
            Ok(Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_))
        )
    };
    matches!(node.constant(), Some(Value::List(list)) if list.iter().all(simple))
}

/// A field of a value; of an optional value if it is there.
fn select<'a>(operand: Value<'a>, field: &str, mode: Mode) -> Result<Value<'a>> {
    let (operand, mode) = match (operand, mode) {
        (Value::Optional(None), Mode::Test) => return Ok(Value::Bool(false)),
        (Value::Optional(None), _) => return Ok(Value::Optional(None)),
        (Value::Optional(Some(value)), Mode::Test) => ((*value).clone(), mode),
        (Value::Optional(Some(value)), _) => ((*value).clone(), Mode::Optional),
        (value, mode) => (value, mode),
    };
    let found = match &operand {
        Value::Map(map) => map.field(field)?,
        _ => None,
    };
    match (mode, found) {
        (Mode::Test, found) => Ok(Value::Bool(found.is_some())),
        (Mode::Value, Some(value)) => Ok(value),
        (Mode::Value, None) => Err(Fault::NoSuchKey(field.to_string())),
        (Mode::Optional, found) => Ok(Value::Optional(found.map(Arc::new))),
    }
}

/// An element of a list or map.
fn element<'a>(operand: Value<'a>, index: &Value<'a>, optional: bool) -> Result<Value<'a>> {
    let (operand, optional) = match operand {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(value)) => ((*value).clone(), true),
        value => (value, optional),
    };
    let found = match &operand {
        Value::List(list) => at(list, index)?,
        Value::Map(map) => map.get(index)?,
        Value::Null | Value::Opaque(_) | Value::Hidden(_) => None,
        _ => return Err(Fault::NoSuchOverload),
    };
    match (found, &operand) {
        (found, _) if optional => Ok(Value::Optional(found.map(Arc::new))),
        (Some(value), _) => Ok(value),
        (None, Value::List(_)) => Err(Fault::other(format!("index out of bounds: {}", display(index)))),
        (None, _) => Err(Fault::NoSuchKey(display(index).into_owned())),
    }
}

fn at<'a>(list: &List<'a>, index: &Value<'_>) -> Result<Option<Value<'a>>> {
    let place = match index {
        Value::Int(at) => usize::try_from(*at).ok(),
        Value::Uint(at) => usize::try_from(*at).ok(),
        Value::Double(at) if at.fract() == 0.0 && *at >= 0.0 => Some(*at as usize),
        other => {
            return Err(Fault::other(format!("unsupported index type '{}' in list", other.type_of().runtime_name())));
        }
    };
    place.and_then(|place| list.get(place)).transpose()
}

/// Whether a list has a value, or a map a key.
pub(crate) fn contains(container: &Value<'_>, value: &Value<'_>) -> Result<bool> {
    match container {
        Value::List(list) => {
            for item in list.iter() {
                if compare::equal(&item?, value) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(map) => Ok(map.get(value)?.is_some()),
        _ => Err(Fault::NoSuchOverload),
    }
}
