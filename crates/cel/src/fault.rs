//! What can go wrong while an expression runs, in upstream's words.

/// The result of an evaluation.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A function or operator does not take values of these types.
    #[error("no such overload")]
    NoSuchOverload,
    /// A key or field that is not there.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// It would have cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// Anything else: overflow, division by zero, text that is no number, ….
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// A fault with this message.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }

    /// Whether an expression may go on although a part of it failed (`false && error`).
    pub(crate) fn is_absorbable(&self) -> bool {
        *self != Self::CostLimit
    }
}
