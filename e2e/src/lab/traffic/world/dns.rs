//! Port 53: the authority for `world.test` in the world, and for the cluster's domain in the resolver pod.
//!
//! Answers repeat the question with the letters as they were asked, and carry the asked name as owner.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::lab::LabError;
use crate::lab::topology::world_address;
use crate::lab::traffic::world::Datagrams;
use crate::lab::traffic::world::listener::listener;
use crate::lab::traffic::world::numbered::numbered;

/// Time to live of an answer in seconds, unless the name has the label `ttl-0`: short, so that a test sees a change.
const TTL: u32 = 5;

/// What a server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// `world.test`: `whoami` is the address that asked, `a-203-0-113-7` is that address and `b-2001-db8--7` that one, also with
    /// further labels behind; `h-203-0-113-7` is a hundred addresses from that one on. `c-` before such a name is an alias of that name below `elsewhere.world.test`. Any other name is the address that was asked (so that a pod which asks its own RESOLVER gets an
    /// address of its own). `asked.` before a name is an address if anybody has asked for that name, and does not exist else.
    World,
    /// The cluster's domain with these names; everything else is refused, since nothing is forwarded.
    Cluster(Vec<(String, IpAddr)>),
}

type Source = Box<dyn Fn() -> Zone + Send + Sync>;

pub(crate) fn serve_udp(address: SocketAddr, zone: Source) -> Result<JoinHandle<()>, LabError> {
    let mut socket = Datagrams::bind(address)?;
    Ok(std::thread::spawn(move || {
        loop {
            // An ICMP error of an earlier answer comes up here; the next datagram is not concerned.
            let _ = socket.answer(|asked| {
                let world = || (zone() == Zone::World).then(|| numbered(asked.content))?;
                world().or_else(|| answer(&zone(), asked.content, asked.from.ip(), asked.to))
            });
        }
    }))
}

pub(crate) fn serve_tcp(address: SocketAddr, zone: Source) -> Result<JoinHandle<()>, LabError> {
    let listener = listener(address)?;
    let zone: std::sync::Arc<Source> = zone.into();
    Ok(std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let zone = zone.clone();
            std::thread::spawn(move || converse(stream, &zone));
        }
    }))
}

/// Messages on a stream carry their length in two bytes (RFC 1035 section 4.2.2).
fn converse(mut stream: TcpStream, zone: &Source) -> Option<()> {
    let (from, to) = (
        stream.peer_addr().ok()?.ip(),
        stream.local_addr().ok()?.ip(),
    );
    let mut length = [0; 2];
    loop {
        stream.read_exact(&mut length).ok()?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query).ok()?;
        let answer = answer(&zone(), &query, from, to)?;
        let mut framed = u16::try_from(answer.len()).ok()?.to_be_bytes().to_vec();
        framed.extend(answer);
        stream.write_all(&framed).ok()?;
    }
}

/// The answer to one query that came from one address and was sent to another; nothing for what is no query.
#[must_use]
pub fn answer(zone: &Zone, query: &[u8], from: IpAddr, to: IpAddr) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let mut response = Message::response(query.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.authoritative = true;
    let is_short = question.name.iter().any(|label| label == b"ttl-0");
    let ttl = if is_short { 0 } else { TTL };
    match records(zone, &question, from, to) {
        Ok(records) => {
            let alias = alias(zone, &question);
            let owner = alias.as_ref().unwrap_or(&question.name).clone();
            if let Some(target) = alias {
                let data = RData::CNAME(CNAME(target));
                response.add_answer(Record::from_rdata(question.name.clone(), ttl, data));
            }
            for data in records {
                response.add_answer(Record::from_rdata(owner.clone(), ttl, data));
            }
        }
        Err(code) => response.metadata.response_code = code,
    }
    response.add_query(question);
    response.to_vec().ok()
}

/// The name that the asked one leads to, outside of its own zone.
fn alias(zone: &Zone, question: &Query) -> Option<Name> {
    let name = question.name.to_ascii().to_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    let target = first.strip_prefix("c-").filter(|_| *zone == Zone::World)?;
    Name::from_ascii(format!("{target}.elsewhere.world.test.")).ok()
}

fn records(
    zone: &Zone,
    question: &Query,
    from: IpAddr,
    to: IpAddr,
) -> Result<Vec<RData>, ResponseCode> {
    let name = question.name.to_ascii().to_lowercase();
    let name = name.trim_end_matches('.');
    let addresses = match zone {
        Zone::World => world_name(name, from, to)?,
        Zone::Cluster(names) => cluster_name(name, names)?,
    };
    let wanted = |address: &IpAddr| match (question.query_type, address) {
        (RecordType::A, IpAddr::V4(four)) => Some(RData::A(A(*four))),
        (RecordType::AAAA, IpAddr::V6(six)) => Some(RData::AAAA(AAAA(*six))),
        (RecordType::TXT, address) => Some(RData::TXT(TXT::new(vec![address.to_string()]))),
        _ => None,
    };
    Ok(addresses.iter().filter_map(wanted).collect())
}

fn world_name(name: &str, from: IpAddr, to: IpAddr) -> Result<Vec<IpAddr>, ResponseCode> {
    if let Some(other) = name.strip_prefix("asked.") {
        return match asked().contains(other) {
            true => Ok(vec![from]),
            false => Err(ResponseCode::NXDomain),
        };
    }
    asked().insert(name.to_owned());
    let Some(host) = name.strip_suffix("world.test") else {
        return Err(ResponseCode::Refused);
    };
    let host = host.trim_end_matches('.');
    if host.split('.').any(|label| label == "absent") {
        return Err(ResponseCode::NXDomain);
    }
    if host == "whoami" {
        return Ok(vec![from]);
    }
    let first = host.split('.').next().unwrap_or_default();
    let first = first.strip_prefix("c-").unwrap_or(first);
    if let Some(literal) = first.strip_prefix("h-") {
        let address = literal.replace('-', ".").parse();
        let address: Ipv4Addr = address.map_err(|_| ResponseCode::NXDomain)?;
        let hundred = u32::from(address)..;
        return Ok(hundred
            .take(100)
            .map(|one| IpAddr::V4(one.into()))
            .collect());
    }
    for (kind, separator) in [("a-", "."), ("b-", ":")] {
        if let Some(literal) = first.strip_prefix(kind) {
            let address = literal.replace('-', separator).parse();
            return Ok(vec![address.map_err(|_| ResponseCode::NXDomain)?]);
        }
    }
    let (four, six) = world_address(0);
    Ok(match to {
        IpAddr::V4(asked) => vec![asked.into(), six.into()],
        IpAddr::V6(asked) => vec![four.into(), asked.into()],
    })
}

/// Names that this process was asked for.
fn asked() -> MutexGuard<'static, BTreeSet<String>> {
    static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cluster_name(name: &str, names: &[(String, IpAddr)]) -> Result<Vec<IpAddr>, ResponseCode> {
    if name != "cluster.local" && !name.ends_with(".cluster.local") {
        return Err(ResponseCode::Refused);
    }
    let found: Vec<IpAddr> = names
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(_, address)| *address)
        .collect();
    if found.is_empty() {
        Err(ResponseCode::NXDomain)
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    use super::{Zone, answer};

    fn ask(zone: &Zone, name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let (from, to) = (
            "192.168.10.11".parse().unwrap(),
            "203.0.113.9".parse().unwrap(),
        );
        Message::from_vec(&answer(zone, &query.to_vec().unwrap(), from, to).unwrap()).unwrap()
    }

    fn text(message: &Message) -> Vec<String> {
        message
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect()
    }

    #[test]
    fn whoami_is_the_address_that_asked_and_any_other_name_the_one_that_was_asked() {
        assert_eq!(
            text(&ask(&Zone::World, "whoami.world.test.", RecordType::A)),
            ["192.168.10.11"]
        );
        assert_eq!(
            text(&ask(&Zone::World, "echo.world.test.", RecordType::A)),
            ["203.0.113.9"]
        );
        assert_eq!(
            text(&ask(&Zone::World, "echo.world.test.", RecordType::AAAA)),
            ["2001:db8:aaaa::"]
        );
        assert_eq!(
            text(&ask(&Zone::World, "a-10-0-0-1.world.test.", RecordType::A)),
            ["10.0.0.1"]
        );
    }

    #[test]
    fn a_name_tells_its_address_in_either_family_and_whether_it_was_asked() {
        let told = |name: &str, kind| text(&ask(&Zone::World, name, kind));
        let six = told("b-64-ff9b--a00-1.some.world.test.", RecordType::AAAA);
        assert_eq!(six, ["64:ff9b::a00:1"]);
        let four = told("a-10-0-0-1.some.world.test.", RecordType::A);
        assert_eq!(four, ["10.0.0.1"]);
        let hundred = told("h-10-0-0-200.some.world.test.", RecordType::A);
        assert_eq!((hundred.len(), &*hundred[99]), (100, "10.0.1.43"));
        let unknown = ask(&Zone::World, "asked.never.world.test.", RecordType::A);
        assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
        told("once.world.test.", RecordType::A);
        assert_eq!(told("asked.once.world.test.", RecordType::A).len(), 1);
    }

    #[test]
    fn an_alias_leads_out_of_its_zone() {
        let message = ask(&Zone::World, "c-a-10-0-0-1.some.world.test.", RecordType::A);
        let owners: Vec<String> = message
            .answers
            .iter()
            .map(|record| record.name.to_ascii())
            .collect();
        let target = "a-10-0-0-1.elsewhere.world.test.";
        assert_eq!(owners, ["c-a-10-0-0-1.some.world.test.", target]);
        assert_eq!(text(&message), [target, "10.0.0.1"]);
    }

    #[test]
    fn an_answer_carries_the_name_as_it_was_asked() {
        let message = ask(&Zone::World, "EcHo.World.Test.", RecordType::A);
        assert_eq!(message.answers[0].name.to_ascii(), "EcHo.World.Test.");
        assert_eq!(message.queries[0].name.to_ascii(), "EcHo.World.Test.");
    }

    #[test]
    fn the_resolver_forwards_nothing() {
        let names = vec![(
            "web.default.svc.cluster.local".to_owned(),
            "10.96.0.10".parse().unwrap(),
        )];
        let zone = Zone::Cluster(names);
        assert_eq!(
            text(&ask(&zone, "web.default.svc.cluster.local.", RecordType::A)),
            ["10.96.0.10"]
        );
        let unknown = ask(&zone, "other.default.svc.cluster.local.", RecordType::A);
        assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
        let outside = ask(&zone, "echo.world.test.", RecordType::A);
        assert_eq!(outside.metadata.response_code, ResponseCode::Refused);
    }
}
