//! Expressions that choose devices: `device.driver`, `device.attributes["dra.example.com"].model`, ….
//!
//! Source: `k8s.io/dynamic-resource-allocation/cel`, limits in `k8s.io/api/resource/v1`.

use crate::{
    decl::Decl,
    env::{CompileError, Env, Program},
    limits,
    types::{Library, Type},
};
use std::sync::{Arc, LazyLock};

/// The longest name of a driver, and so of a domain.
const DRIVER: u64 = 63;
/// The longest text of an attribute.
const ATTRIBUTE: u64 = 64;
/// How many attributes and capacities a device has.
const PER_DEVICE: u64 = 32;

/// Why an expression cannot choose devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It does not compile, or is no yes or no; in upstream's words.
    Invalid(String),
    /// A part that depends on nothing fails; in upstream's words.
    Failing(String),
    /// It may cost more than one evaluation is given.
    TooComplex,
}

static ENV: LazyLock<Env> = LazyLock::new(|| {
    let by_domain = |values: Arc<Decl>| Decl::map_of(Decl::map_of(values, PER_DEVICE), PER_DEVICE);
    let device = Decl::of_fields(
        "kubernetes.DRADevice",
        [
            ("driver", Decl::bounded(Type::String, DRIVER)),
            ("attributes", by_domain(Decl::bounded(Type::Dyn, ATTRIBUTE))),
            ("capacity", by_domain(Decl::of_type(Type::Library(Library::Quantity)))),
            ("allowMultipleAllocations", Decl::of_type(Type::Bool)),
        ]
        .map(|(name, decl)| (name.to_string(), decl)),
    );
    Env::new().with("device", Arc::clone(&device)).with_sizes_of(device)
});

/// Compiles an expression that says whether a device will do.
///
/// # Errors
/// Why it cannot.
pub fn compile(expression: &str) -> Result<Program, Unfit> {
    let program = ENV.compile(expression).map_err(|error| match error {
        CompileError::Invalid(_) => Unfit::Invalid(error.detail()),
        CompileError::Failing(_) => Unfit::Failing(error.detail()),
    })?;
    // what is known only at run time may turn out to be one
    if !matches!(program.output(), Type::Bool | Type::Dyn) {
        let why = format!("must evaluate to bool or the unknown type, not {}", program.output());
        return Err(Unfit::Invalid(why));
    }
    if program.estimated_cost().max > limits::PER_CALL { Err(Unfit::TooComplex) } else { Ok(program) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_chooses_devices() {
        let check = |expression: &str| match compile(expression) {
            Ok(_) => "good".to_string(),
            Err(Unfit::Invalid(why) | Unfit::Failing(why)) => why.lines().next().unwrap_or_default().to_string(),
            Err(Unfit::TooComplex) => "too complex".into(),
        };
        let costly =
            r#"device.attributes["a"].map(s, s.lowerAscii().map(t, t).exists(u, u.matches("x{1000}"))).size() > 0"#;
        for (expression, expected) in [
            ("true", "good"),
            (r#"device.driver == "dra.example.com""#, "good"),
            (r#"device.attributes["dra.example.com"].ready"#, "good"),
            (r#"cel.bind(dra, device.attributes["dra.example.com"], dra.oneBool && dra.anotherBool)"#, "good"),
            (r#"device.capacity["dra.example.com"].memory.compareTo(quantity("10Gi")) >= 0"#, "good"),
            (r#"device.attributes["d"].version.isGreaterThan(semver("1.0.0"))"#, "good"),
            ("device.allowMultipleAllocations == true", "good"),
            ("device.attributes.exists(d, device.attributes[d].size() > 3)", "good"),
            ("device.driver", "must evaluate to bool or the unknown type, not string"),
            ("size(device.driver)", "must evaluate to bool or the unknown type, not int"),
            (
                "noSuchVar",
                "compilation failed: ERROR: <input>:1:1: undeclared reference to 'noSuchVar' (in container '')",
            ),
            ("device.model == 1", "compilation failed: ERROR: <input>:1:7: undefined field 'model'"),
        ] {
            assert_eq!(check(expression), expected, "{expression}");
        }
        assert_ne!(check(costly), "good");
    }
}
