//! What the controllers need to know of the cluster beside its objects.

use coracle_pki::Pki;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// Facts of one cluster.
#[derive(Clone)]
pub struct ClusterSettings {
    /// The cluster's authority: certificates are signed with it, and every namespace gets its certificate.
    pub pki: Arc<Pki>,
    /// Where pods get their addresses from.
    pub pods: PodRange,
}

impl ClusterSettings {
    /// `cluster_cidr`: `a.b.c.d/n`.
    ///
    /// # Errors
    /// When `cluster_cidr` is no IPv4 range with room for at least one node.
    pub fn new(pki: Arc<Pki>, cluster_cidr: &str) -> Result<Self, String> {
        Ok(Self { pki, pods: PodRange::parse(cluster_cidr)? })
    }
}

/// A range of pod addresses, cut into one piece for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodRange {
    first: u32,
    prefix: u8,
}

impl PodRange {
    /// Addresses that a node gets: 254 pods and its bridge.
    pub const NODE_PREFIX: u8 = 24;

    /// Reads `a.b.c.d/n`.
    ///
    /// # Errors
    /// When it is not of that form, or smaller than one node's piece.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').ok_or_else(|| format!("{text:?} is not of the form a.b.c.d/n"))?;
        let address: IpAddr = address.parse().map_err(|e| format!("{text:?}: {e}"))?;
        let prefix: u8 = prefix.parse().map_err(|e| format!("{text:?}: {e}"))?;
        let IpAddr::V4(address) = address else { return Err(format!("{text:?}: pods have IPv4 addresses")) };
        if prefix == 0 || prefix > Self::NODE_PREFIX {
            return Err(format!("{text:?}: every node needs a /{} of it", Self::NODE_PREFIX));
        }
        let mask = u32::MAX << (32 - prefix);
        Ok(Self { first: u32::from(address) & mask, prefix })
    }

    /// For how many nodes it is.
    pub fn count(&self) -> u32 {
        1 << (Self::NODE_PREFIX - self.prefix)
    }

    /// The piece with number `index`.
    pub fn piece(&self, index: u32) -> String {
        let first = self.first + (index << (32 - Self::NODE_PREFIX));
        format!("{}/{}", Ipv4Addr::from(first), Self::NODE_PREFIX)
    }

    /// Which pieces a node's range takes; none if it lies elsewhere.
    pub fn pieces_of(&self, cidr: &str) -> std::ops::Range<u32> {
        let Some((address, prefix)) = cidr.split_once('/') else { return 0..0 };
        let (Ok(address), Ok(prefix)) = (address.parse::<Ipv4Addr>(), prefix.parse::<u8>()) else { return 0..0 };
        let Some(offset) = u32::from(address).checked_sub(self.first) else { return 0..0 };
        let from = offset >> (32 - Self::NODE_PREFIX);
        let length = 1u32.checked_shl(u32::from(Self::NODE_PREFIX.saturating_sub(prefix))).unwrap_or(u32::MAX);
        from.min(self.count())..from.saturating_add(length).min(self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |cidr: &str, wanted: Result<(u32, &str), &str>| match (PodRange::parse(cidr), wanted) {
            (Ok(range), Ok((count, last))) => {
                assert_eq!((range.count(), range.piece(count - 1).as_str()), (count, last), "{cidr}");
                assert_eq!(range.pieces_of(last), count - 1..count, "{cidr}");
                assert!(range.pieces_of("192.0.2.0/24").is_empty(), "{cidr}");
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{cidr}: {error}"),
            (found, _) => panic!("{cidr}: {found:?}"),
        };
        check("10.244.0.0/16", Ok((256, "10.244.255.0/24")));
        check("10.244.9.0/24", Ok((1, "10.244.9.0/24")));
        check("10.244.9.7/23", Ok((2, "10.244.9.0/24")));
        check("10.244.0.0/25", Err("every node needs"));
        check("fd00::/48", Err("IPv4"));
        check("10.244.0.0", Err("of the form"));
    }
}
