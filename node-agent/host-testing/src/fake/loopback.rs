//! The loopback link of a new host.

use postern_intent::IfName;
use postern_plan::host::{AdminState, Carrier, ObservedLink};

/// `lo`.
pub(super) fn loopback_name() -> IfName {
    crate::contract::device("lo")
}

pub(super) fn loopback() -> ObservedLink {
    ObservedLink {
        index: 1,
        name: "lo".to_owned(),
        kind: String::new(),
        mtu: 65_536,
        state: AdminState::Down,
        carrier: Carrier::Absent,
        master: None,
        parent: None,
        mac: None,
        addresses: Vec::new(),
    }
}
