use super::{Transport, answer::*, forward::Forwarder};
use crate::{Answer, Records};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

struct Fixture;

impl Records for Fixture {
    fn lookup(&self, name: &str) -> Option<Answer> {
        let addresses = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        Some(match name {
            "web.default.svc.cluster.local" => Answer { addresses: addresses(&["10.96.0.7"]), ..Answer::default() },
            "db.default.svc.cluster.local" => {
                Answer { addresses: addresses(&["10.244.0.2", "10.244.1.2", "fd00::2"]), ..Answer::default() }
            }
            "_http._tcp.web.default.svc.cluster.local" => Answer {
                services: vec![("web.default.svc.cluster.local".into(), addresses(&["10.96.0.7"]), 80)],
                ..Answer::default()
            },
            "default.svc.cluster.local" => Answer::default(),
            "out.default.svc.cluster.local" => Answer { alias: Some("example.com".into()), ..Answer::default() },
            "in.default.svc.cluster.local" => {
                Answer { alias: Some("web.default.svc.cluster.local".into()), ..Answer::default() }
            }
            "circle.default.svc.cluster.local" => {
                Answer { alias: Some("circle.default.svc.cluster.local".into()), ..Answer::default() }
            }
            "many.default.svc.cluster.local" => Answer {
                addresses: (0..200).map(|n| IpAddr::V4(Ipv4Addr::from(0x0af4_0000 + n))).collect(),
                ..Answer::default()
            },
            _ => return None,
        })
    }

    fn reverse(&self, address: IpAddr) -> Option<String> {
        (address.to_string() == "10.96.0.7").then(|| "web.default.svc.cluster.local".into())
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// What is answered: response code, then sorted records as `TYPE value`, then what stands in the authority section.
fn check(name: &str, kind: RecordType, expected: &str) {
    let show = |message: &Message| {
        let message = Message::from_vec(&message.to_vec().unwrap()).unwrap();
        assert_eq!(message.metadata.id, 7);
        let mut records: Vec<String> =
            message.answers.iter().map(|r| format!("{} {}", r.record_type(), r.data)).collect();
        records.sort();
        records.insert(0, format!("{:?}", message.metadata.response_code));
        records.extend(message.authorities.iter().map(|r| format!("authority {}", r.record_type())));
        records.extend(message.additionals.iter().map(|r| format!("additional {} {}", r.record_type(), r.data)));
        records.join("; ")
    };
    let seen = match answer("cluster.local", &Fixture, &query(name, kind)) {
        Answered::Whole(message) => show(&message),
        Answered::Alias(message, rest) => format!("{}; then {}", show(&message), rest.queries[0].name),
        Answered::Elsewhere => "elsewhere".to_owned(),
    };
    assert_eq!(seen, expected, "{name} {kind}");
}

#[test]
fn cluster_names_are_answered_and_others_are_not() {
    use RecordType as T;
    check("web.default.svc.cluster.local.", T::A, "NoError; A 10.96.0.7");
    check("WEB.Default.svc.cluster.LOCAL.", T::A, "NoError; A 10.96.0.7");
    check("web.default.svc.cluster.local.", T::AAAA, "NoError; authority SOA");
    check("web.default.svc.cluster.local.", T::MX, "NoError; authority SOA");
    check("db.default.svc.cluster.local.", T::A, "NoError; A 10.244.0.2; A 10.244.1.2");
    check("db.default.svc.cluster.local.", T::AAAA, "NoError; AAAA fd00::2");
    check("nobody.default.svc.cluster.local.", T::A, "NXDomain; authority SOA");
    check("default.svc.cluster.local.", T::A, "NoError; authority SOA");
    check("svc.cluster.local.", T::A, "NoError; authority SOA");
    check("cluster.local.", T::SOA, "NoError; SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5");
    check(
        "_http._tcp.web.default.svc.cluster.local.",
        T::SRV,
        "NoError; SRV 0 100 80 web.default.svc.cluster.local.; additional A 10.96.0.7",
    );
    check("out.default.svc.cluster.local.", T::A, "NoError; CNAME example.com.; then example.com.");
    check("out.default.svc.cluster.local.", T::CNAME, "NoError; CNAME example.com.");
    check("in.default.svc.cluster.local.", T::A, "NoError; A 10.96.0.7; CNAME web.default.svc.cluster.local.");
    check("7.0.96.10.in-addr.arpa.", T::PTR, "NoError; PTR web.default.svc.cluster.local.");
    check("8.0.96.10.in-addr.arpa.", T::PTR, "elsewhere");
    check("example.com.", T::A, "elsewhere");
    check("notcluster.local.", T::A, "elsewhere");
    check(".", T::NS, "elsewhere");
}

#[test]
fn aliases_in_a_circle_end() {
    assert!(matches!(
        answer("cluster.local", &Fixture, &query("circle.default.svc.cluster.local.", RecordType::A)),
        Answered::Whole(_)
    ));
}

#[test]
fn answers_are_shuffled() {
    let first = || match answer("cluster.local", &Fixture, &query("many.default.svc.cluster.local.", RecordType::A)) {
        Answered::Whole(message) => message.answers[0].data.to_string(),
        other => panic!("{other:?}"),
    };
    let seen: std::collections::HashSet<String> = (0..20).map(|_| first()).collect();
    assert!(seen.len() > 1);
}

#[test]
fn long_answers_are_cut_to_what_the_client_takes() {
    for (payload, most) in [(None, 512), (Some(1232), 1232), (Some(4096), 4096)] {
        let mut query = query("many.default.svc.cluster.local.", RecordType::A);
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            query.set_edns(edns);
        }
        let Answered::Whole(message) = answer("cluster.local", &Fixture, &query) else { panic!() };
        let limit = limit_of(&query.to_vec().unwrap(), Transport::Udp);
        assert_eq!(limit, most);
        let bytes = fit(message, limit).unwrap();
        let cut = Message::from_vec(&bytes).unwrap();
        assert!(bytes.len() <= most, "{} > {most}", bytes.len());
        assert_eq!(cut.metadata.truncation, cut.answers.len() < 200);
        assert!(cut.answers.len() > 20, "{}", cut.answers.len());
    }
}

#[tokio::test]
async fn a_server_that_is_ourselves_is_never_asked() {
    let us = "127.0.0.1:5353".parse().unwrap();
    let forwarder = Forwarder::new(&[us], &[us]);
    assert_eq!(forwarder.ask(&query("example.com.", RecordType::A).to_vec().unwrap(), Transport::Udp).await, None);
}

proptest! {
    #[test]
    fn random_packets_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Question::Query(query) = parse(&bytes) {
            let _ = answer("cluster.local", &Fixture, &query);
        }
    }

    /// Valid questions with some bytes changed reach deeper than pure noise.
    #[test]
    fn damaged_packets_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let mut bytes = query("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV).to_vec().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Question::Query(query) = parse(&bytes) && let Answered::Whole(message) = answer("cluster.local", &Fixture, &query) {
            let _ = fit(message, 512);
        }
    }
}
