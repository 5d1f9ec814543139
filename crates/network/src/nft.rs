//! nftables over netlink: expressions, chains, sets and their elements as values, and their bytes.
//!
//! Only what [`crate::rules`] and [`crate::table`] use. No nft program and no C library is involved, and a transaction of tens of thousands of elements is one send.

use crate::netlink::Buffer;

/// The table of a node's own rules.
pub const TABLE: &str = "coracle";
/// Registers of four bytes; a concatenated key lies in consecutive ones.
pub const R0: u32 = 8;
/// The second.
pub const R1: u32 = 9;
/// Behind a key of four.
pub const R4: u32 = 12;
const VERDICT_REGISTER: u32 = 0;

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const FAMILY_INET4: u8 = 2;
const CREATE: u16 = crate::netlink::flag::CREATE;
/// The length of an attribute has 16 bits; a message of elements stays well below.
const ELEMENT_BYTES: usize = 32 * 1024;

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Dropped.
    Drop,
    /// Accepted.
    Accept,
    /// Back to the calling chain.
    Return,
    /// On in another chain, then back.
    Jump(String),
    /// On in another chain.
    Goto(String),
}

/// The part of a packet that an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// IP header.
    Network,
    /// TCP or UDP header.
    Transport,
}

/// What `meta` knows about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// The mark.
    Mark,
    /// The link that it leaves by.
    OutLink,
    /// The transport protocol.
    Protocol,
}

impl Meta {
    fn key(self) -> u32 {
        match self {
            Self::Mark => 3,
            Self::OutLink => 5,
            Self::Protocol => 16,
        }
    }
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Bytes of the packet into a register.
    Payload {
        /// Where the offset counts from.
        base: Base,
        /// First byte.
        offset: u32,
        /// How many.
        length: u32,
        /// Into which register.
        to: u32,
    },
    /// What is known about the packet into a register.
    Meta(Meta, u32),
    /// A register becomes the mark.
    SetMark(u32),
    /// The state bits of the connection into a register.
    CtState(u32),
    /// The kind of the destination address (local, …) into a register.
    FibDaddrType(u32),
    /// Fixed bytes into a register.
    Load(u32, Vec<u8>),
    /// A random number below the bound into a register.
    Random(u32, u32),
    /// `register = register & mask ^ xor`.
    Bitwise(u32, [u8; 4], [u8; 4]),
    /// Goes on only if the register is equal.
    Equal(u32, Vec<u8>),
    /// Goes on only if it is not.
    NotEqual(u32, Vec<u8>),
    /// Goes on only if the set has the key.
    InSet(&'static str, u32),
    /// The map's value for the key into a register; without one the rule ends.
    Map(&'static str, u32, u32),
    /// The verdict map's verdict for the key, if there is one.
    VerdictMap(&'static str, u32),
    /// Remembers the value for the key, for so many seconds.
    Remember {
        /// Which map.
        set: &'static str,
        /// Register of the key.
        key: u32,
        /// Register of the value.
        value: u32,
        /// For how long.
        seconds: u32,
    },
    /// The destination becomes the address and port in these registers.
    Dnat(u32, u32),
    /// The source becomes the node's.
    Masquerade,
    /// No connection tracking.
    Notrack,
    /// ICMP port unreachable.
    Reject,
    /// The end.
    Verdict(Verdict),
}

/// A place in the kernel where a chain is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// prerouting 0, input 1, forward 2, output 3, postrouting 4.
    pub number: u32,
    /// Lower comes first.
    pub priority: i32,
}

/// A set or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// Its fields.
    pub key: &'static [Field],
    /// What it maps to.
    pub value: SetValue,
}

/// A field of a concatenated key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An address.
    Address = 7,
    /// A protocol.
    Protocol = 12,
    /// A port.
    Port = 13,
    /// A number in the machine's order (shown as a mark by the nft program).
    Number = 19,
}

/// What a set maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetValue {
    /// Nothing: a plain set.
    None,
    /// A verdict.
    Verdict,
    /// Address and port.
    Endpoint,
    /// Address and port, put there by packets, forgotten after a time.
    Remembered,
}

/// The value of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// Of a plain set.
    None,
    /// Of a verdict map.
    Verdict(Verdict),
    /// Of a data map.
    Bytes(Vec<u8>),
}

/// A transaction being written: all of it happens, or nothing.
pub struct Batch {
    buffer: Buffer,
    table: String,
    set_id: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::of(TABLE)
    }
}

impl Batch {
    /// Changes to the table called `table`.
    pub fn of(table: &str) -> Self {
        let mut buffer = Buffer::default();
        buffer.message(BATCH_BEGIN, 0, 0, |b| b.put(&[0, 0, 0, 10]));
        Self { buffer, table: table.to_string(), set_id: 0 }
    }

    /// Ends the transaction; what it holds can be sent.
    pub fn finish(mut self) -> Buffer {
        self.buffer.message(BATCH_END, 0, 0, |b| b.put(&[0, 0, 0, 10]));
        self.buffer
    }

    fn message(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Buffer)) {
        self.buffer.message(SUBSYSTEM | kind, flags, 1, |b| {
            b.put(&header());
            b.string(1, &self.table);
            body(b);
        });
    }

    /// Makes the table, if it is not there.
    pub fn add_table(&mut self) {
        self.message(0, CREATE, |b| b.be32(2, 0));
    }

    /// Removes the table with all that is in it.
    pub fn delete_table(&mut self) {
        self.message(2, 0, |_| {});
    }

    /// Makes a chain, called by the kernel at `hook` or by other chains.
    pub fn add_chain(&mut self, name: &str, hook: Option<Hook>) {
        self.message(3, CREATE, |b| {
            b.string(3, name);
            if let Some(hook) = hook {
                b.nest(4, |b| {
                    b.be32(1, hook.number);
                    b.be32(2, hook.priority as u32);
                });
                b.string(7, hook.kind);
            }
        });
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &[Expr]) {
        self.message(6, CREATE | 0x800, |b| {
            b.string(2, chain);
            b.nest(4, |b| rule.iter().for_each(|expr| b.nest(1, |b| encode_expr(b, expr))));
        });
    }

    /// Makes a set.
    pub fn add_set(&mut self, set: &Set) {
        self.set_id += 1;
        let id = self.set_id;
        self.message(9, CREATE, |b| encode_set(b, set, id));
    }

    /// Adds elements to a set; keys as [`Field`]s in order, each padded to four bytes.
    pub fn add_elements(&mut self, set: &str, elements: impl IntoIterator<Item = (Vec<u8>, Datum)>) {
        self.elements(12, CREATE, set, elements);
    }

    /// Removes elements from a set.
    pub fn delete_elements(&mut self, set: &str, keys: impl IntoIterator<Item = Vec<u8>>) {
        self.elements(14, 0, set, keys.into_iter().map(|key| (key, Datum::None)));
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: impl IntoIterator<Item = (Vec<u8>, Datum)>) {
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            self.message(kind, flags, |b| {
                b.string(2, set);
                b.nest(3, |b| {
                    let start = b.len();
                    while b.len() - start < ELEMENT_BYTES {
                        let Some((key, datum)) = elements.next() else { break };
                        b.nest(1, |b| encode_element(b, &key, &datum));
                    }
                });
            });
        }
    }
}

/// The header behind every nfnetlink message of ours.
pub fn header() -> [u8; 4] {
    [FAMILY_INET4, 0, 0, 0]
}

/// The type of the message that asks for a table, and the one that dumps the elements of a set.
pub const GET_TABLE: u16 = SUBSYSTEM | 1;
/// Dumps the elements of a set.
pub const GET_ELEMENTS: u16 = SUBSYSTEM | 13;

fn encode_set(b: &mut Buffer, set: &Set, id: u32) {
    // Flags: map 8, timeout 0x10, filled by packets 0x20.
    let (flags, data) = match set.value {
        SetValue::None => (0, None),
        SetValue::Verdict => (8, Some((0xffff_ff00, 4))),
        SetValue::Endpoint => (8, Some((type_of(&[Field::Address, Field::Port]), 8))),
        SetValue::Remembered => (8 | 0x10 | 0x20, Some((type_of(&[Field::Address, Field::Port]), 8))),
    };
    b.string(2, set.name);
    b.be32(3, flags);
    b.be32(4, type_of(set.key));
    b.be32(5, 4 * set.key.len() as u32);
    if let Some((kind, length)) = data {
        b.be32(6, kind);
        b.be32(7, length);
    }
    b.be32(10, id);
}

/// The kernel does not look at types; the nft program shows elements by them (six bits a field).
fn type_of(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |kind, field| kind << 6 | *field as u32)
}

fn encode_element(b: &mut Buffer, key: &[u8], datum: &Datum) {
    b.nest(1, |b| b.attr(1, key));
    match datum {
        Datum::None => {}
        Datum::Verdict(verdict) => b.nest(2, |b| encode_verdict(b, verdict)),
        Datum::Bytes(bytes) => b.nest(2, |b| b.attr(1, bytes)),
    }
}

fn encode_verdict(b: &mut Buffer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    b.nest(2, |b| {
        b.be32(1, code as u32);
        if let Some(chain) = chain {
            b.string(2, chain);
        }
    });
}

fn encode_expr(b: &mut Buffer, expr: &Expr) {
    let name = match expr {
        Expr::Payload { .. } => "payload",
        Expr::Meta(..) | Expr::SetMark(_) => "meta",
        Expr::CtState(_) => "ct",
        Expr::FibDaddrType(_) => "fib",
        Expr::Load(..) | Expr::Verdict(_) => "immediate",
        Expr::Random(..) => "numgen",
        Expr::Bitwise(..) => "bitwise",
        Expr::Equal(..) | Expr::NotEqual(..) => "cmp",
        Expr::InSet(..) | Expr::Map(..) | Expr::VerdictMap(..) => "lookup",
        Expr::Remember { .. } => "dynset",
        Expr::Dnat(..) => "nat",
        Expr::Masquerade => "masq",
        Expr::Notrack => "notrack",
        Expr::Reject => "reject",
    };
    b.string(1, name);
    b.nest(2, |b| encode_expr_data(b, expr));
}

fn encode_expr_data(b: &mut Buffer, expr: &Expr) {
    match expr {
        Expr::Payload { base, offset, length, to } => {
            numbers(b, &[(1, *to), (2, if *base == Base::Network { 1 } else { 2 }), (3, *offset), (4, *length)]);
        }
        Expr::Meta(meta, to) => numbers(b, &[(1, *to), (2, meta.key())]),
        Expr::SetMark(from) => numbers(b, &[(2, Meta::Mark.key()), (3, *from)]),
        Expr::CtState(to) => numbers(b, &[(1, *to), (2, 0)]),
        Expr::FibDaddrType(to) => numbers(b, &[(1, *to), (2, 3), (3, 2)]),
        Expr::Load(to, bytes) => {
            b.be32(1, *to);
            b.nest(2, |b| b.attr(1, bytes));
        }
        Expr::Random(to, bound) => numbers(b, &[(1, *to), (2, *bound), (3, 1), (4, 0)]),
        Expr::Bitwise(register, mask, xor) => {
            numbers(b, &[(1, *register), (2, *register), (3, 4)]);
            b.nest(4, |b| b.attr(1, mask));
            b.nest(5, |b| b.attr(1, xor));
        }
        Expr::Equal(register, bytes) | Expr::NotEqual(register, bytes) => {
            numbers(b, &[(1, *register), (2, u32::from(matches!(expr, Expr::NotEqual(..))))]);
            b.nest(3, |b| b.attr(1, bytes));
        }
        Expr::InSet(set, key) => {
            b.string(1, set);
            b.be32(2, *key);
        }
        Expr::Map(set, key, to) => {
            b.string(1, set);
            numbers(b, &[(2, *key), (3, *to)]);
        }
        Expr::VerdictMap(set, key) => {
            b.string(1, set);
            numbers(b, &[(2, *key), (3, VERDICT_REGISTER)]);
        }
        Expr::Remember { set, key, value, seconds } => {
            b.string(1, set);
            // Operation 1: an element that is there lives on.
            numbers(b, &[(3, 1), (4, *key), (5, *value)]);
            b.attr(6, &(u64::from(*seconds) * 1000).to_be_bytes());
        }
        // Type 1: destination; family IPv4.
        Expr::Dnat(address, port) => numbers(b, &[(1, 1), (2, u32::from(FAMILY_INET4)), (3, *address), (5, *port)]),
        Expr::Masquerade | Expr::Notrack => {}
        Expr::Reject => {
            // ICMP unreachable, code 3: port.
            b.be32(1, 0);
            b.attr(2, &[3]);
        }
        Expr::Verdict(verdict) => {
            b.be32(1, VERDICT_REGISTER);
            b.nest(2, |b| encode_verdict(b, verdict));
        }
    }
}

fn numbers(b: &mut Buffer, values: &[(u16, u32)]) {
    for (kind, value) in values {
        b.be32(*kind, *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Batch), expected: &[u8]) {
        let mut batch = Batch::default();
        let start = batch.buffer.len();
        write(&mut batch);
        assert_eq!(&batch.buffer.as_bytes()[start..], expected);
    }

    #[test]
    #[rustfmt::skip]
    fn elements_are_bytes_the_kernel_reads() {
        check(|b| b.add_elements("s", [(vec![10, 96, 0, 1], Datum::Verdict(Verdict::Goto("lb2".into())))]), &[
            84, 0, 0, 0, 12, 10, 1, 4, 1, 0, 0, 0, 0, 0, 0, 0, // header: NEWSETELEM, REQUEST|CREATE
            2, 0, 0, 0, // family, version, resource
            12, 0, 1, 0, b'c', b'o', b'r', b'a', b'c', b'l', b'e', 0,
            6, 0, 2, 0, b's', 0, 0, 0,
            44, 0, 3, 0x80, 40, 0, 1, 0x80, // elements, one
            12, 0, 1, 0x80, 8, 0, 1, 0, 10, 96, 0, 1, // key
            24, 0, 2, 0x80, 20, 0, 2, 0x80, 8, 0, 1, 0, 255, 255, 255, 252, 8, 0, 2, 0, b'l', b'b', b'2', 0, // goto lb2
        ]);
    }

    #[test]
    fn many_elements_are_cut_into_messages_that_fit_an_attribute() {
        let mut batch = Batch::default();
        batch.add_elements("s", (0..5000u32).map(|n| (n.to_be_bytes().to_vec(), Datum::None)));
        let buffer = batch.finish();
        let mut rest = buffer.as_bytes();
        let mut lengths = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            lengths.push(length);
            rest = &rest[length..];
        }
        assert!(lengths.iter().all(|l| *l < 1 << 16) && lengths.len() == 5, "{lengths:?}");
    }
}
