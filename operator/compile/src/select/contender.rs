//! One policy and the pods that it selects.

use std::borrow::Cow;

use postern_crds::conditions::Reason;
use postern_intent::{Namespace, Uid};

use crate::index::{Index, PublishedClass};
use crate::snapshot::{
    Labels, ParsedSelector, PolicyKey, PolicyRoute, RememberedPolicy, RememberedUplink,
    SnapshotPolicy,
};

/// A policy that may select pods: one that exists, or one that went and is remembered.
pub(crate) struct Contender<'a> {
    /// Where it is or was.
    pub(crate) key: PolicyKey,
    pub(crate) uid: Uid,
    pub(crate) generation: i64,
    /// Its priority in force.
    pub(crate) priority: i32,
    /// What it is ranked by: its priority, or above every other where a refused update hides it.
    pub(crate) rank: i64,
    /// The policy, if it exists.
    pub(crate) policy: Option<&'a SnapshotPolicy>,
    /// How it selects now; none: it went, or its update is refused and nobody knows how it selected before.
    asks: Option<Cow<'a, ParsedSelector>>,
    /// How a refused update would select.
    refused: Option<&'a ParsedSelector>,
    /// How an earlier refused update would have selected.
    claimed: Option<ParsedSelector>,
    /// How it selected last.
    pub(crate) remembered: Option<ParsedSelector>,
    /// Where its pods left when it was last accepted; none: it never was, or the memory was lost.
    pub(crate) route: Option<PolicyRoute>,
    /// Whether what it selected last still counts.
    pub(crate) former: FormerSelection,
}

/// Does what a policy selected last still count?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormerSelection {
    /// No: what it no longer selects is released.
    Forgotten,
    /// Yes: it is refused, or its namespace is going.
    Kept,
    /// Yes, but only for pods that nothing else selects: their release waits for an approval.
    Held,
}

impl<'a> Contender<'a> {
    /// A policy that exists.
    pub(super) fn existing(
        index: &Index<'_>,
        policy: &'a SnapshotPolicy,
        known: Option<RememberedPolicy>,
    ) -> Self {
        let mut one = Self {
            key: policy.key.clone(),
            uid: policy.uid.clone(),
            generation: policy.generation,
            priority: policy.priority,
            rank: i64::from(policy.priority),
            policy: Some(policy),
            asks: Some(Cow::Borrowed(&policy.selector)),
            refused: None,
            claimed: None,
            remembered: None,
            route: None,
            former: if policy.terms.is_err() {
                FormerSelection::Kept
            } else {
                FormerSelection::Forgotten
            },
        };
        if let Some(known) = known {
            one.recall(index, known);
        }
        one
    }

    /// A policy that went.
    pub(super) fn departed(namespace: Namespace, uid: Uid, known: RememberedPolicy) -> Self {
        let route = known.route();
        Self {
            key: PolicyKey {
                namespace,
                name: known.name,
            },
            uid,
            generation: known.generation,
            priority: known.priority,
            rank: i64::from(known.priority),
            policy: None,
            asks: None,
            refused: None,
            claimed: known.claimed,
            remembered: known.selector,
            route,
            former: FormerSelection::Forgotten,
        }
    }

    /// A refused update leaves selector and rank as they were when the policy was last accepted. A policy that never
    /// was selects and ranks as it asks to: its pods are blocked.
    fn recall(&mut self, index: &Index<'_>, known: RememberedPolicy) {
        // Only what was accepted has a route; where the memory was lost, rules that are published tell.
        let lost = known.selector.is_none();
        self.route = known.route();
        let in_force =
            self.route.is_some() || lost && index.published.last_good(&self.uid).is_some();
        if self.former == FormerSelection::Kept && in_force {
            self.priority = known.priority;
            // Above everybody, and for the pods that it has: another rank could give them to a laxer policy.
            self.rank = if lost {
                i64::MAX
            } else {
                i64::from(known.priority)
            };
            self.asks = known
                .accepted
                .or_else(|| known.selector.clone())
                .map(Cow::Owned);
            self.refused = self.policy.map(|policy| &policy.selector);
        }
        self.claimed = known.claimed;
        self.remembered = known.selector;
    }

    /// Do the pod's labels say that it is the policy's?
    pub(crate) fn asks_for(&self, labels: &Labels) -> bool {
        self.asks
            .as_ref()
            .is_some_and(|selector| selector.matches(labels))
    }

    /// Would a refused update select the pod, or is what one blocked held? It is blocked, unless a policy in force
    /// decides about it.
    pub(crate) fn claims(&self, labels: &Labels) -> bool {
        let matches = |selector: &ParsedSelector| selector.matches(labels);
        self.refused.is_some_and(matches) || self.standing_claim().is_some_and(matches)
    }

    /// What an earlier refused update blocked is released with the gate's consent only.
    fn standing_claim(&self) -> Option<&ParsedSelector> {
        let stands = match self.former {
            FormerSelection::Forgotten => false,
            FormerSelection::Kept => self.policy.is_none(),
            FormerSelection::Held => true,
        };
        self.claimed.as_ref().filter(|_| stands)
    }

    /// Is it in force for pods that nobody can name any more? Then every pod of its namespace may be one of them.
    pub(crate) fn is_unknown(&self) -> bool {
        self.former != FormerSelection::Forgotten
            && self.asks.is_none()
            && self.remembered.is_none()
    }

    /// Was the pod published as one of its own?
    pub(crate) fn has(&self, before: PublishedClass<'_>) -> bool {
        matches!(before, PublishedClass::Policy(scope) if scope.policy.uid == self.uid)
    }

    /// Does it select the pod?
    pub(crate) fn selects(&self, labels: &Labels, before: PublishedClass<'_>) -> bool {
        let under = self.has(before);
        if self.asks_for(labels) {
            return true;
        }
        let formerly = self
            .remembered
            .as_ref()
            .map(|selector| selector.matches(labels));
        match self.former {
            FormerSelection::Kept | FormerSelection::Held => under || formerly == Some(true),
            // The policy asks as it asked before, so the pod's own labels are what changed: they never loosen. With
            // nothing remembered nobody can tell, and the pod stays too.
            FormerSelection::Forgotten => self.policy.is_some() && under && formerly != Some(true),
        }
    }

    /// Does it have the pod only because the pod changed its own labels?
    pub(crate) fn stays(&self, labels: &Labels, before: PublishedClass<'_>) -> bool {
        self.former == FormerSelection::Forgotten
            && !self.asks_for(labels)
            && self.selects(labels, before)
    }

    /// Does it ask for something else than it asked for last? A refused update asks for nothing.
    pub(crate) fn is_changed(&self) -> bool {
        match (&self.asks, &self.remembered) {
            _ if self.refused.is_some() => false,
            (Some(asks), Some(remembered)) => **asks != *remembered,
            _ => true,
        }
    }

    /// Does it no longer select what it selected before?
    pub(crate) fn narrowed(&self) -> bool {
        match (self.policy, &self.asks, &self.remembered) {
            (None, _, _) => true,
            (Some(_), Some(asks), Some(remembered)) => **asks != *remembered,
            (Some(_), _, _) => false,
        }
    }

    /// Was the pod its own, or blocked for it, by what it asked for before?
    pub(crate) fn had(&self, labels: &Labels) -> bool {
        let matches = |selector: &Option<ParsedSelector>| {
            selector
                .as_ref()
                .is_some_and(|selector| selector.matches(labels))
        };
        self.narrowed() && matches(&self.remembered) || matches(&self.claimed)
    }

    /// Did it go while nobody knows how it selected?
    pub(crate) const fn is_lost(&self) -> bool {
        self.policy.is_none() && self.remembered.is_none()
    }

    /// Was it refused because its selector would not fit into what is remembered?
    pub(crate) fn is_over_budget(&self) -> bool {
        let refusal = self.policy.and_then(|policy| policy.terms.as_ref().err());
        refusal.is_some_and(|refusal| refusal.reason == Reason::TooLarge)
    }

    /// What the next compile has to know. A kept policy counts as it was; an accepted one counts as it is.
    pub(crate) fn remember(&self) -> RememberedPolicy {
        let asks = self.asks.as_deref().cloned();
        let selector = match (self.policy, self.former) {
            (Some(_), FormerSelection::Forgotten) => asks.clone(),
            (Some(_), FormerSelection::Kept | FormerSelection::Held) => {
                self.remembered.clone().or_else(|| asks.clone())
            }
            (None, _) => self.remembered.clone(),
        };
        let accepted = self.policy.and_then(|policy| policy.terms.as_ref().ok());
        let route = accepted.map_or(self.route.as_ref(), |terms| Some(&terms.route));
        RememberedPolicy {
            name: self.key.name.clone(),
            generation: self.generation,
            priority: self.priority,
            accepted: asks.filter(|asks| selector.as_ref() != Some(asks)),
            claimed: self.standing_claim().or(self.refused).cloned(),
            selector,
            exits: route.map_or_else(Vec::new, |route| route.exits().to_vec()),
            uplink: match route {
                Some(PolicyRoute::NodeUplink) => RememberedUplink::Used,
                Some(PolicyRoute::Exits(_)) | None => RememberedUplink::Unused,
            },
        }
    }
}
