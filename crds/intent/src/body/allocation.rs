//! Numbers and names that the compiler gave to an exit, so that the next compile gives the same ones. An agent does not
//! read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::newtypes::{ExitName, NodeName};

/// What an exit was given. The marks of a node are in its [`ExitRoute`](super::ExitRoute)s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExitAllocation {
    pub exit: ExitName,
    /// The UDP port at which its gateways listen.
    pub port: u16,
    /// Which of the networks of the tunnel ranges is its own, counted from 0.
    pub network: u32,
    /// What follows `pst-c-`, `pst-s-` and `pst-x-` in the names of its devices.
    pub stem: String,
    /// Host numbers in that network: a client's own one, and on a gateway those of all its clients.
    pub hosts: BTreeMap<NodeName, u32>,
    /// Host numbers of the exit's gateways in that network.
    pub gateways: BTreeMap<NodeName, u32>,
}
