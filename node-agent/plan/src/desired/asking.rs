//! Who is asked for a name that is not the cluster's, whatever the name is. The forwarder of the agent and the explanation of
//! a packet both decide here.

use std::net::SocketAddr;
use std::slice;

use postern_intent::body::{RuleProtocol, Terms, TermsDnsMode};
use serde::{Deserialize, Serialize};

use super::dns::{DnsEntry, DnsExit, DnsPlan, may_ask, may_reach};

/// The resolver that a pod asked before its question was redirected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedResolver {
    pub address: SocketAddr,
    /// By which protocol it was asked.
    pub protocol: RuleProtocol,
}

/// Whether the node's intent is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    Runs,
    /// It ran out, or there was none.
    RanOut,
}

/// The way of a question out of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedOutside<'a> {
    /// The exit that it leaves by.
    pub exit: &'a DnsExit,
    /// The resolvers, in order; none: those of the node's settings, which were not known.
    pub resolvers: Vec<SocketAddr>,
    /// Why the policy would have nobody asked, if it only observes.
    pub observed: Option<NotAsked>,
}

/// Why nobody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotAsked {
    /// The pod is blocked, or its policy forwards nothing.
    Refused,
    /// The policy does not let the pod ask the resolver that it chose.
    ResolverRefused,
    /// Neither the policy nor the pod nor the node's settings name a resolver outside of the cluster.
    NoResolver,
    /// There is no exit by which one could be asked.
    NoExit,
    /// The intent ran out.
    NoLease,
    /// The exit may ask none of the resolvers: [`DnsExit::may_ask`].
    NotReached,
}

impl DnsPlan {
    /// Who is asked for a name that is not the cluster's: the scope's resolvers, else the one that the pod asked, else the
    /// node's setting. With the mode `Filter` the pod's choice counts for nothing.
    ///
    /// `asked` is the address that the pod named; none: nobody knows it, or the scope has resolvers. `fallback` is the node's
    /// own setting; none: it is not known, and is taken to have a resolver that the exit may ask.
    ///
    /// # Errors
    /// [`NotAsked`], the first reason that holds.
    pub fn outside<'a>(
        &self,
        entry: &'a DnsEntry,
        lease: Lease,
        asked: Option<AskedResolver>,
        fallback: Option<&[SocketAddr]>,
    ) -> Result<AskedOutside<'a>, NotAsked> {
        let observes = entry.observes();
        let mut observed = None;
        if entry.mode == TermsDnsMode::Block {
            observed = Some(NotAsked::Refused);
            if !observes {
                return Err(NotAsked::Refused);
            }
        }
        // Whom the pod chooses could answer a name that a rule allows with any address, and a filter believes answers.
        let is_chosen = |asked: &AskedResolver| {
            entry.mode != TermsDnsMode::Filter && self.is_outside(&asked.address.ip())
        };
        let chosen = asked.filter(is_chosen);
        let resolvers = match &chosen {
            _ if !entry.upstreams.is_empty() => Some(&entry.upstreams[..]),
            // A resolver in the world that the pod chose itself is a destination like any other.
            Some(chosen) => {
                let terms = entry.terms.as_ref();
                let may = |judge: fn(&Terms, SocketAddr, RuleProtocol) -> bool| {
                    terms.is_some_and(|terms| judge(terms, chosen.address, chosen.protocol))
                };
                if !may(may_ask) {
                    observed = observed.or(Some(NotAsked::ResolverRefused));
                    if !observes || !may(may_reach) {
                        return Err(NotAsked::ResolverRefused);
                    }
                }
                Some(slice::from_ref(&chosen.address))
            }
            None => fallback,
        };
        if resolvers.is_some_and(<[_]>::is_empty) {
            return Err(NotAsked::NoResolver);
        }
        let exit = entry.exit.as_ref().ok_or(NotAsked::NoExit)?;
        if lease == Lease::RanOut {
            return Err(NotAsked::NoLease);
        }
        let reached = |resolver: &&SocketAddr| exit.may_ask(&resolver.ip());
        let known = resolvers.unwrap_or_default().iter();
        let known: Vec<SocketAddr> = known.filter(reached).copied().collect();
        if resolvers.is_some() && known.is_empty() {
            return Err(NotAsked::NotReached);
        }
        Ok(AskedOutside {
            exit,
            resolvers: known,
            observed,
        })
    }
}
