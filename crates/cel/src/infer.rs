//! Inference of types by unification.
//!
//! Unknown types are numbers with a table of what each turned out to be. A failed attempt is undone by going back to the table's
//! state before it.

use crate::types::Type;
use std::sync::Arc;

/// What is known of the unknown types.
#[derive(Default)]
pub(crate) struct Types {
    known: Vec<Option<Type>>,
    /// Entries that were changed, with what they were, so that a failed attempt can be undone.
    journal: Vec<(usize, Option<Type>)>,
}

/// Unknown types in the places of a signature's parameters.
pub(crate) struct Fresh {
    first: u32,
}

impl Fresh {
    /// The signature's type with its parameters replaced.
    pub fn instantiate(&self, ty: &Type) -> Type {
        ty.replace(&|inner| match inner {
            Type::Parameter(at) => Some(Type::Unknown(self.first + u32::from(*at))),
            _ => None,
        })
    }
}

impl Type {
    /// A copy in which parts are replaced.
    fn replace(&self, part: &dyn Fn(&Type) -> Option<Type>) -> Type {
        if let Some(replaced) = part(self) {
            return replaced;
        }
        let inner = |ty: &Arc<Type>| Arc::new(ty.replace(part));
        match self {
            Self::List(of) => Self::List(inner(of)),
            Self::Map(key, value) => Self::Map(inner(key), inner(value)),
            Self::Optional(of) => Self::Optional(inner(of)),
            Self::Type(of) => Self::Type(inner(of)),
            other => other.clone(),
        }
    }
}

impl Types {
    /// A type that is not known yet.
    pub fn unknown(&mut self) -> Type {
        self.known.push(None);
        Type::Unknown((self.known.len() - 1) as u32)
    }

    /// Unknown types for so many parameters.
    pub fn fresh(&mut self, parameters: u8) -> Fresh {
        let first = self.known.len() as u32;
        self.known.resize(self.known.len() + usize::from(parameters), None);
        Fresh { first }
    }

    /// The type with everything that is known of it.
    pub fn resolve(&self, ty: &Type) -> Type {
        ty.replace(&|inner| match inner {
            Type::Unknown(at) => self.known[*at as usize].as_ref().map(|known| self.resolve(known)),
            _ => None,
        })
    }

    /// The same, with `dyn` for what is not known.
    pub fn finish(&self, ty: &Type) -> Type {
        ty.replace(&|inner| match inner {
            Type::Unknown(at) => Some(self.known[*at as usize].as_ref().map_or(Type::Dyn, |known| self.finish(known))),
            _ => None,
        })
    }

    /// Whether a type has more parts than anybody writes. Looking at such types takes too long: each use in a map can double them.
    pub fn is_huge(&self, ty: &Type) -> bool {
        let mut left = 1_000;
        self.count(ty, &mut left);
        left == 0
    }

    fn count(&self, ty: &Type, left: &mut u32) {
        *left = left.saturating_sub(1);
        if *left == 0 {
            return;
        }
        match ty {
            Type::Unknown(at) => {
                if let Some(known) = &self.known[*at as usize] {
                    self.count(known, left);
                }
            }
            Type::List(of) | Type::Optional(of) | Type::Type(of) => self.count(of, left),
            Type::Map(key, value) => {
                self.count(key, left);
                self.count(value, left);
            }
            _ => {}
        }
    }

    /// Whether both can be the same type; what follows from that is then known.
    pub fn unify(&mut self, left: &Type, right: &Type) -> bool {
        self.unify_all(std::slice::from_ref(left), std::slice::from_ref(right))
    }

    /// The same for a list of types, all or nothing.
    pub fn unify_all(&mut self, left: &[Type], right: &[Type]) -> bool {
        self.journal.clear();
        let fits = left.len() == right.len() && left.iter().zip(right).all(|(a, b)| self.fits(a, b));
        if !fits {
            while let Some((at, before)) = self.journal.pop() {
                self.known[at] = before;
            }
        }
        fits
    }

    /// The one of two types, which fit, that takes more values.
    pub fn more_general(&self, left: &Type, right: &Type) -> Type {
        if is_as_general(&self.resolve(left), &self.resolve(right)) { left.clone() } else { right.clone() }
    }

    fn fits(&mut self, left: &Type, right: &Type) -> bool {
        if let Type::Unknown(at) = right {
            match self.substitute(*at, left) {
                Some(fits) => return fits,
                // an occurrence in itself: perhaps the other way round
                None if !matches!(left, Type::Unknown(_)) => return false,
                None => {}
            }
        }
        if let Type::Unknown(at) = left {
            return self.substitute(*at, right).unwrap_or(false);
        }
        match (left, right) {
            (a, b) if a.is_dynamic() || b.is_dynamic() => true,
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.fits(a, b),
            (Type::Map(a, x), Type::Map(b, y)) => self.fits(a, b) && self.fits(x, y),
            (Type::Type(_), Type::Type(_)) => true,
            (a, b) => a == b,
        }
    }

    /// Takes `ty` for an unknown type, or checks that it fits what is known; `None` if it contains the unknown one.
    fn substitute(&mut self, at: u32, ty: &Type) -> Option<bool> {
        if *ty == Type::Unknown(at) {
            return Some(true);
        }
        if let Some(known) = self.known[at as usize].clone() {
            if *ty == known {
                return Some(true);
            }
            if !self.fits(ty, &known) {
                return Some(false);
            }
            let general = self.more_general(ty, &known);
            if !self.contains(&general, at) {
                self.set(at, general);
            }
            return Some(true);
        }
        if self.contains(ty, at) {
            return None;
        }
        self.set(at, ty.clone());
        Some(true)
    }

    fn set(&mut self, at: u32, ty: Type) {
        let before = self.known[at as usize].replace(ty);
        self.journal.push((at as usize, before));
    }

    fn contains(&self, ty: &Type, at: u32) -> bool {
        match ty {
            Type::Unknown(there) => {
                *there == at || self.known[*there as usize].as_ref().is_some_and(|known| self.contains(known, at))
            }
            Type::List(of) | Type::Optional(of) | Type::Type(of) => self.contains(of, at),
            Type::Map(key, value) => self.contains(key, at) || self.contains(value, at),
            _ => false,
        }
    }
}

fn is_nullable(ty: &Type) -> bool {
    matches!(ty, Type::Null | Type::Object(_) | Type::Library(_) | Type::Optional(_) | Type::Duration | Type::Timestamp)
}

fn is_as_general(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::Dyn | Type::Unknown(_), _) => true,
        (_, Type::Dyn | Type::Unknown(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => is_as_general(a, b),
        (Type::Map(a, x), Type::Map(b, y)) => is_as_general(a, b) && is_as_general(x, y),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}
