//! `InterfaceIsolation`: at most one uplink of a node is up.
#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats each struct inside a function, where its pub reaches nobody; every printer column has a type_ of its own"
)]

mod spec;
mod status;

pub use spec::{
    Confirm, ConfirmProbe, Domain, HotspotException, InterfaceIsolation, InterfaceIsolationSpec,
    Level, RemoteSafety, Rfkill,
};
pub use status::{InterfaceIsolationStatus, IsolationCounts};
