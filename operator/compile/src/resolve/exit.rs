//! Exits: which node is the active gateway, and what the exit offers.

use std::collections::BTreeMap;

use postern_crds::conditions::Reason;
use postern_crds::node_report::AddressFamily;
use postern_intent::body::{Access, ServedExit, TunnelRole};
use postern_intent::{Address, ExitName, IfName, NodeName, Prefix};

use crate::index::Index;
use crate::snapshot::{ExitNamespaces, ExitTerms, SnapshotExit, SpecRefusal};

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
    /// It is refused and was never in force.
    Refused(&'a SpecRefusal),
    /// No port or network is left for it.
    NoNumber(Reason),
}

/// An exit that works.
pub(crate) struct ActiveExit<'a> {
    pub(crate) gateway: &'a NodeName,
    /// Nodes that could take over, by name.
    pub(crate) standbys: Vec<&'a NodeName>,
    pub(crate) offer: Offer<'a>,
}

impl ActiveExit<'_> {
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
    pub(crate) routes: &'a [Prefix],
    pub(crate) lan: Access,
    pub(crate) mtu: u16,
    pub(crate) users: ExitUsers<'a>,
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
        Self {
            states: index
                .exits
                .iter()
                .map(|(name, exit)| (*name, resolve(index, exit)))
                .collect(),
        }
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

fn resolve<'a>(index: &Index<'a>, exit: &'a SnapshotExit) -> ExitState<'a> {
    match &exit.terms {
        Ok(terms) => by_terms(index, exit, terms),
        Err(refusal) => by_published(index, exit).unwrap_or(ExitState::Refused(refusal)),
    }
}

fn by_terms<'a>(index: &Index<'a>, exit: &'a SnapshotExit, terms: &'a ExitTerms) -> ExitState<'a> {
    let eligible: Vec<&NodeName> = index
        .nodes
        .values()
        .filter(|node| {
            terms.gateways.matches(&node.labels) && index.addresses(node).next().is_some()
        })
        .map(|node| &node.name)
        .collect();
    let former = published_gateway(index, &exit.name).map(|(node, _)| node);
    let incumbent = eligible.iter().copied().find(|node| Some(*node) == former);
    let Some(gateway) = incumbent.or_else(|| eligible.first().copied()) else {
        return ExitState::NoGateway;
    };
    ExitState::Active(ActiveExit {
        gateway,
        standbys: eligible
            .into_iter()
            .filter(|node| *node != gateway)
            .collect(),
        offer: Offer {
            uplink: terms.uplink.as_ref(),
            egress: &terms.egress,
            routes: &terms.routes,
            lan: terms.lan,
            mtu: terms.mtu.unwrap_or(index.snapshot.settings.tunnels.mtu),
            users: ExitUsers::Allowed(&terms.allowed),
        },
    })
}

/// While an update is refused, the exit stays as it is published, on the gateway that it has.
fn by_published<'a>(index: &Index<'a>, exit: &SnapshotExit) -> Option<ExitState<'a>> {
    let (gateway, served) = published_gateway(index, &exit.name)?;
    let document = index.published.documents.get(gateway)?;
    let tunnel = document
        .tunnels
        .iter()
        .find(|one| one.exit == exit.name && one.role == TunnelRole::Served)?;
    Some(ExitState::Active(ActiveExit {
        gateway,
        standbys: Vec::new(),
        offer: Offer {
            uplink: served.uplink.as_ref(),
            egress: &served.egress,
            routes: &served.routes,
            lan: served.lan,
            mtu: tunnel.mtu,
            users: ExitUsers::Standing,
        },
    }))
}

/// The node whose published document serves the exit, if it is still the same node.
fn published_gateway<'a>(
    index: &Index<'a>,
    exit: &ExitName,
) -> Option<(&'a NodeName, &'a ServedExit)> {
    let documents = index.published.documents.iter();
    documents
        .filter(|(name, document)| {
            index
                .nodes
                .get(name)
                .is_some_and(|node| node.uid == document.node.uid)
        })
        .find_map(|(name, document)| {
            document
                .nat
                .iter()
                .find(|served| &served.exit == exit)
                .map(|served| (name, served))
        })
}
