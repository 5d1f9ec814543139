//! How much an expression may cost, as upstream limits it. These numbers are part of the API: a definition that one server
//! takes must not be refused by another.

/// The cost one evaluation of an expression may reach.
pub const PER_CALL: u64 = 1_000_000;
/// The cost of all validation rules for one request, or of all expressions of one policy binding.
pub const PER_REQUEST: i64 = 10_000_000;
/// The cost of all match conditions of one webhook or policy.
pub const PER_MATCH_CONDITIONS: i64 = 2_500_000;
/// The estimated cost one rule of a schema may have.
pub const ESTIMATED_PER_RULE: u64 = 10_000_000;
/// The estimated cost all rules of a schema may have together.
pub const ESTIMATED_PER_SCHEMA: u64 = 100_000_000;
/// The longest message that a `messageExpression` may make, in bytes.
pub const MESSAGE_BYTES: usize = 5 * 1024;
/// The size of the largest request, from which the sizes of unbounded strings, lists and maps are estimated.
pub const REQUEST_BYTES: u64 = 3 * 1024 * 1024;

/// The longest expression, in code points.
pub(crate) const EXPRESSION_LENGTH: usize = 100_000;
/// How deep an expression may be nested.
pub(crate) const DEPTH: usize = 250;
/// The longest list that an evaluation may make. Joining lists is cheap by upstream's cost model, which joins them lazily.
pub(crate) const LIST_LENGTH: usize = 1 << 20;
/// The longest text that an evaluation may make, in bytes.
pub(crate) const TEXT_BYTES: usize = 16 << 20;
