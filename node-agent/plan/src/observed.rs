//! What was read back from the kernel, as values.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::IfName;
use serde_json::Value;

use crate::host::{
    DeviceSetting, KernelRoute, LockPolicy, ObservedLink, ObservedTunnel, RoutingRule,
};
use crate::ruleset::{Atom, Base, Element, SetType};

/// One reading of everything that we own. A part that could not be read is empty here; whoever plans from a reading with gaps
/// says which stages they are in (`order::plan_readable`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// Every link of the node, ours and others'.
    pub links: Vec<ObservedLink>,
    /// Switches of our own devices (`pst-*`), every [`DeviceKey`](crate::host::DeviceKey) of each.
    pub devices: BTreeSet<DeviceSetting>,
    /// Routes with our protocol number.
    pub routes: BTreeSet<KernelRoute>,
    /// Routing rules with our protocol number. A rule that is there twice counts as two.
    pub rules: Vec<RoutingRule>,
    /// XFRM policies of direction `fwd` that carry one of our priorities.
    pub locks: BTreeSet<LockPolicy>,
    pub firewall: ObservedFirewall,
    /// Devices that answer, by name. A device without an entry did not answer.
    pub tunnels: BTreeMap<IfName, ObservedTunnel>,
    /// Interfaces of the default route, by family digit.
    pub default_uplinks: BTreeMap<char, IfName>,
}

/// Our tables as the kernel lists them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObservedFirewall {
    /// `inet postern`, if it is there.
    pub inet: Option<ObservedTable>,
    /// `bridge postern`, if it is there.
    pub bridge: Option<ObservedTable>,
    /// `arp postern`, if it is there.
    pub arp: Option<ObservedTable>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObservedTable {
    pub chains: BTreeMap<String, ObservedChain>,
    /// Sets and maps by name.
    pub sets: BTreeMap<String, ObservedSet>,
    /// Packets of the named counters.
    pub counters: BTreeMap<String, u64>,
}

/// One set or map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedSet {
    /// The declaration; none where this agent does not understand it.
    pub set_type: Option<SetType>,
    pub elements: BTreeSet<Element>,
    /// After how many seconds the kernel deletes an element, by its key, for those that it deletes.
    pub expires: BTreeMap<Vec<Atom>, u64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObservedChain {
    /// Hook and priority of a base chain.
    pub base: Option<Base>,
    pub rules: Vec<ObservedRule>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ObservedRule {
    /// The comment: a rule of ours carries its identity there.
    pub comment: Option<String>,
    /// The expressions as nft lists them.
    pub expressions: Value,
}
