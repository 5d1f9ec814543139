//! The formats of strings that Kubernetes checks. Others say something to people only.
//!
//! Source: apiextensions-apiserver `pkg/apiserver/validation/formats.go`, kube-openapi `pkg/validation/strfmt`.

use base64::Engine;
use coracle_api::validation;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A format: its name without dashes, and whether a text has it.
type Format = (&'static str, fn(&str) -> bool);

const FORMATS: &[Format] = &[
    ("bsonobjectid", |s| s.len() == 24 && hex(s)),
    ("uri", uri),
    ("email", email),
    ("hostname", hostname),
    ("ipv4", |s| s.parse::<Ipv4Addr>().is_ok()),
    ("ipv6", |s| s.parse::<Ipv6Addr>().is_ok()),
    ("cidr", cidr),
    ("mac", mac),
    ("uuid", |s| uuid(s, None)),
    ("uuid3", |s| uuid(s, Some('3'))),
    ("uuid4", |s| uuid(s, Some('4'))),
    ("uuid5", |s| uuid(s, Some('5'))),
    ("isbn", |s| isbn10(s) || isbn13(s)),
    ("isbn10", isbn10),
    ("isbn13", isbn13),
    ("creditcard", credit_card),
    ("ssn", ssn),
    ("hexcolor", |s| {
        let digits = s.strip_prefix('#').unwrap_or(s);
        matches!(digits.len(), 3 | 6) && hex(digits)
    }),
    ("rgbcolor", rgb),
    ("byte", |s| base64::engine::general_purpose::STANDARD.decode(s).is_ok()),
    ("password", |_| true),
    ("date", |s| s.len() == 10 && s.parse::<jiff::civil::Date>().is_ok()),
    ("duration", duration),
    ("datetime", date_time),
    ("k8sshortname", |s| validation::dns1123_label(s).is_empty()),
    ("k8slongname", |s| validation::dns1123_subdomain(s).is_empty()),
];

/// Whether a format of a value of type `kind` means anything here.
pub fn is_known(kind: &str, format: &str) -> bool {
    match kind {
        "" | "string" => find(format).is_some(),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

fn find(format: &str) -> Option<fn(&str) -> bool> {
    let name = format.replace('-', "");
    FORMATS.iter().find(|(known, _)| *known == name).map(|(_, check)| *check)
}

/// Whether a text has a format; true for formats that are not known.
pub(crate) fn has(format: &str, text: &str) -> bool {
    find(format).is_none_or(|check| check(text))
}

fn hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Go's `url.ParseRequestURI`: absolute, or a path from the root.
fn uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !rest.is_empty()
    })
}

fn email(text: &str) -> bool {
    // also `Name <address>`
    let address = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(open), Some(head)) => head.get(open + 1..).unwrap_or_default(),
        _ => text,
    };
    address.rsplit_once('@').is_some_and(|(local, domain)| {
        let atom = |part: &str, extra: &[u8]| {
            !part.is_empty()
                && part.split('.').all(|word| {
                    !word.is_empty()
                        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b >= 0x80 || extra.contains(&b))
                })
        };
        let special = b"!#$%&'*+-/=?^_`{|}~";
        let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
        (quoted || atom(local, special)) && atom(domain, special)
    })
}

fn hostname(text: &str) -> bool {
    text.len() <= 255
        && text.split('.').all(|label| {
            let inner = |c: char| c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace());
            (1..=63).contains(&label.chars().count())
                && label.chars().all(|c| c == '-' || inner(c))
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        digits(bits) && bits.parse::<u32>().is_ok_and(|bits| bits <= most)
    })
}

fn mac(text: &str) -> bool {
    let bytes_of = |separator: char, width: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        parts.iter().all(|p| p.len() == width * 2 && hex(p)) && matches!(parts.len() * width, 6 | 8 | 20)
    };
    bytes_of(':', 1) || bytes_of('-', 1) || bytes_of('.', 2)
}

/// Eight, four, four, four and twelve digits, dashes between them or not.
fn uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    let mut parts = Vec::new();
    for (i, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some(part) = rest.get(..length).filter(|p| hex(p)) else { return false };
        parts.push(part);
        rest = &rest[length..];
    }
    let variant = |part: &str| part.starts_with(['8', '9', 'a', 'b', 'A', 'B']);
    rest.is_empty()
        && match version {
            None => true,
            Some('3') => parts[2].starts_with('3'),
            Some(version) => parts[2].starts_with(version) && variant(parts[3]),
        }
}

fn bare_isbn(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn isbn10(text: &str) -> bool {
    let text = bare_isbn(text);
    let values: Option<Vec<u32>> = text
        .chars()
        .enumerate()
        .map(|(i, c)| if i == 9 && matches!(c, 'X' | 'x') { Some(10) } else { c.to_digit(10) })
        .collect();
    values.is_some_and(|v| v.len() == 10 && v.iter().zip(1..).map(|(v, i)| v * i).sum::<u32>().is_multiple_of(11))
}

fn isbn13(text: &str) -> bool {
    let text = bare_isbn(text);
    let values: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(10)).collect();
    values.is_some_and(|v| {
        let sum: u32 = v.iter().enumerate().map(|(i, v)| if i % 2 == 0 { *v } else { v * 3 }).sum();
        v.len() == 13 && sum.is_multiple_of(10)
    })
}

fn credit_card(text: &str) -> bool {
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| number.starts_with(p));
    let known = match number.len() {
        13 => starts(&["4"]),
        14 => starts(&["300", "301", "302", "303", "304", "305", "36", "38"]),
        15 => starts(&["34", "37", "2131", "1800"]),
        16 => starts(&["4", "51", "52", "53", "54", "55", "6011", "65", "35"]),
        _ => false,
    };
    let luhn: u32 = number
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(i, d)| if i % 2 == 0 { d } else { d * 2 / 10 + d * 2 % 10 })
        .sum();
    known && luhn.is_multiple_of(10)
}

fn ssn(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    plain.len() == 9 && digits(&plain) && text.len() <= 11
}

fn rgb(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|t| t.strip_suffix(')'));
    inner.is_some_and(|inner| {
        let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
        parts.len() == 3 && parts.iter().all(|p| digits(p) && p.parse::<u8>().is_ok())
    })
}

/// Go's durations (`1h30m`), and one number with a word (`2 days`).
fn duration(text: &str) -> bool {
    const UNITS: &[&str] = &["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "m", "h"];
    const WORDS: &[&str] = &[
        "ns",
        "nano",
        "us",
        "\u{b5}s",
        "micro",
        "microsecond",
        "ms",
        "milli",
        "millisecond",
        "s",
        "sec",
        "second",
        "m",
        "min",
        "minute",
        "h",
        "hr",
        "hour",
        "d",
        "day",
        "w",
        "wk",
        "week",
    ];
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return true;
    }
    let mut rest = unsigned;
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = number.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.');
        let (amount, name) = (&rest[..rest.len() - number.len()], &number[..number.len() - unit.len()]);
        let trimmed = name.trim();
        let plural = trimmed.strip_suffix('s').unwrap_or(trimmed);
        if !amount.bytes().any(|b| b.is_ascii_digit())
            || !(UNITS.contains(&name) || WORDS.contains(&trimmed) || WORDS.contains(&plural))
        {
            return false;
        }
        rest = unit;
        parts += 1;
    }
    parts > 0
}

/// RFC 3339, with or without a colon in the offset.
fn date_time(text: &str) -> bool {
    text.len() >= 20
        && text.is_ascii()
        && matches!(text.as_bytes()[10], b'T' | b't')
        && !text.contains('[')
        && text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_formats_or_not() {
        for (format, good, bad) in [
            ("date-time", vec!["2014-12-15T19:30:20.000Z", "2026-01-01T00:00:00+01:00"], vec!["2014-12-15", "x"]),
            ("date", vec!["2006-01-02"], vec!["2006-13-02", "20060102"]),
            ("duration", vec!["1h30m", "5s", "1.5h", "2 days", "3w"], vec!["", "5", "5 parsecs"]),
            ("email", vec!["a@b.c", "A B <a@b.c>"], vec!["a", "a@", "@b"]),
            ("hostname", vec!["a.b-c", "localhost"], vec!["-a", "a..b", ""]),
            ("ipv4", vec!["10.0.0.1"], vec!["10.0.0", "::1"]),
            ("ipv6", vec!["::1"], vec!["10.0.0.1"]),
            ("cidr", vec!["10.0.0.0/8", "fd00::/8"], vec!["10.0.0.0/33", "10.0.0.0"]),
            ("mac", vec!["01:02:03:04:05:06", "0102.0304.0506"], vec!["01:02"]),
            ("uri", vec!["http://a/b", "/a"], vec!["a", ""]),
            ("uuid", vec!["123e4567-e89b-12d3-a456-426655440000"], vec!["123e4567"]),
            ("uuid4", vec!["123e4567-e89b-42d3-a456-426655440000"], vec!["123e4567-e89b-12d3-a456-426655440000"]),
            ("byte", vec!["aGVsbG8="], vec!["@"]),
            ("hexcolor", vec!["#FFF", "abcdef"], vec!["#FFFF"]),
            ("rgbcolor", vec!["rgb(1, 2, 255)"], vec!["rgb(1,2,256)"]),
            ("isbn10", vec!["0321751043"], vec!["0321751044"]),
            ("isbn13", vec!["978-0321751041"], vec!["978-0321751042"]),
            ("creditcard", vec!["4111 1111 1111 1111"], vec!["4111 1111 1111 1112"]),
            ("ssn", vec!["111-11-1111"], vec!["999 99 999(", "1"]),
            ("bsonobjectid", vec!["507f1f77bcf86cd799439011"], vec!["507f"]),
            ("k8s-short-name", vec!["a-b"], vec!["A"]),
            ("some-other", vec!["anything"], vec![]),
        ] {
            good.iter().for_each(|text| assert!(has(format, text), "{format} {text}"));
            bad.iter().for_each(|text| assert!(!has(format, text), "{format} {text}"));
        }
    }
}
