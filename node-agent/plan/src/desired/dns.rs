//! Who may ask which resolver.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use postern_intent::body::{
    Access, AdminAction, AdminPolicy, Body, ExitRoute, Rule, RuleProtocol, Scope, ServedExit,
    Terms, TermsDnsMode, TermsDnsRefusal, TermsEnforcement,
};
use postern_intent::{Address, ExitName, IfName, NamePattern, Prefix, ScopeId};

use super::ranges::{lan_ranges, special_ranges};
use super::{
    AddressClass, ClusterView, NameRules, PlanInputs, classify::Classes, grant, tunnel_address,
};
use crate::host::Family;

/// What the forwarder does for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsEntry {
    /// The scope, none for a blocked pod.
    pub scope: Option<ScopeId>,
    /// What becomes of names outside the cluster.
    pub mode: TermsDnsMode,
    /// The answer for a name that no rule allows.
    pub refusal: TermsDnsRefusal,
    /// The names that rules allow.
    pub names: Arc<NameRules>,
    /// Resolvers asked through the exit. Empty: the address that the pod asked, if it is outside.
    pub upstreams: Vec<SocketAddr>,
    /// What the scope may do, for a resolver that the pod chose; none: nothing.
    pub terms: Option<Arc<Terms>>,
    /// The way that questions take; none: no working exit, `SERVFAIL`.
    pub exit: Option<DnsExit>,
}

/// The way of the forwarder's own sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsExit {
    /// None: the scope leaves by the node's uplink and has no exit.
    pub exit: Option<ExitName>,
    /// The socket's mark, shifted; 0 where it leaves by an uplink of this node, unless it leaves by a server outside.
    pub mark: u32,
    /// The device that the socket is bound to.
    pub device: IfName,
    /// The addresses that the socket is bound to, at most one a family. A family without one is not asked.
    ///
    /// [`SocketSource::Device`] is the device's own address, which the kernel chooses.
    pub sources: BTreeMap<Family, SocketSource>,
    /// What the exit offers, where this node serves it.
    pub offered: Option<OfferedRanges>,
}

impl DnsEntry {
    /// Does the policy only count what it would refuse?
    #[must_use]
    pub fn observes(&self) -> bool {
        let terms = self.terms.as_ref();
        terms.is_some_and(|terms| terms.enforcement == TermsEnforcement::Observe)
    }

    /// Is the resolver asked that the pod chose, where the policy names none? A filter believes answers, and asks no resolver that
    /// the pod chose. A policy with the mode `Block` that only observes is asked as one with `Forward`.
    #[must_use]
    pub fn follows_choice(&self) -> bool {
        self.upstreams.is_empty()
            && match self.mode {
                TermsDnsMode::Forward => true,
                TermsDnsMode::Filter => false,
                TermsDnsMode::Block => self.observes(),
            }
    }
}

impl DnsExit {
    /// May this resolver be asked by it? In a family in which it has a source, and, where this node itself serves the exit, what
    /// the exit offers: no rule of the firewall judges the node's own sockets by that.
    #[must_use]
    pub fn may_ask(&self, resolver: &Address) -> bool {
        let family = Family::of(resolver);
        let offered = self.offered.as_ref();
        self.sources.contains_key(&family) && offered.is_none_or(|offered| offered.has(resolver))
    }

    /// Do the sockets leave as the node's own do, with the gateway of no exit in between?
    #[must_use]
    pub fn is_own_uplink(&self) -> bool {
        self.mark == 0 && self.offered.is_none()
    }
}

/// What an exit offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedRanges {
    routes: Vec<Prefix>,
    lan: Access,
}

impl OfferedRanges {
    fn has(&self, address: &Address) -> bool {
        let family = Family::of(address);
        let within = |ranges: &[Prefix]| ranges.iter().any(|range| range.contains(address));
        let special = special_ranges(family);
        // Special use is offered only where a route lies inside such a range.
        let names_special = self.routes.iter().any(|route| {
            let inside = special
                .iter()
                .any(|range| range.net().contains(&route.net()));
            inside && route.contains(address)
        });
        within(&self.routes)
            && (!within(&special) || names_special)
            && (self.lan == Access::Allow || !within(&lan_ranges(family)))
    }
}

/// From which address a socket sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketSource {
    Address(Address),
    /// From the one that the kernel chooses for the device.
    Device,
}

/// Everything that the forwarder needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsPlan {
    /// By the pod's address. An address that is not here gets no answer.
    pub entries: BTreeMap<Address, DnsEntry>,
    /// The cluster's own domain.
    pub cluster_domain: String,
    pub cluster_resolvers: Vec<Address>,
    /// Ranges whose reverse names are the cluster's, and which are no resolver in the world.
    pub cluster_ranges: Vec<Prefix>,
    /// The cluster's addresses in every form, which no answer of a filter brings.
    pub never_granted: Vec<Prefix>,
    /// Names of resolvers over HTTPS, which a filter refuses also where a rule allows them.
    pub resolver_names: Vec<NamePattern>,
}

/// The canary domain of Mozilla: browsers that find it missing resolve names by the resolver of the system and not over HTTPS.
pub const CANARY: &str = "use-application-dns.net";

impl DnsPlan {
    /// May an answer bring this address to the pods of the entry?
    #[must_use]
    pub fn may_bring(&self, entry: &DnsEntry, address: &Address) -> bool {
        let terms = entry.terms.as_ref();
        terms.is_some_and(|terms| grant::may_bring(terms, &self.never_granted, address))
    }

    /// Does the filter refuse the name also where a rule allows it, and where the policy only observes?
    #[must_use]
    pub fn is_never_allowed(&self, name: &str) -> bool {
        name == CANARY || self.is_resolver_name(name)
    }

    /// Is it the name of a resolver over HTTPS?
    #[must_use]
    pub fn is_resolver_name(&self, name: &str) -> bool {
        self.resolver_names
            .iter()
            .any(|pattern| pattern.matches(name))
    }

    /// Is the address a resolver in the world? A link-local address is a resolver on the node (169.254.20.10 of the
    /// node-local cache), not one in the world.
    pub(super) fn is_outside(&self, address: &Address) -> bool {
        let is_near = match address {
            Address::V4(address) => address.is_link_local() || address.is_broadcast(),
            Address::V6(address) => address.is_unicast_link_local(),
        };
        let is_special =
            address.is_loopback() || address.is_unspecified() || address.is_multicast();
        let mut ranges = self.cluster_ranges.iter();
        !is_near && !is_special && !ranges.any(|range| range.contains(address))
    }
}

/// Is the class one whose port 53 is redirected? Selected pods and blocked ones: a blocked pod may ask for the
/// cluster's names, and nothing else, or names would be its way out.
#[must_use]
pub fn is_redirected(class: &AddressClass) -> bool {
    !matches!(class, AddressClass::Released)
}

pub(super) fn plan(inputs: &PlanInputs<'_>, cluster: &ClusterView, classes: &Classes) -> DnsPlan {
    let Some(body) = inputs.body else {
        return DnsPlan::default();
    };
    let mut ranges: BTreeSet<Prefix> = BTreeSet::new();
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
        .filter_map(|(address, classified)| match &classified.class {
            AddressClass::Scope(scope) => {
                by_scope.get(scope).map(|entry| (*address, entry.clone()))
            }
            AddressClass::Blocked(_) => Some((*address, blocked())),
            AddressClass::Released => None,
        })
        .collect();
    let cluster_ranges: Vec<Prefix> = ranges.into_iter().collect();
    DnsPlan {
        entries,
        cluster_domain: cluster.dns.domain.clone(),
        cluster_resolvers: cluster.dns.addresses.clone(),
        never_granted: grant::never_granted(cluster, &cluster_ranges),
        cluster_ranges,
        resolver_names: cluster.encrypted_resolvers.names.iter().cloned().collect(),
    }
}

fn blocked() -> DnsEntry {
    DnsEntry {
        scope: None,
        mode: TermsDnsMode::Block,
        refusal: TermsDnsRefusal::Refused,
        names: Arc::default(),
        upstreams: Vec::new(),
        terms: None,
        exit: None,
    }
}

fn entry(inputs: &PlanInputs<'_>, body: &Body, scope: &Scope) -> DnsEntry {
    DnsEntry {
        scope: Some(scope.id.clone()),
        mode: scope.terms.dns.mode,
        refusal: scope.terms.dns.refusal,
        names: Arc::new(NameRules::of(scope)),
        upstreams: scope.terms.dns.upstreams.clone(),
        terms: Some(Arc::new(scope.terms.clone())),
        exit: exit_of(inputs, body, scope),
    }
}

fn exit_of(inputs: &PlanInputs<'_>, body: &Body, scope: &Scope) -> Option<DnsExit> {
    if inputs.facts.leaves_by_uplink(scope) {
        return uplink_socket(inputs, scope.exit.clone());
    }
    if let Some(exit) = scope.tunnel_exit() {
        let route = body.routes.iter().find(|route| &route.exit == exit)?;
        return Some(route_socket(inputs, body, route));
    }
    let exit = scope.local_exit()?;
    let served = body.nat.iter().find(|served| &served.exit == exit)?;
    served_exit(inputs, served)
}

/// The sockets that leave by the node's uplink, as the pods of the scope do.
fn uplink_socket(inputs: &PlanInputs<'_>, exit: Option<ExitName>) -> Option<DnsExit> {
    let device = inputs.facts.uplink(None)?;
    let leads_out = |family: &Family| inputs.facts.uplinks.get(family) == Some(&device);
    let families = Family::BOTH.into_iter().filter(leads_out);
    Some(DnsExit {
        exit,
        mark: 0,
        sources: families
            .map(|family| (family, SocketSource::Device))
            .collect(),
        device,
        offered: None,
    })
}

/// The sockets that leave by the tunnel of an exit.
pub(super) fn route_socket(inputs: &PlanInputs<'_>, body: &Body, route: &ExitRoute) -> DnsExit {
    let device = route.interface.clone();
    let sources = Family::BOTH
        .into_iter()
        .filter_map(|family| {
            let address = tunnel_address(body, &device, family)?;
            Some((family, SocketSource::Address(address)))
        })
        .collect();
    DnsExit {
        exit: Some(route.exit.clone()),
        mark: inputs.settings.masked(route.mark).value,
        device,
        sources,
        offered: None,
    }
}

/// The sockets that leave by an exit that this node serves, as its clients' packets do.
pub(super) fn served_exit(inputs: &PlanInputs<'_>, served: &ServedExit) -> Option<DnsExit> {
    let facts = inputs.facts;
    let device = facts.uplink(served.uplink.as_ref())?;
    let leads_out =
        |family: &Family| served.uplink.is_some() || facts.uplinks.get(family) == Some(&device);
    let sources = if served.egress.is_empty() {
        let families = Family::BOTH.into_iter().filter(leads_out);
        families
            .map(|family| (family, SocketSource::Device))
            .collect()
    } else {
        let own = served
            .egress
            .iter()
            .filter(|address| inputs.has_source(address));
        own.map(|address| (Family::of(address), SocketSource::Address(*address)))
            .collect()
    };
    let session = inputs
        .body
        .and_then(|body| body.external_session(&served.exit));
    Some(DnsExit {
        exit: Some(served.exit.clone()),
        mark: session.map_or(0, |session| inputs.settings.masked(session.mark).value),
        device,
        sources,
        offered: Some(OfferedRanges {
            routes: served.routes.clone(),
            lan: served.lan,
        }),
    })
}

/// May a pod ask this resolver, which it chose itself, whatever the rules say? A policy that only observes refuses what is not a
/// matter of its rules.
pub(super) fn may_reach(terms: &Terms, resolver: SocketAddr, protocol: RuleProtocol) -> bool {
    let open = Terms {
        rules: Vec::new(),
        default_action: Access::Allow,
        ..terms.clone()
    };
    may_ask(&open, resolver, protocol)
}

/// May a pod ask this resolver, which it chose itself? It is subject to the policy as any other destination is.
pub(super) fn may_ask(terms: &Terms, resolver: SocketAddr, protocol: RuleProtocol) -> bool {
    let address = resolver.ip();
    let family = Family::of(&address);
    let within = |ranges: &[Prefix]| ranges.iter().any(|range| range.contains(&address));
    if within(&special_ranges(family)) && !within(&terms.special_use_exceptions) {
        return false;
    }
    let private = lan_ranges(family);
    let lan = !within(&private) || terms.lan == Access::Allow;
    // A private range that a rule names is the policy's permission for that range.
    let is_private = |range: &Prefix| private.iter().any(|one| one.net().contains(&range.net()));
    if let Some(rule) = AdminPolicy::first_match(&terms.admin, resolver, protocol) {
        let mut named = rule.to.iter().filter(|range| range.contains(&address));
        match rule.action {
            AdminAction::Allow => return lan || named.any(is_private),
            AdminAction::Deny => return false,
            AdminAction::Pass => {}
        }
    }
    let names_port = |rule: &Rule| {
        let mut ports = rule.ports.iter();
        rule.ports.is_empty() || ports.any(|range| range.covers(protocol, resolver.port()))
    };
    for rule in terms.rules.iter().filter(|rule| names_port(rule)) {
        let mut named = rule
            .to
            .iter()
            .filter(|range| range.contains(&address))
            .peekable();
        if rule.is_everywhere() || named.peek().is_some() {
            return rule.action == Access::Allow && (lan || named.any(is_private));
        }
    }
    terms.default_action == Access::Allow && lan
}
