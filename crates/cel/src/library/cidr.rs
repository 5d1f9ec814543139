//! Ranges of addresses.

use super::{
    Entry, Opaque, entry,
    ip::{self, address},
    strings::text,
};
use crate::{
    cost::{Cost, ONE},
    fault::{Fault, Result},
    value::Value,
};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A range: an address within it, and how many bits all its addresses share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub ip: IpAddr,
    /// The shared bits.
    pub bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

impl Cidr {
    fn contains(&self, ip: IpAddr) -> bool {
        self.ip.is_ipv4() == ip.is_ipv4() && mask(self.ip, self.bits) == mask(ip, self.bits)
    }
}

fn mask(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    vec![
        entry("string_to_cidr", "cidr(string) -> net.CIDR", Cost::Parse, |args| {
            Ok(Value::Opaque(Opaque::Cidr(parse(text(args, 0)?)?)))
        }),
        entry("is_cidr", "isCIDR(string) -> bool", Cost::Parse, |args| Ok(Value::Bool(parse(text(args, 0)?).is_ok()))),
        entry(
            "cidr_contains_ip_string",
            "net.CIDR.containsIP(string) -> bool",
            Cost::ContainsIp { text: true },
            |args| Ok(Value::Bool(range(args, 0)?.contains(ip::parse(text(args, 1)?)?))),
        ),
        entry("cidr_contains_ip_ip", "net.CIDR.containsIP(net.IP) -> bool", Cost::ContainsIp { text: false }, |args| {
            Ok(Value::Bool(range(args, 0)?.contains(address(args, 1)?)))
        }),
        entry(
            "cidr_contains_cidr_string",
            "net.CIDR.containsCIDR(string) -> bool",
            Cost::ContainsCidr { text: true },
            |args| Ok(Value::Bool(has_range(range(args, 0)?, parse(text(args, 1)?)?))),
        ),
        entry(
            "cidr_contains_cidr",
            "net.CIDR.containsCIDR(net.CIDR) -> bool",
            Cost::ContainsCidr { text: false },
            |args| Ok(Value::Bool(has_range(range(args, 0)?, range(args, 1)?))),
        ),
        entry("cidr_ip", "net.CIDR.ip() -> net.IP", ONE, |args| Ok(Value::Opaque(Opaque::Ip(range(args, 0)?.ip)))),
        entry("cidr_prefix_length", "net.CIDR.prefixLength() -> int", ONE, |args| {
            Ok(Value::Int(i64::from(range(args, 0)?.bits)))
        }),
        entry("cidr_masked", "net.CIDR.masked() -> net.CIDR", ONE, |args| {
            let cidr = range(args, 0)?;
            Ok(Value::Opaque(Opaque::Cidr(Cidr { ip: mask(cidr.ip, cidr.bits), ..cidr })))
        }),
    ]
}

fn has_range(outer: Cidr, inner: Cidr) -> bool {
    outer.bits <= inner.bits && outer.contains(inner.ip)
}

fn range(args: &[Value<'_>], at: usize) -> Result<Cidr> {
    match args.get(at) {
        Some(Value::Opaque(Opaque::Cidr(cidr))) => Ok(*cidr),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn parse(text: &str) -> Result<Cidr> {
    let wrong = |why: &str| {
        Fault::other(format!(
            "network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}"
        ))
    };
    let (ip, bits) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    let ip: IpAddr = ip.parse().map_err(|_| wrong(&format!("ParseAddr({ip:?}): unable to parse IP")))?;
    if matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Err(Fault::other(format!(
            "network address parse error during conversion from string: IPv4-mapped IPv6 address {text:?} is not allowed"
        )));
    }
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    let number: u8 =
        bits.parse().ok().filter(|_| plain).ok_or_else(|| wrong(&format!("bad bits after slash: {bits:?}")))?;
    if number > if ip.is_ipv4() { 32 } else { 128 } {
        return Err(wrong("prefix length out of range"));
    }
    Ok(Cidr { ip, bits: number })
}
