//! What to do about the lease. Pure: it is given what was seen and when, on a clock that only this process has, so
//! that no two machines have to agree about the time.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

/// The lease as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLease {
    /// `metadata.resourceVersion`: it changes with every renewal.
    pub version: String,
    /// Who holds it; nobody: it was given back.
    pub holder: Option<String>,
    /// How long it holds without a renewal, as its holder wrote.
    pub duration: Duration,
    /// How often it has changed hands.
    pub transitions: u64,
    /// When its holder renewed it, on the holder's clock.
    pub renewed: Option<Timestamp>,
    /// Since when this process has seen it in this version, on its own clock.
    pub since: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseDecision {
    /// There is none: make it.
    Create,
    /// It is free, or its holder has not renewed it: take it, in exactly the version that was seen.
    Take { transitions: u64 },
    /// It is ours: renew it, in exactly the version that was seen.
    Renew,
    /// It is somebody's: look again.
    Wait,
    /// The API server shows an older lease than it has shown before: its store was restored. Nothing that this
    /// process remembers or has in its caches can be trusted.
    WentBack,
}

/// Decides. `newest` is the highest resource version that this process has seen of the lease.
#[must_use]
pub fn decide(
    lease: Option<&SeenLease>,
    me: &str,
    newest: Option<u64>,
    now: Duration,
) -> LeaseDecision {
    let Some(seen) = lease else {
        return LeaseDecision::Create;
    };
    if went_back(&seen.version, newest) {
        return LeaseDecision::WentBack;
    }
    let next = seen.transitions.saturating_add(1);
    match seen.holder.as_deref() {
        None | Some("") => LeaseDecision::Take { transitions: next },
        Some(holder) if holder == me => LeaseDecision::Renew,
        Some(_) if now.saturating_sub(seen.since) >= seen.duration => {
            LeaseDecision::Take { transitions: next }
        }
        Some(_) => LeaseDecision::Wait,
    }
}

/// What shows that the API server's store was set back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetBack {
    /// The lease is older by its resource version.
    #[error("the lease has resource version {found} after {newest}")]
    Version {
        found: String,
        /// What the API server has shown.
        newest: u64,
    },
    /// The lease has changed hands less often than before.
    #[error("the lease has changed hands {found} times, after {former} times")]
    Term { found: u64, former: u64 },
    /// A renewal is undone.
    #[error("the lease was renewed at {found}, after it was renewed at {former}")]
    Renewal { found: Timestamp, former: Timestamp },
}

/// Whether a reading shows an earlier term than an earlier reading, or an older renewal by the same holder in the same term.
/// This detects a store that
/// was set back even if its revisions were raised during the restore, as etcd recommends. A holder whose wall clock was set
/// back looks the same to a standby, which then restarts once.
#[must_use]
pub(super) fn undone(seen: &SeenLease, former: &SeenLease) -> Option<SetBack> {
    if seen.transitions < former.transitions {
        return Some(SetBack::Term {
            found: seen.transitions,
            former: former.transitions,
        });
    }
    let same_term = seen.holder == former.holder && seen.transitions == former.transitions;
    match (seen.renewed, former.renewed) {
        (Some(found), Some(former)) if same_term && found < former => {
            Some(SetBack::Renewal { found, former })
        }
        _ => None,
    }
}

/// Resource versions of one API server are numbers that only grow (KEP-5504). One that is no number says nothing.
fn went_back(version: &str, newest: Option<u64>) -> bool {
    let version: Option<u64> = version.parse().ok();
    matches!((version, newest), (Some(version), Some(newest)) if version < newest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{LeaseDecision, SeenLease, SetBack, decide, undone};

    const ME: &str = "me";

    fn lease(holder: Option<&str>, since: u64) -> SeenLease {
        SeenLease {
            version: "100".to_owned(),
            holder: holder.map(str::to_owned),
            duration: Duration::from_secs(15),
            transitions: 4,
            renewed: None,
            since: Duration::from_secs(since),
        }
    }

    #[test]
    fn a_renewal_that_is_undone_means_a_restored_store_whatever_its_version() {
        let at = |second, holder, transitions| SeenLease {
            renewed: Timestamp::from_second(second).ok(),
            transitions,
            ..lease(holder, 0)
        };
        for holder in [ME, "other"] {
            let former = at(100, Some(holder), 4);
            let said = undone(&at(98, Some(holder), 4), &former).map(|found| found.to_string());
            let expected = "the lease was renewed at 1970-01-01T00:01:38Z, after it was renewed at 1970-01-01T00:01:40Z";
            assert_eq!(said.as_deref(), Some(expected));
            assert_eq!(undone(&at(100, Some(holder), 4), &former), None);
            assert_eq!(
                undone(&at(98, Some(holder), 5), &former),
                None,
                "another term"
            );
        }
        let former = at(100, Some(ME), 4);
        let found = undone(&at(98, Some("other"), 4), &former);
        assert_eq!(found, None, "another clock");
        let found = undone(&at(200, Some("other"), 3), &former);
        let term = SetBack::Term {
            found: 3,
            former: 4,
        };
        assert_eq!(found, Some(term));
    }

    fn decided(lease: Option<&SeenLease>, now: u64) -> LeaseDecision {
        decide(lease, ME, Some(100), Duration::from_secs(now))
    }

    #[test]
    fn each_sight_of_the_lease_has_one_answer() {
        let table = [
            ("nobody has made it", None, 0, LeaseDecision::Create),
            (
                "it was given back",
                Some(lease(None, 50)),
                50,
                LeaseDecision::Take { transitions: 5 },
            ),
            (
                "it was given back as an empty name",
                Some(lease(Some(""), 50)),
                50,
                LeaseDecision::Take { transitions: 5 },
            ),
            (
                "it is ours",
                Some(lease(Some(ME), 0)),
                9,
                LeaseDecision::Renew,
            ),
            (
                "it is ours and was not renewed for long",
                Some(lease(Some(ME), 0)),
                900,
                LeaseDecision::Renew,
            ),
            (
                "it is another's and was renewed lately",
                Some(lease(Some("other"), 50)),
                64,
                LeaseDecision::Wait,
            ),
            (
                "it is another's and was not renewed",
                Some(lease(Some("other"), 50)),
                65,
                LeaseDecision::Take { transitions: 5 },
            ),
        ];
        for (case, sight, now, expected) in table {
            assert_eq!(decided(sight.as_ref(), now), expected, "{case}");
        }
    }

    #[test]
    fn a_lease_that_was_just_seen_for_the_first_time_is_not_taken() {
        // What its time stamp says does not count: the clocks of two machines may differ.
        assert_eq!(
            decided(Some(&lease(Some("other"), 1000)), 1000),
            LeaseDecision::Wait
        );
    }

    #[test]
    fn a_lease_that_is_older_than_one_seen_before_means_a_restored_store() {
        let now = Duration::from_secs(60);
        for holder in [None, Some(ME), Some("other")] {
            let sight = lease(holder, 50);
            assert_eq!(
                decide(Some(&sight), ME, Some(101), now),
                LeaseDecision::WentBack,
                "{holder:?}"
            );
            assert_ne!(decide(Some(&sight), ME, None, now), LeaseDecision::WentBack);
        }
    }
}
