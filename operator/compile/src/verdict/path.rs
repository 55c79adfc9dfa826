//! Where the ways of an exit end, by what its gateway and its clients probe.

use std::collections::BTreeMap;

use postern_crds::conditions::Reason;
use postern_crds::node_report::{AddressFamily, PathHop};
use postern_intent::{ExitName, NodeName};

use crate::first_names;
use crate::lower::Context;
use crate::resolve::ActiveExit;
use crate::snapshot::{Freshness, PathFault, Report};

/// The faults of an exit, by family.
#[derive(Default)]
pub(super) struct PathFaults {
    /// What its gateway finds between itself and the world.
    gateway: BTreeMap<AddressFamily, (PathHop, String)>,
    /// What clients find on their way to the gateway and through it.
    clients: BTreeMap<AddressFamily, ClientFault>,
    /// How many clients say anything that counts.
    heard: usize,
}

#[derive(Clone, Default)]
struct ClientFault {
    hop: Option<PathHop>,
    message: String,
    nodes: Vec<String>,
}

impl PathFaults {
    /// What the gateway of an exit and these of its clients report now. O(clients).
    pub(super) fn of<'a>(
        context: &Context<'_>,
        exit: &ExitName,
        active: &ActiveExit<'_>,
        clients: impl Iterator<Item = &'a NodeName>,
    ) -> Self {
        let mut found = Self::default();
        let offered = |family: &AddressFamily| active.offers(*family);
        if let Some(served) = fresh(context, active.gateway).and_then(|one| one.served.get(exit)) {
            let faults = served.faults.iter().filter(|(family, _)| offered(family));
            found.gateway = faults
                .map(|(family, fault)| (*family, (fault.hop, fault.message.clone())))
                .collect();
        }
        for client in clients {
            let report = fresh(context, client).and_then(|one| one.exits.get(exit));
            found.heard += usize::from(report.is_some());
            let faults = report.iter().flat_map(|said| &said.faults);
            for (family, fault) in faults.filter(|(family, _)| offered(family)) {
                found.clients.entry(*family).or_default().add(client, fault);
            }
        }
        found
    }

    /// Why traffic of the exit does not get out, if it does not. A family for which the gateway has no uplink is none that
    /// the exit can be held to, as long as another one works.
    pub(super) fn reason(&self, active: &ActiveExit<'_>) -> Option<(Reason, String)> {
        let families = [AddressFamily::IPv4, AddressFamily::IPv6];
        let offered: Vec<_> = families
            .into_iter()
            .filter(|one| active.offers(*one))
            .collect();
        let absent =
            |family: &AddressFamily| matches!(self.gateway.get(family), Some((PathHop::Uplink, _)));
        let all_absent = offered.iter().all(absent);
        offered
            .into_iter()
            .filter(|family| all_absent || !absent(family))
            .find_map(|family| self.fault(active.gateway, family))
    }

    /// The same for the exit itself: what single clients miss is theirs, such as one that has just come and whose gateway
    /// does not know it yet.
    pub(super) fn reason_of_exit(&self, active: &ActiveExit<'_>) -> Option<(Reason, String)> {
        let everybody = |fault: &ClientFault| fault.nodes.len() == self.heard;
        let clients = self.clients.iter().filter(|(_, fault)| everybody(fault));
        let shared = Self {
            gateway: self.gateway.clone(),
            clients: clients
                .map(|(family, fault)| (*family, fault.clone()))
                .collect(),
            heard: self.heard,
        };
        shared.reason(active)
    }

    /// Clients that miss something while others do not, as a sentence.
    pub(super) fn single_clients(&self) -> Option<String> {
        let parts: Vec<String> = self
            .clients
            .iter()
            .map(|(family, fault)| {
                let nodes = first_names(&fault.nodes);
                format!("{family:?} from {nodes}: {}", fault.message)
            })
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Families that leave by nothing because the gateway has no uplink for them, while another one works.
    pub(super) fn absent(&self) -> Option<String> {
        let absent = self
            .gateway
            .iter()
            .filter(|(_, (hop, _))| *hop == PathHop::Uplink);
        let parts: Vec<String> = absent
            .map(|(family, (_, message))| format!("{family:?} is blocked: {message}"))
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn fault(&self, gateway: &NodeName, family: AddressFamily) -> Option<(Reason, String)> {
        // What the gateway finds on its own way out explains what its clients miss behind it.
        if let Some((hop, message)) = self.gateway.get(&family) {
            return Some((reason(*hop), format!("{family:?} at {gateway}: {message}")));
        }
        let fault = self.clients.get(&family)?;
        let nodes: Vec<&str> = fault.nodes.iter().map(String::as_str).collect();
        let message = format!("{family:?} from {}: {}", first_names(&nodes), fault.message);
        Some((reason(fault.hop?), message))
    }
}

impl ClientFault {
    fn add(&mut self, node: &NodeName, fault: &PathFault) {
        if self.hop.is_none() {
            self.hop = Some(fault.hop);
            self.message.clone_from(&fault.message);
        }
        self.nodes.push(node.to_string());
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

fn fresh<'a>(context: &Context<'a>, node: &NodeName) -> Option<&'a Report> {
    let report = context.index.reports.get(node).copied()?;
    (report.freshness == Freshness::Fresh).then_some(report)
}
