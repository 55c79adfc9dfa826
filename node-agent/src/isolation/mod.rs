//! The uplinks of an isolated node. One task holds everything that changes their state: a switch from its snapshot to its
//! confirmation, the watch over links that others bring up, and the way back. What it does is decided by
//! [`postern_agent_core::isolation::turn`].
//!
//! | module | for |
//! |---|---|
//! | `ask` | whether the API server answers |
//! | `file` | what outlives the agent |
//! | `remote` | by which links others reach the node |
//! | `task` | the loop |

mod ask;
mod file;
mod remote;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use postern_agent_core::report::ReportedUplinks;
use postern_intent::body::Isolation;
use postern_plan::desired::UplinkGuard;
use tokio::sync::watch;

use crate::latest::send_other;

pub use file::{IsolationFile, read as read_file};
pub use task::{IsolationOptions, let_go, start};

/// What the task is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UplinkOrder {
    /// The body in force is not known yet: nothing is changed.
    #[default]
    Unknown,
    /// The body asks for no isolation: links get back their former state.
    LetGo,
    Isolate(Box<IsolationOrder>),
}

/// An isolation that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationOrder {
    pub isolation: Isolation,
    /// What confirms a switch.
    pub api_servers: BTreeSet<SocketAddr>,
}

/// What the task found last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishedUplinks {
    pub reported: Option<ReportedUplinks>,
    /// By what packets may leave; none: the node is not isolated.
    pub guard: Option<UplinkGuard>,
}

/// The agent's end.
#[derive(Debug)]
pub struct IsolationHandle {
    orders: watch::Sender<UplinkOrder>,
    published: watch::Receiver<PublishedUplinks>,
}

impl IsolationHandle {
    /// Gives the task another order, if it changed.
    pub fn order(&self, order: UplinkOrder) {
        send_other(&self.orders, order);
    }

    /// The newest finding.
    #[must_use]
    pub fn found(&self) -> PublishedUplinks {
        self.published.borrow().clone()
    }

    /// An agent without the task: no link is ever touched.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            orders: watch::channel(UplinkOrder::Unknown).0,
            published: watch::channel(PublishedUplinks::default()).1,
        }
    }

    /// Wakes the loop.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<PublishedUplinks> {
        self.published.clone()
    }
}
