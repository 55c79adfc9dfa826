//! The chained CNI plugin: a thin client of the agent's socket.
//!
//! It runs after the plugin that made the pod's interface, tells the agent which pod has which
//! addresses behind which host interface, and fails ADD while no agent can hold the pod. It
//! changes nothing itself: the previous result is printed byte for byte.
//!
//! [`install`] puts it on a node and takes it away again.
//!
//! The agent uses [`protocol`] for the conversation and [`departed`] for the pods that went while
//! it was away.

mod agent;
mod configuration;
pub mod departed;
mod environment;
mod error;
pub mod install;
mod previous;
pub mod protocol;
mod verb;
mod version;

pub use configuration::Configuration;
pub use environment::{Environment, PodIdentity};
pub use error::{CniError, ErrorReport};
pub use previous::{Attached, PreviousError};
pub use verb::{VerbOutput, run};
pub use version::SpecVersion;
