//! The two counters side by side.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::lab::{Lab, LabError, PodRecord};
use crate::proof::judge::bodies::History;
use crate::proof::judge::count::count;
use crate::proof::judge::difference::compare;
use crate::proof::judge::inside::Inside;
use crate::proof::judge::packets::{Packets, PodCount};
use crate::proof::judge::timeline::Timeline;
use crate::proof::monitor::{
    Recording, SetKey, read_applied, read_cluster_documents, read_key_sets, read_published,
    read_set,
};

/// What the world saw since a time, and whether both counters agree.
///
/// Traffic continues while they are read. So the capture is read before and after the set: for every key, the set must
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
pub fn pod_since(lab: &Lab, pod: &PodRecord, since: Timestamp) -> Result<PodCount, LabError> {
    let since = since.max(pod.created);
    Ok(counted(lab, &Recording::from(lab, since)?, since)?.of(&pod.uid))
}

fn counted(lab: &Lab, recording: &Recording, since: Timestamp) -> Result<Packets, LabError> {
    let state = lab.state()?;
    let keys = read_key_sets(lab)?;
    let (published, applied) = (read_published(lab)?, read_applied(lab)?);
    let history = History {
        keys: &keys,
        published: &published,
        cluster: &read_cluster_documents(lab, &keys)?,
        applied: &applied,
    };
    let timeline = Timeline::of(&state.nodes, &history);
    let inside = Inside::of(&state);
    let packets = recording.since(since);
    Ok(count(packets, &lab.all_pods()?, &timeline, &inside))
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
