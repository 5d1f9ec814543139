//! Distinguished Encoding Rules, as far as writing certificates and signing requests needs them.

use jiff::{Timestamp, tz::TimeZone};

/// Object identifiers, already encoded.
pub mod oid {
    /// ecdsa-with-SHA256.
    pub const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    /// id-ecPublicKey.
    pub const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    /// prime256v1.
    pub const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    /// commonName.
    pub const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    /// organizationName.
    pub const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
    /// subjectKeyIdentifier.
    pub const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
    /// keyUsage.
    pub const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
    /// subjectAltName.
    pub const ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    /// basicConstraints.
    pub const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    /// authorityKeyIdentifier.
    pub const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
    /// extKeyUsage.
    pub const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
    /// pkcs-9 extensionRequest.
    pub const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
    /// id-kp, to which the last arc is added.
    pub const KEY_PURPOSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];
}

/// A tag, a length and the parts one after another.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[length.leading_zeros() as usize / 8..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// SEQUENCE.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

/// SET of one element (so that order is no question).
pub fn set(element: &[u8]) -> Vec<u8> {
    tlv(0x31, &[element])
}

/// OBJECT IDENTIFIER.
pub fn object_id(encoded: &[u8]) -> Vec<u8> {
    tlv(0x06, &[encoded])
}

/// OCTET STRING.
pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, &[content])
}

/// BIT STRING of whole bytes.
pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content])
}

/// BIT STRING of named bits: bit 0 is the highest one of `flags`; trailing zeros are left out, as DER demands.
pub fn named_bits(flags: u16) -> Vec<u8> {
    let [high, low] = flags.to_be_bytes();
    match (high, low) {
        (0, 0) => tlv(0x03, &[&[0]]),
        (high, 0) => tlv(0x03, &[&[high.trailing_zeros() as u8, high]]),
        (high, low) => tlv(0x03, &[&[low.trailing_zeros() as u8, high, low]]),
    }
}

/// INTEGER from unsigned big-endian bytes.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let bytes = &bytes[zeros..];
    if bytes.first().is_none_or(|b| *b >= 0x80) { tlv(0x02, &[&[0], bytes]) } else { tlv(0x02, &[bytes]) }
}

/// UTF8String.
pub fn text(text: &str) -> Vec<u8> {
    tlv(0x0c, &[text.as_bytes()])
}

/// Time: UTCTime before 2050, GeneralizedTime from then on (RFC 5280).
pub fn time(at: Timestamp) -> Vec<u8> {
    let at = at.to_zoned(TimeZone::UTC);
    if at.year() < 2050 {
        tlv(0x17, &[at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()])
    } else {
        tlv(0x18, &[at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
    }
}

/// An extension of a certificate or a request.
pub fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    sequence(&[&object_id(id), flag, &octets(value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_follow_the_rules() {
        for (found, wanted) in [
            (sequence(&[]), "3000"),
            (unsigned(&[0, 0]), "020100"),
            (unsigned(&[0x7f]), "02017f"),
            (unsigned(&[0, 0x80]), "02020080"),
            (named_bits(0), "030100"),
            (named_bits(0b1000_0000_0000_0000), "03020780"),
            (named_bits(0b1010_0000_0000_0000), "030205a0"),
            (named_bits(0b0000_0110_0000_0000), "03020106"),
            (named_bits(0b1000_0000_1000_0000), "0303078080"),
            (text("é"), "0c02c3a9"),
            (time("2049-12-31T23:59:59Z".parse().unwrap()), "170d3439313233313233353935395a"),
            (time("2050-01-01T00:00:00Z".parse().unwrap()), "180f32303530303130313030303030305a"),
        ] {
            assert_eq!(hex::encode(found), wanted);
        }
        assert_eq!(tlv(4, &[&[7; 200]])[..3], [4, 0x81, 200]);
        assert_eq!(tlv(4, &[&[7; 300]])[..4], [4, 0x82, 1, 44]);
    }
}
