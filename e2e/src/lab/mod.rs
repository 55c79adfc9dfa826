//! A cluster of namespaces: what `up` makes, what the verbs change, what `down` removes.
//!
//! | module | for |
//! |---|---|
//! | [`topology`] | the addresses of a lab |
//! | [`sandbox`] | namespaces, control groups, processes, CNI plugins |
//! | [`traffic`] | the outside world, and programs that send packets to it |
//! | [`publisher`] | compiles and signs intents in a lab without an API server |
//! | [`error`] | what can go wrong |

mod build;
mod cut;
mod down;
pub mod error;
pub(crate) mod keys;
mod objects;
mod options;
mod pods;
mod programs;
pub mod publisher;
pub mod sandbox;
mod services;
mod state;
mod status;
pub mod topology;
pub mod traffic;
mod up;
mod wireguard;

pub use build::Binaries;
pub use error::LabError;
pub use objects::{Applied, read_objects};
pub use options::{Cluster, Collector, Kubelets, Plugin, Programs, UpOptions};
pub use pods::{Exec, PodOptions};
pub use programs::AGENT_METRICS;
pub use state::{Lab, LabState, PodRecord, Service, TrafficPolicy, wait_until};
pub use status::{NodeStatus, ProcessStatus, Status};
pub use wireguard::{WIREGUARD, WireguardServer};

pub(crate) use build::COLLECTOR;
pub(crate) use objects::{node_object, parse_objects};
pub(crate) use pods::pod_name;
pub(crate) use services::service_names;
pub(crate) use state::{read_json, uid};
