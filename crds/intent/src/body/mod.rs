//! The body: what one node is to do, complete. A node never needs a second document to act on it.
//!
//! | module | for |
//! |---|---|
//! | `allocation` | numbers and names of exits, for the next compile |
//! | `check` | what a reader of a parsed body may rely on beyond its types |
//! | `cluster` | what belongs to the cluster |
//! | `document` | the document as a whole, and whom it is for |
//! | `exit` | exits that the node uses, and those that it serves |
//! | `isolation` | which uplink may be up |
//! | `pod` | pods and their classes |
//! | `rule` | rules of a policy |
//! | `scope` | scopes: one way out, and what may happen when it is lost |
//! | `terms` | what the pods of a scope may do |
//! | `tunnel` | devices and their other ends |

mod allocation;
mod check;
mod cluster;
mod document;
mod exit;
mod isolation;
mod pod;
mod rule;
mod scope;
mod terms;
mod tunnel;

pub use allocation::ExitAllocation;
pub use check::Inconsistency;
pub use cluster::{Cluster, ClusterDns, DEFAULT_NODE_PORTS, PortSpan};
pub use document::{Body, FORMAT_VERSION, NodeIdentity};
pub use exit::{Access, ExitGateway, ExitRoute, ServedExit};
pub use isolation::Isolation;
pub use pod::{Class, Pod};
pub use rule::{PortRange, Protocol, Rule};
pub use scope::{BlockedReason, FailureMode, PolicyRef, Scope, Way};
pub use terms::{DnsMode, DnsTerms, EstablishedFlows, Limits, Replies, Terms};
pub use tunnel::{Peer, PeerEnd, Tunnel, TunnelRole};
