//! The data plane with real namespaces, links, rules and sockets. Each test has a world of its own.

// A helper that cannot do its part fails the test.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use coracle_network::{
    HostPort, Network, NodeNetwork, Protocol, ServicePort, Services,
    links::{Links, Route},
};
use std::{
    collections::HashSet,
    io::ErrorKind,
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};
use world::{Namespace, Wiring, World, is_root};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);

fn port(world: &World, protocol: Protocol) -> ServicePort {
    ServicePort {
        id: format!("default/web:{protocol:?}"),
        addresses: vec![VIP],
        protocol,
        port: 8080,
        node_port: 30080,
        endpoints: world.endpoints(),
        local_endpoints: Vec::new(),
        external_local: false,
        internal_local: false,
        affinity_seconds: 0,
    }
}

/// Gives every node these ports, with its own endpoints as the local ones.
async fn set(world: &World, ports: &[ServicePort]) {
    for node in &world.nodes {
        let own = |mut port: ServicePort| {
            port.local_endpoints =
                port.endpoints.iter().copied().filter(|(a, _)| node.config.pod_cidr.contains(*a)).collect();
            port
        };
        let services = Services { ports: ports.iter().cloned().map(own).collect(), host_ports: Vec::new() };
        node.network.set_services(&services).await.unwrap();
    }
}

async fn every_pair(wiring: Wiring) {
    if !is_root() {
        return;
    }
    let world = World::new(wiring, 3, 2).await;
    for from in world.nodes.iter().flat_map(|node| &node.pods) {
        for to in world.nodes.iter().flat_map(|node| &node.pods) {
            let answer = from.namespace.ask(&format!("{}:80", to.address));
            assert_eq!(
                answer.ok(),
                Some((to.name.clone(), if from.uid == to.uid { to.address } else { from.address }.to_string()))
            );
        }
    }
    for node in &world.nodes {
        for to in world.nodes.iter().flat_map(|node| &node.pods) {
            assert_eq!(node.namespace.ask(&format!("{}:80", to.address)).unwrap().0, to.name);
        }
    }
}

#[tokio::test]
async fn every_pod_and_node_reaches_every_pod_on_one_link() {
    every_pair(Wiring::Shared).await;
}

#[tokio::test]
async fn every_pod_and_node_reaches_every_pod_through_the_overlay() {
    every_pair(Wiring::Routed).await;
}

async fn services(wiring: Wiring) {
    if !is_root() {
        return;
    }
    let world = World::new(wiring, 3, 2).await;
    set(&world, &[port(&world, Protocol::Tcp)]).await;
    // Balanced, from a pod and from a node.
    for client in [&world.nodes[0].pods[0].namespace, &world.nodes[1].namespace] {
        let seen = client.ask_often(&format!("{VIP}:8080"), 120);
        assert!(seen.len() == 6 && seen.iter().all(|(_, times)| *times > 4), "{seen:?}");
    }
    // NodePort on every node: asked from outside, from the node itself, from a pod.
    for node in &world.nodes {
        let address = format!("{}:30080", node.up);
        for client in [&world.outside, &node.namespace, &world.nodes[0].namespace, &world.nodes[1].pods[1].namespace] {
            let seen = client.ask_often(&address, 40);
            assert!(seen.len() >= 5, "{seen:?}");
        }
    }
    // Another port of a ClusterIP.
    let refused = world.nodes[0].pods[0].namespace.ask(&format!("{VIP}:9")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn services_balance_over_all_endpoints_on_one_link() {
    services(Wiring::Shared).await;
}

#[tokio::test]
async fn services_balance_over_all_endpoints_through_the_overlay() {
    services(Wiring::Routed).await;
}

#[tokio::test]
async fn a_pod_reaches_itself_through_its_service() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 1, 1).await;
    set(&world, &[port(&world, Protocol::Tcp)]).await;
    let pod = &world.nodes[0].pods[0];
    for address in [format!("{VIP}:8080"), format!("{}:30080", world.nodes[0].up)] {
        assert_eq!(pod.namespace.ask(&address).unwrap().0, "0.0");
    }
}

#[tokio::test]
async fn without_endpoints_connections_are_refused_at_once() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 1, 1).await;
    set(&world, &[port(&world, Protocol::Tcp)]).await;
    set(&world, &[ServicePort { endpoints: Vec::new(), ..port(&world, Protocol::Tcp) }]).await;
    let node = &world.nodes[0];
    let (vip, node_port) = (format!("{VIP}:8080"), format!("{}:30080", node.up));
    for (client, address) in [
        (&node.pods[0].namespace, &vip),
        (&node.namespace, &vip),
        (&world.outside, &node_port),
        (&node.pods[0].namespace, &node_port),
        (&node.namespace, &node_port),
    ] {
        let error = client.ask(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}: {error}");
    }
    // And they come back with the endpoints.
    set(&world, &[port(&world, Protocol::Tcp)]).await;
    assert_eq!(node.pods[0].namespace.ask(&vip).unwrap().0, "0.0");
}

fn say(socket: &UdpSocket) -> std::io::Result<String> {
    let mut buffer = [0; 64];
    socket.send(b"?")?;
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn udp_client(from: &Namespace, to: &str) -> UdpSocket {
    from.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        socket
    })
}

#[tokio::test]
async fn udp_clients_follow_when_their_endpoint_goes() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 2, 1).await;
    let (first, second) = (world.nodes[0].endpoints(), world.nodes[1].endpoints());
    let only =
        |endpoints: &[(Ipv4Addr, u16)]| [ServicePort { endpoints: endpoints.to_vec(), ..port(&world, Protocol::Udp) }];
    set(&world, &only(&first)).await;
    let through_vip = udp_client(&world.nodes[0].pods[0].namespace, &format!("{VIP}:8080"));
    let through_node = udp_client(&world.outside, &format!("{}:30080", world.nodes[1].up));
    for client in [&through_vip, &through_node] {
        assert_eq!(say(client).unwrap(), "0.0");
    }
    set(&world, &only(&second)).await;
    for client in [&through_vip, &through_node] {
        assert_eq!(say(client).unwrap(), "1.0");
    }
}

#[tokio::test]
async fn clients_with_affinity_keep_their_endpoint_until_it_goes() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 2, 2).await;
    let sticky = ServicePort { affinity_seconds: 10800, ..port(&world, Protocol::Tcp) };
    set(&world, std::slice::from_ref(&sticky)).await;
    let client = &world.nodes[0].pods[0].namespace;
    for address in [format!("{VIP}:8080"), format!("{}:30080", world.nodes[0].up)] {
        let seen = client.ask_often(&address, 20);
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
    let had = client.ask(&format!("{VIP}:8080")).unwrap().0;
    let pods = world.nodes.iter().flat_map(|node| &node.pods);
    let others = pods.filter(|pod| pod.name != had).map(|pod| (pod.address, 80)).collect();
    set(&world, &[ServicePort { endpoints: others, ..sticky }]).await;
    let seen = client.ask_often(&format!("{VIP}:8080"), 20);
    assert!(seen.len() == 1 && seen[0].0 != had, "{seen:?} after {had}");
}

#[tokio::test]
async fn traffic_policies_choose_local_endpoints() {
    if !is_root() {
        return;
    }
    let mut world = World::new(Wiring::Shared, 3, 1).await;
    world.nodes[2].pods.clear();
    set(&world, &[ServicePort { external_local: true, ..port(&world, Protocol::Tcp) }]).await;
    // The client's address is kept, and only the node's own pod answers.
    let node_port = |at: usize| format!("{}:30080", world.nodes[at].up);
    for _ in 0..10 {
        assert_eq!(world.outside.ask(&node_port(1)).unwrap(), ("1.0".to_owned(), "172.30.0.254".to_owned()));
    }
    assert_eq!(world.outside.ask(&node_port(2)).unwrap_err().kind(), ErrorKind::TimedOut);
    // Inside the cluster the policy does not bind.
    assert_eq!(world.nodes[0].pods[0].namespace.ask_often(&node_port(0), 40).len(), 2);
    set(&world, &[ServicePort { internal_local: true, ..port(&world, Protocol::Tcp) }]).await;
    assert_eq!(world.nodes[0].namespace.ask_often(&format!("{VIP}:8080"), 20), [("0.0".to_owned(), 20)]);
    assert_eq!(world.nodes[2].namespace.ask(&format!("{VIP}:8080")).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn host_ports_answer_on_the_node() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 2, 1).await;
    let node = &world.nodes[0];
    let host_port =
        HostPort { address: Ipv4Addr::UNSPECIFIED, protocol: Protocol::Tcp, port: 8081, target: node.endpoints()[0] };
    node.network.set_services(&Services { ports: Vec::new(), host_ports: vec![host_port] }).await.unwrap();
    for client in [&world.outside, &world.nodes[1].pods[0].namespace, &node.namespace, &node.pods[0].namespace] {
        assert_eq!(client.ask(&format!("{}:8081", node.up)).unwrap().0, "0.0");
    }
    node.network.set_services(&Services::default()).await.unwrap();
    assert_eq!(world.outside.ask(&format!("{}:8081", node.up)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn the_outside_sees_the_node_and_not_the_pod() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 1, 1).await;
    world.outside.serve_tcp("172.30.0.254:7000", "outside");
    let answer = world.nodes[0].pods[0].namespace.ask("172.30.0.254:7000").unwrap();
    assert_eq!(answer, ("outside".to_owned(), world.nodes[0].up.to_string()));
    // A service whose endpoint is a host that knows no pod addresses, asked from the node: the API server's own.
    let endpoints = vec![(Ipv4Addr::new(172, 30, 0, 254), 7000)];
    set(&world, &[ServicePort { endpoints, ..port(&world, Protocol::Tcp) }]).await;
    for client in [&world.nodes[0].namespace, &world.nodes[0].pods[0].namespace] {
        assert_eq!(client.ask(&format!("{VIP}:8080")).unwrap().1, world.nodes[0].up.to_string());
    }
}

#[tokio::test]
async fn a_local_address_is_answered_by_each_node_itself() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 2, 1).await;
    let dns = Ipv4Addr::new(10, 96, 0, 10);
    for (number, node) in world.nodes.iter().enumerate() {
        node.network.add_local_address(dns).await.unwrap();
        node.namespace.serve_tcp("10.96.0.10:53", &format!("dns{number}"));
    }
    // Even though a service of that address has no endpoints.
    set(
        &world,
        &[ServicePort { addresses: vec![dns], port: 53, endpoints: Vec::new(), ..port(&world, Protocol::Tcp) }],
    )
    .await;
    for (number, node) in world.nodes.iter().enumerate() {
        for client in [&node.namespace, &node.pods[0].namespace] {
            assert_eq!(client.ask("10.96.0.10:53").unwrap().0, format!("dns{number}"));
        }
    }
}

#[tokio::test]
async fn a_new_process_takes_over_what_runs() {
    if !is_root() {
        return;
    }
    let mut world = World::new(Wiring::Shared, 1, 2).await;
    let ports = [port(&world, Protocol::Tcp)];
    set(&world, &ports).await;
    let node = &mut world.nodes[0];
    let config = node.config.clone();
    node.network = node.namespace.run(|| NodeNetwork::open(config).unwrap());
    // Until the services are known again, the old rules serve on.
    assert!(node.pods[0].namespace.ask(&format!("{VIP}:8080")).is_ok());
    for pod in &node.pods {
        assert_eq!(node.network.attach_pod(&pod.uid, &pod.namespace.path()).await.unwrap(), pod.address);
    }
    // The same pod in a new sandbox keeps its address.
    let sandbox = Namespace::new();
    assert_eq!(node.network.attach_pod(&node.pods[1].uid, &sandbox.path()).await.unwrap(), node.pods[1].address);
    sandbox.serve_tcp("0.0.0.0:80", "again");
    assert_eq!(node.pods[0].namespace.ask(&format!("{}:80", node.pods[1].address)).unwrap().0, "again");
    node.network.retain_pods(&[node.pods[0].uid.clone()]).await.unwrap();
    set(&world, &ports).await;
    let node = &world.nodes[0];
    assert!(node.pods[0].namespace.ask(&format!("{}:80", node.pods[1].address)).is_err());
    assert_eq!(node.pods[0].namespace.ask(&format!("{}:80", node.pods[0].address)).unwrap().0, "0.0");
}

#[tokio::test]
async fn flushed_rules_come_back_with_the_next_change() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 1, 1).await;
    set(&world, &[port(&world, Protocol::Tcp)]).await;
    let node = &world.nodes[0];
    let other = node.config.clone();
    // Another instance replaces the rules behind our back.
    let thief = node.namespace.run(|| {
        NodeNetwork::open(coracle_network::NodeConfig { state_dir: other.state_dir.join("x"), ..other }).unwrap()
    });
    drop(thief.set_services(&Services::default()).await);
    let extra = ServicePort {
        id: "default/extra:".into(),
        addresses: vec![Ipv4Addr::new(10, 96, 0, 8)],
        node_port: 0,
        ..port(&world, Protocol::Tcp)
    };
    set(&world, &[extra]).await;
    assert_eq!(node.pods[0].namespace.ask("10.96.0.8:8080").unwrap().0, "0.0");
}

#[tokio::test]
async fn peers_that_go_take_only_their_own_routes_along() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 3, 1).await;
    let node = &world.nodes[0];
    let way_out = node.namespace.run(|| {
        let mut links = Links::open().unwrap();
        let link = links.find("up0").unwrap().unwrap().index;
        let to = world::cidr("0.0.0.0/0");
        let way_out = Route { to, via: Some(Ipv4Addr::new(172, 30, 0, 254)), link };
        links.replace_route(way_out).unwrap();
        way_out
    });
    let one = &world.peers_of(0)[..1];
    node.network.set_peers(one).await.unwrap();
    let routes = || node.namespace.run(|| Links::open().unwrap().routes().unwrap());
    assert!(routes().contains(&way_out) && routes().len() == 3, "{:?}", routes());
    let ask = |at: usize| node.pods[0].namespace.ask(&format!("{}:80", world.nodes[at].pods[0].address));
    assert!(ask(1).is_ok() && ask(2).is_err());
    node.network.remove().await.unwrap();
    assert_eq!(routes(), [way_out]);
}

#[tokio::test]
async fn removal_leaves_nothing() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Routed, 2, 2).await;
    set(&world, &[port(&world, Protocol::Tcp), port(&world, Protocol::Udp)]).await;
    let node = &world.nodes[0];
    node.network.remove().await.unwrap();
    node.namespace.run(|| {
        let mut links = Links::open().unwrap();
        let names: HashSet<String> = links.list().unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names, HashSet::from(["lo".to_owned(), "up0".to_owned()]));
        assert!(links.routes().unwrap().is_empty());
    });
    assert!(node.config.state_dir.read_dir().unwrap().next().is_none());
    // And once more: nothing to do is no error.
    node.network.remove().await.unwrap();
}

/// A pod that was there before the first peer sends packets that are too long for the overlay, and must learn it.
#[tokio::test]
async fn long_streams_pass_the_overlay_from_pods_older_than_it() {
    if !is_root() {
        return;
    }
    let mut world = World::new(Wiring::Routed, 2, 0).await;
    for node in &world.nodes {
        node.network.set_peers(&[]).await.unwrap();
    }
    world.add_pod(0, 0).await;
    world.add_pod(1, 0).await;
    for at in 0..2 {
        let peers = world.peers_of(at);
        world.nodes[at].network.set_peers(&peers).await.unwrap();
    }
    let (from, to) = (&world.nodes[0].pods[0], &world.nodes[1].pods[0]);
    let listener = to.namespace.run(|| std::net::TcpListener::bind("0.0.0.0:81").unwrap());
    let received = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
    });
    let target = format!("{}:81", to.address);
    let mut stream = from.namespace.run(|| std::net::TcpStream::connect(target).unwrap());
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    std::io::Write::write_all(&mut stream, &vec![7; 3 << 20]).unwrap();
    drop(stream);
    assert_eq!(received.join().unwrap(), 3 << 20);
}

/// Not a promise but a picture; `--nocapture` shows it. The bounds are far above what is measured and catch only a wrong layout.
#[tokio::test]
async fn ten_thousand_services_load_quickly() {
    if !is_root() {
        return;
    }
    let world = World::new(Wiring::Shared, 1, 1).await;
    let node = &world.nodes[0];
    let many = |count: u32| Services {
        ports: (0..count)
            .map(|n| ServicePort {
                id: format!("default/s{n}:"),
                addresses: vec![Ipv4Addr::from(0x0a60_1000 + n)],
                node_port: 0,
                endpoints: (0..5).map(|e| (Ipv4Addr::from(0x0af4_0100 + (n * 5 + e) % 60_000), 80)).collect(),
                ..port(&world, Protocol::Tcp)
            })
            .collect(),
        host_ports: Vec::new(),
    };
    let (all, one_more) = (many(10_000), many(10_001));
    let start = Instant::now();
    node.network.set_services(&all).await.unwrap();
    let loaded = start.elapsed();
    let start = Instant::now();
    node.network.set_services(&one_more).await.unwrap();
    let added = start.elapsed();
    let start = Instant::now();
    let empty: Vec<Namespace> = (0..50).map(|_| Namespace::new()).collect();
    let made = start.elapsed() / 50;
    let start = Instant::now();
    for (n, namespace) in empty.iter().enumerate() {
        node.network.attach_pod(&format!("extra-{n}"), &namespace.path()).await.unwrap();
    }
    let attached = start.elapsed() / 50;
    println!(
        "10 000 services: {loaded:?}; one more: {added:?}; make a namespace: {made:?}; attach a pod: {attached:?}"
    );
    assert!(loaded < Duration::from_secs(5) && added < Duration::from_secs(2), "{loaded:?} {added:?}");
}
