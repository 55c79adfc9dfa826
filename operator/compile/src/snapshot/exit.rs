use postern_intent::body::Access;
use postern_intent::{Address, ExitName, IfName, Prefix};

use super::policy::SpecRefusal;
use super::selector::ParsedSelector;

#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotExit {
    pub name: ExitName,
    pub generation: i64,
    /// What it offers, or why it is refused.
    pub terms: Result<ExitTerms, SpecRefusal>,
}

/// What an exit with a gateway in the cluster offers.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitTerms {
    /// Which nodes may be its gateway.
    pub gateways: ParsedSelector,
    /// Where the gateway leaves; none: the interface of the default route.
    pub uplink: Option<IfName>,
    /// Source addresses; empty: masquerade.
    pub egress: Vec<Address>,
    /// What it offers, before the cluster's ranges are taken out.
    pub routes: Vec<Prefix>,
    /// The exit's half of the permission to reach private ranges.
    pub lan: Access,
    /// MTU in bytes; none: the setting.
    pub mtu: Option<u16>,
    /// Who may use it.
    pub allowed: ExitNamespaces,
}

/// Which namespaces may use an exit.
#[derive(Debug, Clone, PartialEq)]
pub enum ExitNamespaces {
    All,
    /// Those with these labels.
    Selector(ParsedSelector),
}
