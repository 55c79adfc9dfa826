//! The loop: one activation, one reconcile, one status.
//!
//! | module | for |
//! |---|---|
//! | [`activation`] | why a run runs |
//! | [`state`] | what the agent knows |
//! | [`run`] | the loop |
//! | [`intake`] | documents |
//! | [`updates`] | what files of the node say anew |
//! | [`reconcile`] | from what is known to what the kernel shows |
//! | `event_pace` | how soon events of the kernel are looked at |
//! | `execute` | a plan is carried out, and what came of it |
//! | [`backoff`] | steps that fail again and again |
//! | `look` | a reading of the host with its gaps, and what the node can do |
//! | [`paths`] | pods whose packets pass by the guard |
//! | `choice` | which gateways the node uses |
//! | [`fast`] | one pod's change, without reading everything |
//! | [`scopes`] | the status of each scope |
//! | `uplinks` | which uplink may be up, and what was found of it |
//! | `lease` | the kernel's lease |
//! | `renew` | new sessions of tunnels whose other end is silent |
//! | [`cni`] | what the plugin asks |
//! | `waiting` | pods whose ADD waits for an intent |
//! | `explain` | what becomes of a packet, for people who ask |
//! | `report` | what the report is composed from |
//! | [`sessions`], `credential` | credentials and addresses of servers outside of the cluster |
//! | [`release`] | letting go |

pub mod activation;
pub mod backoff;
mod choice;
pub mod cni;
mod credential;
mod event_pace;
mod execute;
mod explain;
pub mod fast;
pub mod intake;
mod lease;
mod look;
pub mod paths;
pub mod reconcile;
pub mod release;
mod renew;
mod renewals;
mod report;
mod report_pace;
pub mod run;
pub mod scopes;
pub mod sessions;
mod startup;
pub mod state;
pub mod updates;
mod uplinks;
mod waiting;

pub use activation::Activation;
pub use renewals::Renewals;
pub use run::{RunError, run};
pub use state::Agent;
pub use updates::{NodeUpdate, watch_sockets};
