//! A small world of network namespaces: nodes on a link or behind a router, pods on nodes. Namespaces have no names: they end with the test.

use coracle_network::{
    Cidr, Network, NodeConfig, NodeNetwork, Peer,
    links::{Kind, Links, Scope},
};
use nix::sched::{CloneFlags, setns, unshare};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

/// Tests that need namespaces say so and pass where they cannot be made.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: network namespaces need root");
    }
    root
}

/// A network namespace.
#[derive(Clone)]
pub struct Namespace(Arc<File>);

impl Namespace {
    pub fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let file = File::open("/proc/thread-self/ns/net").unwrap();
            let mut links = Links::open().unwrap();
            let lo = links.find("lo").unwrap().unwrap().index;
            links.set_up(lo).unwrap();
            file
        });
        Self(Arc::new(made.join().unwrap()))
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Runs `work` on a thread inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&*self.0, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    /// A TCP server that says its name and the client's address.
    pub fn serve_tcp(&self, address: &str, name: &str) {
        let listener = self.run(|| TcpListener::bind(address).unwrap());
        let name = name.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let client = stream.peer_addr().unwrap().ip();
                let _ = stream.write_all(format!("{name} {client}").as_bytes());
            }
        });
    }

    /// A UDP server that says its name.
    pub fn serve_udp(&self, address: &str, name: &str) {
        let socket = self.run(|| UdpSocket::bind(address).unwrap());
        let name = name.to_owned();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(name.as_bytes(), client);
            }
        });
    }

    /// Who answers at `address`: (name, the client's address as the server saw it).
    pub fn ask(&self, address: &str) -> io::Result<(String, String)> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            let (name, client) = text.split_once(' ').unwrap();
            Ok((name.to_owned(), client.to_owned()))
        })
    }

    /// The names that answer in `times` tries, sorted, with how often.
    pub fn ask_often(&self, address: &str, times: usize) -> Vec<(String, usize)> {
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..times {
            *seen.entry(self.ask(address).unwrap_or_else(|e| panic!("{address}: {e}")).0).or_insert(0) += 1;
        }
        seen.into_iter().collect()
    }
}

pub struct Pod {
    pub uid: String,
    pub name: String,
    pub namespace: Namespace,
    pub address: Ipv4Addr,
}

pub struct Node {
    pub namespace: Namespace,
    pub config: NodeConfig,
    pub network: NodeNetwork,
    pub pods: Vec<Pod>,
    pub up: Ipv4Addr,
}

/// How nodes see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// On one link.
    Shared,
    /// Each on a link of its own, with a router between.
    Routed,
}

pub struct World {
    pub outside: Namespace,
    pub nodes: Vec<Node>,
    _dir: tempfile::TempDir,
}

pub fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

impl World {
    /// `nodes` nodes, each with `pods` pods; pod `n` of node `m` serves TCP and UDP on port 80 under the name `m.n`.
    pub async fn new(wiring: Wiring, nodes: u8, pods: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outside = Namespace::new();
        outside.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        let mut world = Self { outside, nodes: Vec::new(), _dir: dir };
        for number in 1..=nodes {
            let state = world._dir.path().join(number.to_string());
            let node = world.add_node(wiring, number, state);
            world.nodes.push(node);
        }
        for at in 0..world.nodes.len() {
            let peers = world.peers_of(at);
            world.nodes[at].network.set_peers(&peers).await.unwrap();
            for number in 0..pods {
                world.add_pod(at, number).await;
            }
        }
        world
    }

    pub fn peers_of(&self, at: usize) -> Vec<Peer> {
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != at);
        others.map(|(_, node)| Peer { node_ip: node.config.node_ip, pod_cidr: node.config.pod_cidr }).collect()
    }

    fn add_node(&mut self, wiring: Wiring, number: u8, state_dir: PathBuf) -> Node {
        let namespace = Namespace::new();
        let subnet = if wiring == Wiring::Shared { 0 } else { number };
        let (router, node_ip) = (Ipv4Addr::new(172, 30, subnet, 254), Ipv4Addr::new(172, 30, subnet, number));
        let bridge = format!("lan{subnet}");
        let fd = namespace.0.as_raw_fd();
        self.outside.run(|| {
            let mut links = Links::open().unwrap();
            if links.add(&bridge, 1500, Kind::Bridge { mac: [2, 0xff, 0, 0, 0, subnet] }).unwrap() {
                let index = links.find(&bridge).unwrap().unwrap().index;
                links.add_address(index, Cidr { address: router, prefix: 24 }, Scope::Global).unwrap();
            }
            let master = links.find(&bridge).unwrap().unwrap().index;
            links
                .add(
                    &format!("to{number}"),
                    1500,
                    Kind::Veth { master, peer: "up0", mac: [2, 0xfe, 0, 0, subnet, number], netns: fd },
                )
                .unwrap();
        });
        let config = NodeConfig {
            node_ip,
            pod_cidr: cidr(&format!("10.244.{number}.0/24")),
            cluster_cidr: cidr("10.244.0.0/16"),
            service_cidr: cidr("10.96.0.0/16"),
            state_dir,
        };
        let network = namespace.run(|| {
            let mut links = Links::open().unwrap();
            let link = links.find("up0").unwrap().unwrap().index;
            links.add_address(link, Cidr { address: node_ip, prefix: 24 }, Scope::Global).unwrap();
            links.set_up(link).unwrap();
            if wiring == Wiring::Routed {
                default_route(router);
            }
            NodeNetwork::open(config.clone()).unwrap()
        });
        Node { namespace, config, network, pods: Vec::new(), up: node_ip }
    }

    pub async fn add_pod(&mut self, at: usize, number: usize) {
        let node = &mut self.nodes[at];
        let (uid, name) = (format!("pod-{at}-{number}"), format!("{at}.{number}"));
        let namespace = Namespace::new();
        let IpAddr::V4(address) = node.network.attach_pod(&uid, &namespace.path()).await.unwrap() else { panic!() };
        namespace.serve_tcp("0.0.0.0:80", &name);
        namespace.serve_udp("0.0.0.0:80", &name);
        node.pods.push(Pod { uid, name, namespace, address });
    }

    pub fn endpoints(&self) -> Vec<(Ipv4Addr, u16)> {
        self.nodes.iter().flat_map(|node| node.endpoints()).collect()
    }
}

/// A route that the node's own bookkeeping does not know, as an administrator sets it.
fn default_route(router: Ipv4Addr) {
    let status =
        std::process::Command::new("ip").args(["route", "add", "default", "via", &router.to_string()]).status();
    assert!(status.unwrap().success());
}

impl Node {
    pub fn endpoints(&self) -> Vec<(Ipv4Addr, u16)> {
        self.pods.iter().map(|pod| (pod.address, 80)).collect()
    }
}
