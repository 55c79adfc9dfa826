//! The body: what one node is to do, complete. A node never needs a second document to act on it.
//!
//! | module | for |
//! |---|---|
//! | `check` | what a reader of a parsed body may rely on beyond its types |
//! | `cluster` | what belongs to the cluster |
//! | `dns` | names |
//! | `document` | the document as a whole, and whom it is for |
//! | `exit` | exits that the node uses, and those that it serves |
//! | `isolation` | which uplink may be up |
//! | `pod` | pods and their classes |
//! | `rule` | rules of a policy |
//! | `scope` | scopes: one way out, and what may happen when it is lost |
//! | `tunnel` | devices and their other ends |

mod check;
mod cluster;
mod dns;
mod document;
mod exit;
mod isolation;
mod pod;
mod rule;
mod scope;
mod tunnel;

pub use check::Inconsistency;
pub use cluster::{Cluster, ClusterDns, DEFAULT_NODE_PORTS, PortSpan};
pub use dns::{DnsMode, ScopeDns};
pub use document::{Body, NodeIdentity};
pub use exit::{Access, ExitRoute, ServedExit};
pub use isolation::Isolation;
pub use pod::{Class, Pod};
pub use rule::{PortRange, Protocol, Rule};
pub use scope::{BlockedReason, EstablishedFlows, FailureMode, PolicyRef, Replies, Scope, Way};
pub use tunnel::{Peer, Tunnel, TunnelRole};
