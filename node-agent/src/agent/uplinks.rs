//! Orders for the tasks of the uplinks and of the egress addresses, and their findings.

use postern_agent_core::egress::{EgressOrder, WantedEgress};
use postern_host::Host;
use postern_intent::{Address, Body, IfName};
use postern_plan::host::EgressAddress;

use super::state::Agent;
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

    /// Orders the egress addresses of the body in force, and takes what the task found last.
    pub(super) fn follow_egress(&mut self) {
        let order = match self.body() {
            _ if self.is_released() => Some(EgressOrder::default()),
            None => None,
            Some(body) => self.wanted_egress(body),
        };
        if let Some(order) = order {
            self.egress.order(order);
        }
        self.kernel.egress = self.egress.found();
    }

    /// The addresses of a session with a server outside are on the session's device. While the uplink of an exit is not known,
    /// as before the first reading, it keeps the addresses that it has and gets no new one. None: the task has not listed the
    /// addresses yet.
    fn wanted_egress(&self, body: &Body) -> Option<EgressOrder> {
        let is_unread =
            self.kernel.last.read_back.is_none() || self.is_unread(postern_host::Part::Uplinks);
        let mut wanted = Vec::new();
        for served in &body.nat {
            if served.egress.is_empty() || body.external_session(&served.exit).is_some() {
                continue;
            }
            let given = served.egress.iter();
            let on: Vec<EgressAddress> = match self.kernel.facts.uplink(served.uplink.as_ref()) {
                Some(device) => given.map(|address| on_device(&device, *address)).collect(),
                None if is_unread => {
                    let there = self.egress.found().there?.into_iter();
                    there
                        .filter(|on| served.egress.contains(&on.address))
                        .collect()
                }
                None => continue,
            };
            wanted.extend(on.into_iter().map(|on| WantedEgress {
                exit: served.exit.clone(),
                on,
                term: served.egress_term,
            }));
        }
        Some(EgressOrder {
            wanted,
            not_after: body.not_after,
            serial: body.serial,
        })
    }
}

fn on_device(device: &IfName, address: Address) -> EgressAddress {
    EgressAddress {
        device: device.clone(),
        address,
    }
}
