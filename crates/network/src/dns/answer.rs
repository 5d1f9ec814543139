//! Questions to answers, without I/O.

use super::{MAX_UDP, Transport};
use crate::{Answer, Records};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, PTR, SOA, SRV},
    },
};
use rand::seq::SliceRandom;
use std::net::IpAddr;

/// Seconds that cluster names may be remembered: endpoints come and go.
pub const TTL: u32 = 5;
/// Aliases that are followed inside the cluster before giving up on a circle.
const MAX_ALIASES: usize = 8;
/// What we take over UDP ourselves, and tell clients.
const OUR_PAYLOAD: u16 = 1232;

/// A packet, looked at.
#[derive(Debug)]
pub enum Question {
    /// One question that can be answered.
    Query(Message),
    /// A question that cannot be; the bytes say why.
    Refused(Vec<u8>),
    /// Not a question: answering would only feed a loop.
    Nonsense,
}

/// What is known about a question.
#[derive(Debug)]
pub enum Answered {
    /// All of it.
    Whole(Message),
    /// An alias that leaves the cluster: the second message asks for what it stands for.
    Alias(Message, Message),
    /// The name is not the cluster's.
    Elsewhere,
}

/// Reads a packet.
pub fn parse(bytes: &[u8]) -> Question {
    // The header's first bit says "answer": never answered.
    if bytes.len() < 12 || bytes[2] & 0x80 != 0 {
        return Question::Nonsense;
    }
    let refuse = |message: Message| message.to_vec().map_or(Question::Nonsense, Question::Refused);
    let Ok(query) = Message::from_vec(bytes) else {
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        return refuse(Message::error_msg(id, OpCode::Query, ResponseCode::FormErr));
    };
    if query.metadata.op_code != OpCode::Query {
        return refuse(failure(&query, ResponseCode::NotImp));
    }
    if query.queries.len() != 1 {
        return refuse(failure(&query, ResponseCode::FormErr));
    }
    Question::Query(query)
}

/// An answer that says only how it failed.
pub fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(OUR_PAYLOAD);
        message.set_edns(edns);
    }
    message
}

/// Answers from the cluster's records.
pub fn answer(domain: &str, records: &dyn Records, query: &Message) -> Answered {
    let Some(question) = query.queries.first() else { return Answered::Whole(failure(query, ResponseCode::FormErr)) };
    let name = text(&question.name);
    if let Ok(network) = question.name.parse_arpa_name()
        && question.query_type == RecordType::PTR
        && (network.prefix_len() == network.max_prefix_len())
    {
        return match records.reverse(network.addr()).and_then(|target| parse_name(&target)) {
            Some(target) => {
                let mut message = authoritative(query);
                message.add_answer(record(&question.name, RData::PTR(PTR(target))));
                Answered::Whole(message)
            }
            None => Answered::Elsewhere,
        };
    }
    if !below(&name, domain) {
        return Answered::Elsewhere;
    }
    if !matches!(question.query_class, DNSClass::IN | DNSClass::ANY) {
        return Answered::Whole(failure(query, ResponseCode::Refused));
    }
    cluster(domain, records, query, question, &name)
}

fn cluster(domain: &str, records: &dyn Records, query: &Message, question: &Query, name: &str) -> Answered {
    let mut message = authoritative(query);
    let mut owner = question.name.clone();
    let mut current = name.to_owned();
    for _ in 0..MAX_ALIASES {
        let found = records.lookup(&current).or_else(|| built_in(&current, domain));
        let Some(found) = found else {
            if message.answers.is_empty() {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            break;
        };
        let Some(alias) = found.alias.as_deref().and_then(parse_name) else {
            add_records(&mut message, &owner, question.query_type, &found, current == domain, domain);
            break;
        };
        message.add_answer(record(&owner, RData::CNAME(CNAME(alias.clone()))));
        if question.query_type == RecordType::CNAME {
            return Answered::Whole(message);
        }
        current = text(&alias);
        owner = alias;
        if !below(&current, domain) {
            return Answered::Alias(message, question_for(owner, question.query_type));
        }
    }
    if message.answers.is_empty() {
        message.add_authority(soa(domain));
    }
    Answered::Whole(message)
}

fn question_for(name: Name, kind: RecordType) -> Message {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP as u16);
    message.set_edns(edns);
    message
}

/// Names that exist though no object stands for them.
fn built_in(name: &str, domain: &str) -> Option<Answer> {
    let rest = name.strip_suffix(domain)?;
    matches!(rest, "" | "svc." | "pod.").then(Answer::default)
}

fn add_records(message: &mut Message, owner: &Name, kind: RecordType, found: &Answer, apex: bool, domain: &str) {
    let mut addresses = found.addresses.clone();
    // Clients take the first: each gets another one.
    addresses.shuffle(&mut rand::rng());
    message.add_answers(addresses.into_iter().filter_map(|address| address_record(owner, address, kind)));
    if matches!(kind, RecordType::SRV | RecordType::ANY) {
        let mut services: Vec<_> = found.services.iter().collect();
        services.shuffle(&mut rand::rng());
        let weight = (100 / services.len().max(1)).max(1) as u16;
        for (target, addresses, port) in services {
            let Some(target) = parse_name(target) else { continue };
            message.add_answer(record(owner, RData::SRV(SRV::new(0, weight, *port, target.clone()))));
            message.add_additionals(
                addresses.iter().filter_map(|address| address_record(&target, *address, RecordType::ANY)),
            );
        }
    }
    if apex && matches!(kind, RecordType::SOA | RecordType::ANY) {
        message.add_answer(soa(domain));
    }
}

fn address_record(owner: &Name, address: IpAddr, kind: RecordType) -> Option<Record> {
    let data = match (address, kind) {
        (IpAddr::V4(address), RecordType::A | RecordType::ANY) => RData::A(A(address)),
        (IpAddr::V6(address), RecordType::AAAA | RecordType::ANY) => RData::AAAA(AAAA(address)),
        _ => return None,
    };
    Some(record(owner, data))
}

fn authoritative(query: &Message) -> Message {
    let mut message = failure(query, ResponseCode::NoError);
    message.metadata.authoritative = true;
    message
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL, data)
}

fn soa(domain: &str) -> Record {
    let zone = parse_name(domain).unwrap_or_else(Name::root);
    let name = |label: &str| parse_name(&format!("{label}.{domain}")).unwrap_or_else(Name::root);
    // The values that CoreDNS gives; the serial number means nothing without zone transfers.
    let soa = SOA::new(name("ns.dns"), name("hostmaster"), 1, 7200, 1800, 86400, TTL);
    Record::from_rdata(zone, TTL, RData::SOA(soa))
}

fn below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Lower case, without the final dot: as [`Records`] wants it.
fn text(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

fn parse_name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// How long the answer to the packet `bytes` may be.
pub fn limit_of(bytes: &[u8], transport: Transport) -> usize {
    match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => Message::from_vec(bytes).map_or(512, |query| usize::from(query.max_payload())).min(MAX_UDP),
    }
}

/// The bytes of `message`, at most `limit`: first what is only additional goes, then answers, and the client is told to come again over TCP.
pub fn fit(mut message: Message, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = message.to_vec().ok()?;
    if bytes.len() > limit && !message.additionals.is_empty() {
        message.additionals.clear();
        bytes = message.to_vec().ok()?;
    }
    while bytes.len() > limit {
        message.metadata.truncation = true;
        if message.answers.is_empty() && message.authorities.is_empty() {
            break;
        }
        // Records of one answer are about equally long; never too many go at once, so as many as fit stay.
        let count = message.answers.len();
        let each = bytes.len().div_ceil(count.max(1));
        let excess = (bytes.len() - limit).div_ceil(each);
        message.answers.truncate(count.saturating_sub(excess));
        message.authorities.clear();
        bytes = message.to_vec().ok()?;
    }
    Some(bytes)
}
