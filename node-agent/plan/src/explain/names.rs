//! What the forwarder of the node does with a question for a name that is not the cluster's. Names of the cluster go to the
//! cluster's resolver, whatever the pod may do.

use std::net::SocketAddr;

use postern_intent::body::{DnsMode, Protocol};
use postern_intent::{Address, ExitName};
use serde::Serialize;

use crate::desired::DnsPlan;
use crate::desired::dns::may_ask;

/// What becomes of a question for a name that is not the cluster's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum NameAnswer {
    /// It is refused: the pod is blocked, or the policy forwards nothing.
    Refused,
    /// The policy does not let the pod ask the resolver that it chose.
    ResolverRefused,
    /// There is no exit by which it could be asked.
    NoExit,
    /// It is asked by the exit.
    Asked {
        /// The exit.
        exit: ExitName,
        /// The resolvers, in order; none: those of the node's settings.
        resolvers: Vec<SocketAddr>,
    },
}

impl NameAnswer {
    /// For a question from this pod's address to this resolver.
    pub(super) fn of(plan: &DnsPlan, pod: &Address, asked: SocketAddr, protocol: Protocol) -> Self {
        let Some(entry) = plan.entries.get(pod) else {
            return Self::Refused;
        };
        if entry.mode == DnsMode::Block {
            return Self::Refused;
        }
        let is_chosen = entry.upstreams.is_empty() && plan.is_outside(&asked.ip());
        let terms = entry.terms.as_ref();
        if is_chosen && !terms.is_some_and(|terms| may_ask(terms, asked, protocol)) {
            return Self::ResolverRefused;
        }
        let Some(exit) = &entry.exit else {
            return Self::NoExit;
        };
        Self::Asked {
            exit: exit.exit.clone(),
            resolvers: if is_chosen {
                vec![asked]
            } else {
                entry.upstreams.clone()
            },
        }
    }
}
