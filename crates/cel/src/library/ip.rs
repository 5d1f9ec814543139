//! Addresses.

use super::{Entry, Opaque, entry, strings::text};
use crate::{
    cost::{Cost, ONE},
    fault::{Fault, Result},
    value::Value,
};
use std::net::IpAddr;

pub(super) fn entries() -> Vec<Entry> {
    let question = |name: &str, id: &str, eval: super::Eval| {
        entry(format!("ip_{id}"), format!("net.IP.{name}() -> bool"), ONE, eval)
    };
    vec![
        entry("string_to_ip", "ip(string) -> net.IP", Cost::Parse, |args| {
            Ok(Value::Opaque(Opaque::Ip(parse(text(args, 0)?)?)))
        }),
        entry("is_ip", "isIP(string) -> bool", Cost::Parse, |args| Ok(Value::Bool(parse(text(args, 0)?).is_ok()))),
        entry("ip_is_canonical", "ip.isCanonical(string) -> bool", Cost::ParseTwice, |args| {
            let text = text(args, 0)?;
            Ok(Value::Bool(parse(text)?.to_string() == text))
        }),
        entry("ip_family", "net.IP.family() -> int", ONE, |args| {
            Ok(Value::Int(if address(args, 0)?.is_ipv4() { 4 } else { 6 }))
        }),
        question("isUnspecified", "is_unspecified", |args| Ok(Value::Bool(address(args, 0)?.is_unspecified()))),
        question("isLoopback", "is_loopback", |args| Ok(Value::Bool(address(args, 0)?.is_loopback()))),
        question("isLinkLocalMulticast", "is_link_local_multicast", |args| {
            Ok(Value::Bool(match address(args, 0)? {
                IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
                IpAddr::V6(ip) => ip.octets()[0] == 0xff && ip.octets()[1] & 0x0f == 0x02,
            }))
        }),
        question("isLinkLocalUnicast", "is_link_local_unicast", |args| {
            Ok(Value::Bool(is_link_local(address(args, 0)?)))
        }),
        question("isGlobalUnicast", "is_global_unicast", |args| {
            let ip = address(args, 0)?;
            let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            Ok(Value::Bool(
                !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !is_link_local(ip) && !broadcast,
            ))
        }),
    ]
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

pub(super) fn address(args: &[Value<'_>], at: usize) -> Result<IpAddr> {
    match args.get(at) {
        Some(Value::Opaque(Opaque::Ip(ip))) => Ok(*ip),
        _ => Err(Fault::NoSuchOverload),
    }
}

/// How many bytes an address has.
pub(super) fn bytes(ip: IpAddr) -> u64 {
    if ip.is_ipv4() { 4 } else { 16 }
}

pub(super) fn parse(text: &str) -> Result<IpAddr> {
    if text.contains('%') && text.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Err(Fault::other(format!("IP address {text:?} with zone value is not allowed")));
    }
    let ip: IpAddr = text.parse().map_err(|_| {
        let why = problem(text);
        Fault::other(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): {why}"
        ))
    })?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(Fault::other(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        ip => Ok(ip),
    }
}

/// Why a text is no address, as Go says it.
fn problem(text: &str) -> &'static str {
    if text.contains(':') || !text.contains('.') {
        return "unable to parse IP";
    }
    let fields: Vec<&str> = text.split('.').collect();
    let wrong_field = fields.iter().find_map(|field| match *field {
        "" => Some("IPv4 field must have at least one digit"),
        f if !f.bytes().all(|b| b.is_ascii_digit()) => Some("unexpected character"),
        f if f.len() > 1 && f.starts_with('0') => Some("IPv4 field has octet with leading zero"),
        f if f.len() > 3 || f.parse::<u16>().is_ok_and(|n| n > 255) => Some("IPv4 field has value >255"),
        _ => None,
    });
    wrong_field.unwrap_or(if fields.len() > 4 { "IPv4 address too long" } else { "IPv4 address too short" })
}
