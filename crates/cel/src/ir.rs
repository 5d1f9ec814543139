//! Checked expressions: names resolved, types known, ready to be estimated and run.

use crate::{
    library::{Function, Overload},
    types::Type,
    value::Value,
};
use std::sync::Arc;

/// A node of a checked expression.
#[derive(Debug)]
pub(crate) struct Node {
    pub ty: Type,
    pub kind: Kind,
}

impl Node {
    /// Visits the nodes right below.
    pub(crate) fn children_mut(&mut self, visit: &mut dyn FnMut(&mut Node)) {
        match &mut self.kind {
            Kind::Constant(_) | Kind::Variable(_) | Kind::Local { .. } => {}
            Kind::Folded { from, .. } => visit(from),
            Kind::Select { operand, .. } => visit(operand),
            Kind::Index { operand, index, .. } => {
                visit(operand);
                visit(index);
            }
            Kind::Logical { sides, .. } => sides.iter_mut().for_each(visit),
            Kind::Conditional(parts) => parts.iter_mut().for_each(visit),
            Kind::Call { args, .. } => args.iter_mut().for_each(visit),
            Kind::List { elements } => elements.iter_mut().for_each(|(element, _)| visit(element)),
            Kind::Map { entries } => entries.iter_mut().for_each(|(key, value, _)| {
                visit(key);
                visit(value);
            }),
            Kind::Structure { fields, .. } => fields.iter_mut().for_each(|(_, value, _)| visit(value)),
            Kind::Loop(inner) => {
                [&mut inner.range, &mut inner.init, &mut inner.condition, &mut inner.step, &mut inner.result]
                    .into_iter()
                    .for_each(visit);
            }
        }
    }

    /// The value of a node that always has the same.
    pub(crate) fn constant(&self) -> Option<&Value<'static>> {
        match &self.kind {
            Kind::Constant(value) | Kind::Folded { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// What a node does.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A literal, with its size if that counts.
    Constant(Value<'static>),
    /// What an operation on constants gave: it costs nothing to run, but is estimated as what it was.
    Folded { value: Value<'static>, from: Box<Node> },
    /// A declared variable.
    Variable(Arc<str>),
    /// A variable of a loop.
    Local { slot: usize, take: bool },
    /// A field, or whether it is there.
    Select { operand: Box<Node>, field: Arc<str>, mode: Mode },
    /// An element of a list or map.
    Index { operand: Box<Node>, index: Box<Node>, call: Call, optional: bool },
    /// Conjunction (`true`) or disjunction of two.
    Logical { and: bool, sides: Box<[Node; 2]> },
    /// `a ? b : c`.
    Conditional(Box<[Node; 3]>),
    /// A function or operator.
    Call { call: Call, args: Vec<Node> },
    /// A list; the flags say which elements are left out if they are absent.
    List { elements: Vec<(Node, bool)> },
    /// A map.
    Map { entries: Vec<(Node, Node, bool)> },
    /// A structure, with its type's name; the flags as in a list.
    Structure { name: Arc<str>, fields: Vec<(Arc<str>, Node, bool)> },
    /// A loop.
    Loop(Box<Loop>),
}

/// What selecting a field gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its value.
    Value,
    /// Whether it is there.
    Test,
    /// Its value if it is there.
    Optional,
}

/// The function that a call names, and the signatures that may be meant.
#[derive(Debug)]
pub(crate) struct Call {
    pub function: &'static Function,
    pub overloads: Vec<&'static Overload>,
    /// Whether the first argument stands before the name.
    pub member: bool,
}

/// A loop over a list or map that collects a result.
#[derive(Debug)]
pub(crate) struct Loop {
    pub range: Node,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
    /// Where the result so far is kept; the variables follow it.
    pub slot: usize,
    pub two_variables: bool,
    /// No loop, but a name for a value.
    pub binding: bool,
}
