//! Counting a capture against a timeline: `leaked` as the design defines it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lab::PodRecord;
use crate::proof::judge::Difference;
use crate::proof::judge::timeline::{Judgement, Timeline};
use crate::proof::monitor::{Key, Kind};

/// What the world saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packets {
    /// Packets that left a node for anything but nodes and pods.
    pub captured: u64,
    /// Packets that the kernel dropped before the monitor saw them: with any, the rest proves nothing.
    pub dropped: u64,
    pub sources: Vec<Source>,
    /// Pods, with what arrived of them.
    pub pods: Vec<PodCount>,
    /// What left by something else than the exit in force.
    pub leaks: Vec<Leak>,
    pub leaked: u64,
    /// Resets and unreachable messages that nodes sent on their own behalf.
    pub node_resets: u64,
    /// Replies of connections that the world opened to nodes.
    pub replies: u64,
    /// Whether capture and nft set agree for every key over the whole run.
    pub agreed: bool,
    /// Where they do not.
    pub differences: Vec<Difference>,
}

impl Packets {
    /// Why these counts do not prove that nothing leaked; none: they do.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let claims = [
            (
                self.dropped == 0,
                format!("the capture lost {} packets", self.dropped),
            ),
            (
                self.leaked == 0,
                format!("packets leaked: {:?}", self.leaks),
            ),
            (
                self.agreed,
                format!("the two counters do not agree: {:?}", self.differences),
            ),
        ];
        let faults = claims.into_iter().filter(|(holds, _)| !holds);
        faults.map(|(_, fault)| fault).collect()
    }

    /// The counts of one pod; zeros for one that the lab does not know.
    #[must_use]
    pub fn of(&self, uid: &str) -> PodCount {
        self.pods
            .iter()
            .find(|pod| pod.uid == uid)
            .cloned()
            .unwrap_or_default()
    }
}

/// One source address at one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    pub address: IpAddr,
    /// The node that sent it.
    pub node: String,
    pub packets: u64,
    /// Time of the first.
    pub first: Timestamp,
    /// Time of the last.
    pub last: Timestamp,
}

/// One pod's packets: those to its own world addresses, and those with its own address as source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCount {
    /// `namespace/name`.
    pub pod: String,
    /// Its UID: a name may have been used before.
    pub uid: String,
    /// Packets that left as they should: by the exit in force, or anywhere while nothing selected the pod.
    pub arrived: u64,
    /// Of these, packets that left by an exit that the intent in force names.
    pub exited: u64,
    /// Packets that left elsewhere before the pod's namespace was guarded.
    pub before: u64,
}

/// Packets that left by something else than the exit in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leak {
    /// `namespace/name`.
    pub pod: String,
    /// The source that they had.
    pub source: IpAddr,
    /// The node that sent them.
    pub node: String,
    /// `tcp`, `udp`, `icmp`, `icmpv6` or a number.
    pub protocol: String,
    pub packets: u64,
    /// Time of the first.
    pub first: Timestamp,
    /// Time of the last.
    pub last: Timestamp,
}

#[derive(Clone, Copy)]
struct Span {
    packets: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Span {
    fn add<K: Ord>(spans: &mut BTreeMap<K, Self>, key: K, time: Timestamp) {
        let span = spans.entry(key).or_insert(Self {
            packets: 0,
            first: time,
            last: time,
        });
        span.packets += 1;
        span.first = span.first.min(time);
        span.last = span.last.max(time);
    }
}

/// Whose a packet is.
struct Owners<'a> {
    pods: &'a [PodRecord],
    world: BTreeMap<IpAddr, usize>,
    addresses: BTreeMap<IpAddr, Vec<usize>>,
}

impl<'a> Owners<'a> {
    fn of(pods: &'a [PodRecord]) -> Self {
        let mut owners = Self {
            pods,
            world: BTreeMap::new(),
            addresses: BTreeMap::new(),
        };
        for (index, pod) in pods.iter().enumerate() {
            owners
                .world
                .extend(pod.world.iter().map(|address| (*address, index)));
            for address in &pod.addresses {
                owners.addresses.entry(*address).or_default().push(index);
            }
        }
        owners
    }

    /// By destination first: world addresses are never given twice. A source address may have had several pods; the one
    /// that was created last before the packet is meant.
    fn owner(&self, key: &Key, time: Timestamp) -> Option<usize> {
        if let Some(index) = self.world.get(&key.destination) {
            return Some(*index);
        }
        let candidates = self.addresses.get(&key.source)?;
        candidates
            .iter()
            .copied()
            .filter(|index| self.pods[*index].created <= time)
            .max_by_key(|index| self.pods[*index].created)
    }
}

#[must_use]
pub fn count<'a>(
    packets: impl Iterator<Item = (Timestamp, &'a Key)>,
    pods: &[PodRecord],
    timeline: &Timeline,
) -> Packets {
    let owners = Owners::of(pods);
    let mut sources = BTreeMap::new();
    let mut leaks = BTreeMap::new();
    let mut counts = vec![[0; 3]; pods.len()];
    let mut total = Packets::default();
    for (time, key) in packets {
        total.captured += 1;
        Span::add(&mut sources, (key.source, key.node.clone()), time);
        match key.kind {
            Kind::Reply => total.replies += 1,
            Kind::NodeReset => total.node_resets += 1,
            Kind::Plain => {
                let Some(index) = owners.owner(key, time) else {
                    continue;
                };
                match timeline.judge(&pods[index], time, &key.node, key.source) {
                    Judgement::Free => counts[index][0] += 1,
                    Judgement::Exit => counts[index][1] += 1,
                    Judgement::Before => counts[index][2] += 1,
                    Judgement::Leak => {
                        Span::add(
                            &mut leaks,
                            (index, key.source, key.node.clone(), key.protocol),
                            time,
                        );
                    }
                }
            }
        }
    }
    total.sources = sources.into_iter().map(source).collect();
    total.pods = pods.iter().zip(counts).map(pod_count).collect();
    total.leaks = leaks
        .into_iter()
        .map(|(key, span)| leak(pods, key, span))
        .collect();
    total.leaked = total.leaks.iter().map(|leak| leak.packets).sum();
    total
}

fn source(((address, node), span): ((IpAddr, String), Span)) -> Source {
    Source {
        address,
        node,
        packets: span.packets,
        first: span.first,
        last: span.last,
    }
}

fn pod_count((pod, [free, exited, before]): (&PodRecord, [u64; 3])) -> PodCount {
    let arrived = free + exited;
    PodCount {
        pod: pod.key(),
        uid: pod.uid.clone(),
        arrived,
        exited,
        before,
    }
}

fn leak(
    pods: &[PodRecord],
    (index, source, node, protocol): (usize, IpAddr, String, u8),
    span: Span,
) -> Leak {
    Leak {
        pod: pods[index].key(),
        source,
        node,
        protocol: protocol_name(protocol),
        packets: span.packets,
        first: span.first,
        last: span.last,
    }
}

/// The name of an IP protocol number, or the number.
fn protocol_name(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
