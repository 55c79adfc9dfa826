//! The serial of a new document, and whether the node has seen newer ones than we published.

use jiff::{SignedDuration, Timestamp};
use postern_intent::{NodeDocument, Serial};

use crate::snapshot::{SnapshotNode, SnapshotReport};

/// How far ahead of now a reported serial is believed. A node that reports more would use the counter up.
const BELIEVED_AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// The serial that the node's ledger has seen, if it is believable.
pub(crate) fn reported(now: Timestamp, report: Option<&SnapshotReport>) -> Option<Serial> {
    believed(now, report.and_then(|report| report.ledger_serial))
}

/// A serial that a node reports, if it is believable.
pub(crate) fn believed(now: Timestamp, said: Option<Serial>) -> Option<Serial> {
    let limit = milliseconds(now.saturating_add(BELIEVED_AHEAD).unwrap_or(now));
    said.filter(|serial| serial.0 > 0 && serial.0 <= limit)
}

/// The serial that the node reports and that is not believed.
pub(crate) fn unbelieved(now: Timestamp, report: Option<&SnapshotReport>) -> Option<Serial> {
    let said = report.and_then(|report| report.ledger_serial)?;
    (said.0 > 0 && reported(now, report).is_none()).then_some(said)
}

/// The next serial: above what is published, above what the node has seen, and not below the time in Unix
/// milliseconds, so that it grows over a reinstallation too.
pub(crate) fn next(now: Timestamp, published: Option<Serial>, reported: Option<Serial>) -> Serial {
    let published = published.map_or(0, |serial| serial.0);
    let seen = reported.map_or(0, |serial| serial.0);
    Serial(published.max(seen).max(milliseconds(now)).saturating_add(1))
}

/// Has the node seen a newer document than the published one? Then the cluster was restored from a backup, or what
/// was published is lost.
pub(crate) fn is_restored(
    node: &SnapshotNode,
    published: Option<&NodeDocument>,
    reported: Option<Serial>,
) -> bool {
    let published = published
        .filter(|document| document.node.uid == node.uid)
        .map_or(Serial(0), |document| document.serial);
    reported.is_some_and(|seen| seen > published)
}

fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use postern_intent::Serial;

    use super::{next, reported};
    use crate::snapshot::{Freshness, Guard, SnapshotReport};

    fn report(serial: u64) -> SnapshotReport {
        SnapshotReport {
            node: "n1".parse().expect("a name"),
            uid: "u1".parse().expect("a UID"),
            key: None,
            ledger_serial: Some(Serial(serial)),
            ledger_cluster_serial: None,
            applied_serial: None,
            applied_cluster_serial: None,
            freshness: Freshness::Fresh,
            guard: Guard::Sealed,
            exits: std::collections::BTreeMap::new(),
            served: std::collections::BTreeMap::new(),
            credentials_key: None,
            isolation: None,
            formats: std::collections::BTreeSet::new(),
            scopes: std::collections::BTreeMap::new(),
            conditions: Vec::new(),
            unbound: None,
        }
    }

    #[test]
    fn a_serial_is_above_the_time_in_milliseconds() {
        let now = Timestamp::from_millisecond(1_700_000_000_000).expect("a time");
        assert_eq!(next(now, None, None), Serial(1_700_000_000_001));
    }

    #[test]
    fn a_serial_is_above_what_the_node_has_seen() {
        let now = Timestamp::from_millisecond(1_000).expect("a time");
        assert_eq!(next(now, None, Some(Serial(5_000))), Serial(5_001));
    }

    #[test]
    fn a_reported_serial_of_more_than_an_hour_ahead_is_not_believed() {
        let now = Timestamp::from_millisecond(0).expect("a time");
        assert_eq!(
            reported(now, Some(&report(3_600_000))),
            Some(Serial(3_600_000))
        );
        assert_eq!(reported(now, Some(&report(3_600_001))), None);
    }
}
