//! Why a packet ends as it does, in the words of policies, exits and the cluster.

use std::fmt;

use postern_intent::body::{
    Access, AdminAction, BlockedReason, EgressPath, Rule, Scope, TermsEnforcement,
};
use postern_intent::{BASELINE, ExitName};
use serde::{Deserialize, Serialize};

use crate::desired::names;
use crate::evaluate::Trace;
use crate::ruleset::{Counter, RuleMeaning};

/// Why a packet ends as it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Cause {
    /// A rule of an administrator names it.
    AdminRule {
        /// The tier of the rule.
        tier: RuleTier,
        /// The ClusterEgressPolicy.
        policy: String,
        /// The name of the rule; its place from 0 where it has none.
        rule: String,
        /// The action of the rule.
        action: AdminAction,
    },
    /// A rule of the policy names it.
    PolicyRule {
        /// The policy, `namespace/name`.
        policy: String,
        /// The name of the rule; its place from 0 where it has none.
        rule: String,
        /// The action of the rule.
        action: Access,
        /// Whether the policy only counts what the rule refuses.
        #[serde(default, skip_serializing_if = "TermsEnforcement::is_enforce")]
        enforcement: TermsEnforcement,
    },
    /// No rule of the policy names it.
    DefaultAction {
        /// The policy, `namespace/name`.
        policy: String,
        /// The policy's default action.
        action: Access,
        /// Whether the policy only counts what it refuses.
        #[serde(default, skip_serializing_if = "TermsEnforcement::is_enforce")]
        enforcement: TermsEnforcement,
    },
    /// The destination is a special-use address that the policy has no exception for.
    SpecialUse {
        /// The policy, `namespace/name`.
        policy: String,
    },
    /// The destination is a private address that no rule names and that policy and exit do not both open.
    Lan {
        /// The policy, `namespace/name`.
        policy: String,
    },
    /// The policy has no way out.
    ScopeBlocked {
        /// The policy, `namespace/name`.
        policy: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<BlockedReason>,
    },
    /// Nothing of the pod leaves the cluster.
    PodBlocked {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<BlockedReason>,
    },
    /// No policy selects the pod.
    Released,
    /// The pod is not classified.
    Held,
    /// The destination is a pod, a node or an API server.
    Inside,
    /// The destination is a port at which another node translates connections.
    NodePort,
    /// The destination is an address of a Service.
    Service,
    /// The packet carries another packet to a node.
    Encapsulated,
    /// The destination is the end of a tunnel, which is not for pods.
    TunnelEndpoint,
    /// The packet is neighbour discovery or link-local multicast.
    Link,
    /// The packet is a question for a name.
    Dns,
    /// The pod would resolve a name by itself, and its policy filters or blocks names.
    OtherResolver,
    /// The pod sends more than a limit of its policy allows.
    OverLimit,
    /// The intent ran out.
    Lease,
    /// The packet does not take the policy's way out.
    Way,
    /// Its source is not one that may come this way.
    Source,
    /// The destination is the node's own address.
    Node,
    /// The gateway lets it out by the exit.
    Offered { exit: ExitName },
    /// The gateway does not let it out by the exit.
    NotOffered { exit: ExitName, limit: ExitLimit },
    /// The node is isolated, and the packet would leave by an interface that is not its uplink.
    Isolated,
    /// No rule of ours judges it.
    NoRule,
}

/// The tier of an administrator's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleTier {
    /// Asked before the rules of the pod's policy.
    Admin,
    /// Asked for pods that no policy of a namespace selects.
    Baseline,
}

impl fmt::Display for RuleTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why a gateway does not let a packet out by an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitLimit {
    /// The gateway's intent does not serve the exit.
    NotServed,
    /// The gateway's intent does not know the client.
    UnknownClient,
    /// The destination is the cluster's.
    Cluster,
    /// The destination is of special use, and no route of the exit names it.
    SpecialUse,
    /// The destination is private, and the exit does not open its LAN.
    Lan,
    /// No route of the exit holds the destination.
    Routes,
    /// The exit has no address of the family, or no route.
    Family,
    /// The connection began at another gateway.
    Connection,
    /// It would not leave by the exit's uplink.
    Uplink,
}

/// What a trace is explained by.
pub(super) struct Explaining<'a> {
    /// The scope of the pod.
    pub(super) scope: Option<&'a Scope>,
    /// The exit that the node serves the packet by.
    pub(super) served: Option<&'a ExitName>,
    /// Why the pod is blocked.
    pub(super) blocked: Option<BlockedReason>,
}

impl Explaining<'_> {
    /// The cause that a rule gives; none: the rule only carries out an earlier decision.
    pub(super) fn cause(&self, trace: &Trace) -> Option<Cause> {
        match trace.meaning {
            Some(meaning) => self.of_meaning(meaning),
            None => self.of_counter(trace.counter?),
        }
    }

    fn of_meaning(&self, meaning: RuleMeaning) -> Option<Cause> {
        let policy = || {
            let policy = self.scope.map(|scope| &scope.policy);
            policy.map(|policy| format!("{}/{}", policy.namespace, policy.name))
        };
        let cause = match meaning {
            RuleMeaning::AdminRule(place, position) => {
                let policy = self.scope?.terms.admin.get(place)?;
                let rule = policy.rules.get(position)?;
                // What is passed on is decided by a later rule.
                (rule.action != AdminAction::Pass).then_some(())?;
                Cause::AdminRule {
                    tier: RuleTier::Admin,
                    policy: policy.name.clone(),
                    rule: rule.name.clone(),
                    action: rule.action,
                }
            }
            RuleMeaning::PolicyRule(position) => {
                let scope = self.scope?;
                let rule = scope.terms.rules.get(position)?;
                if scope.policy.name == BASELINE {
                    return baseline_rule(rule);
                }
                Cause::PolicyRule {
                    policy: policy()?,
                    rule: rule.name.clone(),
                    action: rule.action,
                    enforcement: self.scope?.terms.enforcement,
                }
            }
            RuleMeaning::DefaultAction => Cause::DefaultAction {
                policy: policy()?,
                action: self.scope?.terms.default_action,
                enforcement: self.scope?.terms.enforcement,
            },
            RuleMeaning::SpecialUse => Cause::SpecialUse { policy: policy()? },
            RuleMeaning::Private => Cause::Lan { policy: policy()? },
            RuleMeaning::ScopeBlocked => Cause::ScopeBlocked {
                policy: policy()?,
                reason: match self.scope?.way {
                    EgressPath::Blocked { reason } => Some(reason),
                    EgressPath::Tunnel | EgressPath::LocalExit | EgressPath::NodeUplink => None,
                },
            },
            // An explanation is about the first packet of a connection, which is never kept.
            RuleMeaning::KeptFlow => return None,
            RuleMeaning::Way => Cause::Way,
            RuleMeaning::PodBlocked => Cause::PodBlocked {
                reason: self.blocked,
            },
            RuleMeaning::Released => Cause::Released,
            RuleMeaning::Inside => Cause::Inside,
            RuleMeaning::NodePort => Cause::NodePort,
            RuleMeaning::Link => Cause::Link,
            RuleMeaning::Forwarder => Cause::Dns,
            RuleMeaning::ClusterOffer => self.not_offered(ExitLimit::Cluster)?,
            RuleMeaning::SpecialOffer => self.not_offered(ExitLimit::SpecialUse)?,
            RuleMeaning::PrivateOffer => self.not_offered(ExitLimit::Lan)?,
            RuleMeaning::RouteOffer => self.not_offered(ExitLimit::Routes)?,
            RuleMeaning::FamilyOffer => self.not_offered(ExitLimit::Family)?,
            RuleMeaning::ConnectionOffer => self.not_offered(ExitLimit::Connection)?,
        };
        Some(cause)
    }

    fn of_counter(&self, counter: Counter) -> Option<Cause> {
        let cause = match counter {
            names::HOLD => Cause::Held,
            names::SERVICE => Cause::Service,
            names::NO_LEASE => Cause::Lease,
            names::OTHER_RESOLVER => Cause::OtherResolver,
            names::OVER_CONNECTIONS
            | names::OVER_NEW_CONNECTIONS
            | names::OVER_PACKETS
            | names::OVER_BYTES => Cause::OverLimit,
            names::ENDPOINT => Cause::TunnelEndpoint,
            names::ENCAPSULATED => Cause::Encapsulated,
            names::NO_SERVICE => Cause::Node,
            names::ISOLATED => Cause::Isolated,
            names::LAST | names::TUNNEL_RAW => Cause::Way,
            names::SPOOF
            | names::SPOOF_IN
            | names::INJECT
            | names::TUNNEL_SOURCE
            | names::LOCAL_SOURCE => Cause::Source,
            names::DNS_FOREIGN | names::DNS_UNTRACKED => Cause::Dns,
            names::EXIT_OUT => Cause::Offered {
                exit: self.served?.clone(),
            },
            names::EXIT_DROP => self.not_offered(ExitLimit::Uplink)?,
            _ => return None,
        };
        Some(cause)
    }

    fn not_offered(&self, limit: ExitLimit) -> Option<Cause> {
        let exit = self.served?.clone();
        Some(Cause::NotOffered { exit, limit })
    }
}

/// A rule of the tier `Baseline`. The compiler puts the name of its ClusterEgressPolicy before its own.
fn baseline_rule(rule: &Rule) -> Option<Cause> {
    let (policy, name) = rule.name.split_once('/')?;
    Some(Cause::AdminRule {
        tier: RuleTier::Baseline,
        policy: policy.to_owned(),
        rule: name.to_owned(),
        action: match rule.action {
            Access::Allow => AdminAction::Allow,
            Access::Deny => AdminAction::Deny,
        },
    })
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self {
            Self::AdminRule {
                tier,
                policy,
                rule,
                action,
            } => {
                return write!(
                    f,
                    "rule {rule} of ClusterEgressPolicy {policy}, tier {tier}, says {action}"
                );
            }
            Self::PolicyRule {
                policy,
                rule,
                action,
                enforcement,
            } => {
                write!(f, "rule {rule} of policy {policy} says {action}")?;
                return only_counted(f, *action, *enforcement);
            }
            Self::DefaultAction {
                policy,
                action,
                enforcement,
            } => {
                write!(f, "the defaultAction of policy {policy} is {action}")?;
                return only_counted(f, *action, *enforcement);
            }
            Self::SpecialUse { policy } => {
                return write!(
                    f,
                    "the address is of special use, and policy {policy} has no exception for it"
                );
            }
            Self::Lan { policy } => {
                return write!(
                    f,
                    "the address is private, no rule of policy {policy} names its range, and policy and exit do not both \
                     have lanAccess Allow"
                );
            }
            Self::ScopeBlocked { policy, reason } => {
                write!(f, "policy {policy} has no way out")?;
                return blocked_reason(f, *reason);
            }
            Self::PodBlocked { reason } => {
                f.write_str("the pod is blocked")?;
                return blocked_reason(f, *reason);
            }
            Self::Offered { exit } => return write!(f, "exit {exit} offers the address"),
            Self::NotOffered { exit, limit } => return write!(f, "exit {exit}: {limit}"),
            Self::Released => "no policy selects the pod",
            Self::Held => "the pod is held: the intent does not list it",
            Self::Inside => "the address is a pod's, a node's or an API server's",
            Self::NodePort => {
                "at this port another node translates connections, as at a NodePort, and would let them out by itself"
            }
            Self::Service => "the address is a Service's, and nobody translated it to an endpoint",
            Self::Encapsulated => "it would carry another packet to a node, as an overlay does",
            Self::TunnelEndpoint => "a gateway's end of a tunnel is not for pods",
            Self::Link => "it stays on its link, as neighbour discovery does",
            Self::Dns => "port 53 of a pod with a policy goes to the DNS forwarder of its node",
            Self::OtherResolver => {
                "the policy filters or blocks names, and this is another way to resolve one: port 853, or a known resolver over HTTPS"
            }
            Self::OverLimit => "the pod sends more than a limit of its policy allows",
            Self::Lease => "the intent has run out",
            Self::Way => "it does not take the way out of the policy",
            Self::Source => "a packet with this source may not come this way",
            Self::Node => "the address is the node's own",
            Self::Isolated => "the node is isolated, and the interface is not its uplink",
            Self::NoRule => "no rule of Postern judges it",
        };
        f.write_str(plain)
    }
}

fn only_counted(
    f: &mut fmt::Formatter<'_>,
    action: Access,
    enforcement: TermsEnforcement,
) -> fmt::Result {
    match (action, enforcement) {
        (Access::Deny, TermsEnforcement::Observe) => {
            f.write_str(", which is only counted: its enforcement is Observe")
        }
        _ => Ok(()),
    }
}

fn blocked_reason(f: &mut fmt::Formatter<'_>, reason: Option<BlockedReason>) -> fmt::Result {
    match reason {
        Some(reason) => write!(f, ": {reason}"),
        None => Ok(()),
    }
}

impl fmt::Display for ExitLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotServed => "the intent of its gateway does not serve it",
            Self::UnknownClient => "the intent of its gateway does not know the node of the pod",
            Self::Cluster => "it offers no address of the cluster",
            Self::SpecialUse => "the address is of special use, and no route of it names that",
            Self::Lan => "the address is private, and its lanAccess is Deny",
            Self::Routes => "none of its routes holds the address",
            Self::Family => "it has no egress address or no route of this family",
            Self::Connection => "the connection did not begin at this gateway",
            Self::Uplink => "the packet would not leave by its uplink",
        })
    }
}
