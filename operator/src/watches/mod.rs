//! The watches and the shared stores that they fill. Wiring for each kind; what is done about a change is the
//! pipeline's.

mod kinds;
mod lean;
mod signals;
mod stores;
mod tolerant;
mod watch;

pub use kinds::Kind;
pub use signals::{ReportedNodes, Signals};
pub(crate) use stores::DEFINITION;
pub use stores::{Stores, start};
pub use tolerant::{Poison, Tolerant};
