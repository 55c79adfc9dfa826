//! Orders for the tasks of the uplinks and of the egress addresses, and their findings.

use postern_agent_core::egress::{EgressOrder, WantedEgress};
use postern_host::Host;
use postern_intent::{Body, Serial};
use postern_plan::host::EgressAddress;

use super::state::Agent;
use crate::egress::AddressOrder;
use crate::isolation::{IsolationOrder, UplinkOrder};

impl<H: Host> Agent<H> {
    /// Orders what the body in force says, and takes what the task found last. A node whose body is not known keeps its uplinks
    /// as they are.
    pub(super) fn follow_uplinks(&mut self) {
        let order = match self.body() {
            _ if self.is_released() => Some(UplinkOrder::LetGo),
            None => None,
            Some(body) => Some(match &body.isolation {
                None => UplinkOrder::LetGo,
                Some(isolation) => UplinkOrder::Isolate(Box::new(IsolationOrder {
                    isolation: isolation.clone(),
                    api_servers: body.cluster.api_servers.clone(),
                })),
            }),
        };
        if let Some(order) = order {
            self.uplinks.order(order);
        }
        let found = self.uplinks.found();
        self.kernel.facts.isolation = found.guard;
        self.kernel.uplinks = found.reported;
    }

    /// Orders the egress addresses of the body in force, and takes what the task found last. Those of a session with a server
    /// outside are on the session's device.
    pub(super) fn follow_egress(&mut self) {
        let order = match self.body() {
            _ if self.is_released() => Some((EgressOrder::default(), Serial::default())),
            None => None,
            Some(body) => Some((self.wanted_egress(body), body.serial)),
        };
        if let Some((order, serial)) = order {
            self.egress.order(AddressOrder::Have(order, serial));
        }
        self.kernel.egress = self.egress.found();
    }

    fn wanted_egress(&self, body: &Body) -> EgressOrder {
        let served = body.nat.iter();
        let served = served.filter(|served| body.external_session(&served.exit).is_none());
        let wanted = served.flat_map(|served| {
            let device = self.kernel.facts.uplink(served.uplink.as_ref());
            let addresses = device.map(|device| (device, &served.egress)).into_iter();
            addresses.flat_map(move |(device, addresses)| {
                addresses.iter().map(move |address| WantedEgress {
                    exit: served.exit.clone(),
                    on: EgressAddress {
                        device: device.clone(),
                        address: *address,
                    },
                    term: served.egress_term,
                })
            })
        });
        EgressOrder {
            wanted: wanted.collect(),
            not_after: body.not_after,
        }
    }
}
