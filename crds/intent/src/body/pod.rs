//! Pods and their classes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::scope::BlockedReason;
use crate::newtypes::{Address, Namespace, PodName, ScopeId, Uid};

/// A pod that is bound to the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pod {
    pub namespace: Namespace,
    pub name: PodName,
    pub uid: Uid,
    /// What it may do.
    pub class: Class,
    /// Its addresses, when they are known.
    pub addresses: BTreeSet<Address>,
}

/// What the intent says of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Class {
    /// It leaves as the scope says.
    Policy { scope: ScopeId },
    /// Nothing of it leaves the cluster.
    Blocked { reason: BlockedReason },
    /// Postern has nothing to say about it.
    Released,
}
