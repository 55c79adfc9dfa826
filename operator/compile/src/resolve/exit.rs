//! Exits: which node is the active gateway, and what the exit offers.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::conditions::Reason;
use postern_crds::node_report::AddressFamily;
use postern_intent::body::{Access, EgressTerm, ExitFailback, ExitProbe, ServedExit, TunnelRole};
use postern_intent::{Address, ExitName, IfName, NodeName, Prefix};

use super::holder::{StandingHolders, clients, is_lost};
use super::session::{SessionLack, SessionOffer, can_hold, published_session, session};
use crate::index::Index;
use crate::snapshot::{
    ExitHolder, ExitNamespaces, ExitSwitch, ExitTerms, NodeScheduling, ReportedExit, SnapshotExit,
    SnapshotNode, SpecRefusal,
};

/// Gateways of one exit that serve at the same time. Each of them costs every client a peer, and every gateway a route.
const GATEWAYS: usize = 8;

/// Every exit that there is.
pub(crate) struct ResolvedExits<'a> {
    states: BTreeMap<&'a ExitName, ExitState<'a>>,
}

/// What an exit can do now.
pub(crate) enum ExitState<'a> {
    /// It has an active gateway.
    Active(ActiveExit<'a>),
    /// No node may be its gateway.
    NoGateway,
    /// A person took it out of use.
    Off,
    /// It is refused and was never in force.
    Refused(&'a SpecRefusal),
    /// No port or network is left for it.
    NoNumber(Reason),
    /// No node can have the session of its server.
    NoSession(SessionLack),
}

/// An exit that works.
pub(crate) struct ActiveExit<'a> {
    /// The gateway that clients use first.
    pub(crate) gateway: &'a NodeName,
    /// Nodes that could take over, in the order in which clients would use them.
    pub(crate) standbys: Vec<&'a NodeName>,
    pub(crate) offer: Offer<'a>,
}

impl<'a> ActiveExit<'a> {
    /// The gateways that serve clients, in the order in which clients use them. Where the exit has egress IPs only the first
    /// one serves: another gateway has no address that the exit may leave with.
    pub(crate) fn serving(&self) -> impl Iterator<Item = &'a NodeName> {
        let warm = match self.offer.egress {
            [] => GATEWAYS - 1,
            _ => 0,
        };
        std::iter::once(self.gateway).chain(self.standbys.iter().copied().take(warm))
    }

    /// The place of a node in the order of the gateways that serve; none: it is none of them.
    pub(crate) fn rank(&self, node: &NodeName) -> Option<u32> {
        let rank = self.serving().position(|gateway| gateway == node)?;
        u32::try_from(rank).ok()
    }
    /// Does the exit offer destinations of the family, and has it a source address for them?
    pub(crate) fn offers(&self, family: AddressFamily) -> bool {
        let is_v4 = family == AddressFamily::IPv4;
        let egress = self.offer.egress;
        self.offer
            .routes
            .iter()
            .any(|route| route.is_ipv4() == is_v4)
            && (egress.is_empty() || egress.iter().any(|address| address.is_ipv4() == is_v4))
    }
}

/// What an exit offers, from its terms or, while an update is refused, from what is published.
pub(crate) struct Offer<'a> {
    pub(crate) uplink: Option<&'a IfName>,
    pub(crate) egress: &'a [Address],
    /// For how long the gateway has them.
    pub(crate) term: EgressTerm,
    /// Why it waits for them, where it does.
    pub(crate) wait: Option<EgressWait<'a>>,
    pub(crate) routes: &'a [Prefix],
    pub(crate) lan: Access,
    pub(crate) mtu: u16,
    pub(crate) probe: ExitProbe,
    pub(crate) failback: ExitFailback,
    pub(crate) selection: Option<&'a String>,
    pub(crate) users: ExitUsers<'a>,
    /// The session with a server outside, which the gateway has; none: the gateway leaves by its own uplink.
    pub(crate) session: Option<Box<SessionOffer<'a>>>,
}

/// Why a gateway waits for egress IPs.
pub(crate) enum EgressWait<'a> {
    /// This machine may still have them.
    Former(Box<ExitHolder>),
    /// This gateway has one of them for another exit, which names it too.
    OtherExit(&'a NodeName),
}

impl EgressWait<'_> {
    fn former(holder: &ExitHolder) -> Self {
        Self::Former(Box::new(holder.clone()))
    }
}

/// Who may use an exit.
pub(crate) enum ExitUsers<'a> {
    /// What the exit says.
    Allowed(&'a ExitNamespaces),
    /// An update of the exit is refused: its former users stay, and no new one is let in.
    Standing,
}

impl<'a> ResolvedExits<'a> {
    pub(crate) fn new(index: &Index<'a>) -> Self {
        let holders = StandingHolders::new(index);
        let exits = index.exits.iter();
        let mut states: BTreeMap<&ExitName, ExitState<'a>> = exits
            .map(|(name, exit)| (*name, resolve(index, &holders, exit)))
            .collect();
        keep_apart(&mut states);
        Self { states }
    }

    /// The state of an exit; none: there is no such exit.
    pub(crate) fn get(&self, name: &ExitName) -> Option<&ExitState<'a>> {
        self.states.get(name)
    }

    /// The exit, if it works.
    pub(crate) fn active(&self, name: &ExitName) -> Option<&ActiveExit<'a>> {
        match self.states.get(name) {
            Some(ExitState::Active(active)) => Some(active),
            _ => None,
        }
    }

    /// All exits that work, by name.
    pub(crate) fn all_active(&self) -> impl Iterator<Item = (&'a ExitName, &ActiveExit<'a>)> {
        self.states.iter().filter_map(|(name, state)| match state {
            ExitState::Active(active) => Some((*name, active)),
            _ => None,
        })
    }

    /// Takes an exit out of use because there is no number for it.
    pub(crate) fn exhaust(&mut self, name: &ExitName, reason: Reason) {
        if let Some(state) = self.states.get_mut(name) {
            *state = ExitState::NoNumber(reason);
        }
    }
}

/// An egress IP that several exits name is given to one gateway: to the one that has it, else to that of the first exit by
/// name. O(exits · log exits).
fn keep_apart<'a>(states: &mut BTreeMap<&'a ExitName, ExitState<'a>>) {
    let mut given: BTreeMap<Address, &NodeName> = BTreeMap::new();
    for waits in [false, true] {
        for state in states.values_mut() {
            let ExitState::Active(active) = state else {
                continue;
            };
            let offer = &mut active.offer;
            let is_waiting = offer.term == EgressTerm::Awaited;
            if offer.session.is_some() || is_waiting != waits {
                continue;
            }
            let mut others = offer.egress.iter().filter_map(|one| given.get(one));
            if let Some(node) = others.find(|node| **node != active.gateway) {
                offer.term = EgressTerm::Awaited;
                offer.wait = Some(EgressWait::OtherExit(node));
            } else if !waits {
                given.extend(offer.egress.iter().map(|one| (*one, active.gateway)));
            }
        }
    }
}

fn resolve<'a>(
    index: &Index<'a>,
    holders: &StandingHolders<'_>,
    exit: &'a SnapshotExit,
) -> ExitState<'a> {
    if exit.switch == ExitSwitch::Off {
        return ExitState::Off;
    }
    match &exit.terms {
        Ok(terms) => by_terms(index, holders, exit, terms),
        Err(refusal) => by_published(index, holders, exit).unwrap_or(ExitState::Refused(refusal)),
    }
}

fn by_terms<'a>(
    index: &Index<'a>,
    holders: &StandingHolders<'_>,
    exit: &'a SnapshotExit,
    terms: &'a ExitTerms,
) -> ExitState<'a> {
    let clients = clients(index, &exit.name);
    let ranks = published_ranks(index, &exit.name);
    // A gateway that is cordoned hands its clients over, where another one can take them at once.
    let is_last = |node: &SnapshotNode| match terms.external {
        None => {
            node.scheduling == NodeScheduling::Cordoned
                || !terms.egress.is_empty() && is_lost(index, &exit.name, &clients, &node.name)
        }
        Some(_) => !can_hold(index, &exit.name, &node.name),
    };
    let mut eligible: Vec<&SnapshotNode> = index
        .nodes
        .values()
        .copied()
        .filter(|node| {
            terms.gateways.matches(&node.labels) && index.addresses(node).next().is_some()
        })
        .collect();
    let names: BTreeSet<&NodeName> = eligible.iter().map(|node| &node.name).collect();
    let is_eligible = |node: &NodeName| names.contains(node);
    let selected = exit.selected.as_ref().map(|selected| &selected.node);
    let selected = selected.filter(|node| is_eligible(node));
    let most_used = match terms.failback {
        ExitFailback::Manual => most_used(&clients, is_eligible).cloned(),
        // Clients return by themselves to the order as it was.
        ExitFailback::Automatic => None,
    };
    let most_used = most_used.as_ref();
    // Nodes are in the order of their names, which the sort keeps.
    eligible.sort_by_cached_key(|node| {
        let rank = ranks.get(&node.name).map_or(u32::MAX, |served| served.rank);
        let is_other = |wanted: Option<&NodeName>| wanted != Some(&node.name);
        // Clients that went on by themselves are followed only where no person chose: else a choice would end with the
        // first loss.
        let is_unused = selected.is_none() && is_other(most_used);
        (is_last(node), is_other(selected), is_unused, rank)
    });
    let mut eligible = eligible.into_iter().map(|node| &node.name);
    let Some(gateway) = eligible.next() else {
        return ExitState::NoGateway;
    };
    let standbys: Vec<&NodeName> = eligible.collect();
    // The addresses of an external exit are the server's, and on the device of the session.
    let own = match terms.external {
        Some(_) => &[][..],
        None => &terms.egress,
    };
    let (term, wait) = egress_term(index, holders, &exit.name, own, gateway, &standbys);
    let active = ActiveExit {
        gateway,
        standbys,
        offer: Offer {
            uplink: terms.uplink.as_ref(),
            egress: &terms.egress,
            term,
            wait,
            routes: &terms.routes,
            lan: terms.lan,
            mtu: terms.mtu.unwrap_or(index.snapshot.settings.tunnels.mtu),
            probe: terms.probe.clone(),
            failback: terms.failback,
            selection: exit.selected.as_ref().map(|selected| &selected.choice),
            users: ExitUsers::Allowed(&terms.allowed),
            session: None,
        },
    };
    match &terms.external {
        None => ExitState::Active(active),
        Some(external) => match session(index, holders, exit, external, active.gateway) {
            Ok(session) => ExitState::Active(ActiveExit {
                offer: Offer {
                    session: Some(Box::new(session)),
                    ..active.offer
                },
                ..active
            }),
            Err(lack) => ExitState::NoSession(lack),
        },
    }
}

/// For how long a gateway has the egress IPs, and whom it waits for. One that no other gateway waits for keeps them while its
/// intent is valid, so that an API server that is away costs nothing.
fn egress_term<'a>(
    index: &Index<'_>,
    holders: &StandingHolders<'_>,
    exit: &ExitName,
    own: &[Address],
    gateway: &NodeName,
    standbys: &[&NodeName],
) -> (EgressTerm, Option<EgressWait<'a>>) {
    if own.is_empty() {
        return (EgressTerm::Intent, None);
    }
    match holders.former(index, exit, own, gateway) {
        Some(former) => (EgressTerm::Awaited, Some(EgressWait::former(former))),
        None if standbys.is_empty() => (EgressTerm::Intent, None),
        None => (EgressTerm::Confirmed, None),
    }
}

/// While an update is refused, the exit stays as it is published, on the gateways that it has.
fn by_published<'a>(
    index: &Index<'a>,
    holders: &StandingHolders<'_>,
    exit: &SnapshotExit,
) -> Option<ExitState<'a>> {
    let ranks = published_ranks(index, &exit.name);
    let mut gateways: Vec<(&NodeName, &ServedExit)> = ranks.into_iter().collect();
    gateways.sort_by_key(|(_, served)| served.rank);
    let (gateway, served) = gateways.first().copied()?;
    let document = index.published.documents.get(gateway)?;
    let tunnel = document
        .tunnels
        .iter()
        .find(|one| one.exit == exit.name && one.role == TunnelRole::Served)?;
    let mut documents = index.published.documents.values();
    let route = documents.find_map(|document| {
        let mut routes = document.routes.iter();
        routes.find(|route| route.exit == exit.name)
    });
    let session = published_session(document, &exit.name);
    let wait = match &served.egress[..] {
        own @ [_, ..] if session.is_none() => holders.former(index, &exit.name, own, gateway),
        _ => None,
    };
    Some(ExitState::Active(ActiveExit {
        gateway,
        standbys: gateways.into_iter().skip(1).map(|(node, _)| node).collect(),
        offer: Offer {
            uplink: served.uplink.as_ref(),
            egress: &served.egress,
            // A gateway that waited gets them as the one before had them.
            term: match (&wait, served.egress_term) {
                (Some(_), _) => EgressTerm::Awaited,
                (None, EgressTerm::Awaited) => EgressTerm::Confirmed,
                (None, term) => term,
            },
            wait: wait.map(EgressWait::former),
            routes: &served.routes,
            lan: served.lan,
            mtu: tunnel.mtu,
            probe: route.map_or_else(ExitTerms::default_probe, |route| route.probe.clone()),
            failback: route.map_or(ExitFailback::Manual, |route| route.failback),
            selection: route.and_then(|route| route.selection.as_ref()),
            users: ExitUsers::Standing,
            session: session.map(Box::new),
        },
    }))
}

/// The gateway that most of the clients use which report one: nodes go on by themselves when a gateway is lost, and the
/// order follows, so that a new client begins where the others are. Only names of eligible gateways count: a report is
/// untrusted. O(clients).
fn most_used<'a>(
    clients: &[&'a ReportedExit],
    is_eligible: impl Fn(&NodeName) -> bool,
) -> Option<&'a NodeName> {
    let used = clients.iter().filter_map(|used| used.gateway.as_ref());
    let used = used.filter(|gateway| is_eligible(gateway));
    let mut counts: BTreeMap<&NodeName, usize> = BTreeMap::new();
    for gateway in used {
        *counts.entry(gateway).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    let mut counts = counts.into_iter();
    counts
        .find(|(_, count)| *count > all / 2)
        .map(|(gateway, _)| gateway)
}

/// The nodes whose published documents serve the exit, where they are still the same nodes.
fn published_ranks<'a>(
    index: &Index<'a>,
    exit: &ExitName,
) -> BTreeMap<&'a NodeName, &'a ServedExit> {
    let documents = index.published.documents.iter();
    documents
        .filter(|(name, document)| {
            index
                .nodes
                .get(name)
                .is_some_and(|node| node.uid == document.node.uid)
        })
        .filter_map(|(name, document)| {
            let mut served = document.nat.iter();
            let served = served.find(|served| &served.exit == exit)?;
            Some((name, served))
        })
        .collect()
}
