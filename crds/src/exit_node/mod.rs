//! `ExitNode`: where traffic leaves, an in-cluster gateway or an external WireGuard server.
#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats each struct inside a function, where its pub reaches nobody; every printer column has a type_ of its own"
)]

mod external;
mod gateway;
mod spec;
mod status;

pub use external::{External, SecretRef};
pub use gateway::Gateway;
pub use spec::{
    AllowedNamespaces, ExitNode, ExitNodeSpec, Failback, FromNamespaces, LanAccess, Path, Probe,
    ProbeTarget, Relay,
};
pub use status::{ClientCounts, ExitNodeStatus, GatewayRole, GatewayStatus};
