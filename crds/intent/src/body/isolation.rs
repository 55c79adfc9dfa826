//! Which uplink may be up.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::newtypes::{IfName, SectionDigest};

/// At most one uplink of the node may be up, or the two of a hotspot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Isolation {
    /// Name of the InterfaceIsolation that asks for it.
    pub policy: String,
    /// Changes with everything else in this section. The report repeats it.
    pub digest: SectionDigest,
    /// Interface names or globs, in order of preference.
    pub preferred: Vec<String>,
    /// Names or globs of interfaces that are left alone.
    pub exclude: Vec<String>,
    /// Two interfaces that may be up together for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hotspot: Option<Hotspot>,
    /// Whether radios of the other interfaces have to be blocked as well.
    pub radios: RadioRule,
    /// Seconds within which the API server must have answered after a switch; else the switch is rolled back.
    pub confirm_within_seconds: u32,
    /// Whether links that carry a remote session may be cut.
    pub remote_links: RemoteLinks,
}

/// Exactly two interfaces that may be up together, until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hotspot {
    /// The interface that serves clients.
    pub access_point: IfName,
    /// The interface that reaches the network.
    pub upstream: IfName,
    /// When the exception ends. RFC 3339.
    pub not_after: Timestamp,
}

/// Whether radios are blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RadioRule {
    /// A node whose radios are not known to be blocked is not compliant.
    Blocked,
    /// Radios are left alone.
    Ignored,
}

/// Whether the link that carries the API server or an SSH session may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteLinks {
    /// The change waits instead.
    Protected,
    /// It may be cut.
    Cut,
}
