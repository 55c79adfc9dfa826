//! The memory that outlives restarts: the agent keeps it in a file beside its ledger.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_intent::SectionDigest;
use postern_plan::host::{AdminState, LinkConfig};
use serde::{Deserialize, Serialize};

/// The memory of the isolation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IsolationMemory {
    /// Of the section that was acted on last.
    pub digest: Option<SectionDigest>,
    /// How links were when they were first seen under an isolation.
    pub baseline: BTreeMap<String, AdminState>,
    /// How far the node is.
    pub phase: SwitchPhase,
    /// Uplinks that were tried and did not work, by name.
    pub failed: BTreeMap<String, FailedUplink>,
    /// The last switch that was rolled back under this section.
    pub rollback: Option<SwitchRollback>,
    /// What decided about the last switch; none where the uplink in use was up before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// Since when the uplink in use has no carrier.
    pub silent_since: Option<Timestamp>,
    /// What links lost when they were brought down, by name, until they have it again.
    pub taken: BTreeMap<String, LinkConfig>,
}

/// The uplinks that may be up: a structured rule, never a list of names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum AllowedUplinks {
    Single {
        uplink: String,
    },
    Hotspot {
        access_point: String,
        upstream: String,
    },
}

/// How far a node is. A phase is written before the acts that belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum SwitchPhase {
    /// Nothing is enforced.
    #[default]
    Open,
    /// It is asked what answers before the switch. Nothing is changed yet.
    Preparing {
        goal: AllowedUplinks,
        previous: Option<AllowedUplinks>,
        since: Timestamp,
    },
    /// All uplinks but those of the goal go down.
    Isolating { switch: UplinkSwitch },
    /// The goal comes up.
    Raising {
        switch: UplinkSwitch,
        since: Timestamp,
    },
    /// The goal is up, and what answered before has to answer again.
    Confirming {
        switch: UplinkSwitch,
        until: Timestamp,
    },
    /// These are up and nothing else.
    Settled { allowed: AllowedUplinks },
}

/// A switch under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UplinkSwitch {
    pub goal: AllowedUplinks,
    /// The uplinks to which a failed switch returns.
    pub previous: Option<AllowedUplinks>,
    pub confirmation: Confirmation,
    pub since: Timestamp,
}

/// Does an answer decide about a switch?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Confirmation {
    /// What answered before has to answer again.
    Required,
    /// Nothing answered before, or this is the way back: a silence proves nothing.
    Unneeded,
}

/// Why an uplink was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SwitchFailure {
    NoCarrier,
    NotConfirmed,
}

/// An uplink that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedUplink {
    pub reason: SwitchFailure,
    pub at: Timestamp,
}

/// A switch that was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRollback {
    /// The uplinks of the failed switch.
    pub goal: AllowedUplinks,
    pub at: Timestamp,
}

impl AllowedUplinks {
    /// The links that the rule names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Single { uplink } => (uplink, None),
            Self::Hotspot {
                access_point,
                upstream,
            } => (access_point, Some(upstream)),
        };
        [Some(first), second]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// May the uplink of these links be up?
    #[must_use]
    pub fn allows(&self, members: &BTreeSet<String>) -> bool {
        self.names().any(|name| members.contains(name))
    }

    /// The link that reaches the network.
    #[must_use]
    pub fn upstream(&self) -> &str {
        match self {
            Self::Single { uplink } => uplink,
            Self::Hotspot { upstream, .. } => upstream,
        }
    }

    /// The name under which a failure of it is remembered: a pair fails as a pair.
    #[must_use]
    pub fn key(&self) -> String {
        self.names().collect::<Vec<_>>().join("+")
    }
}

impl IsolationMemory {
    /// Is the node settled under this section? A link that comes up against the rule then is no link of a session: its packets are
    /// dropped, so that none began by it.
    #[must_use]
    pub fn is_settled_under(&self, section: &SectionDigest) -> bool {
        matches!(self.phase, SwitchPhase::Settled { .. }) && self.digest.as_ref() == Some(section)
    }
}

impl std::fmt::Display for AllowedUplinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Single { uplink } => f.write_str(uplink),
            Self::Hotspot {
                access_point,
                upstream,
            } => write!(f, "{access_point} and {upstream}"),
        }
    }
}

impl SwitchPhase {
    /// What may be up now; none while nothing is enforced.
    #[must_use]
    pub const fn allowed(&self) -> Option<&AllowedUplinks> {
        match self {
            Self::Open => None,
            Self::Preparing { previous, .. } => previous.as_ref(),
            Self::Isolating { switch }
            | Self::Raising { switch, .. }
            | Self::Confirming { switch, .. } => Some(&switch.goal),
            Self::Settled { allowed } => Some(allowed),
        }
    }
}
