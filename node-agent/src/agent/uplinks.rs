//! Orders for the task of the uplinks, and its findings.

use postern_host::Host;

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
}
