//! The two counters side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lab::Lab;
use crate::lab::LabError;
use crate::proof::judge::count::{Packets, PodCount, count};
use crate::proof::judge::timeline::Timeline;
use crate::proof::monitor::{Recording, SetKey, read_applied, read_published, read_set};

/// A key for which the counters do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The node.
    pub node: String,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Packets that the capture had seen before the set was read.
    pub captured_before: u64,
    /// Packets in the set.
    pub counted: u64,
    /// Packets that the capture had seen after the set was read.
    pub captured_after: u64,
}

/// What the world saw since a time, and whether both counters say so.
///
/// Traffic goes on while they are read. So the capture is read before and after the set: for every key, the set must
/// lie between the two, and where nothing was sent meanwhile all three are equal.
///
/// # Errors
/// When one of the counters cannot be read.
pub fn world_packets(lab: &Lab, since: Option<Timestamp>) -> Result<Packets, LabError> {
    let before = totals(&Recording::of(lab)?);
    let set = read_set(lab)?;
    let recording = Recording::of(lab)?;
    let differences = compare(&before, &set, &totals(&recording));
    let counted = counted(lab, &recording, since.unwrap_or(Timestamp::MIN))?;
    Ok(Packets {
        dropped: recording.dropped,
        agreed: differences.is_empty(),
        differences,
        ..counted
    })
}

/// What left of one pod since a time, by the capture alone: quick enough to be asked again and again.
///
/// # Errors
/// When the capture cannot be read.
pub fn pod_since(lab: &Lab, uid: &str, since: Timestamp) -> Result<PodCount, LabError> {
    Ok(counted(lab, &Recording::of(lab)?, since)?.of(uid))
}

fn counted(lab: &Lab, recording: &Recording, since: Timestamp) -> Result<Packets, LabError> {
    let nodes = lab.state()?.nodes;
    let timeline = Timeline::of(
        &nodes,
        &lab.trusted()?,
        &read_published(lab)?,
        &read_applied(lab)?,
    );
    Ok(count(recording.since(since), &lab.all_pods()?, &timeline))
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

fn totals(recording: &Recording) -> BTreeMap<SetKey, u64> {
    let mut by_number = vec![0_u64; recording.keys.len()];
    for (_, number) in &recording.packets {
        if let Some(count) = usize::try_from(*number)
            .ok()
            .and_then(|number| by_number.get_mut(number))
        {
            *count += 1;
        }
    }
    let mut totals = BTreeMap::new();
    for (key, count) in recording
        .keys
        .iter()
        .zip(by_number)
        .filter(|(_, count)| *count > 0)
    {
        let node = key.node.clone();
        let key = SetKey {
            node,
            source: key.source,
            destination: key.destination,
            protocol: key.protocol,
        };
        *totals.entry(key).or_default() += count;
    }
    totals
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
