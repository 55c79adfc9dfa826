//! The rules of the ruleset that log packets, and what a logged packet means.

use std::collections::BTreeMap;

use postern_intent::body::PolicyRef;

/// What each log prefix of the ruleset means. The kernel gives the prefix with the packet.
pub type RecordPoints = BTreeMap<String, RecordPoint>;

/// The policy of a packet, and the verdict of that policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPoint {
    pub policy: PolicyRef,
    pub stage: RecordStage,
    pub ground: RecordGround,
}

/// What the kernel does with the packet at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordStage {
    /// The first packet of a connection goes on to the way out, which may still refuse it.
    Chosen,
    /// The first packet of a connection leaves.
    Left,
    Refused,
    /// The policy only observes.
    WouldRefuse,
}

/// Why the packet is let go on or is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordGround {
    /// The rule of this name.
    Rule(String),
    /// A rule of an administrator: the name of the ClusterEgressPolicy, and that of the rule.
    AdminRule(String, String),
    DefaultAction,
    /// A special-use destination.
    SpecialUse,
    /// A private destination.
    Private,
    /// Another way to resolve names than the forwarder.
    OtherResolver,
    /// The intent has run out.
    Lease,
    /// The way out is not there, or is not the one that the packet takes.
    Way,
    /// The scope has no way out.
    Blocked,
    /// The packet leaves, and the log does not have it at the rule that let it go on, as where that rule logged as many packets as it
    /// may.
    Unknown,
}

impl RecordGround {
    /// The rule's name, where a rule decided.
    #[must_use]
    pub fn rule(&self) -> Option<String> {
        match self {
            Self::Rule(name) => Some(name.clone()),
            Self::AdminRule(policy, rule) => Some(format!("{policy}/{rule}")),
            _ => None,
        }
    }

    /// As records name it; a rule by its own name, beside this.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Rule(_) => "Rule",
            Self::AdminRule(..) => "AdminRule",
            Self::DefaultAction => "DefaultAction",
            Self::SpecialUse => "SpecialUse",
            Self::Private => "PrivateRange",
            Self::OtherResolver => "OtherResolver",
            Self::Lease => "IntentExpired",
            Self::Way => "WayOut",
            Self::Blocked => "Blocked",
            Self::Unknown => "Unknown",
        }
    }
}
