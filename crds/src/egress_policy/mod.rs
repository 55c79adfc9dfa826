//! `EgressPolicy`: which pods leave by which exit, and what they may reach.
#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, where its pub reaches nobody"
)]

mod dns;
mod rule;
mod spec;
mod status;

pub use dns::{Dns, DnsMode, DnsRefusal};
pub use rule::{Action, Destination, PolicyRule, PortRange, Protocol};
pub use spec::{
    Audit, AuditLog, EgressPolicy, EgressPolicySpec, Enforcement, EstablishedFlows, ExitRef,
    FailureMode, Inbound, Limits, Replies, Route, RouteType, SpecialUse,
};
pub use status::{EgressPolicyStatus, NodeCounts, PodCounts};
