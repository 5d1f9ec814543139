//! The link between the nodes of one machine: a bridge in the machine's own namespace, a pair of links to each node's namespace, and
//! masquerade for what leaves towards the world.

use crate::{
    Cidr, Error, Result,
    links::{Kind, Links, Route, Scope},
    netlink::{Socket, kernel},
    nft::{Batch, Hook},
    node::{hash, inside, set_sysctl},
    table,
};
use nix::sys::socket::SockProtocol;
use std::{fs::File, net::Ipv4Addr, os::fd::AsRawFd, path::Path};

/// A node's end of its link.
const NODE_LINK: &str = "eth0";
const MTU: u32 = 1500;

/// The link between the nodes of one cluster on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fabric {
    cluster: String,
    subnet: Cidr,
}

impl Fabric {
    /// The fabric of a cluster that was made before.
    pub fn named(cluster: &str, subnet: (Ipv4Addr, u8)) -> Self {
        Self { cluster: cluster.to_string(), subnet: Cidr { address: subnet.0, prefix: subnet.1 } }
    }

    /// Makes bridge, forwarding and masquerade, with the first address of `subnet` (or of a free /24 of 10.89.0.0/16) on the bridge.
    /// What is there already stays.
    ///
    /// # Errors
    /// When the kernel refuses, the range is taken by another link, or no range is free.
    pub async fn create(cluster: &str, subnet: Option<(Ipv4Addr, u8)>) -> Result<Self> {
        let cluster = cluster.to_string();
        on_thread(move || {
            let mut links = Links::open()?;
            let bridge = bridge_name(&cluster);
            let own = links.find(&bridge)?.map(|link| link.index);
            let taken: Vec<Cidr> = links
                .addresses()?
                .into_iter()
                .filter(|(link, ..)| Some(*link) != own)
                .map(|(_, address, prefix)| Cidr { address, prefix })
                .collect();
            let subnet = match subnet {
                Some((address, prefix)) => Cidr { address, prefix },
                None => free_subnet(&taken)?,
            };
            if let Some(other) = taken.iter().find(|other| overlap(**other, subnet)) {
                return Err(Error::Config(format!(
                    "the range {subnet} of the nodes overlaps {other} of this machine: choose another"
                )));
            }
            let fabric = Self { cluster, subnet };
            fabric.set_up(&mut links)?;
            Ok(fabric)
        })
        .await
    }

    /// Network address and prefix length of the range.
    pub fn subnet(&self) -> (Ipv4Addr, u8) {
        (self.subnet.nth(0), self.subnet.prefix)
    }

    fn set_up(&self, links: &mut Links) -> Result<()> {
        set_sysctl("net/ipv4/ip_forward", "1")?;
        let bridge = bridge_name(&self.cluster);
        let [_, _, c, d] = self.subnet.nth(1).octets();
        links.add(&bridge, MTU, Kind::Bridge { mac: [0x02, 0xc0, 0, 0, c, d] })?;
        let link = links.find(&bridge)?.ok_or_else(|| Error::Config(format!("{bridge} vanished")))?;
        links.add_address(
            link.index,
            Cidr { address: self.subnet.nth(1), prefix: self.subnet.prefix },
            Scope::Global,
        )?;
        links.set_up(link.index)?;
        let mut batch = Batch::of(&table_name(&self.cluster));
        batch.add_table();
        batch.delete_table();
        batch.add_table();
        batch.add_chain("postrouting", Some(Hook { kind: "nat", number: 4, priority: 100 }));
        batch.add_rule("postrouting", &table::masquerade_leaving(self.subnet));
        self.send(batch, "set the masquerade of the nodes")
    }

    fn send(&self, batch: Batch, what: &str) -> Result<()> {
        Socket::open(SockProtocol::NetlinkNetFilter)?.transact(&batch.finish()).map_err(|e| kernel(what, e))
    }

    /// Links a node's namespace and gives it `address`. Repeating it changes nothing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn connect(&self, node: &str, netns: &Path, address: Ipv4Addr) -> Result<()> {
        let (this, node, netns) = (self.clone(), node.to_string(), netns.to_owned());
        on_thread(move || {
            let namespace = File::open(&netns).map_err(|source| Error::Kernel {
                what: format!("open network namespace {}", netns.display()),
                source,
            })?;
            let mut links = Links::open()?;
            let bridge = bridge_name(&this.cluster);
            let master =
                links.find(&bridge)?.ok_or_else(|| Error::Config(format!("the bridge {bridge} is gone")))?.index;
            let name = this.node_link(&node);
            let there = inside(&namespace, || Links::open()?.find(NODE_LINK))?.is_some();
            if !there {
                // half of a pair whose other end is gone with its namespace
                links.delete(&name)?;
                let [a, b, c, d] = address.octets();
                let mac = [0x02, 0xc3, a, b, c, d];
                links.add(&name, MTU, Kind::Veth { master, peer: NODE_LINK, mac, netns: namespace.as_raw_fd() })?;
            }
            inside(&namespace, || {
                let mut links = Links::open()?;
                if let Some(lo) = links.find("lo")? {
                    links.set_up(lo.index)?;
                }
                let link = links.find(NODE_LINK)?.ok_or_else(|| Error::Config(format!("{NODE_LINK} vanished")))?.index;
                links.add_address(link, Cidr { address, prefix: this.subnet.prefix }, Scope::Global)?;
                links.set_up(link)?;
                let everywhere = Cidr { address: Ipv4Addr::UNSPECIFIED, prefix: 0 };
                links.replace_route(Route { to: everywhere, via: Some(this.subnet.nth(1)), link })
            })
        })
        .await
    }

    /// Removes a node's link. Not an error if there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn disconnect(&self, node: &str) -> Result<()> {
        let name = self.node_link(node);
        on_thread(move || Links::open()?.delete(&name)).await
    }

    /// Removes bridge, links and rules. Not an error if there are none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove(&self) -> Result<()> {
        let this = self.clone();
        on_thread(move || {
            let mut links = Links::open()?;
            let bridge = bridge_name(&this.cluster);
            if let Some(master) = links.find(&bridge)?.map(|link| link.index) {
                for port in links.list()?.into_iter().filter(|link| link.master == master) {
                    links.delete(&port.name)?;
                }
            }
            links.delete(&bridge)?;
            let mut batch = Batch::of(&table_name(&this.cluster));
            batch.add_table();
            batch.delete_table();
            this.send(batch, "remove the rules of the nodes")
        })
        .await
    }

    fn node_link(&self, node: &str) -> String {
        format!("coran{:010x}", hash(&format!("{}/{node}", self.cluster)) >> 24)
    }
}

fn bridge_name(cluster: &str) -> String {
    format!("corab{:010x}", hash(cluster) >> 24)
}

fn table_name(cluster: &str) -> String {
    format!("coracle-{:010x}", hash(cluster) >> 24)
}

fn overlap(a: Cidr, b: Cidr) -> bool {
    a.contains(b.nth(0)) || b.contains(a.nth(0))
}

fn free_subnet(taken: &[Cidr]) -> Result<Cidr> {
    (0..=255)
        .map(|n| Cidr { address: Ipv4Addr::new(10, 89, n, 0), prefix: 24 })
        .find(|candidate| !taken.iter().any(|t| overlap(*t, *candidate)))
        .ok_or_else(|| Error::NoAddress("10.89.0.0/16".into()))
}

/// Netlink calls are short, but they block.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Config("the work on the links was ended".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_no_link_has() {
        let taken: Vec<Cidr> =
            ["10.89.0.1/24", "10.89.1.7/32", "192.168.0.5/16"].iter().map(|c| c.parse().unwrap()).collect();
        assert_eq!(free_subnet(&taken).unwrap().to_string(), "10.89.2.0/24");
        assert!(free_subnet(&["10.0.0.1/8".parse().unwrap()]).is_err());
    }

    #[test]
    fn names_fit() {
        let fabric = Fabric::named("a-very-long-name-of-a-cluster", (Ipv4Addr::new(10, 89, 0, 0), 24));
        assert!(bridge_name("a-very-long-name-of-a-cluster").len() <= 15 && fabric.node_link("node-1").len() <= 15);
    }
}
