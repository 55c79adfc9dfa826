//! `EgressPolicy`: which pods leave by which exit, and what they may reach.
#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats each struct inside a function, where its pub reaches nobody; every printer column has a type_ of its own"
)]

mod dns;
mod rule;
mod spec;
mod status;

pub use dns::{Dns, DnsMode, DnsRefusal};
pub use rule::{Action, Destination, PolicyRule, PortRange, Protocol};
pub use spec::{
    Audit, AuditLog, ByteRate, EgressPolicy, EgressPolicySpec, Enforcement, EstablishedFlows,
    ExitRef, FailureMode, Inbound, Limits, Replies, Route, RouteType, SpecialUse,
};
pub use status::{EgressPolicyStatus, NodeCounts, PodCounts};
