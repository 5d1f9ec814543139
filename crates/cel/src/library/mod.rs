//! The functions that expressions can call: those of the language and those of Kubernetes, one file a library.
//!
//! A library is a list of [`Entry`]s: an identifier, a signature as text, what a call costs, and what it does.

mod authorization;
mod cidr;
mod convert;
mod format;
mod ip;
mod lists;
mod named;
mod operators;
mod optional;
mod quantity;
mod regexes;
mod semver;
mod sets;
mod signature;
mod strings;
pub(crate) mod time;
mod url;

pub(crate) use authorization::resource_check;
pub use authorization::{Authorize, Decision, Question, Subject, authorizer};

use crate::{
    cost::Cost,
    fault::Result,
    types::{Library, Type},
    value::Value,
};
use std::{collections::HashMap, sync::LazyLock};

/// What a call does. The arguments may be taken; the receiver of a member call is the first.
pub(crate) type Eval = for<'a> fn(&mut [Value<'a>]) -> Result<Value<'a>>;

/// One signature of a function, as a library lists it.
pub(crate) struct Entry {
    id: String,
    signature: String,
    cost: Cost,
    eval: Eval,
}

/// An [`Entry`].
pub(crate) fn entry(id: impl Into<String>, signature: impl Into<String>, cost: Cost, eval: Eval) -> Entry {
    Entry { id: id.into(), signature: signature.into(), cost, eval }
}

/// A function: a name and its signatures.
#[derive(Debug)]
pub(crate) struct Function {
    pub name: String,
    pub overloads: Vec<Overload>,
}

/// One signature of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub id: String,
    /// Whether the first argument stands before the name.
    pub member: bool,
    pub arguments: Vec<Type>,
    pub result: Type,
    /// How many type parameters there are.
    pub parameters: u8,
    pub cost: Cost,
    pub eval: Eval,
}

impl Overload {
    /// Whether it takes these values.
    pub fn takes(&self, arguments: &[Value<'_>]) -> bool {
        self.arguments.len() == arguments.len()
            && self.arguments.iter().zip(arguments).all(|(wanted, value)| value.is_of(wanted))
    }
}

static FUNCTIONS: LazyLock<HashMap<String, Function>> = LazyLock::new(|| {
    let libraries = [
        operators::entries(),
        convert::entries(),
        time::entries(),
        strings::entries(),
        regexes::entries(),
        lists::entries(),
        sets::entries(),
        optional::entries(),
        url::entries(),
        quantity::entries(),
        ip::entries(),
        cidr::entries(),
        named::entries(),
        semver::entries(),
        authorization::entries(),
    ];
    let mut functions: HashMap<String, Function> = HashMap::new();
    for entry in libraries.into_iter().flatten() {
        let (name, overload) = signature::read(entry);
        functions
            .entry(name.clone())
            .or_insert_with(|| Function { name, overloads: Vec::new() })
            .overloads
            .push(overload);
    }
    functions
});

/// The function with this name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

/// Whether a text is a regular expression.
pub(crate) fn pattern(text: &str) -> Result<()> {
    regexes::compile(text).map(|_| ())
}

/// A value of a library's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Opaque {
    /// `kubernetes.URL`
    Url(std::sync::Arc<url::Url>),
    /// `kubernetes.Quantity`
    Quantity(coracle_api::quantity::Quantity),
    /// `net.IP`
    Ip(std::net::IpAddr),
    /// `net.CIDR`
    Cidr(cidr::Cidr),
    /// `kubernetes.NamedFormat`
    Format(&'static named::Format),
    /// `kubernetes.Semver`
    Semver(std::sync::Arc<semver::Semver>),
    /// A question to the authorizer, as far as it is asked.
    Authorization(std::sync::Arc<authorization::Builder>),
    /// Its answer.
    Decision(std::sync::Arc<Decision>),
}

impl Opaque {
    /// Its type.
    pub fn library(&self) -> Library {
        match self {
            Self::Url(_) => Library::Url,
            Self::Quantity(_) => Library::Quantity,
            Self::Ip(_) => Library::Ip,
            Self::Cidr(_) => Library::Cidr,
            Self::Format(_) => Library::Format,
            Self::Semver(_) => Library::Semver,
            Self::Authorization(builder) => builder.library(),
            Self::Decision(_) => Library::Decision,
        }
    }

    /// Its size, for the cost of working with it.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(ip) => ip::bytes(*ip),
            // upstream counts the bits of the prefix to whole bytes
            Self::Cidr(cidr) => u64::from(cidr.bits).div_ceil(8),
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FUNCTIONS;
    use std::collections::HashSet;

    #[test]
    fn identifiers_are_unique() {
        let mut seen = HashSet::new();
        for overload in FUNCTIONS.values().flat_map(|f| &f.overloads) {
            assert!(seen.insert(&overload.id), "{}", overload.id);
        }
        assert!(seen.len() > 200);
    }
}
