//! Packets and frames: DNS, netlink, SPDY, WebSockets.

use super::two;
use crate::Target;
use coracle_agent::serve::strangers;
use coracle_network::{
    Answer, Records, conntrack,
    dns::{
        Transport,
        answer::{self, Answered, Question},
        forward,
    },
    links, netlink, table,
};
use hickory_proto::op::Message;
use std::net::{IpAddr, Ipv4Addr};
use tokio::runtime::{Builder, Runtime};

pub(super) static TARGETS: &[Target] = &[
    Target { name: "dns", run: dns, seeds: DNS },
    Target { name: "dns_reply", run: dns_reply, seeds: DNS_REPLY },
    Target { name: "netlink", run: kernel, seeds: NETLINK },
    Target { name: "spdy", run: spdy, seeds: &[SPDY] },
    Target { name: "tunnel", run: tunnel, seeds: TUNNEL },
    Target { name: "channels", run: channels, seeds: CHANNELS },
];

const DNS: &[&[u8]] = &[
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x03web\x01a\x03svc\x07cluster\x05local\0\0\x01\0\x01\0\0\x29\x10\0\0\0\0\0\0\0",
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04many\x01a\x03svc\x07cluster\x05local\0\0\xff\0\x01",
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x011\x010\x010\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01",
];
/// The question, a line break, the answer.
const DNS_REPLY: &[&[u8]] = &[
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01\n\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04",
];
/// A link (index 2, `eth0`, an MTU), an error.
const NETLINK: &[&[u8]] = &[
    b"\x34\0\0\0\x10\0\0\0\x01\0\0\0\0\0\0\0\0\0\x01\0\x02\0\0\0\x43\0\0\0\0\0\0\0\x09\0\x03\0eth0\0\0\0\0\x08\0\x04\0\xdc\x05\0\0\x14\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\xfe\xff\xff\xff",
    b"\x30\0\0\0\0\x01\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x1c\0\x01\x80\x0c\0\x01\x80\x08\0\x02\0\x0a\x60\0\x0a\x0c\0\x02\x80\x05\0\x01\0\x11\0\0\0",
];
/// A stream with its headers, data and their end; settings, a window, a ping, a reset, goodbye.
const SPDY: &[u8] = b"\x80\x03\0\x01\0\0\0\x28\0\0\0\x01\0\0\0\0\0\0\x78\xf9\xe3\xc6\xa7\xc2\x02\xa6\x23\x46\x70\x3a\x2b\x29\x4a\x4d\xcc\x85\x16\x25\xac\xa9\xa0\x80\x06\0\0\0\xff\xff\0\0\0\x01\x01\0\0\x05hello\x80\x03\0\x04\0\0\0\x0c\0\0\0\x01\0\0\0\x07\0\x01\0\0\x80\x03\0\x09\0\0\0\x08\0\0\0\x01\0\0\xff\xff\x80\x03\0\x06\0\0\0\x04\0\0\0\x01\x80\x03\0\x03\0\0\0\x08\0\0\0\x01\0\0\0\x05\x80\x03\0\x07\0\0\0\x08\0\0\0\x01\0\0\0\0";
/// Masked with zeros.
const TUNNEL: &[&[u8]] = &[b"\x82\x8c\0\0\0\0\x80\x03\0\x06\0\0\0\x04\0\0\0\x01\x88\x82\0\0\0\0\x03\xe8"];
const CHANNELS: &[&[u8]] = &[
    b"\x82\x83\0\0\0\0\0hi\x82\x82\0\0\0\0\xff\0\x89\x80\0\0\0\0\x82\x94\0\0\0\0\x04{\"Width\":1}\x81\x85\0\0\0\x000aGk=\x88\x80\0\0\0\0",
];

/// A cluster with a name for each kind of answer.
struct Cluster;

impl Records for Cluster {
    fn lookup(&self, name: &str) -> Option<Answer> {
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from(0x0a60_0000 + n));
        let (first, _) = name.split_once('.')?;
        match first {
            "web" => Some(Answer { addresses: vec![address(1)], ..Answer::default() }),
            "many" => Some(Answer {
                addresses: (0..200).map(address).collect(),
                services: (0..200).map(|n| (format!("p{n}.{name}"), vec![address(n)], 80)).collect(),
                ..Answer::default()
            }),
            "alias" => Some(Answer { alias: Some("web.a.svc.cluster.local".into()), ..Answer::default() }),
            "circle" => Some(Answer { alias: Some(name.to_string()), ..Answer::default() }),
            _ => None,
        }
    }

    fn reverse(&self, _: IpAddr) -> Option<String> {
        Some("web.a.svc.cluster.local".into())
    }
}

fn dns(input: &[u8]) {
    let limit = answer::limit_of(input, Transport::Udp);
    match answer::parse(input) {
        Question::Query(query) => {
            if let Answered::Whole(message) = answer::answer("cluster.local", &Cluster, &query)
                && let Some(bytes) = answer::fit(message, limit)
            {
                assert!(bytes.len() <= limit.max(512), "{} bytes where {limit} fit", bytes.len());
            }
        }
        Question::Refused(bytes) => assert!(Message::from_vec(&bytes).is_ok()),
        Question::Nonsense => {}
    }
}

fn dns_reply(input: &[u8]) {
    let (asked, reply) = two(input);
    if asked.len() >= 12 && forward::answers(asked, reply) {
        let _ = Message::from_vec(reply).ok().as_ref().and_then(forward::time_to_live);
    }
}

fn kernel(input: &[u8]) {
    for reply in netlink::replies(input) {
        let _ = netlink::errno_of(reply.payload);
        let link = links::parse_link(reply.payload);
        let _ = links::parse_route(reply.payload);
        let _ = links::parse_neighbour(reply.payload, link.map_or(0, |link| link.index));
        let _ = reply.payload.get(4..).and_then(conntrack::parse);
        for (_, value) in netlink::attributes(reply.payload) {
            let _ = table::parse_affinity(value, value);
        }
    }
}

thread_local!(static RUNTIME: Option<Runtime> = Builder::new_current_thread().enable_all().build().ok());

fn run(work: impl Future<Output = ()>) {
    RUNTIME.with(|runtime| runtime.as_ref().map(|runtime| runtime.block_on(work)));
}

fn spdy(input: &[u8]) {
    run(strangers::spdy(input));
}

fn tunnel(input: &[u8]) {
    run(strangers::tunnel(input));
}

fn channels(input: &[u8]) {
    run(strangers::channels(input));
}
