//! What an object cannot know of itself: terms that contradict the cluster, or that its namespace has no room for. They are
//! refused before anything is decided, so that what was in force for the object stays in force.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ipnet::IpNet;
use postern_crds::conditions::Reason;
use postern_intent::{Address, Prefix};

use crate::snapshot::{
    ExitTerms, PodNetwork, PolicyTerms, Snapshot, SnapshotExit, SnapshotPod, SnapshotPolicy,
    SpecRefusal,
};
use crate::{baseline, memory_budget};

/// Policies and exits as they are judged: of those that are refused here a copy, of the others the objects themselves.
pub(crate) struct ScreenedSnapshot<'a> {
    pub(crate) policies: Vec<Cow<'a, SnapshotPolicy>>,
    pub(crate) exits: Vec<Cow<'a, SnapshotExit>>,
    /// The policies of the tier `Baseline`.
    pub(crate) baselines: Vec<SnapshotPolicy>,
}

impl<'a> ScreenedSnapshot<'a> {
    /// Judges every policy and exit. O((policies + exits) · log of the cluster's ranges and addresses).
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let facts = ClusterFacts::new(snapshot);
        let mut crowded = memory_budget::over(snapshot);
        let policies = snapshot.policies.iter().map(|policy| {
            let terms = policy.terms.as_ref().ok();
            let refusal = crowded
                .remove(&policy.uid)
                .or_else(|| facts.refuses_policy(terms?));
            match refusal {
                Some(refusal) => Cow::Owned(SnapshotPolicy {
                    terms: Err(refusal),
                    ..policy.clone()
                }),
                None => Cow::Borrowed(policy),
            }
        });
        let exits = snapshot.exits.iter().map(|exit| {
            let terms = exit.terms.as_ref().ok();
            match terms.and_then(|terms| facts.refuses_exit(terms)) {
                Some(refusal) => Cow::Owned(SnapshotExit {
                    terms: Err(refusal),
                    ..exit.clone()
                }),
                None => Cow::Borrowed(exit),
            }
        });
        Self {
            policies: policies.collect(),
            exits: exits.collect(),
            baselines: baseline::policies(snapshot),
        }
    }
}

/// Which addresses are the cluster's own.
struct ClusterFacts {
    /// Ranges of pods and services, disjoint and sorted.
    ranges: Vec<IpNet>,
    /// Ranges of the exits' own networks.
    tunnels: Vec<IpNet>,
    /// Where nodes are said to lie.
    node_ranges: Vec<IpNet>,
    /// Addresses of nodes and API servers.
    nodes: BTreeSet<Address>,
    /// Addresses of pods, where no range of pods is known.
    pods: BTreeSet<Address>,
}

impl ClusterFacts {
    fn new(snapshot: &Snapshot) -> Self {
        let settings = &snapshot.settings;
        let of_nodes = snapshot.nodes.iter().flat_map(|node| &node.pod_ranges);
        let ranges = settings.pod_ranges.iter().chain(of_nodes);
        let ranges = ranges.chain(&settings.service_ranges);
        let ranges = joined(ranges);
        // What anybody can write into an object, such as `externalIPs` of a Service or the address of one pod, refuses nothing
        // of others: one tenant could take a resolver away from all of them.
        let own = |pod: &&SnapshotPod| pod.attachment == PodNetwork::Own && ranges.is_empty();
        let pods = snapshot.pods.iter().filter(own);
        let pods = pods.flat_map(|pod| &pod.addresses);
        let nodes = snapshot.nodes.iter().flat_map(|node| &node.addresses);
        let nodes = nodes.filter(|address| settings.is_node_address(address));
        let servers = settings.api_servers.iter().map(std::net::SocketAddr::ip);
        Self {
            tunnels: joined(settings.tunnels.ranges.iter()),
            node_ranges: joined(settings.node_ranges.iter()),
            nodes: nodes.copied().chain(servers).collect(),
            pods: pods.copied().collect(),
            ranges,
        }
    }

    fn is_workload(&self, address: &Address) -> bool {
        self.pods.contains(address) || within(&self.ranges, IpNet::from(*address))
    }

    fn refuses_policy(&self, terms: &PolicyTerms) -> Option<SpecRefusal> {
        let mut upstreams = terms
            .terms
            .dns
            .upstreams
            .iter()
            .map(std::net::SocketAddr::ip);
        let inside =
            upstreams.find(|address| self.is_workload(address) || self.nodes.contains(address))?;
        Some(invalid(format!(
            "spec.dns.upstreams: {inside} is an address of this cluster, and upstreams are asked through the exit, which \
             does not lead into the cluster; name a resolver outside, or leave it out: names of the cluster are resolved by \
             the cluster's own resolver"
        )))
    }

    fn refuses_exit(&self, terms: &ExitTerms) -> Option<SpecRefusal> {
        if terms.external.is_some() {
            let is_taken = |one: &&Address| {
                let net = IpNet::from(**one);
                self.is_workload(one) || self.nodes.contains(one) || within(&self.tunnels, net)
            };
            if let Some(taken) = terms.egress.iter().find(is_taken) {
                return Some(invalid(format!(
                    "spec.external.addresses: {taken} is an address of this cluster or of its tunnels, which the node that has the \
                 session would not reach any more; ask the server's provider for another one"
                )));
            }
        }
        let taken = terms.egress.iter().find(|one| self.is_workload(one));
        if let Some(taken) = taken {
            return Some(invalid(format!(
                "spec.gateway.egressIPs: {taken} lies in the range of pods or Services of this cluster; name an address of the \
                 gateway's own network that nothing else uses"
            )));
        }
        let names_nothing = |route: &&Prefix| {
            let route = route.net();
            let single = route.prefix_len() == route.max_prefix_len();
            within(&self.ranges, route)
                || within(&self.node_ranges, route)
                || (single && self.nodes.contains(&route.addr()))
        };
        let route = terms.routes.iter().find(names_nothing)?;
        Some(invalid(format!(
            "spec.routes: all of {route} lies in this cluster, which an exit never offers; name destinations outside, or \
             0.0.0.0/0 and ::/0 for all of them"
        )))
    }
}

fn invalid(message: String) -> SpecRefusal {
    SpecRefusal {
        reason: Reason::Invalid,
        message,
    }
}

fn joined<'a>(prefixes: impl Iterator<Item = &'a Prefix>) -> Vec<IpNet> {
    let nets: Vec<IpNet> = prefixes.map(Prefix::net).collect();
    let mut joined = IpNet::aggregate(&nets);
    joined.sort();
    joined
}

/// Does one of these disjoint, sorted ranges hold all of it?
fn within(ranges: &[IpNet], net: IpNet) -> bool {
    let after = ranges.partition_point(|range| range.network() <= net.network());
    let before = after.checked_sub(1).and_then(|place| ranges.get(place));
    before.is_some_and(|range| range.contains(&net))
}
