//! The DNS server over real sockets, with servers of the tests behind it.

// A helper that cannot do its part fails the test.
#![allow(clippy::unwrap_used, missing_docs)]

use coracle_base::Tasks;
use coracle_network::{Answer, DnsConfig, Records, dns};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME},
    },
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

struct Fixture;

impl Records for Fixture {
    fn lookup(&self, name: &str) -> Option<Answer> {
        let many = |count: u32| (0..count).map(|n| IpAddr::V4(Ipv4Addr::from(0x0af4_0000 + n))).collect();
        match name {
            "web.default.svc.cluster.local" => Some(Answer { addresses: many(1), ..Answer::default() }),
            "many.default.svc.cluster.local" => Some(Answer { addresses: many(200), ..Answer::default() }),
            "out.default.svc.cluster.local" => Some(Answer { alias: Some("example.com".into()), ..Answer::default() }),
            _ => None,
        }
    }

    fn reverse(&self, _: IpAddr) -> Option<String> {
        None
    }
}

/// A server elsewhere: every name has the address 192.0.2.1 for a minute; it counts what it is asked.
async fn elsewhere() -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::SeqCst);
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let mut reply = Message::response(query.metadata.id, OpCode::Query);
            let name = query.queries[0].name.clone();
            reply.add_queries(query.queries);
            reply.add_answer(Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))));
            // First something with a wrong id: a guess of somebody who wants to be believed.
            let mut forged = reply.clone();
            forged.metadata.id = forged.metadata.id.wrapping_add(1);
            forged.answers.clear();
            socket.send_to(&forged.to_vec().unwrap(), client).await.unwrap();
            socket.send_to(&reply.to_vec().unwrap(), client).await.unwrap();
        }
    });
    (address, asked)
}

fn start(upstream: Vec<SocketAddr>, tasks: &Tasks) -> SocketAddr {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let config = DnsConfig { listen, cluster_domain: "cluster.local".into(), upstream, records: Arc::new(Fixture) };
    dns::serve(config, tasks).unwrap()[0]
}

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

async fn exchange(server: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, server).await.unwrap();
    let mut buffer = vec![0; 4096];
    let length = timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await.ok()?.ok()?;
    buffer.truncate(length);
    Some(buffer)
}

async fn ask(server: SocketAddr, name: &str) -> Message {
    let reply = Message::from_vec(&exchange(server, &question(4711, name)).await.unwrap()).unwrap();
    assert_eq!(reply.metadata.id, 4711);
    reply
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[tokio::test]
async fn other_names_are_forwarded_and_remembered() {
    let tasks = Tasks::new();
    let (upstream, asked) = elsewhere().await;
    let server = start(vec![upstream], &tasks);
    for _ in 0..3 {
        let reply = ask(server, "example.com.").await;
        assert_eq!(data(&reply), ["192.0.2.1"]);
        assert!(reply.answers[0].ttl <= 60);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    tasks.stop().await;
}

#[tokio::test]
async fn a_dead_server_is_passed_over() {
    let tasks = Tasks::new();
    // Bound, silent.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (upstream, _) = elsewhere().await;
    let server = start(vec![silent.local_addr().unwrap(), upstream], &tasks);
    assert_eq!(data(&ask(server, "example.com.").await), ["192.0.2.1"]);
    tasks.stop().await;
}

#[tokio::test]
async fn without_servers_the_client_is_told() {
    let tasks = Tasks::new();
    let server = start(Vec::new(), &tasks);
    assert_eq!(ask(server, "example.com.").await.metadata.response_code, ResponseCode::ServFail);
    tasks.stop().await;
}

#[tokio::test]
async fn an_external_name_is_followed_to_its_address() {
    let tasks = Tasks::new();
    let (upstream, _) = elsewhere().await;
    let server = start(vec![upstream], &tasks);
    let reply = ask(server, "out.default.svc.cluster.local.").await;
    assert_eq!(data(&reply), [CNAME(Name::from_ascii("example.com.").unwrap()).0.to_string(), "192.0.2.1".to_owned()]);
    tasks.stop().await;
}

#[tokio::test]
async fn long_answers_come_whole_over_tcp() {
    let tasks = Tasks::new();
    let server = start(Vec::new(), &tasks);
    let cut = ask(server, "many.default.svc.cluster.local.").await;
    assert!(cut.metadata.truncation);
    let mut stream = TcpStream::connect(server).await.unwrap();
    // Two questions on one connection.
    for id in [1, 2] {
        let asked = question(id, "many.default.svc.cluster.local.");
        stream.write_u16(asked.len() as u16).await.unwrap();
        stream.write_all(&asked).await.unwrap();
        let mut reply = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut reply).await.unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!((reply.metadata.id, reply.answers.len(), reply.metadata.truncation), (id, 200, false));
    }
    tasks.stop().await;
}

#[tokio::test]
async fn nonsense_neither_ends_the_server_nor_is_an_answer_answered() {
    let tasks = Tasks::new();
    let server = start(Vec::new(), &tasks);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut answer = question(1, "web.default.svc.cluster.local.");
    answer[2] |= 0x80;
    for bytes in [&[][..], &[0], &[0xff; 11], &answer] {
        socket.send_to(bytes, server).await.unwrap();
    }
    let malformed = exchange(server, &[0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1]).await.unwrap();
    let malformed = Message::from_vec(&malformed).unwrap();
    assert_eq!((malformed.metadata.id, malformed.metadata.response_code), (9, ResponseCode::FormErr));
    assert_eq!(data(&ask(server, "web.default.svc.cluster.local.").await), ["10.244.0.0"]);
    tasks.stop().await;
}
