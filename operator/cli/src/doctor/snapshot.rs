//! The objects that the doctor judges.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use crate::cluster::ClusterObjects;
use crate::install::ReadPart;

#[derive(Debug, Clone, PartialEq)]
pub struct DoctorSnapshot {
    pub objects: ClusterObjects,
    /// The operators' Lease; none: there is none.
    pub lease: ReadPart<Option<Lease>>,
    pub nodes: ReadPart<Vec<KnownNode>>,
    pub now: Timestamp,
}

/// A Node object, as far as it decides whether an agent should run there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    pub name: String,
    pub is_linux: bool,
}
