//! The body: what one node is to do, complete. It comes in two documents: one for the node, and one for all nodes.
//!
//! | module | for |
//! |---|---|
//! | `admin` | rules of administrators, before those of a policy |
//! | `allocation` | numbers and names of exits, for the next compile |
//! | `check` | what a reader of a parsed body may rely on beyond its types |
//! | `cluster` | what belongs to the cluster: the document for all nodes |
//! | `document` | the document of one node, and whom it is for |
//! | `exit` | exits that the node uses, and those that it serves |
//! | `external` | sessions with servers outside of the cluster |
//! | `isolation` | which uplink may be up |
//! | `joined` | the two documents joined: what a node acts on |
//! | `pod` | pods and their classes |
//! | `rule` | rules of a policy |
//! | `scope` | scopes: one way out, and what may happen when it is lost |
//! | `terms` | what the pods of a scope may do |
//! | `tunnel` | devices and their other ends |

mod admin;
mod allocation;
mod check;
mod cluster;
mod document;
mod exit;
mod external;
mod isolation;
mod joined;
mod pod;
mod rule;
mod scope;
mod terms;
mod tunnel;

pub use admin::{AdminAction, AdminPolicy, AdminRule};
pub use allocation::ExitAllocation;
pub use check::Inconsistency;
pub use cluster::{
    Cluster, ClusterDns, ClusterDocument, DEFAULT_NODE_PORTS, EncryptedResolvers, PortSpan,
    SerialGap,
};
pub use document::{FORMAT_VERSION, NodeDocument, NodeIdentity};
pub use exit::{
    Access, EGRESS_FENCE, EGRESS_FENCE_MARGIN, EGRESS_FENCE_SECONDS, EgressTerm, ExitFailback,
    ExitGateway, ExitProbe, ExitRoute, ServedExit,
};
pub use external::{ExternalSession, SealedCredential, ServerEndpoint};
pub use isolation::{Hotspot, Isolation, RadioRule, RemoteLinks};
pub use joined::Body;
pub use pod::{Class, Pod};
pub use rule::{Rule, RulePortRange, RuleProtocol};
pub use scope::{BlockedReason, EgressPath, PolicyRef, Scope, ScopeFailureMode};
pub use terms::{
    DnsTerms, Terms, TermsAudit, TermsDnsMode, TermsDnsRefusal, TermsEnforcement,
    TermsEstablishedFlows, TermsLimits, TermsReplies,
};
pub use tunnel::{Peer, PeerEnd, Tunnel, TunnelRole};
