//! Everything that a host should have, section by section.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use postern_intent::IfName;

use super::{Classes, DnsPlan, ExitSources, PlanInputs, ProbePlan, RecordPoints};
use super::{
    ClusterView, LocalRanges, classify, dns, exit_source, firewall, link, lock, probe, route,
    tunnel,
};
use crate::flow::InsideFlows;
use crate::host::{
    DeviceSetting, Family, KernelRoute, LockPolicy, RouteKind, RoutingRule, TunnelConfig,
    TunnelLink,
};
use crate::ruleset::Ruleset;

/// What the host should look like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    pub links: BTreeSet<TunnelLink>,
    /// Per-device switches of the tunnel devices.
    pub devices: BTreeSet<DeviceSetting>,
    /// Addresses of the tunnel devices.
    pub addresses: BTreeSet<(IfName, IpNet)>,
    /// Routes in our tables.
    pub routes: BTreeSet<KernelRoute>,
    pub rules: BTreeSet<RoutingRule>,
    pub locks: BTreeSet<LockPolicy>,
    /// WireGuard configurations by device.
    pub tunnels: BTreeMap<IfName, TunnelConfig>,
    pub ruleset: Ruleset,
    /// What the ruleset tells the agent of.
    pub records: RecordPoints,
    /// Who may ask which resolver.
    pub dns: DnsPlan,
    /// What is asked to know whether exits carry.
    pub probes: ProbePlan,
    /// What each address may do.
    pub classes: Classes,
    /// What is known of this node's pod ranges, by family.
    pub local_ranges: BTreeMap<Family, LocalRanges>,
    /// Which flows no cut is about.
    pub inside: InsideFlows,
    /// How packets leave by the exits that the node serves.
    pub sources: ExitSources,
}

impl Desired {
    /// Computes all of it.
    #[must_use]
    pub fn from_inputs(inputs: &PlanInputs<'_>) -> Self {
        let classes = classify::classify(inputs);
        let cluster = ClusterView::new(inputs, &classes);
        let tunnels = match inputs.facts.tunnel_backend {
            Some(backend) => link::tunnels(inputs, backend),
            None => link::TunnelParts::default(),
        };
        let (ruleset, records) = firewall::ruleset(inputs, &cluster, &classes);
        let whole = Self {
            routes: route::routes(inputs),
            rules: route::rules(inputs),
            locks: lock::policies(inputs, &cluster),
            tunnels: tunnel::tunnel_configs(inputs),
            ruleset,
            records,
            dns: dns::plan(inputs, &cluster, &classes),
            probes: probe::plan(inputs),
            inside: InsideFlows::new(&cluster, &classes, inputs.settings.dns_port),
            sources: exit_source::sources(inputs, &classes),
            local_ranges: cluster.local_ranges,
            links: tunnels.links,
            devices: tunnels.devices,
            addresses: tunnels.addresses,
            classes,
        };
        whole
            .without(&inputs.facts.absent)
            .without_ways(&inputs.facts.disabled)
    }

    /// Is the difference to another one only what is said of single pods: the ruleset, the resolvers, the classes?
    #[must_use]
    pub fn differs_only_in_pods(&self, other: &Self) -> bool {
        self.links == other.links
            && self.devices == other.devices
            && self.addresses == other.addresses
            && self.routes == other.routes
            && self.rules == other.rules
            && self.locks == other.locks
            && self.tunnels == other.tunnels
    }

    /// No way out in these families, which our devices do not take: what blocks stays.
    fn without_ways(mut self, disabled: &BTreeSet<Family>) -> Self {
        let is_taken = |family: Family| !disabled.contains(&family);
        self.addresses
            .retain(|(_, address)| is_taken(Family::of(&address.addr())));
        self.routes.retain(|route| {
            route.kind == RouteKind::Unreachable || is_taken(Family::of_prefix(&route.destination))
        });
        self
    }

    /// Nothing of these families, which the kernel would refuse for ever. The ruleset stays: nft judges packets of a
    /// family that the kernel does not route, and both families are guarded always.
    fn without(mut self, absent: &BTreeSet<Family>) -> Self {
        let is_there = |family: Family| !absent.contains(&family);
        self.devices
            .retain(|setting| is_there(setting.key.family()));
        self.addresses
            .retain(|(_, address)| is_there(Family::of(&address.addr())));
        self.routes
            .retain(|route| is_there(Family::of_prefix(&route.destination)));
        self.rules.retain(|rule| is_there(rule.selector.family()));
        self.locks
            .retain(|lock| is_there(Family::of_prefix(&lock.source)));
        self
    }
}
