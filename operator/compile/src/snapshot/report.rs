//! The only parts of a node's report that are read: what a node says is untrusted input.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use jiff::{SignedDuration, Timestamp};
use postern_crds::conditions::{Finding, Reason};
use postern_crds::node_report::{AddressFamily, IsolationState, PathHop, ResolverState};
use postern_intent::verify::SKEW_ALLOWANCE;
use postern_intent::{ExitName, NodeName, NodeUid, SectionDigest, Serial, Uid, WgKey};

/// How long it counts that a kernel was read back: an agent that lives reads it and reports at least once a minute, so
/// that three reports were missed.
pub const COUNTS_FOR: SignedDuration = SignedDuration::from_mins(3);

/// What one node says of itself, as far as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotReport {
    pub node: NodeName,
    /// The node's UID, which the report has had since it was made.
    pub uid: NodeUid,
    /// Its WireGuard public key; none: not said, or not usable.
    pub key: Option<ReportedKey>,
    /// The public key to which credentials for it are encrypted, where it proves that it holds the private half.
    pub credentials_key: Option<WgKey>,
    /// The highest serial of its ledger.
    pub ledger_serial: Option<Serial>,
    /// The highest serial of a cluster document in its ledger.
    pub ledger_cluster_serial: Option<Serial>,
    /// The serial that it has applied and read back.
    pub applied_serial: Option<Serial>,
    /// The serial of the cluster document that it has applied and read back.
    pub applied_cluster_serial: Option<Serial>,
    /// Whether what it says of its kernel still counts.
    pub freshness: Freshness,
    /// Whether its guard is in place (`FailClosed`).
    pub guard: Guard,
    /// What it says of the scopes of each policy. It may only lower what a status claims.
    pub scopes: BTreeMap<Uid, ReportedScope>,
    /// What it says of the exits that it uses.
    pub exits: BTreeMap<ExitName, ReportedExit>,
    /// What it says of the exits that it serves.
    pub served: BTreeMap<ExitName, ReportedExit>,
    /// The reported state of its uplinks, where an isolation is in force.
    pub isolation: Option<ReportedIsolation>,
    /// Formats of documents that its agent reads; empty: it said nothing.
    pub formats: BTreeSet<u32>,
    /// What it says of itself, condition by condition; a message only where one does not hold.
    pub conditions: Vec<Finding>,
    /// Why the sources of its pods are not bound, if they are not (`SourceBinding`).
    pub unbound: Option<Reason>,
}

/// The reported state of a node's uplinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedIsolation {
    /// The digest of the section that it acts on.
    pub digest: Option<SectionDigest>,
    pub state: IsolationState,
    /// Why, where it is not as it is wanted.
    pub reason: Option<Reason>,
    /// Why, for people; empty where all is as it is wanted.
    pub message: String,
}

/// The WireGuard key that a node reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedKey {
    pub key: WgKey,
    /// Whether the node holds the private half.
    pub possession: Possession,
}

/// Whether a node proves that it holds the private half of its key. The reader of reports checks it: a proof takes a
/// private key to check, and the compiler has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Possession {
    Proved,
    /// It tries, and no proof is good under the signing keys.
    Refused,
    /// It gives no proof.
    Unsaid,
}

/// What a node says of an exit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportedExit {
    /// The digest of the exit in the document that it read back.
    pub digest: Option<SectionDigest>,
    /// The gateway that it uses; none: the node serves the exit, or reported no gateway.
    pub gateway: Option<NodeName>,
    /// The MTU of its tunnel, which the node read back.
    pub mtu: Option<u32>,
    /// Where the node reaches the server of an external exit that it serves.
    pub server: Option<SocketAddr>,
    /// Families of whose ways the node knows whether they work.
    pub judged: BTreeSet<AddressFamily>,
    /// Where the ways of families end.
    pub faults: BTreeMap<AddressFamily, PathFault>,
}

/// Where the way of one family ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFault {
    pub hop: PathHop,
    /// What was found there, for people.
    pub message: String,
}

/// What a node says of one policy's scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportedScope {
    /// The digest of the scope in the document that it read back.
    pub digest: Option<SectionDigest>,
    /// Pods that leave by the exit and by nothing else, those of a policy that only observes too.
    pub enforced: u32,
    /// Pods that it blocks.
    pub blocked_pods: u32,
    /// Whether names can be asked for.
    pub resolvers: ResolverState,
    /// Resolvers that it leaves alone for a while, because they did not answer.
    pub silent_resolvers: BTreeSet<IpAddr>,
    /// Its pods leave by the node's uplink, because the exit was lost for as long as the policy waits.
    pub failed_open: bool,
    /// Why its pods are blocked, if the node blocks them by itself.
    pub blocked: Option<Reason>,
    /// Pods whose path bypasses the guard.
    pub unenforceable: u32,
}

/// Whether what a node says of its kernel counts now. Not the time itself: two looks at a report differ only where
/// something follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// It never said that its kernel agreed.
    #[default]
    Unsaid,
    /// It was read back and agreed within [`COUNTS_FOR`].
    Fresh,
    /// That was longer ago: the agent is away, or what it reads does not agree any more.
    Old,
    /// The time that it gives lies ahead by more than clocks may differ, so that nobody can tell how old it is.
    Ahead,
}

impl Freshness {
    /// Of a kernel that was last read back and agreed at that time.
    #[must_use]
    pub fn of(verified_at: Option<Timestamp>, now: Timestamp) -> Self {
        let Some(age) = verified_at.map(|at| now.duration_since(at)) else {
            return Self::Unsaid;
        };
        if age > COUNTS_FOR {
            Self::Old
        } else if age < -SKEW_ALLOWANCE {
            Self::Ahead
        } else {
            Self::Fresh
        }
    }
}

/// What a node says of its guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guard {
    /// It is in place and was read back: what is not allowed is dropped.
    Sealed,
    /// It is not, or nothing was said.
    #[default]
    NotSealed,
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{COUNTS_FOR, Freshness};

    #[test]
    fn a_reading_counts_for_three_minutes_and_one_from_the_future_does_not() {
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        let read = |ago: SignedDuration| Freshness::of(Some(now - ago), now);
        assert_eq!(read(SignedDuration::ZERO), Freshness::Fresh);
        assert_eq!(read(COUNTS_FOR), Freshness::Fresh);
        assert_eq!(
            read(COUNTS_FOR + SignedDuration::from_millis(1)),
            Freshness::Old
        );
        assert_eq!(read(SignedDuration::from_secs(-60)), Freshness::Fresh);
        assert_eq!(read(SignedDuration::from_secs(-61)), Freshness::Ahead);
        assert_eq!(Freshness::of(None, now), Freshness::Unsaid);
    }
}
