//! Who may ask which resolver.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_intent::body::{Body, DnsMode, Scope};
use postern_intent::{Address, ExitName, IfName, ScopeId};

use super::{ClusterView, Inputs, Standing, classify::Classes, tunnel_address, used_interface};
use crate::host::Family;

/// What the forwarder does for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsEntry {
    /// The scope, none for a blocked pod.
    pub scope: Option<ScopeId>,
    /// What becomes of names outside the cluster.
    pub mode: DnsMode,
    /// Resolvers asked through the exit. Empty: the address that the pod asked, if it is outside.
    pub upstreams: Vec<SocketAddr>,
    /// The way that questions take; none: no working exit, `SERVFAIL`.
    pub exit: Option<DnsExit>,
}

/// The way of the forwarder's own sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsExit {
    /// Whose exit.
    pub exit: ExitName,
    /// The socket's mark, shifted; 0 on the exit's own gateway.
    pub mark: u32,
    /// The device that the socket is bound to.
    pub device: IfName,
    /// The addresses that the socket is bound to, at most one a family. A family without one is not asked.
    pub sources: BTreeMap<Family, Address>,
}

/// Everything that the forwarder needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsPlan {
    /// By the pod's address. An address that is not here gets no answer.
    pub entries: BTreeMap<Address, DnsEntry>,
    /// The cluster's own domain.
    pub cluster_domain: String,
    /// The cluster's resolvers.
    pub cluster_resolvers: Vec<Address>,
    /// Ranges whose reverse names are the cluster's, and which are no resolver in the world.
    pub cluster_ranges: Vec<postern_intent::Prefix>,
}

/// Is the standing one whose port 53 is redirected? Selected pods and blocked ones: a blocked pod may ask for the
/// cluster's names, and nothing else, or names would be its way out.
#[must_use]
pub fn is_redirected(standing: &Standing) -> bool {
    !matches!(standing, Standing::Released)
}

pub(super) fn plan(inputs: &Inputs<'_>, cluster: &ClusterView, classes: &Classes) -> DnsPlan {
    let Some(body) = inputs.body else {
        return DnsPlan::default();
    };
    let mut ranges: BTreeSet<postern_intent::Prefix> = BTreeSet::new();
    for list in [
        &cluster.pods,
        &cluster.services,
        &cluster.nodes,
        &cluster.tunnels,
    ] {
        ranges.extend(list.iter().copied());
    }
    let by_scope: BTreeMap<&ScopeId, DnsEntry> = body
        .firewall
        .iter()
        .map(|scope| (&scope.id, entry(inputs, body, scope)))
        .collect();
    let entries = classes
        .iter()
        .filter_map(|(address, classified)| match &classified.standing {
            Standing::Scope(scope) => by_scope.get(scope).map(|entry| (*address, entry.clone())),
            Standing::Blocked(_) => Some((*address, blocked())),
            Standing::Released => None,
        })
        .collect();
    DnsPlan {
        entries,
        cluster_domain: cluster.dns.domain.clone(),
        cluster_resolvers: cluster.dns.addresses.clone(),
        cluster_ranges: ranges.into_iter().collect(),
    }
}

fn blocked() -> DnsEntry {
    DnsEntry {
        scope: None,
        mode: DnsMode::Block,
        upstreams: Vec::new(),
        exit: None,
    }
}

fn entry(inputs: &Inputs<'_>, body: &Body, scope: &Scope) -> DnsEntry {
    DnsEntry {
        scope: Some(scope.id.clone()),
        mode: scope.terms.dns.mode,
        upstreams: scope.terms.dns.upstreams.clone(),
        exit: exit_of(inputs, body, scope),
    }
}

fn exit_of(inputs: &Inputs<'_>, body: &Body, scope: &Scope) -> Option<DnsExit> {
    if let Some(exit) = scope.tunnel_exit() {
        let route = body.routes.iter().find(|route| &route.exit == exit)?;
        let device = used_interface(body, exit)?.clone();
        let sources = Family::BOTH
            .into_iter()
            .filter_map(|family| {
                tunnel_address(body, &device, family).map(|address| (family, address))
            })
            .collect();
        return Some(DnsExit {
            exit: exit.clone(),
            mark: inputs.settings.masked(route.mark).value,
            device,
            sources,
        });
    }
    let exit = scope.local_exit()?;
    let served = body.nat.iter().find(|served| &served.exit == exit)?;
    let device = inputs.facts.uplink(served.uplink.as_ref())?;
    let sources = served
        .egress
        .iter()
        .map(|address| (Family::of(address), *address))
        .collect();
    Some(DnsExit {
        exit: exit.clone(),
        mark: 0,
        device,
        sources,
    })
}
