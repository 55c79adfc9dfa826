//! What the forwarder adds to the time of its resolvers, measured for one pod: the same names in turn by the forwarder and
//! directly of the resolvers that it asks, through the same exit.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use postern_control::dns_check::{DnsCheck, DnsCheckReport};
use postern_control::filter_cost::{FilterCost, LatencySummary};
use postern_host::ports::TransportProtocol;
use postern_plan::desired::dns::DnsExit;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::answer::{Asker, Desk};
use super::counters::QuestionOutcome;
use super::decide::DnsDecision;
use super::node::DnsNode;
use super::question::DnsQuestion;
use super::socket::ResolverPath;
use super::upstream::{AskedResolvers, ask};

/// The longest measurement: who asks on the socket waits for 30 s.
const LONGEST: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 20 });
/// The lower bits of the fourth byte of a message that say that the server failed (RFC 1035, section 4.1.1).
const FAILED: u8 = 2;

/// Why nothing was measured.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DnsCheckError {
    #[error("no name was given")]
    NoName,
    #[error("{name} is no name")]
    NameUnreadable { name: String },
    #[error(
        "the forwarder serves no pod with the address {pod}: give an address of a pod of this node that a policy selects"
    )]
    UnknownPod { pod: IpAddr },
    #[error("{name} is a name of the cluster: give one that is asked of a resolver outside")]
    NameOfCluster { name: String },
    #[error("the policy of the pod refuses {name}: give a name that it allows")]
    NameRefused { name: String },
    #[error(
        "no resolver is known for the pod: name one in spec.dns.upstreams of its policy or by the agent's --dns-upstreams"
    )]
    NoResolver,
    #[error(
        "the node asks for no name outside for this pod now ({outcome}): the conditions of its policy and of this node say why"
    )]
    NotAsked { outcome: &'static str },
    #[error("the forwarder does not run: the agent's log says why")]
    NotServed,
    #[error("the forwarder measures already: try again when that measurement is over")]
    Busy,
}

/// A measurement that is asked for, with the way back.
pub type CheckWork = (
    DnsCheck,
    oneshot::Sender<Result<DnsCheckReport, DnsCheckError>>,
);

/// Measures the names of a request. A request that comes meanwhile is refused as `Busy` and does not wait.
pub(super) async fn serve_checks<N: DnsNode>(
    desk: Arc<Desk<N>>,
    mut work: mpsc::Receiver<CheckWork>,
) {
    while let Some((check, mut answer)) = work.recv().await {
        let mut measured = pin!(measure(&desk, &check));
        loop {
            tokio::select! {
                found = &mut measured => {
                    drop(answer.send(found));
                    break;
                }
                () = answer.closed() => break,
                Some((_, other)) = work.recv() => drop(other.send(Err(DnsCheckError::Busy))),
            }
        }
    }
}

/// One name as it is asked by both ways.
struct CheckedName {
    message: Vec<u8>,
    question: DnsQuestion,
    exit: DnsExit,
    resolvers: Vec<SocketAddr>,
}

async fn measure<N: DnsNode>(
    desk: &Desk<N>,
    check: &DnsCheck,
) -> Result<DnsCheckReport, DnsCheckError> {
    let asker = Asker {
        protocol: TransportProtocol::Udp,
        client: SocketAddr::new(check.pod, 0),
        local: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
    };
    if !desk.knows(asker.client) {
        return Err(DnsCheckError::UnknownPod { pod: check.pod });
    }
    let names = check.names.iter().map(|name| prepare(desk, asker, name));
    let names: Vec<CheckedName> = names.collect::<Result<_, _>>()?;
    let first = names.first().ok_or(DnsCheckError::NoName)?;
    let resolvers = first.resolvers.clone();
    let (mut forwarder, mut upstream) = (Vec::new(), Vec::new());
    let measured = async {
        // The time in which a resolver learns a name counts for neither way. The time in which the kernel takes an address that is new to
        // the pod counts for the forwarder.
        for name in &names {
            directly(name).await;
        }
        for round in 0..check.rounds {
            for name in &names {
                let forwarder_first = round.is_multiple_of(2);
                if forwarder_first {
                    forwarder.push(by_forwarder(desk, asker, name).await);
                }
                upstream.push(directly(name).await);
                if !forwarder_first {
                    forwarder.push(by_forwarder(desk, asker, name).await);
                }
            }
        }
    };
    // A question that the end cuts off counts for neither way.
    if timeout(LONGEST, measured).await.is_err() {
        tracing::debug!("the measurement took too long: what was measured until then counts");
    }
    let cost = FilterCost {
        forwarder: LatencySummary::of(&forwarder),
        upstream: LatencySummary::of(&upstream),
    };
    Ok(DnsCheckReport { resolvers, cost })
}

fn prepare<N: DnsNode>(
    desk: &Desk<N>,
    asker: Asker,
    name: &str,
) -> Result<CheckedName, DnsCheckError> {
    let unreadable = || DnsCheckError::NameUnreadable {
        name: name.to_owned(),
    };
    let mut fqdn = Name::from_ascii(name).map_err(|_| unreadable())?;
    fqdn.set_fqdn(true);
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let kind = match asker.client {
        SocketAddr::V4(_) => RecordType::A,
        SocketAddr::V6(_) => RecordType::AAAA,
    };
    message.add_query(Query::query(fqdn, kind));
    let message = message.to_vec().map_err(|_| unreadable())?;
    let question = DnsQuestion::read(&message).map_err(|_| unreadable())?;
    match desk.decide(asker.client, &question, None) {
        Some(DnsDecision::Exit {
            exit, resolvers, ..
        }) => Ok(CheckedName {
            message,
            question,
            exit,
            resolvers,
        }),
        Some(DnsDecision::Cluster(_)) => Err(DnsCheckError::NameOfCluster {
            name: name.to_owned(),
        }),
        Some(DnsDecision::Here { outcome, .. }) => Err(not_asked(name, outcome)),
        None => Err(DnsCheckError::UnknownPod {
            pod: asker.client.ip(),
        }),
    }
}

fn not_asked(name: &str, outcome: QuestionOutcome) -> DnsCheckError {
    match outcome {
        QuestionOutcome::NameRefused | QuestionOutcome::ResolverName => {
            DnsCheckError::NameRefused {
                name: name.to_owned(),
            }
        }
        QuestionOutcome::NoResolver => DnsCheckError::NoResolver,
        _ => DnsCheckError::NotAsked {
            outcome: outcome.name(),
        },
    }
}

async fn by_forwarder<N: DnsNode>(
    desk: &Desk<N>,
    asker: Asker,
    name: &CheckedName,
) -> Option<Duration> {
    let began = Instant::now();
    let (answer, _) = desk.answer_unrecorded(asker, &name.message).await?;
    is_answer(&answer).then(|| began.elapsed())
}

async fn directly(name: &CheckedName) -> Option<Duration> {
    let asked = AskedResolvers {
        way: ResolverPath::Exit(&name.exit),
        resolvers: &name.resolvers,
        circuit: None,
    };
    let began = Instant::now();
    let answer = ask(TransportProtocol::Udp, asked, &name.question, &name.message);
    let answer = answer.await.ok()?;
    is_answer(&answer).then(|| began.elapsed())
}

fn is_answer(message: &[u8]) -> bool {
    message.get(3).is_some_and(|byte| byte & 0x0f != FAILED)
}
