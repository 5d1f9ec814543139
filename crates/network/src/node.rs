//! The node's network: applies what the other modules decide.
//!
//! All work runs on one thread of its own. The thread stays in the network namespace that [`NodeNetwork::open`] was called in, whatever the async runtime's
//! threads do, and operations cannot overtake each other.

use crate::{
    Cidr, Error, Network, NodeConfig, Peer, Result, Services,
    addresses::Addresses,
    conntrack::{self, Expected},
    links::{Kind, Links, Mac, Neighbour, Route, Scope},
    netlink::{Socket, attribute, kernel},
    nft::{self, Batch},
    rules::{self, Command, Desired, Element},
    table,
};
use async_trait::async_trait;
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::socket::SockProtocol,
};
use std::{
    collections::HashSet,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    os::fd::AsRawFd,
    path::Path,
    sync::mpsc,
    thread,
};
use tokio::sync::oneshot;

/// The bridge that the node's pods are plugged into.
pub const BRIDGE: &str = "cora-br";
/// The end of the overlay.
pub const TUNNEL: &str = "cora-vx";
/// What the link is called inside a pod.
const POD_LINK: &str = "eth0";
const VNI: u32 = 1;
/// Outer Ethernet, IP, UDP and VXLAN headers.
const TUNNEL_OVERHEAD: u32 = 50;

type Job = Box<dyn FnOnce(&mut Node) + Send>;

/// The network of the node whose namespace the caller of [`NodeNetwork::open`] is in.
#[derive(Clone)]
pub struct NodeNetwork {
    jobs: mpsc::Sender<Job>,
}

impl std::fmt::Debug for NodeNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeNetwork")
    }
}

impl NodeNetwork {
    /// Sets the node up: forwarding, bridge, base rules. What an earlier process left is taken over; running pods notice nothing.
    ///
    /// # Errors
    /// If `node_ip` is on no link, if CAP_NET_ADMIN is missing, or if the kernel lacks bridges or nftables.
    pub fn open(config: NodeConfig) -> Result<Self> {
        let (jobs, receiver) = mpsc::channel::<Job>();
        let (ready, opened) = mpsc::channel();
        let work = move || {
            let mut node = match Node::open(config) {
                Ok(node) => node,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(()));
            while let Ok(job) = receiver.recv() {
                job(&mut node);
            }
        };
        thread::Builder::new()
            .name("network".into())
            .spawn(work)
            .map_err(|source| Error::Kernel { what: "start a thread".into(), source })?;
        opened.recv().map_err(|_| gone())??;
        Ok(Self { jobs })
    }

    /// Makes the node answer to a service address itself, such as the cluster's DNS address: it can then be listened on, and no rule touches it.
    pub async fn add_local_address(&self, address: Ipv4Addr) -> Result<()> {
        self.run(move |node| node.add_local_address(address)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Node) -> Result<T> + Send + 'static) -> Result<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |node| drop(done.send(work(node))));
        self.jobs.send(job).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::Config("the network's thread has ended: restart the agent".into())
}

#[async_trait]
impl Network for NodeNetwork {
    async fn attach_pod(&self, pod_uid: &str, netns: &Path) -> Result<IpAddr> {
        let (uid, netns) = (pod_uid.to_owned(), netns.to_owned());
        self.run(move |node| node.attach_pod(&uid, &netns).map(IpAddr::V4)).await
    }

    async fn detach_pod(&self, pod_uid: &str) -> Result<()> {
        let uid = pod_uid.to_owned();
        self.run(move |node| node.detach_pod(&uid)).await
    }

    async fn retain_pods(&self, pod_uids: &[String]) -> Result<()> {
        let keep: HashSet<String> = pod_uids.iter().cloned().collect();
        self.run(move |node| node.retain_pods(&keep)).await
    }

    async fn set_peers(&self, peers: &[Peer]) -> Result<()> {
        let peers = peers.to_vec();
        self.run(move |node| node.set_peers(&peers)).await
    }

    async fn set_services(&self, services: &Services) -> Result<()> {
        let desired = services.clone();
        self.run(move |node| node.set_services(&desired)).await
    }

    async fn remove(&self) -> Result<()> {
        self.run(Node::remove).await
    }
}

/// The link that carries the traffic between nodes.
struct Uplink {
    index: u32,
    mtu: u32,
    subnet: Cidr,
}

struct Node {
    config: NodeConfig,
    links: Links,
    rules: Socket,
    uplink: Uplink,
    bridge: u32,
    addresses: Addresses,
    local: Vec<Ipv4Addr>,
    /// What the kernel holds; none: not known, the next change replaces all.
    loaded: Option<Desired>,
    /// Whether a peer is reached through the overlay: then pods send smaller packets.
    overlay: bool,
}

impl Node {
    fn open(config: NodeConfig) -> Result<Self> {
        if config.pod_cidr.prefix > 30 {
            return Err(Error::Config(format!(
                "pod range {} is too small: give the node a /30 or larger",
                config.pod_cidr
            )));
        }
        let mut links = Links::open()?;
        let uplink = find_uplink(&mut links, config.node_ip)?;
        let addresses = Addresses::load(&config.state_dir, config.pod_cidr)?;
        set_sysctl("net/ipv4/ip_forward", "1")?;
        // A pod's gateway sends it back out of the link it came from; that is no reason to tell it a shorter way.
        set_sysctl("net/ipv4/conf/all/send_redirects", "0")?;
        let bridge = make_bridge(&mut links, &config, uplink.mtu)?;
        let rules = Socket::open(SockProtocol::NetlinkNetFilter)?;
        let overlay = links.find(TUNNEL)?.is_some();
        let mut node =
            Self { config, links, rules, uplink, bridge, addresses, local: Vec::new(), loaded: None, overlay };
        node.load_base()?;
        Ok(node)
    }

    /// An earlier process' rules serve on until the first [`Node::set_services`] replaces them; without any the base is loaded.
    fn load_base(&mut self) -> Result<()> {
        let exists = self.rules.request(nft::GET_TABLE, 0, |b| {
            b.put(&nft::header());
            b.string(1, nft::TABLE);
        });
        match exists {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) => self.load(Desired::default()),
            Err(errno) => Err(kernel("ask for the nftables table", errno)),
        }
    }

    fn fixed(&self) -> table::Fixed {
        table::Fixed {
            pod_cidr: self.config.pod_cidr,
            cluster_cidr: self.config.cluster_cidr,
            service_cidr: self.config.service_cidr,
            pods: self.addresses.iter().map(|(_, address)| address).collect(),
            local: self.local.clone(),
        }
    }

    fn load(&mut self, desired: Desired) -> Result<()> {
        let batch = table::replace(&self.fixed(), &desired);
        self.rules.transact(&batch.finish()).map_err(|errno| kernel(format!("load {}", table::name()), errno))?;
        self.loaded = Some(desired);
        Ok(())
    }

    /// A small change; if it does not fit what the kernel holds (somebody flushed the rules), everything is loaded anew.
    fn change(&mut self, write: impl FnOnce(&mut Batch)) -> Result<()> {
        let mut batch = Batch::default();
        write(&mut batch);
        let Err(errno) = self.rules.transact(&batch.finish()) else { return Ok(()) };
        tracing::warn!(%errno, "the node's rules are not as they were left: loading them anew");
        let desired = self.loaded.take().unwrap_or_default();
        self.load(desired)
    }

    fn add_local_address(&mut self, address: Ipv4Addr) -> Result<()> {
        self.links.add_address(self.bridge, Cidr { address, prefix: 32 }, Scope::Link)?;
        if self.local.contains(&address) {
            return Ok(());
        }
        self.local.push(address);
        self.change(|batch| table::add_local(batch, &[address]))
    }

    fn attach_pod(&mut self, uid: &str, netns: &Path) -> Result<Ipv4Addr> {
        let namespace = File::open(netns)
            .map_err(|source| Error::Kernel { what: format!("open network namespace {}", netns.display()), source })?;
        let known = self.addresses.get(uid).is_some();
        let address = self.addresses.give(uid)?;
        let name = link_name(uid);
        let mtu = if self.overlay { self.uplink.mtu - TUNNEL_OVERHEAD } else { self.uplink.mtu };
        let gateway = self.config.pod_cidr.nth(1);
        // Following from the address, it stays right in the neighbours' memory when the pod gets a new sandbox.
        let [a, b, c, d] = address.octets();
        let mac = [0x02, 0xc2, a, b, c, d];
        let kind = Kind::Veth { master: self.bridge, peer: POD_LINK, mac, netns: namespace.as_raw_fd() };
        if !self.links.add(&name, mtu, kind)? {
            if pod_has(&namespace, address)? {
                return Ok(address);
            }
            // A link to a sandbox that is gone, or that was half made.
            self.links.delete(&name)?;
            self.links.add(&name, mtu, kind)?;
        }
        if let Err(error) = configure_pod(&namespace, address, gateway) {
            self.links.delete(&name)?;
            return Err(error);
        }
        if !known {
            self.change(|batch| table::add_pods(batch, &[address]))?;
        }
        Ok(address)
    }

    fn detach_pod(&mut self, uid: &str) -> Result<()> {
        self.links.delete(&link_name(uid))?;
        if let Some(address) = self.addresses.take(uid)? {
            self.change(|batch| table::delete_pods(batch, &[address]))?;
        }
        Ok(())
    }

    fn retain_pods(&mut self, keep: &HashSet<String>) -> Result<()> {
        let gone: Vec<String> =
            self.addresses.iter().map(|(uid, _)| uid.to_owned()).filter(|uid| !keep.contains(uid)).collect();
        for uid in gone {
            self.detach_pod(&uid)?;
        }
        // A link without an address: its process ended between the two.
        let names: HashSet<String> = keep.iter().map(|uid| link_name(uid)).collect();
        for link in
            self.links.list()?.into_iter().filter(|link| link.master == self.bridge && !names.contains(&link.name))
        {
            self.links.delete(&link.name)?;
        }
        Ok(())
    }

    /// Peers on the node's own link get a route, the others the overlay. What is not wanted any more is found by looking at the kernel, not at memory.
    fn set_peers(&mut self, peers: &[Peer]) -> Result<()> {
        let (near, far): (Vec<&Peer>, Vec<&Peer>) = peers
            .iter()
            .filter(|peer| peer.node_ip != self.config.node_ip)
            .partition(|peer| self.uplink.subnet.contains(peer.node_ip));
        let mut routes: HashSet<Route> = near
            .iter()
            .map(|peer| Route { to: peer.pod_cidr, via: Some(peer.node_ip), link: self.uplink.index })
            .collect();
        routes.insert(Route { to: self.config.service_cidr, via: None, link: self.bridge });
        if !far.is_empty() {
            let tunnel = self.make_tunnel()?;
            self.set_neighbours(tunnel, &far)?;
            routes.extend(far.iter().map(|peer| Route {
                to: peer.pod_cidr,
                via: Some(peer.pod_cidr.nth(0)),
                link: tunnel,
            }));
        } else if let Some(tunnel) = self.links.find(TUNNEL)? {
            self.set_neighbours(tunnel.index, &[])?;
        }
        let there: HashSet<Route> = self.own_routes()?.into_iter().collect();
        for route in there.difference(&routes) {
            self.links.delete_route(*route)?;
        }
        for route in routes.difference(&there) {
            self.links.replace_route(*route)?;
        }
        Ok(())
    }

    /// Routes to pods and services; the way out of the node is the fabric's.
    fn own_routes(&mut self) -> Result<Vec<Route>> {
        Ok(self.links.routes()?.into_iter().filter(|route| route.to.prefix > 0).collect())
    }

    fn make_tunnel(&mut self) -> Result<u32> {
        let mac = tunnel_mac(self.config.node_ip);
        if self.links.find(TUNNEL)?.is_some_and(|link| link.mac != mac) {
            // The node's address changed.
            self.links.delete(TUNNEL)?;
        }
        let kind = Kind::Vxlan {
            vni: VNI,
            port: table::VXLAN_PORT,
            local: self.config.node_ip,
            under: self.uplink.index,
            mac,
        };
        self.links.add(TUNNEL, self.uplink.mtu - TUNNEL_OVERHEAD, kind)?;
        let tunnel =
            self.links.find(TUNNEL)?.ok_or_else(|| kernel(format!("find link {TUNNEL}"), Errno::ENODEV))?.index;
        // Masqueraded traffic into the overlay gets this source; peers route it back with the range.
        self.links.add_address(tunnel, Cidr { address: self.config.pod_cidr.nth(0), prefix: 32 }, Scope::Global)?;
        self.overlay = true;
        Ok(tunnel)
    }

    fn set_neighbours(&mut self, tunnel: u32, far: &[&Peer]) -> Result<()> {
        let wanted: HashSet<Neighbour> = far
            .iter()
            .flat_map(|peer| {
                let mac = tunnel_mac(peer.node_ip);
                [Neighbour::Address(peer.pod_cidr.nth(0), mac), Neighbour::Tunnel(peer.node_ip, mac)]
            })
            .collect();
        let there: HashSet<Neighbour> = self.links.neighbours(tunnel)?.into_iter().collect();
        for neighbour in there.difference(&wanted) {
            self.links.delete_neighbour(tunnel, *neighbour)?;
        }
        for neighbour in wanted.difference(&there) {
            self.links.replace_neighbour(tunnel, *neighbour)?;
        }
        Ok(())
    }

    fn set_services(&mut self, services: &Services) -> Result<()> {
        let mut desired = rules::plan(services, self.config.service_cidr);
        let Some(old) = self.loaded.take() else {
            self.load(desired)?;
            return self.forget_connections(None);
        };
        let commands = rules::diff(&old, &desired);
        if commands.is_empty() {
            self.loaded = Some(old);
            return Ok(());
        }
        // Chains stay in the kernel.
        desired.chains.extend(old.chains);
        self.loaded = Some(desired);
        let fixed = self.fixed();
        self.change(|batch| table::apply(batch, &fixed, &commands))?;
        self.forget_affinity(&commands)?;
        self.forget_connections(Some(&commands))
    }

    /// Clients whose remembered endpoint is gone choose anew.
    fn forget_affinity(&mut self, commands: &[Command]) -> Result<()> {
        let Some(desired) = &self.loaded else { return Ok(()) };
        if !desired.chains.iter().any(|balance| balance.affinity_seconds > 0)
            || !commands.iter().any(|c| matches!(c, Command::Delete(_)))
        {
            return Ok(());
        }
        let payloads = self
            .rules
            .dump(nft::GET_ELEMENTS, |b| {
                b.put(&nft::header());
                b.string(1, nft::TABLE);
                b.string(2, table::AFFINITY_SET);
            })
            .map_err(|errno| kernel("list remembered clients", errno))?;
        let mut stale = Vec::new();
        for element in
            payloads.iter().filter_map(|payload| attribute(payload.get(4..)?, 3)).flat_map(crate::netlink::attributes)
        {
            let part = |kind| attribute(attribute(element.1, kind)?, 1);
            let (Some(key), Some(value)) = (part(1), part(2)) else { continue };
            let Some((service, endpoint)) = table::parse_affinity(key, value) else { continue };
            let range = Element::Endpoint(service, 0)..=Element::Endpoint(service, u32::MAX);
            if !desired.elements.range(range).any(|(_, value)| *value == rules::Value::Endpoint(endpoint.0, endpoint.1))
            {
                stale.push(key.to_vec());
            }
        }
        // One by one: an entry that just ran out by itself is no reason to keep the others.
        for key in stale {
            let mut batch = Batch::default();
            table::delete_affinity(&mut batch, vec![key]);
            let _ = self.rules.transact(&batch.finish());
        }
        Ok(())
    }

    /// Tracked UDP connections to endpoints that are gone. `commands`: what changed; none: everything may have.
    fn forget_connections(&mut self, commands: Option<&[Command]>) -> Result<()> {
        let Some(desired) = &self.loaded else { return Ok(()) };
        let expected = match commands {
            None => Expected::new(desired.elements.keys(), desired),
            Some(commands) => {
                let changed = commands.iter().filter_map(|c| match c {
                    Command::AddChain(_) => None,
                    Command::Delete(element) | Command::Add(element, _) => Some(element),
                });
                Expected::new(changed, desired)
            }
        };
        if expected.is_empty() {
            return Ok(());
        }
        let node: HashSet<Ipv4Addr> = self
            .links
            .addresses()?
            .into_iter()
            .map(|(_, address, _)| address)
            .filter(|a| !self.local.contains(a))
            .collect();
        let local = &self.local;
        for entry in
            conntrack::list(&mut self.rules)?.iter().filter(|e| !local.contains(&e.to.0) && expected.stale(e, &node))
        {
            conntrack::delete(&mut self.rules, entry)?;
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.rules
            .transact(&table::remove().finish())
            .map_err(|errno| kernel(format!("remove {}", table::name()), errno))?;
        self.loaded = None;
        for link in self.links.list()?.into_iter().filter(|link| link.master == self.bridge) {
            self.links.delete(&link.name)?;
        }
        for route in self.own_routes()? {
            self.links.delete_route(route)?;
        }
        self.links.delete(TUNNEL)?;
        self.links.delete(BRIDGE)?;
        self.local.clear();
        self.addresses.remove()
    }
}

fn find_uplink(links: &mut Links, node_ip: Ipv4Addr) -> Result<Uplink> {
    let (index, _, prefix) =
        links.addresses()?.into_iter().find(|(_, address, _)| *address == node_ip).ok_or_else(|| {
            Error::Config(format!("no link of this node has the address {node_ip}: give one that it has"))
        })?;
    let mtu = links.list()?.into_iter().find(|link| link.index == index).map_or(1500, |link| link.mtu);
    // Loopback takes packets that no pod link could.
    Ok(Uplink { index, mtu: mtu.clamp(576, 9216), subnet: Cidr { address: node_ip, prefix } })
}

fn make_bridge(links: &mut Links, config: &NodeConfig, mtu: u32) -> Result<u32> {
    let gateway = config.pod_cidr.nth(1);
    let [a, b, c, d] = gateway.octets();
    links.add(BRIDGE, mtu, Kind::Bridge { mac: [0x02, 0xc0, a, b, c, d] })?;
    let bridge = links.find(BRIDGE)?.ok_or_else(|| kernel(format!("find link {BRIDGE}"), Errno::ENODEV))?.index;
    links.set_up(bridge)?;
    // Addresses of an earlier range.
    for (_, address, prefix) in links
        .addresses()?
        .into_iter()
        .filter(|(link, address, _)| *link == bridge && !config.service_cidr.contains(*address))
    {
        if (address, prefix) != (gateway, config.pod_cidr.prefix) {
            links.delete_address(bridge, Cidr { address, prefix })?;
        }
    }
    links.add_address(bridge, Cidr { address: gateway, prefix: config.pod_cidr.prefix }, Scope::Global)?;
    set_sysctl(&format!("net/ipv4/conf/{BRIDGE}/send_redirects"), "0")?;
    // Where the kernel has br_netfilter, it would turn packets around inside the bridge after their destination was rewritten, and drop those of a pod
    // that reaches itself. All of ours are routed, so the bridge need not look into them.
    if Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
        set_sysctl("net/bridge/bridge-nf-call-iptables", "0")?;
    }
    // Without any route the node itself could not even try a ClusterIP, and no rule would see its packet.
    links.replace_route(Route { to: config.service_cidr, via: None, link: bridge })?;
    Ok(bridge)
}

/// Inside the pod: loopback and link up, one address, everything through the gateway. A /32 makes pods of one node, too, talk through the node, where the
/// answers of services are translated back.
fn configure_pod(namespace: &File, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<()> {
    inside(namespace, || {
        let mut links = Links::open()?;
        let all = links.list()?;
        let index = |name: &str| all.iter().find(|link| link.name == name).map(|link| link.index);
        if let Some(loopback) = index("lo") {
            links.set_up(loopback)?;
        }
        let link = index(POD_LINK).ok_or_else(|| kernel(format!("find link {POD_LINK} of the pod"), Errno::ENODEV))?;
        links.add_address(link, Cidr { address, prefix: 32 }, Scope::Global)?;
        links.set_up(link)?;
        links.replace_route(Route { to: Cidr { address: gateway, prefix: 32 }, via: None, link })?;
        links.replace_route(Route { to: Cidr { address: Ipv4Addr::UNSPECIFIED, prefix: 0 }, via: Some(gateway), link })
    })
}

/// Whether the pod's own link has its address already.
fn pod_has(namespace: &File, address: Ipv4Addr) -> Result<bool> {
    inside(namespace, || {
        let mut links = Links::open()?;
        let Some(link) = links.find(POD_LINK)? else { return Ok(false) };
        Ok(links.addresses()?.iter().any(|(index, a, _)| *index == link.index && *a == address)
            && links.routes()?.len() == 2)
    })
}

/// Runs `work` on a short-lived thread in another network namespace: a thread that changed its namespace must serve nobody else.
pub(crate) fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let enter = || {
        setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| kernel("enter the pod's network namespace", errno))?;
        work()
    };
    thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|_| Err(gone()))
}

/// The node's end of a pod's link. Names have at most 15 bytes, so the uid is hashed.
fn link_name(uid: &str) -> String {
    format!("cora{:011x}", hash(uid) >> 20)
}

/// FNV-1a: the same in every build, so that links are found again by their names.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The hardware address of a node's end of the overlay follows from the node's address: peers need not be told.
fn tunnel_mac(node_ip: Ipv4Addr) -> Mac {
    let [a, b, c, d] = node_ip.octets();
    [0x02, 0xc1, a, b, c, d]
}

/// Writes a kernel setting of this thread's network namespace, unless it is so already (`/proc/sys` may be read-only).
pub(crate) fn set_sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value)
        .map_err(|source| Error::Kernel { what: format!("set {} to {value}", path.display()), source })
}
