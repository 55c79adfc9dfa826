//! The meaning of a rule in terms of policies, exits and the cluster, by which a decision is explained.

/// The meaning of a rule. A rule with a [`Counter`](super::Counter) of its own needs none: the counter says it. nft sees
/// neither, so two rules that differ in it alone are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleMeaning {
    /// A rule of an administrator: the place of its policy in the scope's terms, and its own in the policy, counted from 0.
    AdminRule(usize, usize),
    /// A rule of the scope's terms, counted from 0.
    PolicyRule(usize),
    /// The default action of the scope's terms.
    DefaultAction,
    /// A connection that the scope let out before its rules became stricter.
    KeptFlow,
    /// A special-use destination that the scope has no exception for.
    SpecialUse,
    /// A private destination that the scope may not reach.
    Private,
    /// The scope has no way out.
    ScopeBlocked,
    /// The way out of the scope is not the one that the packet takes.
    Way,
    /// Pods of the class `Blocked`.
    PodBlocked,
    /// Pods of the class `Released`.
    Released,
    /// Pod ranges, node addresses and API servers.
    Inside,
    /// A port at which another node translates connections.
    NodePort,
    /// Neighbour discovery and link-local multicast.
    Link,
    /// Questions for names, which the forwarder of the node answers.
    Forwarder,
    /// A served exit does not offer the cluster's own ranges.
    ClusterOffer,
    /// A served exit does not offer this special-use destination.
    SpecialOffer,
    /// A served exit does not offer private destinations.
    PrivateOffer,
    /// A served exit does not offer what none of its routes holds.
    RouteOffer,
    /// A served exit does not offer this family.
    FamilyOffer,
    /// A served exit takes no connection that began elsewhere.
    ConnectionOffer,
}
