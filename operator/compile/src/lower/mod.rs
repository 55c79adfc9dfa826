//! From plans to documents: one file for each section.

mod allocations;
pub(crate) mod cluster;
pub(crate) mod digest;
pub(crate) mod document;
mod external;
mod firewall;
mod nat;
mod node;
mod pods;
mod routes;
mod tunnels;

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{ExitName, NodeName};

use crate::allocate::{Hosts, Networks, Numbers};
use crate::assign::Assignment;
use crate::index::Index;
use crate::pins::PinnedKeys;
use crate::resolve::{AdminTier, PolicyPlans, ResolvedExits, ResolvedIsolations};

pub(crate) use node::{NodePlan, clients, peers};

/// Everything that a document is made of.
pub(crate) struct LoweringContext<'a> {
    pub(crate) index: &'a Index<'a>,
    pub(crate) exits: &'a ResolvedExits<'a>,
    pub(crate) plans: &'a PolicyPlans,
    pub(crate) admin: &'a AdminTier<'a>,
    pub(crate) assignment: &'a Assignment<'a>,
    pub(crate) keys: &'a PinnedKeys,
    pub(crate) networks: &'a Networks,
    pub(crate) numbers: &'a Numbers,
    pub(crate) hosts: &'a Hosts,
    pub(crate) isolations: &'a ResolvedIsolations<'a>,
    /// Nodes with a pod that leaves by the exit.
    pub(crate) clients: &'a BTreeMap<ExitName, BTreeSet<NodeName>>,
    /// These, and nodes that were clients before.
    pub(crate) peers: &'a BTreeMap<ExitName, BTreeSet<NodeName>>,
}
