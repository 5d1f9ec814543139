//! What calls cost, in upstream's units: once as estimated from the sizes that arguments may have, once as run with the sizes they
//! have. The formulas are part of the API (see `limits.rs`).

use crate::{types::Type, value::Value, work};

/// The cost of reading a variable, field or element.
pub(crate) const ACCESS: u64 = 1;
/// The cost of making a list.
pub(crate) const LIST: u64 = 10;
/// The cost of making a map.
pub(crate) const MAP: u64 = 30;
/// The cost of making a structure.
pub(crate) const STRUCTURE: u64 = 40;
/// The cost of looking at a character.
const CHARACTER: f64 = 0.1;
/// The cost of a character of a regular expression, which is guessed to have one part for four characters.
const PATTERN: f64 = 0.25;
/// The longest pattern behind a named format.
const FORMAT_PATTERN: f64 = 128.0;
/// The longest name of a format.
const FORMAT_NAME: u64 = 64;

/// How the cost of a call follows from its arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cost {
    /// Constant.
    Fixed(u64),
    /// Looking once through the first argument; the result is as large as it.
    Scan,
    /// The same, and the result is something else.
    Parse,
    /// Looking twice through it.
    ParseTwice,
    /// Looking for a prefix or suffix.
    Affix,
    /// Looking through a text and making bytes of it, and the other way round.
    TextToBytes,
    BytesToText,
    Quote,
    /// `format`.
    Format,
    Replace,
    Split,
    Join,
    /// A regular expression.
    Matches,
    Find,
    /// A text in a text.
    Contains,
    /// Looking at every element of a list, or of a text.
    Elements,
    /// The same for `includes`, which takes anything.
    Includes,
    /// An element in a list.
    InList,
    /// Equality and order of values that may be large.
    Compare,
    Equal,
    /// Joining two texts.
    Concat,
    /// Joining two lists.
    ConcatLists,
    /// An address in a range; whether the address is a text.
    ContainsIp {
        text: bool,
    },
    ContainsCidr {
        text: bool,
    },
    /// A value by a named format.
    Validate,
    Selector,
    /// Comparing sets, so many times.
    Sets(u8),
    Slice,
    Range,
    Reverse,
    Flatten,
    /// Sorting or comparing each with each; the list is this argument.
    Pairs {
        list: usize,
    },
    /// `dyn(x)`
    Dynamic,
}

/// The usual call.
pub(crate) const ONE: Cost = Cost::Fixed(1);

fn scaled(size: u64, factor: f64) -> u64 {
    // a float that is too large for the integer becomes the largest one
    (size as f64 * factor).ceil() as u64
}

fn pattern_cost(text: u64, pattern: u64) -> u64 {
    ((1.0 + text as f64) * CHARACTER).ceil() as u64 * scaled(pattern, PATTERN)
}

/// The cost of making a list of so many elements, and as much for each.
fn list_cost(elements: u64, factor: f64) -> u64 {
    ((elements as f64 * factor) as u64).saturating_add(1 + LIST)
}

impl Cost {
    /// What a call will cost at least, where that may be more than can be afforded to find out.
    pub fn before_call(self, args: &[Value<'_>]) -> u64 {
        match (self, args) {
            (Self::Sets(_) | Self::Pairs { .. } | Self::Matches | Self::Find | Self::Elements, _) => {
                self.of_call(args, &Value::Null)
            }
            (Self::Range, [Value::Int(length)]) => u64::try_from(*length).unwrap_or(0),
            _ => 0,
        }
    }

    /// The cost of a call that was made.
    pub fn of_call(self, args: &[Value<'_>], result: &Value<'_>) -> u64 {
        let size = |at: usize| args.get(at).map_or(0, Value::size);
        match self {
            Self::Fixed(cost) => cost,
            Self::Dynamic => 1,
            Self::Affix => scaled(size(1), CHARACTER),
            Self::Scan | Self::Parse | Self::TextToBytes | Self::BytesToText | Self::Quote | Self::Format => {
                scaled(size(0), CHARACTER)
            }
            Self::ParseTwice | Self::Replace | Self::Split => scaled(size(0), 2.0 * CHARACTER),
            Self::Join => scaled(result.size(), 2.0 * CHARACTER),
            Self::Matches | Self::Find => pattern_cost(size(0), size(1)),
            Self::Contains => scaled(size(0), CHARACTER) * scaled(size(1), CHARACTER),
            Self::Elements | Self::Includes => args.first().map_or(0, traversal),
            Self::InList => size(1),
            Self::Equal if matches!(args.first(), Some(Value::Opaque(_))) => 1,
            Self::Compare | Self::Equal => scaled(smaller(args), CHARACTER),
            Self::Concat => scaled(result.size(), CHARACTER),
            Self::ConcatLists => 1,
            Self::ContainsIp { text } => {
                scaled(2 * size(0), CHARACTER) + if text { scaled(size(1), CHARACTER) } else { 0 }
            }
            Self::ContainsCidr { text } => {
                let parse = if text { scaled(size(1), CHARACTER) } else { 0 };
                scaled(2 * size(0), CHARACTER) + scaled(size(0), CHARACTER) + 1 + parse
            }
            Self::Validate => match args {
                [Value::Opaque(crate::library::Opaque::Format(format)), text] => {
                    pattern_cost(text.size(), format.pattern_size)
                }
                _ => 1,
            },
            Self::Selector => selector(Range::exactly(size(1))).max,
            Self::Sets(times) => size(0).saturating_mul(size(1)).saturating_mul(u64::from(times)).saturating_add(1),
            Self::Slice | Self::Range | Self::Reverse => list_cost(result.size(), 1.0),
            Self::Flatten => {
                let depth = match args.get(1) {
                    Some(Value::Int(depth)) => *depth as f64,
                    _ => 1.0,
                };
                list_cost(size(0), depth)
            }
            Self::Pairs { list } => {
                let first = match args.get(list) {
                    Some(Value::List(list)) => list.get(0).and_then(Result::ok),
                    _ => None,
                };
                let text = matches!(first, Some(Value::String(_) | Value::Bytes(_)));
                list_cost(size(list).saturating_mul(size(list)), if text { 2.0 + CHARACTER } else { 2.0 })
            }
        }
    }
}

/// The smaller one of two sizes, without counting the characters of a text that is longer for certain.
fn smaller(args: &[Value<'_>]) -> u64 {
    let [left, right] = args else { return 1 };
    let (Value::String(a), Value::String(b)) = (left, right) else { return left.size().min(right.size()) };
    match (a.len(), b.len()) {
        (a, b) if a / 4 > b => right.size(),
        (a, b) if b / 4 > a => left.size(),
        _ => left.size().min(right.size()),
    }
}

/// The cost of looking at all there is within a value.
fn traversal(value: &Value<'_>) -> u64 {
    work::done(1);
    match value {
        _ if work::is_exhausted() => 1,
        Value::String(text) => (text.len() as f64 * CHARACTER) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * CHARACTER) as u64,
        Value::List(list) => list.iter().map(|item| item.map_or(1, |item| traversal(&item))).sum(),
        Value::Map(map) => map
            .keys()
            .iter()
            .map(|key| traversal(key) + map.get(key).ok().flatten().map_or(1, |value| traversal(&value)))
            .sum(),
        _ => 1,
    }
}

/// A size or cost that is not known exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// At least so much.
    pub min: u64,
    /// At most so much.
    pub max: u64,
}

impl Range {
    pub(crate) const NONE: Self = Self { min: 0, max: 0 };
    pub(crate) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    pub(crate) fn exactly(n: u64) -> Self {
        Self { min: n, max: n }
    }

    pub(crate) fn up_to(max: u64) -> Self {
        Self { min: 0, max }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(crate) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { min: scaled(self.min, factor), max: scaled(self.max, factor) }
    }

    /// The smallest range with both.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// What is known of an argument before a call is made.
pub(crate) struct Estimated<'e> {
    pub ty: &'e Type,
    pub size: Option<Range>,
    /// The size of its elements, if it is a list with a declaration.
    pub element: Option<Range>,
    /// Its value, if it is a whole number in the text.
    pub number: Option<i64>,
}

impl Estimated<'_> {
    fn size(&self) -> Range {
        self.size.unwrap_or(Range::UNKNOWN)
    }

    fn number_or(&self, default: u64) -> u64 {
        self.number.map_or(default, |n| u64::try_from(n).unwrap_or(0))
    }
}

/// The estimated cost of a call, without its arguments, and the size of its result.
pub(crate) struct CallEstimate {
    pub cost: Range,
    pub size: Option<Range>,
}

impl CallEstimate {
    fn new(cost: Range) -> Self {
        Self { cost, size: None }
    }

    fn sized(cost: Range, size: Range) -> Self {
        Self { cost, size: Some(size) }
    }

    fn list(factor: f64, elements: Range) -> Self {
        Self::sized(elements.scaled(factor).plus(Range::exactly(1 + LIST)), elements)
    }
}

impl Cost {
    /// The estimated cost of a call. The receiver of a member call is the first argument.
    pub fn of_estimate(self, args: &[Estimated<'_>]) -> CallEstimate {
        let size = |at: usize| args.get(at).map_or(Range::UNKNOWN, Estimated::size);
        let number = |at: usize, default| args.get(at).map_or(default, |arg: &Estimated<'_>| arg.number_or(default));
        match self {
            Self::Fixed(cost) => CallEstimate::new(Range::exactly(cost)),
            Self::Dynamic => CallEstimate { cost: Range::exactly(1), size: args.first().and_then(|arg| arg.size) },
            Self::Scan => CallEstimate::sized(size(0).scaled(CHARACTER), size(0)),
            Self::Parse | Self::Format => CallEstimate::new(size(0).scaled(CHARACTER)),
            Self::ParseTwice => CallEstimate::new(size(0).scaled(2.0 * CHARACTER)),
            Self::Affix => CallEstimate::new(size(1).scaled(CHARACTER)),
            Self::TextToBytes => {
                let bytes = Range { min: size(0).min, max: size(0).max.wrapping_mul(4) };
                CallEstimate::sized(size(0).scaled(CHARACTER), bytes)
            }
            Self::BytesToText => {
                CallEstimate::sized(size(0).scaled(CHARACTER), Range { min: size(0).min / 4, max: size(0).max })
            }
            Self::Quote => {
                let quoted =
                    Range { min: size(0).min.wrapping_add(2), max: size(0).max.wrapping_mul(2).wrapping_add(2) };
                CallEstimate::sized(size(0).scaled(CHARACTER), quoted)
            }
            Self::Replace => CallEstimate::sized(size(0).scaled(2.0 * CHARACTER), replaced(size(0), size(1), size(2))),
            Self::Split => {
                let parts = args.get(2).map_or(size(0).max, |limit| limit.number.map_or(size(0).max, |n| n as u64));
                CallEstimate::sized(size(0).scaled(2.0 * CHARACTER), Range::up_to(parts))
            }
            Self::Join => {
                let mut text = args.first().map_or(Range::NONE, |list| list.element_or_unknown(list.size()));
                if args.len() > 1 {
                    let between = Range { min: size(0).min.saturating_sub(1), max: size(0).max.saturating_sub(1) };
                    text = text.plus(size(1).times(between));
                }
                CallEstimate::sized(text.scaled(CHARACTER), text)
            }
            Self::Matches => CallEstimate::new(pattern(size(0), size(1))),
            Self::Find => CallEstimate::sized(pattern(size(0), size(1)), Range::up_to(size(0).max)),
            Self::Contains => CallEstimate::new(size(0).scaled(CHARACTER).times(size(1).scaled(CHARACTER))),
            Self::Elements | Self::Includes => CallEstimate::new(elements(args.first(), self == Self::Includes)),
            Self::InList => CallEstimate::new(size(1)),
            Self::Equal => CallEstimate::new(equality(args)),
            Self::Compare => CallEstimate::new(comparison(size(0), size(1))),
            Self::Concat => {
                let joined = size(0).plus(size(1));
                CallEstimate::sized(joined.scaled(CHARACTER), joined)
            }
            Self::ConcatLists => CallEstimate::sized(Range::exactly(1), size(0).plus(size(1))),
            Self::ContainsIp { text } => CallEstimate::new(contained(text, size(1))),
            Self::ContainsCidr { text } => {
                let masked = ADDRESS.scaled(CHARACTER).plus(Range::exactly(1));
                CallEstimate::new(contained(text, size(1)).plus(masked))
            }
            Self::Validate => CallEstimate::new(size(1).scaled(CHARACTER).scaled(FORMAT_PATTERN * PATTERN)),
            Self::Selector => CallEstimate::new(selector(size(1))),
            Self::Sets(times) => {
                CallEstimate::new(size(0).times(size(1)).scaled(f64::from(times)).plus(Range::exactly(1)))
            }
            Self::Slice => {
                let (from, to) = (number(1, 0), number(2, size(0).max));
                CallEstimate::list(1.0, Range::exactly(to.wrapping_sub(from)))
            }
            Self::Range => CallEstimate::list(1.0, Range::exactly(number(0, u64::MAX))),
            Self::Reverse => CallEstimate::list(1.0, size(0)),
            Self::Flatten => CallEstimate::list(if args.len() > 1 { number(1, u64::MAX) as f64 } else { 1.0 }, size(0)),
            Self::Pairs { list } => {
                let of = args.get(list).map(|list| list.ty);
                let text = matches!(of, Some(Type::List(of)) if matches!(**of, Type::String | Type::Bytes));
                CallEstimate::list(if text { 2.0 + CHARACTER } else { 2.0 }, size(list).times(size(list)))
            }
        }
    }
}

impl Estimated<'_> {
    /// So many elements of a list; nothing if it is none.
    fn element_or_unknown(&self, count: Range) -> Range {
        match self.ty {
            Type::List(_) => count.times(self.element.unwrap_or(Range::UNKNOWN)),
            _ => Range::NONE,
        }
    }
}

/// The size of an address: of version 4 or 6.
const ADDRESS: Range = Range { min: 4, max: 16 };

fn contained(text: bool, size: Range) -> Range {
    let compared = ADDRESS.plus(ADDRESS).scaled(CHARACTER);
    if text { compared.plus(size.scaled(CHARACTER)) } else { compared }
}

fn pattern(text: Range, pattern: Range) -> Range {
    text.plus(Range::exactly(1)).scaled(CHARACTER).times(pattern.scaled(PATTERN))
}

fn selector(size: Range) -> Range {
    // the shortest requirement that makes a list takes two characters
    let requirements = size.scaled(0.5).scaled((LIST + STRUCTURE) as f64);
    Range::exactly(LIST).plus(size.scaled(CHARACTER)).plus(requirements)
}

fn comparison(left: Range, right: Range) -> Range {
    let max = left.max.min(right.max);
    Range { min: u64::from(max > 0), max }.scaled(CHARACTER)
}

fn equality(args: &[Estimated<'_>]) -> Range {
    use crate::types::Library;
    let [left, right] = args else { return Range::exactly(1) };
    match (left.ty, right.ty) {
        (Type::Library(a), Type::Library(b)) if a == b => match a {
            Library::Format => Range { min: 1, max: FORMAT_NAME }.scaled(CHARACTER),
            Library::Url => {
                let size = right.size.map_or(1, |size| size.max);
                Range { min: 1, max: size }.scaled(CHARACTER)
            }
            _ => Range::exactly(1),
        },
        _ => comparison(left.size(), right.size()),
    }
}

/// One for each element, and as much as comparing texts costs; or a look through a text.
fn elements(list: Option<&Estimated<'_>>, includes: bool) -> Range {
    let Some(list) = list else { return Range::exactly(1) };
    match list.ty {
        Type::List(of) if matches!(**of, Type::String | Type::Bytes) => {
            let compare = list.element.unwrap_or(Range::UNKNOWN).scaled(CHARACTER);
            list.size().times(Range::exactly(1).plus(compare))
        }
        Type::List(_) | Type::Map(..) => list.size(),
        _ if includes => list.size(),
        _ => list.size().scaled(CHARACTER),
    }
}

/// The size of a text in which one text is replaced by another one.
fn replaced(text: Range, from: Range, to: Range) -> Range {
    let count = |length: u64, of: u64| (length as f64 / of as f64).ceil() as u64;
    let (most, most_kept) = match (from.min, to.max) {
        (0, _) => (text.max.saturating_add(1), text.max),
        (shortest, longest) if longest <= shortest => (0, text.max),
        (shortest, _) => (count(text.max, shortest), 0),
    };
    let (fewest, fewest_kept) = match (from.max, to.min) {
        (0, _) => (text.min.saturating_add(1), text.min),
        (longest, shortest) if longest <= shortest => (0, text.min),
        (longest, _) => (count(text.min, longest), 0),
    };
    Range { min: fewest, max: most }.times(to).plus(Range { min: fewest_kept, max: most_kept })
}
