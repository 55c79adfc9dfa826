//! The pure planner: what a host should look like, what it looks like, and the steps between.
//!
//! Nothing here reads a clock, an environment, a file or a socket: `now` and what was observed are arguments, plans
//! are values, and the same input gives the same output.
//!
//! | module | for |
//! |---|---|
//! | [`settings`] | what the node knows without any intent |
//! | [`binding`] | which pod is behind which interface |
//! | [`host`] | the nouns of a host: links, routes, rules, locks, tunnels |
//! | [`ruleset`] | the firewall as a value that prints itself |
//! | [`desired`] | from a verified body to what the host should look like |
//! | [`observed`] | what was read back |
//! | [`flow`] | which flows of connection tracking a cut deletes |
//! | [`diff`] | the differences, noun by noun |
//! | [`step`], [`order`] | one change as data with its inverse, and which comes first |
//! | [`evaluate`] | what a ruleset does with a packet |
//! | [`explain`] | what a node with a body does with one packet of a pod, and why |
//! | [`check`] | whether the guard and the lock of a plan stand |

pub mod binding;
pub mod check;
pub mod desired;
pub mod diff;
pub mod evaluate;
pub mod explain;
pub mod flow;
pub mod host;
mod host_text;
pub mod observed;
pub mod order;
pub mod ruleset;
pub mod settings;
pub mod step;

pub use desired::Desired;
pub use flow::FlowCut;
pub use observed::Observed;
pub use step::Step;
