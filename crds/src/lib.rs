//! The words that users and programs share: kinds, names, selectors, conditions.
//!
//! Every kind is in the group [`names::GROUP`], version [`names::VERSION`]. What an object alone can
//! decide is in its schema (bounds, patterns, CEL rules); what needs other objects is the compiler's.
//!
//! This crate does no I/O and knows no client: it is types, their schemas and pure functions on them.

pub mod cluster_egress_policy;
pub mod conditions;
pub mod definition;
pub mod egress_policy;
pub mod exit_node;
pub mod honoured;
pub mod interface_isolation;
pub mod names;
pub mod node_intent;
pub mod node_report;
pub mod reference;
pub mod schema;
pub mod selector;

pub use cluster_egress_policy::{
    ClusterEgressPolicy, ClusterEgressPolicySpec, ClusterEgressPolicyStatus,
};
pub use egress_policy::{EgressPolicy, EgressPolicySpec, EgressPolicyStatus};
pub use exit_node::{ExitNode, ExitNodeSpec, ExitNodeStatus};
pub use interface_isolation::{
    InterfaceIsolation, InterfaceIsolationSpec, InterfaceIsolationStatus,
};
pub use node_intent::{NodeIntent, NodeIntentSpec, NodeIntentStatus};
pub use node_report::{NodeReport, NodeReportSpec, NodeReportStatus};
pub use selector::{Selector, SelectorError};
