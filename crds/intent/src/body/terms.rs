//! What the pods of a scope may do. The compiler, the body and the agent use this one type.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::admin::AdminPolicy;
use super::exit::Access;
use super::rule::Rule;
use crate::newtypes::Prefix;

/// What the pods of a scope may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Terms {
    /// The tier `Admin`: rules that are asked before `rules`, in order; the first match over all of them wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admin: Vec<AdminPolicy>,
    /// In order; the first match wins.
    pub rules: Vec<Rule>,
    /// For traffic that no rule names.
    pub default_action: Access,
    /// What replies of inbound connections may do.
    pub replies: TermsReplies,
    /// Private ranges (RFC 1918, RFC 6598, RFC 4193). In a body: policy and exit both allow.
    pub lan: Access,
    /// Special-use destinations that are allowed all the same (RFC 6890).
    pub special_use_exceptions: Vec<Prefix>,
    /// What becomes of flows that the scope no longer allows.
    pub established_flows: TermsEstablishedFlows,
    /// What becomes of the names that the pods ask for.
    pub dns: DnsTerms,
    /// How much each pod may send.
    #[serde(default, skip_serializing_if = "TermsLimits::is_empty")]
    pub limits: TermsLimits,
    /// Whether the rules, the default action and the mode of names refuse, or only count what they would refuse.
    #[serde(default, skip_serializing_if = "TermsEnforcement::is_enforce")]
    pub enforcement: TermsEnforcement,
    /// Which decisions about the pods' connections and names are recorded.
    #[serde(default, skip_serializing_if = "TermsAudit::is_none")]
    pub audit: TermsAudit,
}

impl Terms {
    /// What the pods of a policy may do that was never accepted: nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            admin: Vec::new(),
            rules: Vec::new(),
            default_action: Access::Deny,
            replies: TermsReplies::None,
            lan: Access::Deny,
            special_use_exceptions: Vec::new(),
            established_flows: TermsEstablishedFlows::Cut,
            dns: DnsTerms {
                mode: TermsDnsMode::Block,
                upstreams: Vec::new(),
                refusal: TermsDnsRefusal::NxDomain,
            },
            limits: TermsLimits {
                connections: None,
                new_connections_per_second: None,
                packets_per_second: None,
                bytes_per_second: None,
            },
            enforcement: TermsEnforcement::Enforce,
            audit: TermsAudit::None,
        }
    }
}

/// What replies of inbound connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TermsReplies {
    /// Go back the way they came, if the connection came by a service of this node.
    Services,
    None,
}

/// Whether a scope refuses what its rules, its default action and its mode of names do not allow. What the exit guarantees does not
/// depend on it: the way out, the lease, sources, special use, the LAN, other ways to resolve names, limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TermsEnforcement {
    #[default]
    Enforce,
    /// It counts what it would refuse, and lets it out.
    Observe,
}

impl TermsEnforcement {
    #[must_use]
    pub const fn is_enforce(&self) -> bool {
        matches!(self, Self::Enforce)
    }
}

/// Which decisions are recorded. No record decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TermsAudit {
    #[default]
    None,
    /// What is refused, and what a policy that only observes would refuse.
    Denied,
    /// Each new connection that leaves by the exit, and each answer, too.
    All,
}

impl TermsAudit {
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What becomes of flows that a stricter policy no longer allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TermsEstablishedFlows {
    /// Their conntrack entries are deleted.
    Cut,
    /// They may end by themselves, by the same way out.
    Keep,
}

/// What becomes of the names that pods ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsTerms {
    pub mode: TermsDnsMode,
    /// Resolvers asked through the exit, in order. Empty: the address that the pod asked if it is outside, else those that
    /// the node knows.
    pub upstreams: Vec<SocketAddr>,
    /// The answer for a name that no rule allows; with the mode `Filter`.
    pub refusal: TermsDnsRefusal,
}

/// The answer for a refused name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TermsDnsRefusal {
    /// The name does not exist.
    #[serde(rename = "NXDOMAIN")]
    NxDomain,
    /// The server will not answer.
    #[serde(rename = "REFUSED")]
    Refused,
}

/// What is done with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TermsDnsMode {
    /// Cluster names to the cluster's resolver, all others through the exit.
    Forward,
    /// Cluster names to the cluster's resolver, names that a rule allows through the exit, all others are refused. An answer
    /// is withheld until the kernel would let a connection to its addresses through.
    Filter,
    /// Cluster names to the cluster's resolver, all others are refused.
    Block,
}

impl fmt::Display for TermsDnsMode {
    /// The word that documents have for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// How much each pod may send by its exit, in each family by itself; none: as much as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TermsLimits {
    /// Connections at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// New connections in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_connections_per_second: Option<u32>,
    /// Packets in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_per_second: Option<u64>,
    /// Bytes in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

impl TermsLimits {
    /// The kernel counts the bytes of a second in nanoseconds times bytes, in 64 bits (`nft_limit_init`); a larger limit would
    /// make it refuse the whole table.
    pub const MOST_BYTES: u64 = 1 << 34;

    /// Can a kernel hold each of them?
    #[must_use]
    pub fn are_possible(&self) -> bool {
        let positive = [
            self.connections.map(u64::from),
            self.new_connections_per_second.map(u64::from),
            self.packets_per_second,
            self.bytes_per_second,
        ];
        let fits = self
            .packets_per_second
            .is_none_or(|packets| u32::try_from(packets).is_ok());
        let bytes = self.bytes_per_second.unwrap_or_default();
        positive.into_iter().flatten().all(|value| value > 0) && fits && bytes <= Self::MOST_BYTES
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
