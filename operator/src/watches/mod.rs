//! The watches and the shared stores that they fill. Wiring for each kind; what is done about a change is the
//! pipeline's.

mod kinds;
mod lean;
mod signals;
mod stores;
mod tolerant;
mod watch;

pub use kinds::WatchedKind;
pub use signals::{ReportedNodes, WatchSignals};
pub(crate) use stores::DEFINITION;
pub use stores::{WatchedStores, start};
pub use tolerant::{Poison, Tolerant};
