//! The cost that an expression may have, estimated from the sizes that its schema allows.
//!
//! Each node yields its cost, the size of its value and where in the declared tree the value lies, from which the sizes of what
//! is inside follow.

use crate::{
    cost::{self, Estimated, Range},
    decl::{Decl, Step},
    ir::{Call, Kind, Loop, Mode, Node},
    types::Type,
    value::Value,
};
use std::sync::Arc;

/// Estimates an expression. `root` declares the value that paths start from (`self`); without it sizes are unknown.
pub(crate) fn estimate(node: &Node, root: Option<&Arc<Decl>>) -> Range {
    let mut estimator = Estimator { root: root.map(|decl| &**decl), locals: Vec::new() };
    estimator.node(node).cost
}

struct Estimator<'d> {
    root: Option<&'d Decl>,
    /// What is known of the variables of loops, by slot.
    locals: Vec<Local<'d>>,
}

#[derive(Clone, Default)]
struct Local<'d> {
    place: Place<'d>,
    size: Option<Range>,
    inside: Option<Inside>,
}

/// Where a value lies in the declared tree.
#[derive(Clone, Copy, Default)]
enum Place<'d> {
    /// In none: it was computed.
    #[default]
    Nowhere,
    /// Here.
    At(&'d Decl),
    /// In the tree, but nothing is declared there.
    Lost,
}

/// Sizes of keys and values in a list or map that was computed.
#[derive(Clone, Copy)]
struct Inside {
    list: bool,
    key: Range,
    value: Range,
}

/// What is known of a node.
struct Known<'d> {
    cost: Range,
    size: Option<Range>,
    inside: Option<Inside>,
    place: Place<'d>,
}

impl<'d> Known<'d> {
    fn costing(cost: Range) -> Self {
        Self { cost, size: None, inside: None, place: Place::Nowhere }
    }

    fn size(&self) -> Range {
        self.size.unwrap_or(Range::UNKNOWN)
    }
}

impl Inside {
    fn or(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.or(other.key), value: self.value.or(other.value) }
    }
}

impl<'d> Estimator<'d> {
    fn node(&mut self, node: &Node) -> Known<'d> {
        self.kind(&node.kind, &node.ty)
    }

    fn kind(&mut self, kind: &Kind, ty: &Type) -> Known<'d> {
        let mut known = match kind {
            // the name of a type is read like a variable
            Kind::Constant(Value::Type(_)) | Kind::Variable(_) => {
                let place = self.root.map_or(Place::Lost, Place::At);
                Known { place, ..Known::costing(Range::exactly(cost::ACCESS)) }
            }
            Kind::Constant(value) => Known { size: literal_size(value), ..Known::costing(Range::NONE) },
            Kind::Folded { from, .. } => return self.kind(&from.kind, ty),
            Kind::Local { slot, .. } => {
                let local = self.locals.get(*slot).cloned().unwrap_or_default();
                let cost = Range::exactly(cost::ACCESS);
                let size = self.declared(local.place).or(scalar(ty)).or(local.size);
                return Known { cost, size, inside: local.inside, place: local.place };
            }
            Kind::Select { operand, field, mode } => self.select(operand, field, *mode),
            Kind::Index { operand, index, call, .. } => self.index(operand, index, call),
            Kind::Logical { sides, .. } => {
                let (left, right) = (self.node(&sides[0]).cost, self.node(&sides[1]).cost);
                Known::costing(Range { min: left.min, max: left.max.saturating_add(right.max) })
            }
            Kind::Conditional(parts) => self.conditional(parts),
            Kind::Call { call, args } => self.call(call, args),
            Kind::List { elements } => self.list(elements),
            Kind::Map { entries } => self.map(entries),
            Kind::Structure { fields, .. } => {
                let cost = fields.iter().map(|(_, value, _)| self.node(value).cost);
                Known::costing(cost.fold(Range::exactly(cost::STRUCTURE), Range::plus))
            }
            Kind::Loop(inner) if inner.binding => self.binding(inner),
            Kind::Loop(inner) => self.repeat(inner),
        };
        if known.size.is_none() {
            known.size = self.declared(known.place).or(scalar(ty));
        }
        known
    }

    /// The size of what lies at a place.
    fn declared(&self, place: Place<'d>) -> Option<Range> {
        match place {
            Place::At(decl) => Some(Range::up_to(decl.max_elements)),
            Place::Nowhere | Place::Lost => None,
        }
    }

    /// A step from a place. What was computed counts as if it lay at the root, as upstream counts it.
    fn step(&self, place: Place<'d>, step: Step<'_>) -> Place<'d> {
        match place {
            Place::At(decl) => decl.step(step).map_or(Place::Lost, Place::At),
            Place::Nowhere => self.root.map_or(Place::Lost, Place::At),
            Place::Lost => Place::Lost,
        }
    }

    fn select(&mut self, operand: &Node, field: &str, mode: Mode) -> Known<'d> {
        let inner = self.node(operand);
        match mode {
            Mode::Test => Known::costing(inner.cost),
            Mode::Optional => Known::costing(inner.cost.plus(Range::exactly(1))),
            Mode::Value => {
                let counts = matches!(operand.ty, Type::Map(..) | Type::Object(_) | Type::Library(_));
                let cost = inner.cost.plus(Range::exactly(if counts { cost::ACCESS } else { 0 }));
                Known { place: self.step(inner.place, Step::Field(field)), ..Known::costing(cost) }
            }
        }
    }

    fn index(&mut self, operand: &Node, index: &Node, call: &Call) -> Known<'d> {
        let (inner, at) = (self.node(operand), self.node(index));
        let cost = inner.cost.plus(at.cost).plus(Range::exactly(1));
        let known = call.overloads.iter().any(|o| matches!(o.id.as_str(), "index_list" | "index_map"));
        if !known {
            return Known::costing(cost);
        }
        let place = self.step(inner.place, Step::Value);
        Known { cost, size: inner.inside.map(|inside| inside.value), inside: None, place }
    }

    fn conditional(&mut self, parts: &[Node; 3]) -> Known<'d> {
        let [condition, yes, no] = parts.each_ref().map(|part| self.node(part));
        let inside = yes.inside.zip(no.inside).map(|(a, b)| a.or(b));
        let cost = condition.cost.plus(yes.cost.or(no.cost));
        Known { cost, size: Some(yes.size().or(no.size())), inside, place: Place::Nowhere }
    }

    fn call(&mut self, call: &Call, args: &[Node]) -> Known<'d> {
        let known: Vec<Known<'d>> = args.iter().map(|arg| self.node(arg)).collect();
        let estimated: Vec<Estimated<'_>> =
            args.iter().zip(&known).map(|(arg, known)| self.argument(arg, known)).collect();
        let (mut own, mut size) = (Range { min: u64::MAX, max: 0 }, None::<Range>);
        for overload in &call.overloads {
            let estimate = overload.cost.of_estimate(&estimated);
            own = own.or(estimate.cost);
            size = match (size, estimate.size) {
                (Some(a), Some(b)) => Some(a.or(b)),
                (a, b) => a.or(b),
            };
        }
        let cost = known.iter().fold(own, |sum, arg| sum.plus(arg.cost));
        let inside = match (call.function.name.as_str(), known.as_slice()) {
            ("_+_", [a, b]) => a.inside.zip(b.inside).map(|(a, b)| a.or(b)),
            ("dyn", [a]) => a.inside,
            _ => None,
        };
        Known { cost, size, inside, place: Place::Nowhere }
    }

    fn argument<'e>(&self, node: &'e Node, known: &Known<'d>) -> Estimated<'e> {
        // an element is looked up by its path only: what a computed list holds is not known here
        let element = match (&node.ty, known.place) {
            (Type::List(_), place @ (Place::At(_) | Place::Lost)) => self.declared(self.step(place, Step::Value)),
            _ => None,
        };
        let number = match &node.kind {
            Kind::Constant(Value::Int(number)) => Some(*number),
            _ => None,
        };
        Estimated { ty: &node.ty, size: known.size, element, number }
    }

    fn list(&mut self, elements: &[(Node, bool)]) -> Known<'d> {
        let (mut cost, mut value) = (Range::exactly(cost::LIST), None::<Range>);
        for (element, _) in elements {
            let known = self.node(element);
            cost = cost.plus(known.cost);
            value = Some(value.map_or(known.size(), |so_far| so_far.or(known.size())));
        }
        let inside = Inside { list: true, key: Range::exactly(1), value: value.unwrap_or(Range::NONE) };
        let size = Some(Range::exactly(elements.len() as u64));
        Known { cost, size, inside: Some(inside), place: Place::Nowhere }
    }

    fn map(&mut self, entries: &[(Node, Node, bool)]) -> Known<'d> {
        let mut cost = Range::exactly(cost::MAP);
        let (mut keys, mut values) = (None::<Range>, None::<Range>);
        for (key, value, _) in entries {
            let (key, value) = (self.node(key), self.node(value));
            cost = cost.plus(key.cost).plus(value.cost);
            keys = Some(keys.map_or(key.size(), |so_far| so_far.or(key.size())));
            values = Some(values.map_or(value.size(), |so_far| so_far.or(value.size())));
        }
        let inside = Inside { list: false, key: keys.unwrap_or(Range::NONE), value: values.unwrap_or(Range::NONE) };
        let size = Some(Range::exactly(entries.len() as u64));
        Known { cost, size, inside: Some(inside), place: Place::Nowhere }
    }

    fn repeat(&mut self, inner: &Loop) -> Known<'d> {
        let (range, init) = (self.node(&inner.range), self.node(&inner.init));
        let (first, second) = self.loop_variables(inner, &range);
        self.locals.truncate(inner.slot);
        self.locals.resize(inner.slot, Local::default());
        let so_far = Local { place: init.place, size: init.size, inside: init.inside };
        self.locals.extend([so_far, first, second]);
        let condition = self.node(&inner.condition);
        let step = self.node(&inner.step);
        let result = self.node(&inner.result);
        self.locals.truncate(inner.slot);
        let rounds = range.size().times(condition.cost.plus(step.cost));
        let cost = range.cost.plus(init.cost).plus(result.cost).plus(rounds);
        let collects = matches!(unfolded(&inner.init).kind, Kind::List { .. } | Kind::Map { .. });
        let (size, inside) = match collects {
            true => (Some(range.size()), step.inside),
            false => (init.size, None),
        };
        Known { cost, size, inside, place: Place::Nowhere }
    }

    fn loop_variables(&self, inner: &Loop, range: &Known<'d>) -> (Local<'d>, Local<'d>) {
        let list = range.inside.map_or(matches!(inner.range.ty, Type::List(_)), |inside| inside.list);
        let local = |step, size: Option<Range>| Local { place: self.step(range.place, step), size, inside: None };
        let key = local(if list { Step::Index } else { Step::Key }, range.inside.map(|inside| inside.key));
        let value = local(Step::Value, range.inside.map(|inside| inside.value));
        match (inner.two_variables, list) {
            (true, _) => (key, value),
            (false, true) => (value, Local::default()),
            (false, false) => (key, Local::default()),
        }
    }

    fn binding(&mut self, inner: &Loop) -> Known<'d> {
        let (range, init) = (self.node(&inner.range), self.node(&inner.init));
        self.locals.truncate(inner.slot);
        self.locals.resize(inner.slot, Local::default());
        self.locals.push(Local { place: init.place, size: init.size, inside: init.inside });
        self.locals.extend([Local::default(), Local::default()]);
        let result = self.node(&inner.result);
        self.locals.truncate(inner.slot);
        let cost = range.cost.plus(init.cost).plus(result.cost);
        Known { cost, place: Place::Nowhere, ..result }
    }
}

fn unfolded(node: &Node) -> &Node {
    match &node.kind {
        Kind::Folded { from, .. } => unfolded(from),
        _ => node,
    }
}

fn scalar(ty: &Type) -> Option<Range> {
    ty.is_scalar().then(|| Range::exactly(1))
}

fn literal_size(value: &Value<'_>) -> Option<Range> {
    match value {
        Value::Type(_) | Value::Opaque(_) => None,
        other => Some(Range::exactly(other.size())),
    }
}
