//! How packets leave by the exits that this node serves, and whose packets they are. An entry of connection tracking keeps
//! the source that its first packet got.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::ServedExit;
use postern_intent::{Address, Body, ExitName, IfName};

use super::{AddressClass, Classes, PlanInputs};

/// Every exit that the node serves.
pub type ExitSources = BTreeMap<ExitName, ExitSource>;

/// How packets leave by a served exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitSource {
    /// The interface that they leave by; none: that of the default route.
    uplink: Option<IfName>,
    /// The addresses that they leave with; none: those of the interface.
    addresses: Vec<Address>,
    /// Where they come from: the tunnel addresses of clients, and the addresses of pods on this node.
    pub users: BTreeSet<Address>,
}

impl ExitSource {
    /// Do new flows leave as they did before?
    #[must_use]
    pub fn leaves_as(&self, before: &Self) -> bool {
        self.uplink == before.uplink && self.addresses == before.addresses
    }
}

/// O(peers + scopes + pods · log scopes).
pub(super) fn sources(inputs: &PlanInputs<'_>, classes: &Classes) -> ExitSources {
    let Some(body) = inputs.body else {
        return ExitSources::new();
    };
    let mut sources: ExitSources = body
        .nat
        .iter()
        .map(|served| (served.exit.clone(), source(body, served)))
        .collect();
    let of_scopes: BTreeMap<_, _> = body
        .firewall
        .iter()
        .filter_map(|scope| Some((&scope.id, scope.local_exit()?)))
        .collect();
    for (address, classified) in classes {
        let AddressClass::Scope(scope) = &classified.class else {
            continue;
        };
        let exit = of_scopes.get(scope);
        if let Some(source) = exit.and_then(|exit| sources.get_mut(*exit)) {
            source.users.insert(*address);
        }
    }
    sources
}

fn source(body: &Body, served: &ServedExit) -> ExitSource {
    let tunnels = body.tunnels.iter();
    let own = tunnels.filter(|tunnel| tunnel.interface == served.interface);
    let peers = own.flat_map(|tunnel| &tunnel.peers);
    let clients = peers.flat_map(|peer| &peer.allowed_ips);
    ExitSource {
        uplink: served.uplink.clone(),
        addresses: served.egress.clone(),
        users: clients.map(|prefix| prefix.net().addr()).collect(),
    }
}
