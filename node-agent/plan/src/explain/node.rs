//! A node, and the way of a packet through it.
//!
//! Of a node of which only its body is known, what an agent reads from its host is assumed: the default settings,
//! [`HostFacts::assumed`], and for the pod whose packet it is a binding as its Pod object says, behind the bridge `cni0`. An agent
//! gives what it has in force instead. No routing table of the node is known to either: what no rule of ours routes leaves by the
//! default route, but for the node's own addresses and those of its pods.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use postern_intent::body::{BlockedReason, Body, Scope, ServedExit, TermsDnsMode};
use postern_intent::{Address, ExitName, NamePattern};

use super::cause::{Cause, ExitLimit, Explaining};
use super::first_packet::{BoundPod, FirstPacket};
use super::leg::{LegEnd, NodeLeg, TunnelEntry};
use super::names::NameAnswer;
use crate::binding::Bindings;
use crate::desired::{
    AddressClass, AskedResolver, DEFAULT_ROUTE, Desired, HostFacts, Lease, PlanInputs,
};
use crate::evaluate::{Evaluator, Grants, Hop, Packet, Passage, PathEnd, SourceRewrite, Trace};
use crate::host::{Family, RouteKind, RuleSelector};
use crate::ruleset::{Hook, RuleMeaning};
use crate::settings::{NodeSettings, POD_LINKS};

/// A node of which its body is known.
#[derive(Debug, Clone)]
pub struct NodeModel<'a> {
    body: &'a Body,
    facts: Cow<'a, HostFacts>,
    desired: Cow<'a, Desired>,
    lease: Lease,
    grants: Grants,
    /// The layer-3 device behind which the pods are.
    pod_link: String,
    /// The resolvers that the node asks for the pod where nothing names one; none: they are not known.
    own_resolvers: Option<Vec<SocketAddr>>,
}

/// What an agent has in force, as it was read back.
#[derive(Debug, Clone, Copy)]
pub struct NodeInForce<'a> {
    pub body: &'a Body,
    /// What the host looks like by that body.
    pub desired: &'a Desired,
    pub facts: &'a HostFacts,
    /// Whether the kernel holds the lease.
    pub lease: Lease,
    /// The resolvers that the node asks for the pod where nothing names one.
    pub own_resolvers: &'a [SocketAddr],
}

impl<'a> NodeModel<'a> {
    /// The node with this body at a time, and with the pod whose packets are asked about if it is that pod's node.
    #[must_use]
    pub fn new(body: &'a Body, pod: Option<&BoundPod>, now: Timestamp) -> Self {
        let mut bindings = Bindings::default();
        if let Some(binding) = pod.and_then(BoundPod::assumed_binding) {
            bindings.add(binding);
        }
        let facts = HostFacts::assumed();
        let desired = Desired::from_inputs(&PlanInputs {
            settings: &NodeSettings::default(),
            body: Some(body),
            bindings: &bindings,
            facts: &facts,
        });
        Self {
            body,
            facts: Cow::Owned(facts),
            desired: Cow::Owned(desired),
            lease: match now < body.not_after {
                true => Lease::Runs,
                false => Lease::RanOut,
            },
            grants: Grants::new(),
            pod_link: POD_LINKS[0].to_owned(),
            own_resolvers: None,
        }
    }

    /// The node with what its agent has in force, for a pod behind this device, with addresses that the kernel holds in sets of
    /// granted ones.
    #[must_use]
    pub fn in_force(node: NodeInForce<'a>, pod_link: &str, grants: Grants) -> Self {
        Self {
            body: node.body,
            facts: Cow::Borrowed(node.facts),
            desired: Cow::Borrowed(node.desired),
            lease: node.lease,
            grants,
            pod_link: pod_link.to_owned(),
            own_resolvers: Some(node.own_resolvers.to_vec()),
        }
    }

    /// The same after the pod asked for a name, and was answered with the destination of the packet.
    #[must_use]
    pub fn answered(mut self, first: &FirstPacket, name: &NamePattern) -> Self {
        let dns = &self.desired.dns;
        let entry = dns.entries.get(&first.source);
        let entry = entry.filter(|entry| dns.may_bring(entry, &first.destination));
        let rules = entry.map(|entry| entry.names.allowing(name.as_str()));
        let family = Family::of(&first.destination);
        let sets = rules.into_iter().flatten();
        let sets = sets.filter_map(|rule| rule.sets.get(&family).cloned());
        self.grants = sets
            .map(|set| (set, BTreeSet::from([first.destination])))
            .collect();
        self
    }

    /// Does the answer grant the destination?
    #[must_use]
    pub fn is_granted(&self) -> bool {
        !self.grants.is_empty()
    }

    /// Does a rule of the pod's policy allow names?
    #[must_use]
    pub fn filters_names(&self, source: &Address) -> bool {
        let scope = self.scope(source);
        scope.is_some_and(|scope| scope.terms.dns.mode == TermsDnsMode::Filter)
    }

    /// May an answer contain this address, while no rule has it in a range narrower than all addresses?
    #[must_use]
    pub fn is_unnamed(&self, source: &Address, address: &Address) -> bool {
        let dns = &self.desired.dns;
        let entry = dns.entries.get(source);
        let Some(scope) = self.scope(source) else {
            return true;
        };
        let own = scope.terms.rules.iter().flat_map(|rule| &rule.to);
        let admin = scope.terms.admin.iter().flat_map(|policy| &policy.rules);
        let mut ranges = own.chain(admin.flat_map(|rule| &rule.to));
        entry.is_none_or(|entry| dns.may_bring(entry, address))
            && !ranges.any(|range| range.net().prefix_len() > 0 && range.contains(address))
    }

    /// Does the name lie in the cluster's domain? Reverse names are not looked at.
    #[must_use]
    pub fn is_clusters(&self, name: &NamePattern) -> bool {
        let domain = self.desired.dns.cluster_domain.to_ascii_lowercase();
        let rest = name.as_str().strip_suffix(domain.trim_end_matches('.'));
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Does the forwarder refuse the name to the pod, because its policy does not allow it?
    #[must_use]
    pub fn refuses(&self, source: &Address, name: &NamePattern) -> bool {
        let entry = self.desired.dns.entries.get(source);
        entry.is_some_and(|entry| match entry.mode {
            TermsDnsMode::Filter => {
                let is_allowed =
                    || entry.observes() || !entry.names.allowing(name.as_str()).is_empty();
                self.desired.dns.is_never_allowed(name.as_str()) || !is_allowed()
            }
            TermsDnsMode::Block => !entry.observes(),
            TermsDnsMode::Forward => false,
        })
    }

    /// The way of a pod's packet through its node.
    #[must_use]
    pub fn from_pod(&self, first: &FirstPacket) -> NodeLeg {
        let mut packet = first.packet();
        packet.iif.clone_from(&self.pod_link);
        let scope = self.scope(&first.source);
        let served = scope.and_then(|scope| self.served(scope.local_exit()?));
        let passage = self.passage(&packet, served);
        let explaining = Explaining {
            scope,
            served: served.map(|served| &served.exit),
            blocked: self.blocked(&first.source),
        };
        let (end, cause, deciding) = self.pod_end(first, &passage, &explaining);
        self.leg(&passage, end, cause, deciding)
    }

    /// The way of a packet that a client sent into the tunnel of an exit through the exit's gateway, which this node is.
    #[must_use]
    pub fn from_tunnel(&self, entry: &TunnelEntry, first: &FirstPacket) -> NodeLeg {
        let exit = &entry.exit;
        let refused = |limit| {
            let exit = exit.clone();
            self.unjudged(Cause::NotOffered { exit, limit })
        };
        let Some(served) = self.served(exit) else {
            return refused(ExitLimit::NotServed);
        };
        if !self.knows_client(served, &entry.source) {
            return refused(ExitLimit::UnknownClient);
        }
        let first = FirstPacket {
            source: entry.source,
            ..*first
        };
        let mut packet = first.packet();
        packet.iif = served.interface.to_string();
        let passage = self.passage(&packet, Some(served));
        let explaining = Explaining {
            scope: None,
            served: Some(exit),
            blocked: None,
        };
        let (deciding, cause) = decided(&passage, &explaining);
        let end = match &passage.end {
            PathEnd::Rejected => LegEnd::Rejected,
            PathEnd::Left { source, .. } => LegEnd::Exit {
                exit: exit.clone(),
                source: address(*source),
            },
            PathEnd::Delivered => LegEnd::Delivered,
            PathEnd::Dropped | PathEnd::Redirected(_) => LegEnd::Dropped,
        };
        self.leg(&passage, end, cause, deciding)
    }

    fn leg(
        &self,
        passage: &Passage,
        end: LegEnd,
        cause: Cause,
        deciding: Option<usize>,
    ) -> NodeLeg {
        let traces = &passage.traces;
        NodeLeg {
            node: self.body.node.name.clone(),
            end,
            cause,
            deciding: deciding.and_then(|at| traces.get(at)).map(Into::into),
            rules: traces.iter().map(Into::into).collect(),
        }
    }

    /// WireGuard, and no rule, drops the packet.
    fn unjudged(&self, cause: Cause) -> NodeLeg {
        NodeLeg {
            node: self.body.node.name.clone(),
            end: LegEnd::Dropped,
            cause,
            deciding: None,
            rules: Vec::new(),
        }
    }

    fn pod_end(
        &self,
        first: &FirstPacket,
        passage: &Passage,
        explaining: &Explaining<'_>,
    ) -> (LegEnd, Cause, Option<usize>) {
        let (at, cause) = decided(passage, explaining);
        let services = &self.body.cluster.service_ranges;
        let is_service = services
            .iter()
            .any(|range| range.contains(&first.destination));
        match &passage.end {
            PathEnd::Redirected(port) => {
                let asked = AskedResolver {
                    address: (first.destination, first.port).into(),
                    protocol: first.protocol,
                };
                let own = self.own_resolvers.as_deref();
                let (dns, source) = (&self.desired.dns, &first.source);
                let names = NameAnswer::of(dns, source, self.lease, asked, own);
                let redirects = |trace: &Trace| trace.meaning == Some(RuleMeaning::Forwarder);
                let at = passage.traces.iter().position(redirects);
                (LegEnd::Forwarder { port: *port, names }, Cause::Dns, at)
            }
            _ if is_service => (LegEnd::Translated, Cause::Service, at),
            PathEnd::Rejected => (LegEnd::Rejected, cause, at),
            PathEnd::Dropped => (LegEnd::Dropped, cause, at),
            PathEnd::Delivered => (LegEnd::Delivered, Cause::Node, None),
            PathEnd::Left { .. } if is_inside(passage) => (LegEnd::Stays, cause, at),
            PathEnd::Left { oif, source, .. } => {
                let end = match self.entry(oif, first) {
                    Some(entry) => LegEnd::Tunnel(entry),
                    None => match explaining.served {
                        Some(exit) => LegEnd::Exit {
                            exit: exit.clone(),
                            source: address(*source),
                        },
                        None => LegEnd::Uplink,
                    },
                };
                (end, cause, at)
            }
        }
    }

    fn passage(&self, packet: &Packet, served: Option<&ServedExit>) -> Passage {
        let mut evaluator = Evaluator::new(&self.desired.ruleset);
        evaluator.grants.clone_from(&self.grants);
        if self.lease == Lease::RanOut {
            evaluator.leases.clear();
        }
        let tunnels = self.body.tunnels.iter().flat_map(|tunnel| {
            let addresses = tunnel.addresses.iter().map(IpNet::addr);
            addresses.map(|address| (tunnel.interface.to_string(), address))
        });
        let uplink = self.uplink(served);
        let own = self.body.local_addresses.iter();
        let own = own.map(|address| (uplink.clone(), *address));
        for (interface, address) in tunnels.chain(own) {
            let key = (interface, Family::of(&address));
            evaluator.addresses.entry(key).or_insert(address);
        }
        evaluator.routed(packet, |packet| self.hop(packet, served))
    }

    /// The routing decision. The node's own addresses come before our rules, and our rules before the main table.
    fn hop(&self, packet: &Packet, served: Option<&ServedExit>) -> Hop {
        if self.is_own(&packet.destination) {
            return Hop::Local;
        }
        if let Some(table) = self.table(packet) {
            let routes = self.desired.routes.iter().filter(|route| {
                route.table == table && route.destination.contains(&packet.destination)
            });
            let device = match routes
                .min_by_key(|route| route.metric)
                .map(|route| &route.kind)
            {
                Some(RouteKind::Device(device)) => device.to_string(),
                // No interface is named so: what is unreachable leaves by none.
                Some(RouteKind::Unreachable) | None => String::new(),
            };
            return Hop::Interface(device);
        }
        let ranges = &self.body.local_pod_ranges;
        let is_pod = self.desired.classes.contains_key(&packet.destination)
            || ranges
                .iter()
                .any(|range| range.contains(&packet.destination));
        Hop::Interface(match is_pod {
            true => self.pod_link.clone(),
            false => self.uplink(served),
        })
    }

    /// The table that a rule of ours leads to.
    fn table(&self, packet: &Packet) -> Option<u32> {
        let leads = |selector: &RuleSelector| match selector {
            RuleSelector::Mark {
                family,
                value,
                mask,
            } => *family == packet.family() && packet.mark & mask == *value,
            RuleSelector::From(address) => *address == packet.source,
        };
        let mut rules = self.desired.rules.iter();
        rules
            .find(|rule| leads(&rule.selector))
            .map(|rule| rule.table)
    }

    fn uplink(&self, served: Option<&ServedExit>) -> String {
        let named = served.and_then(|served| served.uplink.as_ref());
        let uplink = self.facts.uplink(named);
        uplink.map_or_else(|| DEFAULT_ROUTE.to_owned(), |uplink| uplink.to_string())
    }

    fn is_own(&self, address: &Address) -> bool {
        let body = self.body;
        let of_tunnels = body.tunnels.iter().flat_map(|tunnel| &tunnel.addresses);
        let mut of_exits = body.nat.iter().flat_map(|served| &served.egress);
        body.local_addresses.contains(address)
            || of_tunnels.map(IpNet::addr).any(|own| own == *address)
            || of_exits.any(|own| own == address)
    }

    fn entry(&self, oif: &str, first: &FirstPacket) -> Option<TunnelEntry> {
        let mut routes = self.body.routes.iter();
        let route = routes.find(|route| route.interface.as_str() == oif)?;
        let family = Family::of(&first.source);
        let source = crate::desired::tunnel_address(self.body, &route.interface, family)?;
        Some(TunnelEntry {
            exit: route.exit.clone(),
            interface: route.interface.clone(),
            source,
            gateways: route.gateways.iter().map(|one| one.node.clone()).collect(),
        })
    }

    fn class(&self, address: &Address) -> Option<&AddressClass> {
        let classified = self.desired.classes.get(address)?;
        Some(&classified.class)
    }

    fn scope(&self, address: &Address) -> Option<&'a Scope> {
        let AddressClass::Scope(id) = self.class(address)? else {
            return None;
        };
        self.body.firewall.iter().find(|scope| scope.id == *id)
    }

    fn blocked(&self, address: &Address) -> Option<BlockedReason> {
        match self.class(address)? {
            AddressClass::Blocked(reason) => Some(*reason),
            AddressClass::Scope(_) | AddressClass::Released => None,
        }
    }

    fn served(&self, exit: &ExitName) -> Option<&'a ServedExit> {
        self.body.nat.iter().find(|served| served.exit == *exit)
    }

    fn knows_client(&self, served: &ServedExit, source: &Address) -> bool {
        let tunnels = self.body.tunnels.iter();
        let mut own = tunnels.filter(|tunnel| tunnel.interface == served.interface);
        own.any(|tunnel| {
            let mut ranges = tunnel.peers.iter().flat_map(|peer| &peer.allowed_ips);
            ranges.any(|range| range.contains(source))
        })
    }
}

/// Whether the packet goes on inside the cluster: also that of a pod that no policy selects, whose scope is not asked.
fn is_inside(passage: &Passage) -> bool {
    let mut meanings = passage.traces.iter().filter_map(|trace| trace.meaning);
    meanings.any(|meaning| matches!(meaning, RuleMeaning::Inside | RuleMeaning::Link))
}

/// The last rule that says something of its own, by its place among the traces, and what it says. What goes on is decided by
/// the guard, in the hook forward; the chains before it and behind it say the same again.
fn decided(passage: &Passage, explaining: &Explaining<'_>) -> (Option<usize>, Cause) {
    let goes_on = matches!(passage.end, PathEnd::Left { .. });
    let traces = passage.traces.iter().enumerate().rev();
    let of_the_guard = |trace: &Trace| !goes_on || trace.hook == Hook::Forward;
    let mut others = traces
        .filter(|(_, trace)| of_the_guard(trace))
        .filter_map(|(at, trace)| Some((at, explaining.cause(trace)?)));
    match others.next() {
        Some((at, cause)) => (Some(at), cause),
        None => (None, Cause::NoRule),
    }
}

fn address(source: Option<SourceRewrite>) -> Option<Address> {
    match source {
        Some(SourceRewrite::Address(address)) => Some(address),
        Some(SourceRewrite::OfInterface) | None => None,
    }
}
