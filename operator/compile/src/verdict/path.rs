//! Where the ways of an exit end, by what its gateway and its clients probe.

use std::collections::BTreeMap;

use postern_crds::conditions::Reason;
use postern_crds::node_report::{AddressFamily, PathHop};
use postern_intent::{ExitName, NodeName};

use crate::first_names;
use crate::lower::LoweringContext;
use crate::resolve::ActiveExit;
use crate::snapshot::{Freshness, PathFault, SnapshotReport};

/// The faults of an exit. It borrows from the reports: one is made for each exit and for each policy.
#[derive(Default)]
pub(super) struct PathFaults<'a> {
    /// What its gateway finds between itself and the world.
    gateway: BTreeMap<AddressFamily, &'a PathFault>,
    /// What clients find on their way to the gateway and through it, by the hop.
    clients: BTreeMap<(AddressFamily, PathHop), ClientFault<'a>>,
    /// How many clients know whether the family works.
    answering: BTreeMap<AddressFamily, usize>,
}

struct ClientFault<'a> {
    /// What the first of them found.
    message: &'a str,
    nodes: Vec<&'a NodeName>,
}

/// Whose word makes an exit not ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientQuorum {
    /// That of each client: a policy is not ready when one of its nodes is cut off.
    Single,
    /// That of all clients together: the exit itself is not at fault when one of them is cut off, such as one that has just
    /// come and whose gateway does not know it yet.
    Unanimous,
}

impl<'a> PathFaults<'a> {
    /// What one gateway of an exit reports of itself.
    pub(super) fn of_gateway(
        context: &LoweringContext<'a>,
        exit: &ExitName,
        active: &ActiveExit<'_>,
        gateway: &NodeName,
    ) -> Self {
        let mut found = Self::default();
        if let Some(served) = fresh(context, gateway).and_then(|one| one.served.get(exit)) {
            let offered = |family: &AddressFamily| active.offers(*family);
            let faults = served.faults.iter().filter(|(family, _)| offered(family));
            found.gateway = faults.map(|(family, fault)| (*family, fault)).collect();
        }
        found
    }

    /// What the gateway of an exit and these of its clients report now. O(clients).
    pub(super) fn of(
        context: &LoweringContext<'a>,
        exit: &ExitName,
        active: &ActiveExit<'_>,
        clients: impl Iterator<Item = &'a NodeName>,
    ) -> Self {
        let mut found = Self::of_gateway(context, exit, active, active.gateway);
        let offered = |family: &AddressFamily| active.offers(*family);
        for client in clients {
            let Some(said) = fresh(context, client).and_then(|one| one.exits.get(exit)) else {
                continue;
            };
            for family in &said.judged {
                *found.answering.entry(*family).or_default() += 1;
            }
            for (family, fault) in said.faults.iter().filter(|(family, _)| offered(family)) {
                let known = found.clients.entry((*family, fault.hop));
                let known = known.or_insert_with(|| ClientFault {
                    message: &fault.message,
                    nodes: Vec::new(),
                });
                known.nodes.push(client);
            }
        }
        found
    }

    /// Why traffic of the exit does not get out, if it does not. A family for which the gateway has no uplink is ignored
    /// while another family has one.
    pub(super) fn reason(
        &self,
        active: &ActiveExit<'_>,
        quorum: ClientQuorum,
    ) -> Option<(Reason, String)> {
        let families = [AddressFamily::IPv4, AddressFamily::IPv6];
        let offered = families.into_iter().filter(|one| active.offers(*one));
        let (absent, present): (Vec<_>, Vec<_>) = offered.partition(|one| self.is_absent(*one));
        let judged = if present.is_empty() { absent } else { present };
        judged
            .into_iter()
            .find_map(|family| self.fault(active.gateway, family, quorum))
    }

    /// What some clients find, where that makes the exit itself not unready.
    pub(super) fn of_some_clients(&self) -> Option<String> {
        let parts = self
            .clients
            .iter()
            .filter(|((family, _), _)| !self.is_absent(*family));
        let parts: Vec<String> = parts
            .map(|((family, _), fault)| {
                let nodes = first_names(&fault.nodes);
                format!("{} from {nodes}: {}", name(*family), fault.message)
            })
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Families that the gateway has no uplink for. Asked after [`PathFaults::reason`], so that another one works.
    pub(super) fn absent(&self) -> Option<String> {
        let absent = self
            .gateway
            .iter()
            .filter(|(family, _)| self.is_absent(**family));
        let parts: Vec<String> = absent
            .map(|(family, fault)| format!("{} is blocked: {}", name(*family), fault.message))
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn is_absent(&self, family: AddressFamily) -> bool {
        let fault = self.gateway.get(&family);
        fault.is_some_and(|fault| fault.hop == PathHop::Uplink)
    }

    fn fault(
        &self,
        gateway: &NodeName,
        family: AddressFamily,
        quorum: ClientQuorum,
    ) -> Option<(Reason, String)> {
        // What the gateway finds on its own way out explains what its clients miss behind it.
        if let Some(fault) = self.gateway.get(&family) {
            let message = format!("{} at {gateway}: {}", name(family), fault.message);
            return Some((reason(fault.hop), message));
        }
        let of_family = self.clients.iter().filter(|((one, _), _)| *one == family);
        let cut_off: usize = of_family.clone().map(|(_, fault)| fault.nodes.len()).sum();
        let answering = self.answering.get(&family).copied().unwrap_or_default();
        if quorum == ClientQuorum::Unanimous && cut_off < answering {
            return None;
        }
        let ((_, hop), fault) = of_family.max_by_key(|(_, fault)| fault.nodes.len())?;
        let nodes = first_names(&fault.nodes);
        let message = format!("{} from {nodes}: {}", name(family), fault.message);
        Some((reason(*hop), message))
    }
}

const fn name(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::IPv4 => "IPv4",
        AddressFamily::IPv6 => "IPv6",
    }
}

const fn reason(hop: PathHop) -> Reason {
    match hop {
        PathHop::Tunnel => Reason::ExitLost,
        PathHop::Forward => Reason::NotForwarded,
        PathHop::Source => Reason::EgressIPMissing,
        PathHop::Uplink => Reason::NoUplink,
        PathHop::Resolver => Reason::ResolverSilent,
    }
}

/// What a node says, while that counts.
pub(super) fn fresh<'a>(
    context: &LoweringContext<'a>,
    node: &NodeName,
) -> Option<&'a SnapshotReport> {
    let report = context.index.reports.get(node).copied()?;
    (report.freshness == Freshness::Fresh).then_some(report)
}
