//! From a verified body, the bindings and the settings to what the host should look like.
//!
//! One file a noun. Everything is computed from scratch each time: O(pods + rules + peers), no state.

mod asking;
pub mod classify;
mod cluster;
pub mod dns;
mod exit_source;
mod firewall;
pub mod grant;
mod host_state;
mod inputs;
mod link;
mod lock;
pub mod probe;
mod ranges;
mod route;
mod tunnel;

pub use asking::{AskedOutside, AskedResolver, Lease, NotAsked};
pub use classify::{AddressClass, Classes, Classified};
pub use cluster::{ClusterView, LocalRanges};
pub use dns::{DnsEntry, DnsPlan, SocketSource};
pub use exit_source::{ExitSource, ExitSources};
pub(crate) use firewall::holds;
pub(crate) use firewall::is_record;
pub use firewall::{RecordGround, RecordPoint, RecordPoints, RecordStage};
pub use firewall::{limit_of, names};
pub use grant::{NameRules, NamedRule};
pub use host_state::Desired;
pub use inputs::{
    DEFAULT_ROUTE, HostFacts, LEASE, NodeClaim, PacketLog, PlanInputs, UplinkGuard, tunnel_address,
    used_interface,
};
pub use probe::{GatewayWarmth, ProbePlan, ProbedGateway, ResolverChoice, UsedProbe};
pub use ranges::is_public;
pub use tunnel::tunnel_configs;
