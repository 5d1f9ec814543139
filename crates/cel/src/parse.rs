//! Text to syntax tree, by the parser of the crate `cel`.
//!
//! That parser, like everything that walks its tree, recurses. So how deep an expression is nested is measured before it is
//! parsed, and an expression that is nested too deeply is refused as upstream refuses it.

use crate::{limits, macros};
use cel::{
    Env,
    common::ast::{IdedExpr, SourceInfo},
};
use std::{fmt, sync::LazyLock};

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The line, from 1; 0 if the issue is with the whole.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The line's text.
    pub snippet: String,
}

impl Issue {
    /// An issue with a place in the source.
    pub(crate) fn at(source: &str, line: usize, column: usize, message: impl Into<String>) -> Self {
        let snippet = source.lines().nth(line.saturating_sub(1)).unwrap_or_default().replace('\t', " ");
        Self { line, column, message: message.into(), snippet }
    }

    /// An issue with the expression as a whole.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self { line: 0, column: 0, message: message.into(), snippet: String::new() }
    }
}

/// With the line and a pointer to the place, as upstream shows it.
impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "ERROR: <input>:-1:0: {}", self.message);
        }
        write!(f, "ERROR: <input>:{}:{}: {}\n | {}", self.line, self.column, self.message, self.snippet)?;
        write!(f, "\n | {}^", ".".repeat(self.column.saturating_sub(1)))
    }
}

/// A parsed expression.
pub(crate) struct Parsed {
    pub root: IdedExpr,
    pub places: SourceInfo,
}

impl Parsed {
    /// Line and column of a node, both from 1.
    pub fn place(&self, id: u64) -> (usize, usize) {
        let Some((start, _)) = self.places.offset_for(id) else { return (1, 1) };
        // the parser counts bytes
        let before = self.places.source.char_indices().take_while(|(at, _)| *at < start as usize);
        before
            .map(|(_, c)| c)
            .fold((1, 1), |(line, column), c| if c == '\n' { (line + 1, 1) } else { (line, column + 1) })
    }
}

static ENV: LazyLock<Env> = LazyLock::new(|| {
    let mut env = Env::default();
    macros::add_to(&mut env);
    env
});

/// Parses an expression.
pub(crate) fn parse(source: &str) -> Result<Parsed, Vec<Issue>> {
    let length = source.chars().count();
    if length > limits::EXPRESSION_LENGTH {
        let limit = limits::EXPRESSION_LENGTH;
        return Err(vec![Issue::whole(format!(
            "expression code point size exceeds limit: size: {length}, limit {limit}"
        ))]);
    }
    if depth(source) > limits::DEPTH {
        return Err(vec![Issue::whole(format!("expression recursion limit exceeded: {}", limits::DEPTH))]);
    }
    let parser = ENV.parser().max_recursion_depth(limits::DEPTH as u16);
    match parser.parse_with_source_info(source) {
        Ok((root, places)) => Ok(Parsed { root, places }),
        Err(errors) => Err(errors
            .errors
            .into_iter()
            .map(|e| {
                let place = |at: isize| usize::try_from(at).unwrap_or(0);
                Issue::at(source, place(e.pos.0).max(1), place(e.pos.1).max(1), e.msg)
            })
            .collect()),
    }
}

/// An upper bound of how deep the tree of an expression is, without parsing it: brackets nest, and so does every operator or
/// selection that follows another one. `&&`, `||` and `,` start anew, as their trees are kept flat.
fn depth(source: &str) -> usize {
    #[derive(Default)]
    struct Level {
        chain: usize,
        inner: usize,
        deepest: usize,
        ternaries: usize,
    }
    impl Level {
        fn restart(&mut self) {
            self.deepest = self.deepest.max(self.chain + self.inner);
            (self.chain, self.inner) = (0, 0);
        }
    }
    let mut levels = vec![Level::default()];
    let mut logical = 0_usize;
    for c in Significant::new(source) {
        let nested = levels.len() > 1;
        let Some(level) = levels.last_mut() else { break };
        match c {
            '(' | '[' | '{' => levels.push(Level::default()),
            ')' | ']' | '}' if nested => {
                level.restart();
                let deep = level.deepest + level.ternaries + 1;
                levels.pop();
                if let Some(outer) = levels.last_mut() {
                    outer.inner = outer.inner.max(deep);
                    outer.chain += 1;
                }
            }
            '&' | '|' => {
                logical += 1;
                level.restart();
            }
            ',' => level.restart(),
            '?' | ':' => {
                level.ternaries += usize::from(c == '?');
                level.restart();
            }
            '.' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' => level.chain += 1,
            _ => {}
        }
    }
    // a bracket that is never closed is an error anyway, but the parser meets it
    let open = levels.len();
    let deepest = levels.iter_mut().map(|level| {
        level.restart();
        level.deepest + level.ternaries
    });
    deepest.sum::<usize>() + open + logical.checked_ilog2().unwrap_or(0) as usize
}

/// The characters of an expression without its texts and comments.
struct Significant<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    raw: bool,
}

impl<'a> Significant<'a> {
    fn new(source: &'a str) -> Self {
        Self { rest: source.chars().peekable(), raw: false }
    }

    /// Skips a text whose first quote was read.
    fn skip_text(&mut self, quote: char, raw: bool) {
        let mut quotes = 1;
        while quotes < 3 && self.rest.next_if_eq(&quote).is_some() {
            quotes += 1;
        }
        if quotes == 2 {
            return;
        }
        let mut seen = 0;
        while seen < quotes {
            match self.rest.next() {
                None => return,
                Some('\\') if !raw => {
                    self.rest.next();
                    seen = 0;
                }
                Some(c) if c == quote => seen += 1,
                Some('\n') if quotes == 1 => return,
                Some(_) => seen = 0,
            }
        }
    }
}

impl Iterator for Significant<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            match self.rest.next()? {
                quote @ ('"' | '\'') => {
                    let raw = std::mem::take(&mut self.raw);
                    self.skip_text(quote, raw);
                }
                '/' if self.rest.peek() == Some(&'/') => while self.rest.next().is_some_and(|c| c != '\n') {},
                c => {
                    self.raw = matches!(c, 'r' | 'R') || (self.raw && matches!(c, 'b' | 'B'));
                    return Some(c);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn places_count_characters() {
        for (source, expected) in [
            ("'äöü👑' == 1", "1:8: found no matching overload"),
            ("'äöü👑' +", "1:9: Syntax error"),
            ("true &&\n  '👑' == 1", "2:7: found no matching overload"),
            ("x.y.z", "1:1: undeclared reference to 'x'"),
            ("'a'.b", "1:4: type 'string' does not support field selection"),
            ("size(1)", "1:5: found no matching overload"),
        ] {
            let error = crate::Env::new().compile(source).expect_err(source).to_string();
            assert!(error.starts_with(&format!("ERROR: <input>:{expected}")), "{source}: {error}");
        }
    }

    #[test]
    fn depths_are_bounded_from_above() {
        for (source, at_least, at_most) in [
            ("a", 0, 1),
            ("a.b.c", 2, 3),
            ("((((a))))", 4, 9),
            ("a && b && c && d", 2, 3),
            ("'((((((((' + \"[[[[\"", 1, 2),
            (r"r'\' + '('", 1, 2),
            ("a // ((((((\n+ b", 1, 2),
            ("'''it's ((((''' + a", 1, 2),
            ("a ? b : c ? d : e", 2, 3),
            ("!!!!a", 1, 5),
        ] {
            let depth = depth(source);
            assert!((at_least..=at_most).contains(&depth), "{source}: {depth}");
        }
        assert!(depth(&"(".repeat(1000)) > 900);
        assert!(depth(&"a.b".repeat(1000)) > 900);
        assert!(depth(&format!("{}{}", "[".repeat(400), "]".repeat(400))) >= 400);
    }
}
