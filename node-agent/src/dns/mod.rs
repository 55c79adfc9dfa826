//! The node's DNS forwarder.
//!
//! Port 53 of selected and blocked pods is redirected here, whatever resolver they name. Names of
//! the cluster go to the cluster's resolver; all others go through the pod's exit, on sockets that
//! carry the exit's mark, device and address, or get no answer. Messages pass as they are: only
//! the question is read and only the id is changed. Where names are filtered, answers are read too.
//!
//! | module | for |
//! |---|---|
//! | [`forwarder`] | what the agent starts |
//! | [`node`] | what the forwarder asks the node |
//! | `own` | resolvers of the node itself |
//! | [`circuits`] | which resolvers are left alone for a while |
//! | [`check`] | what the forwarder adds to the time of its resolvers |
//! | [`granted_names`] | which names brought what is granted |
//! | [`counters`] | how questions ended |
//! | `decide` | where a question goes (pure) |
//! | `filter` | what an answer brings where names are filtered (pure) |
//! | `question` | what is read of a message (pure) |
//! | `zones` | which names are the cluster's (pure) |
//! | `udp`, `tcp` | the pods' side |
//! | `upstream`, `socket` | the resolvers' side |
//! | `limits` | how many questions at a time |

mod answer;
pub mod check;
pub mod circuits;
pub mod counters;
mod decide;
mod error;
mod filter;
pub mod forwarder;
pub mod granted_names;
mod limits;
pub mod node;
mod own;
mod question;
mod socket;
mod tcp;
mod udp;
mod upstream;
mod zones;

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;

pub use check::{CheckWork, DnsCheckError};
pub use circuits::{OpenResolvers, ResolverCircuits};
pub use counters::{DnsCounters, QuestionOutcome};
pub use error::BindError;
pub use forwarder::{Forwarder, ForwarderOptions};
pub use granted_names::GrantedNames;
pub use node::DnsNode;
pub use own::NodeResolvers;
pub(crate) use socket::takes_connection;
pub(crate) use upstream::ask_for_root;
