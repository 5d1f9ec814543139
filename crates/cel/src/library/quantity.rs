//! Quantities.

use super::{Entry, Opaque, entry, strings::text};
use crate::{
    cost::{Cost, ONE},
    fault::{Fault, Result},
    value::Value,
};
use coracle_api::quantity::{Format, Quantity};

pub(super) fn entries() -> Vec<Entry> {
    const TYPE: &str = "kubernetes.Quantity";
    let of =
        |id: &str, rest: &str, eval: super::Eval| entry(format!("quantity_{id}"), format!("{TYPE}.{rest}"), ONE, eval);
    vec![
        entry("string_to_quantity", format!("quantity(string) -> {TYPE}"), Cost::Parse, |args| {
            let quantity: Quantity = text(args, 0)?.parse().map_err(|e| Fault::other(format!("{e}")))?;
            Ok(quantity.into())
        }),
        entry("is_quantity_string", "isQuantity(string) -> bool", Cost::Parse, |args| {
            Ok(Value::Bool(text(args, 0)?.parse::<Quantity>().is_ok()))
        }),
        // upstream documents the first and declares the second
        of("get_sign", "sign() -> int", |args| Ok(Value::Int(sign(quantity(args, 0)?)))),
        entry("quantity_sign", format!("sign({TYPE}) -> int"), ONE, |args| Ok(Value::Int(sign(quantity(args, 0)?)))),
        of("is_greater_than", "isGreaterThan(kubernetes.Quantity) -> bool", |args| {
            Ok(Value::Bool(quantity(args, 0)? > quantity(args, 1)?))
        }),
        of("is_less_than", "isLessThan(kubernetes.Quantity) -> bool", |args| {
            Ok(Value::Bool(quantity(args, 0)? < quantity(args, 1)?))
        }),
        of("compare_to", "compareTo(kubernetes.Quantity) -> int", |args| {
            Ok(Value::Int(quantity(args, 0)?.cmp(&quantity(args, 1)?) as i64))
        }),
        of("get_float", "asApproximateFloat() -> double", |args| Ok(Value::Double(quantity(args, 0)?.as_f64()))),
        of("get_int", "asInteger() -> int", |args| {
            let whole = whole(quantity(args, 0)?);
            whole.map(Value::Int).ok_or_else(|| Fault::other("cannot convert value to integer"))
        }),
        of("is_integer", "isInteger() -> bool", |args| Ok(Value::Bool(whole(quantity(args, 0)?).is_some()))),
        of("add", "add(kubernetes.Quantity) -> kubernetes.Quantity", |args| {
            Ok((quantity(args, 0)? + quantity(args, 1)?).into())
        }),
        of("add_int", "add(int) -> kubernetes.Quantity", |args| Ok((quantity(args, 0)? + number(args)?).into())),
        of("sub", "sub(kubernetes.Quantity) -> kubernetes.Quantity", |args| {
            Ok((quantity(args, 0)? - quantity(args, 1)?).into())
        }),
        of("sub_int", "sub(int) -> kubernetes.Quantity", |args| Ok((quantity(args, 0)? - number(args)?).into())),
    ]
}

impl From<Quantity> for Value<'_> {
    fn from(quantity: Quantity) -> Self {
        Self::Opaque(Opaque::Quantity(quantity))
    }
}

fn quantity(args: &[Value<'_>], at: usize) -> Result<Quantity> {
    match args.get(at) {
        Some(Value::Opaque(Opaque::Quantity(quantity))) => Ok(*quantity),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn number(args: &[Value<'_>]) -> Result<Quantity> {
    match args.get(1) {
        Some(Value::Int(number)) => Ok(Quantity::new(*number, Format::DecimalExponent)),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn sign(quantity: Quantity) -> i64 {
    quantity.cmp(&Quantity::ZERO) as i64
}

/// The amount, if it is whole.
fn whole(quantity: Quantity) -> Option<i64> {
    let value = quantity.value();
    (Quantity::new(value, quantity.format()) == quantity).then_some(value)
}
