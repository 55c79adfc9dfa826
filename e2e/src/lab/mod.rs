//! The lab itself: what `up` makes, what the verbs change, what `down` takes away.

mod build;
mod down;
mod keys;
mod objects;
mod options;
mod pods;
mod programs;
mod services;
mod state;
mod status;
mod up;

pub use build::Binaries;
pub use objects::{Applied, read_objects};
pub use options::{Cluster, Collector, Plugin, Programs, UpOptions};
pub use pods::{Exec, PodOptions};
pub use programs::AGENT_METRICS;
pub use state::{Lab, LabState, PodRecord, Service, TrafficPolicy, wait_until};
pub use status::{NodeStatus, ProcessStatus, Status};

pub(crate) use objects::{node_object, parse_objects};
pub(crate) use services::service_names;
pub(crate) use state::{read_json, uid};
