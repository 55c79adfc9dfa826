//! The egress addresses of a gateway, in a task of its own: it asks neighbours, which takes a second, and prolongs addresses
//! while the agent's loop may be busy. What it does is decided by [`postern_agent_core::egress::decide`].

mod task;
#[cfg(test)]
mod tests;

use std::time::Instant;

use jiff::Timestamp;
use postern_agent_core::egress::{EgressFindings, EgressOrder};
use postern_host::{EgressAddresses, HostError};
use postern_intent::Serial;
use postern_plan::host::EgressAddress;
use std::collections::BTreeSet;
use tokio::sync::watch;

use crate::latest::send_other;

pub use task::{Confirmations, start};

/// The API server's newest intent for the node was the one with this serial, at a time before the answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntentConfirmation {
    pub serial: Serial,
    /// When the question was sent, by two clocks: neither may have stopped meanwhile.
    pub asked: Instant,
    pub asked_at: Timestamp,
}

/// The agent's end.
#[derive(Debug)]
pub struct EgressHandle {
    /// None: the body in force is not known yet, and addresses that are there end by themselves.
    orders: watch::Sender<Option<EgressOrder>>,
    published: watch::Receiver<EgressFindings>,
}

impl EgressHandle {
    /// Gives the task another order, if it changed.
    pub fn order(&self, order: EgressOrder) {
        send_other(&self.orders, Some(order));
    }

    /// The newest findings.
    #[must_use]
    pub fn found(&self) -> EgressFindings {
        self.published.borrow().clone()
    }

    /// Wakes the loop.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<EgressFindings> {
        self.published.clone()
    }

    /// An agent without the task: no address is ever added.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            orders: watch::channel(None).0,
            published: watch::channel(EgressFindings {
                there: Some(BTreeSet::new()),
                ..EgressFindings::default()
            })
            .1,
        }
    }
}

/// Removes every egress address of ours, for a node that is cleaned up; what was removed.
///
/// # Errors
/// [`HostError`] of the first act that failed.
pub async fn let_go(host: &impl EgressAddresses) -> Result<Vec<String>, HostError> {
    let mut done = Vec::new();
    for address in host.egress_addresses().await?.into_keys() {
        host.drop_egress(&address).await?;
        let EgressAddress { device, address } = address;
        done.push(format!("remove egress address {address} from {device}"));
    }
    Ok(done)
}
