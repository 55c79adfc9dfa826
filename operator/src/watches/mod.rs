//! The watches and the shared stores that they fill. Wiring for each kind; what is done about a change is the
//! pipeline's.

mod kinds;
mod lean;
mod object;
mod signals;
mod stores;
mod watch;

pub use kinds::WatchedKind;
pub use object::{InvalidObject, WatchedObject};
pub use signals::{ReportedNodes, WatchSignals};
pub(crate) use stores::{ADMIN_DEFINITION, DEFINITION};
pub use stores::{WatchedStores, start};
