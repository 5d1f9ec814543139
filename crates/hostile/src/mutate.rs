//! Mutations of inputs, the same ones every time.

use crate::Target;

/// Pieces that mean something to one reader or another.
const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"-1",
    b"1e9",
    b"0x",
    b"\\u0000",
    b"\xff",
    b"\0",
    b"$patch",
    b"replace",
    b"$setElementOrder/containers",
    b"metadata",
    b"managedFields",
    b"spec",
    b"containers",
    b"name",
    b"&a",
    b"*a",
    b"<<: ",
    b"- ",
    b"\n",
    b"  ",
    b"!!str ",
    b"in (",
    b"notin",
    b"!=",
    b"Ki",
    b"/",
    b"~1",
    b"@sha256:",
    b".",
    b"k:{\"name\":\"a\"}",
    b"f:",
    b"[0]",
    b"?",
    b"(",
    b")",
    b"'",
];

/// An endless row of mutations of a target's seeds.
pub struct Mutations {
    seeds: &'static [&'static [u8]],
    state: u64,
}

impl Mutations {
    /// Those of a target. The row is the same every time.
    pub fn of(target: &Target) -> Self {
        let name = target
            .name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { seeds: target.seeds, state: name }
    }

    /// A number below `bound` (xorshift: no quality needed, only the same numbers everywhere).
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) as usize % bound.max(1)
    }

    fn piece(&mut self) -> Vec<u8> {
        let seed = self.seeds[self.below(self.seeds.len())];
        let start = self.below(seed.len() + 1);
        let end = start + self.below((seed.len() - start).min(40) + 1);
        seed[start..end].to_vec()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        match self.below(6) {
            0 if at < input.len() => input[at] = self.below(256) as u8,
            1 if at < input.len() => {
                let end = at + self.below((input.len() - at).min(20) + 1);
                input.drain(at..end);
            }
            2 => {
                let piece = self.piece();
                input.splice(at..at, piece);
            }
            3 => input.truncate(at),
            4 => {
                // nests: many openings in a row
                let word = WORDS[self.below(4)];
                let times = self.below(300);
                input.splice(at..at, word.repeat(times));
            }
            _ => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
        }
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.seeds.is_empty() {
            return None;
        }
        let mut input = self.seeds[self.below(self.seeds.len())].to_vec();
        for _ in 0..=self.below(5) {
            self.change(&mut input);
        }
        Some(input)
    }
}
