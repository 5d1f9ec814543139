//! Quantities of typed objects, which carry them as text, in the units that the kernel takes.

use coracle_api::quantity::{Format, Quantity as Amount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// The exact amount; nothing if the text says none (the API server lets only amounts pass).
pub fn amount(quantity: &Quantity) -> Amount {
    quantity.0.parse().unwrap_or(Amount::ZERO)
}

/// In thousandths, rounded up (CPU).
pub fn milli(quantity: &Quantity) -> i64 {
    amount(quantity).milli_value()
}

/// In whole units, rounded up (bytes, counts).
pub fn value(quantity: &Quantity) -> i64 {
    amount(quantity).value()
}

/// One entry of a resource list, not zero.
pub fn of<'a>(list: Option<&'a BTreeMap<String, Quantity>>, name: &str) -> Option<&'a Quantity> {
    list?.get(name).filter(|q| amount(q) > Amount::ZERO)
}

/// `quantity / divisor`, rounded up: `resourceFieldRef`. No divisor is one.
pub fn divided(quantity: &Quantity, divisor: Option<&Quantity>) -> i64 {
    let divisor = divisor.map(amount).filter(|d| *d > Amount::ZERO);
    amount(quantity).divided_by(divisor.unwrap_or(Amount::new(1, Format::DecimalSi)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_the_kernel() {
        for (text, thousandths, wholes, halves) in
            [("1500m", 1500, 2, 3), ("64Mi", 67_108_864_000, 67_108_864, 134_217_728), ("", 0, 0, 0)]
        {
            let quantity = Quantity(text.into());
            let found = (milli(&quantity), value(&quantity), divided(&quantity, Some(&Quantity("500m".into()))));
            assert_eq!(found, (thousandths, wholes, halves), "{text}");
            assert_eq!(divided(&quantity, Some(&Quantity("0".into()))), wholes);
        }
    }
}
