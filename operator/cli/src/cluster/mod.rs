//! The cluster, as a person with a kubeconfig reaches it.
//!
//! | module | for |
//! |---|---|
//! | `connect` | which cluster, as whom, and one thread that waits for its answers |
//! | `namespace_client` | what every question needs |
//! | `ask` | one request with its deadline, and what its failure means |
//! | `read` | what waits, and the objects that show the state of policies, exits and nodes |
//! | `look` | what explains one pod or one policy, with the rights of the caller |
//! | `survey` | what decides whether a cluster can have Postern |
//! | `removal` | what there is of Postern, and taking it away |
//! | `exit` | one exit, and what a person asks of it |
//! | `changes` | looking again whenever an object changes |
//! | `approve` | adding approvals to what others approved |
//!
//! Outside of this module nothing waits: every function here returns when it has the answer.

#[cfg(test)]
mod answering;
mod approve;
mod ask;
mod changes;
mod connect;
mod error;
mod exit;
mod look;
mod namespace_client;
mod read;
mod removal;
mod request;
mod survey;

pub use approve::{MergedApprovals, merge};
pub use connect::{ClusterConnection, ClusterOptions};
pub use error::ClusterError;
pub use look::{PodView, PolicyView, ReadExits};
pub use read::{ClusterObjects, ReadResult, UnreadableObject};
pub use request::ResourceRequest;
