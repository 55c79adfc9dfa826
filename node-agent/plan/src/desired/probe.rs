//! What is asked to know whether an exit carries. The probes use the sockets by which names are asked too: with the
//! exit's mark, on its device, from its address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_intent::body::{Body, ExitGateway, ExitProbe, ExitRoute, Scope, TermsDnsMode};
use postern_intent::{Address, ExitName, NodeName, WgKey};

use super::PlanInputs;
use super::dns::{DnsExit, route_socket, served_exit};
use crate::host::Family;

/// Everything that is probed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProbePlan {
    /// Exits that the node uses by a tunnel.
    pub used: BTreeMap<ExitName, UsedProbe>,
    /// Exits that the node serves, with the sockets that leave as their clients' packets do.
    pub served: BTreeMap<ExitName, DnsExit>,
}

/// What is asked by one tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedProbe {
    pub socket: DnsExit,
    /// The exit's gateways but this node, in the order in which they are used.
    pub gateways: Vec<ProbedGateway>,
    /// The gateway in use; this node itself: its pods leave by its own uplink.
    pub in_use: NodeName,
    /// The pace of the echoes, and the targets behind the gateway in use.
    pub probe: ExitProbe,
    /// Resolvers that policies name.
    pub resolvers: BTreeSet<SocketAddr>,
    /// Whether a policy leaves the choice of its resolvers to the node.
    pub choice: ResolverChoice,
}

/// Where a gateway answers in the tunnel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbedGateway {
    pub node: NodeName,
    /// The key and the endpoint of its peer: with other ones, answers of before are about something else.
    pub key: WgKey,
    pub endpoint: Option<SocketAddr>,
    pub addresses: BTreeMap<Family, Address>,
    /// Whether the node holds a session with it, and so asks it at the exit's own pace.
    pub warmth: GatewayWarmth,
}

/// Does the node hold a session with a gateway that it does not use?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GatewayWarmth {
    /// The gateway in use and the next one.
    Warm,
    Cold,
}

impl GatewayWarmth {
    /// Gateways of an exit with which a session is held.
    const WARM: usize = 2;

    /// Of the gateway at this place in the order.
    pub(super) const fn at(place: usize) -> Self {
        match place < Self::WARM {
            true => Self::Warm,
            false => Self::Cold,
        }
    }
}

/// Who names the resolvers of an exit's policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResolverChoice {
    /// Each policy, or none asks for names.
    #[default]
    Named,
    /// At least one leaves it to the node.
    Node,
}

pub(super) fn plan(inputs: &PlanInputs<'_>) -> ProbePlan {
    let Some(body) = inputs.body else {
        return ProbePlan::default();
    };
    let mut plan = ProbePlan::default();
    for route in &body.routes {
        if let Some(mut found) = used(inputs, body, route) {
            let scopes = body.firewall.iter();
            for scope in scopes.filter(|scope| scope.tunnel_exit() == Some(&route.exit)) {
                found.add(scope);
            }
            plan.used.insert(route.exit.clone(), found);
        }
    }
    for served in &body.nat {
        if let Some(socket) = served_exit(inputs, served) {
            plan.served.insert(served.exit.clone(), socket);
        }
    }
    plan
}

fn used(inputs: &PlanInputs<'_>, body: &Body, route: &ExitRoute) -> Option<UsedProbe> {
    let socket = route_socket(inputs, body, route);
    let tunnel = body
        .tunnels
        .iter()
        .find(|tunnel| tunnel.interface == route.interface)?;
    let probed = |(place, gateway): (usize, &ExitGateway)| {
        let mut peers = tunnel.peers.iter();
        let peer = peers.find(|peer| peer.at.node() == Some(&gateway.node))?;
        let addresses = gateway.addresses.iter();
        let addresses = addresses.map(|address| (Family::of(address), *address));
        Some(ProbedGateway {
            node: gateway.node.clone(),
            key: peer.public_key,
            endpoint: peer.endpoint,
            warmth: GatewayWarmth::at(place),
            addresses: addresses
                .filter(|(family, _)| socket.sources.contains_key(family))
                .filter(|(family, _)| inputs.facts.has_family(*family))
                .collect(),
        })
    };
    Some(UsedProbe {
        gateways: route
            .gateways
            .iter()
            .enumerate()
            .filter_map(probed)
            .collect(),
        in_use: route.gateways.first()?.node.clone(),
        probe: route.probe.clone(),
        socket,
        resolvers: BTreeSet::new(),
        choice: ResolverChoice::Named,
    })
}

impl UsedProbe {
    fn add(&mut self, scope: &Scope) {
        let dns = &scope.terms.dns;
        match dns.mode {
            TermsDnsMode::Block => {}
            TermsDnsMode::Forward | TermsDnsMode::Filter if dns.upstreams.is_empty() => {
                self.choice = ResolverChoice::Node;
            }
            TermsDnsMode::Forward | TermsDnsMode::Filter => self.resolvers.extend(&dns.upstreams),
        }
    }
}
