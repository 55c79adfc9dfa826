//! Where the two counters do not agree.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::proof::monitor::SetKey;

/// A key for which the counters do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub node: String,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// Packets that the capture had seen before the set was read.
    pub captured_before: u64,
    /// Packets in the set.
    pub counted: u64,
    /// Packets that the capture had seen after the set was read.
    pub captured_after: u64,
}

/// Every key for which the set does not lie between the two readings of the capture.
#[must_use]
pub fn compare(
    before: &BTreeMap<SetKey, u64>,
    set: &BTreeMap<SetKey, u64>,
    after: &BTreeMap<SetKey, u64>,
) -> Vec<Difference> {
    let keys: BTreeSet<&SetKey> = before
        .keys()
        .chain(set.keys())
        .chain(after.keys())
        .collect();
    let of =
        |counts: &BTreeMap<SetKey, u64>, key: &SetKey| counts.get(key).copied().unwrap_or_default();
    let differences = keys.into_iter().filter_map(|key| {
        let (captured_before, counted, captured_after) =
            (of(before, key), of(set, key), of(after, key));
        let apart = counted < captured_before || counted > captured_after;
        apart.then(|| Difference {
            node: key.node.clone(),
            source: key.source,
            destination: key.destination,
            protocol: key.protocol,
            captured_before,
            counted,
            captured_after,
        })
    });
    differences.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::compare;
    use crate::proof::monitor::SetKey;

    fn counts(packets: u64) -> BTreeMap<SetKey, u64> {
        let (source, destination) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        BTreeMap::from([(
            SetKey {
                node: "n1".into(),
                source,
                destination,
                protocol: 6,
            },
            packets,
        )])
    }

    #[test]
    fn the_set_lies_between_two_readings_of_the_capture() {
        assert!(compare(&counts(5), &counts(5), &counts(5)).is_empty());
        assert!(compare(&counts(5), &counts(6), &counts(9)).is_empty());
    }

    #[test]
    fn a_packet_that_only_one_counter_saw_is_a_difference() {
        assert_eq!(compare(&counts(5), &counts(4), &counts(5)).len(), 1);
        assert_eq!(compare(&counts(5), &counts(6), &counts(5)).len(), 1);
        assert_eq!(
            compare(&BTreeMap::new(), &counts(1), &BTreeMap::new()).len(),
            1
        );
        assert_eq!(compare(&counts(1), &BTreeMap::new(), &counts(1)).len(), 1);
    }
}
