//! From a message to its answer, the same for datagrams and connections.

use std::net::SocketAddr;
use std::sync::Arc;

use postern_host::ports::Protocol;
use postern_intent::body;
use postern_plan::desired::AskedResolver;
use postern_plan::desired::dns::{DnsEntry, DnsPlan};
use tokio::sync::watch;

use super::counters::{Counters, Outcome};
use super::decide::{Decision, Need, decide, need};
use super::limits::{Limits, Permit};
use super::node::Node;
use super::question::{Code, Question, Unreadable, bare_answer};
use super::socket::Way;
use super::upstream::ask;

/// Questions of one pod that may be open at a time; a resolver that is silent holds one for 4 s.
const PER_CLIENT: usize = 256;
/// Questions of all pods that may be open at a time: each holds a socket and a buffer of 64 KiB.
const TOTAL: usize = 2048;
/// Questions that each pod may have open whatever others have.
const KEPT: usize = 8;

/// What every listener shares.
pub(super) struct Desk<N> {
    pub(super) table: watch::Receiver<DnsPlan>,
    pub(super) node: N,
    pub(super) fallback: Vec<SocketAddr>,
    pub(super) counters: Arc<Counters>,
    limits: Limits,
}

/// Who asks, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) protocol: Protocol,
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
}

impl<N: Node> Desk<N> {
    pub(super) fn new(
        table: watch::Receiver<DnsPlan>,
        node: N,
        fallback: Vec<SocketAddr>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            table,
            node,
            fallback,
            counters,
            limits: Limits::new(PER_CLIENT, TOTAL, KEPT),
        }
    }

    /// Does the table know the client? One that it does not know gets no answer at all.
    pub(super) fn knows(&self, client: SocketAddr) -> bool {
        let known = self.table.borrow().entries.contains_key(&client.ip());
        if !known {
            self.counters.count(Outcome::UnknownClient);
        }
        known
    }

    /// Leave for one question more, or none and a count.
    pub(super) fn admit(&self, client: SocketAddr) -> Option<Permit> {
        let permit = self.limits.admit(client.ip());
        if permit.is_none() {
            self.counters.count(Outcome::Limited);
        }
        permit
    }

    /// The answer to a message that is too long to be read.
    pub(super) fn refuse_oversized(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.counters.count(Outcome::Malformed);
        match Question::read(message) {
            Err(Unreadable::NoQuery) => None,
            _ => Some(bare_answer(message, Code::Malformed)),
        }
    }

    /// The answer to a message; none: it gets no answer.
    pub(super) async fn answer(&self, asker: Asker, message: &[u8]) -> Option<Vec<u8>> {
        let question = match Question::read(message) {
            Ok(question) => question,
            Err(unreadable) => return self.refuse_unreadable(unreadable, message),
        };
        let asked = match self.need(asker.client, &question)? {
            Need::AskedAddress => {
                let found =
                    self.node
                        .original_destination(asker.protocol, asker.client, asker.local);
                found.await.map(|address| AskedResolver {
                    address,
                    protocol: match asker.protocol {
                        Protocol::Tcp => body::Protocol::Tcp,
                        Protocol::Udp => body::Protocol::Udp,
                    },
                })
            }
            Need::Nothing => None,
        };
        let decision = self.decide(asker.client, &question, asked)?;
        let (answer, outcome) = carry_out(asker.protocol, &decision, &question, message).await;
        self.counters.count(outcome);
        Some(answer)
    }

    fn refuse_unreadable(&self, unreadable: Unreadable, message: &[u8]) -> Option<Vec<u8>> {
        match unreadable {
            Unreadable::NoQuery => {
                self.counters.count(Outcome::Malformed);
                None
            }
            Unreadable::Answered(code) => {
                self.counters.count(match code {
                    Code::NotImplemented => Outcome::NotForwarded,
                    _ => Outcome::Malformed,
                });
                Some(bare_answer(message, code))
            }
        }
    }

    /// What has to be found out before it can be decided; none for an unknown client.
    fn need(&self, client: SocketAddr, question: &Question) -> Option<Need> {
        self.with_entry(client, |entry, plan| need(question, entry, plan))
    }

    /// Decides by the table of this moment, which may be another one than a moment ago.
    fn decide(
        &self,
        client: SocketAddr,
        question: &Question,
        asked: Option<AskedResolver>,
    ) -> Option<Decision> {
        let lease = self.node.lease();
        self.with_entry(client, |entry, plan| {
            decide(question, entry, plan, lease, asked, &self.fallback)
        })
    }

    fn with_entry<T>(
        &self,
        client: SocketAddr,
        act: impl FnOnce(&DnsEntry, &DnsPlan) -> T,
    ) -> Option<T> {
        let table = self.table.borrow();
        let found = table
            .entries
            .get(&client.ip())
            .map(|entry| act(entry, &table));
        if found.is_none() {
            self.counters.count(Outcome::UnknownClient);
        }
        found
    }
}

async fn carry_out(
    protocol: Protocol,
    decision: &Decision,
    question: &Question,
    message: &[u8],
) -> (Vec<u8>, Outcome) {
    let (answer, outcome) = match decision {
        Decision::Here { code, outcome } => return (question.answer(message, *code), *outcome),
        Decision::Cluster(resolvers) => (
            ask(protocol, Way::Plain, resolvers, question, message).await,
            Outcome::Cluster,
        ),
        Decision::Exit { exit, resolvers } => (
            ask(protocol, Way::Exit(exit), resolvers, question, message).await,
            Outcome::Exit,
        ),
    };
    match answer {
        Some(answer) => (answer, outcome),
        None => (question.answer(message, Code::Failed), Outcome::NoAnswer),
    }
}
