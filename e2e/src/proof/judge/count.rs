//! Counting a capture against a timeline: `leaked` as the design defines it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use crate::lab::PodRecord;
use crate::proof::judge::inside::Inside;
use crate::proof::judge::packets::{Leak, Packets, PodCount, Source, Unowned};
use crate::proof::judge::timeline::{Judgement, Timeline};
use crate::proof::monitor::{Key, Kind};

/// What a pod sent last may wait in a tunnel for so long when the pod is gone.
const UNDERWAY: SignedDuration = SignedDuration::from_secs(2);

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
    /// that was created last before the packet is meant. A pod that is gone owns nothing any more.
    fn owner(&self, key: &Key, time: Timestamp) -> Option<usize> {
        let there = |index: &usize| {
            let pod = &self.pods[*index];
            let gone = pod.deleted.is_some_and(|at| time > at + UNDERWAY);
            pod.created <= time && !gone
        };
        if let Some(index) = self.world.get(&key.destination) {
            return Some(*index).filter(there);
        }
        let candidates = self.addresses.get(&key.source)?;
        candidates
            .iter()
            .copied()
            .filter(there)
            .max_by_key(|index| self.pods[*index].created)
    }
}

/// Source, destination and service of packets that nobody owns.
type UnownedKey = (String, IpAddr, IpAddr, u8, u16);

/// Where each packet of one run is counted.
#[derive(Default)]
struct Sums {
    sources: BTreeMap<(IpAddr, String), Span>,
    leaks: BTreeMap<(usize, IpAddr, String, u8), Span>,
    unowned: BTreeMap<UnownedKey, Span>,
    probes: u64,
    strays: u64,
    /// By pod: free, by the exit, before, indistinct.
    pods: Vec<[u64; 4]>,
}

impl Sums {
    fn add(&mut self, owners: &Owners<'_>, timeline: &Timeline, time: Timestamp, key: &Key) {
        let Some(index) = owners.owner(key, time) else {
            if timeline.is_probe(key, time) {
                self.probes += 1;
                return;
            }
            if timeline.is_stray_answer(key, time) {
                self.strays += 1;
                return;
            }
            let (node, source, destination) = (key.node.clone(), key.source, key.destination);
            let of = (node, source, destination, key.protocol, key.port);
            return Span::add(&mut self.unowned, of, time);
        };
        let pod = &owners.pods[index];
        let judgement = match key.kind {
            // No exit has an interface of its own on the LAN.
            Kind::Foreign => timeline.judge(pod, time, "", key.source),
            _ => timeline.judge(pod, time, &key.node, key.source),
        };
        match judgement {
            Judgement::Free => self.pods[index][0] += 1,
            Judgement::Exit => self.pods[index][1] += 1,
            Judgement::Before => self.pods[index][2] += 1,
            Judgement::Indistinct => self.pods[index][3] += 1,
            Judgement::Leak => {
                let of = (index, key.source, key.node.clone(), key.protocol);
                Span::add(&mut self.leaks, of, time);
            }
        }
    }
}

#[must_use]
pub fn count<'a>(
    packets: impl Iterator<Item = (Timestamp, &'a Key)>,
    pods: &[PodRecord],
    timeline: &Timeline,
    inside: &Inside,
) -> Packets {
    let owners = Owners::of(pods);
    let mut sums = Sums {
        pods: vec![[0; 4]; pods.len()],
        ..Sums::default()
    };
    let mut total = Packets {
        unfounded: timeline.unfounded.clone(),
        ..Packets::default()
    };
    for (time, key) in packets {
        if inside.has(key) {
            total.inside += 1;
            continue;
        }
        if key.kind == Kind::Link {
            total.link += 1;
            continue;
        }
        total.captured += 1;
        Span::add(&mut sums.sources, (key.source, key.node.clone()), time);
        match key.kind {
            Kind::Reply => total.replies += 1,
            Kind::NodeReset => total.node_resets += 1,
            Kind::Link | Kind::Plain | Kind::Foreign => sums.add(&owners, timeline, time, key),
        }
    }
    total.sources = sums.sources.into_iter().map(source).collect();
    total.pods = pods.iter().zip(sums.pods).map(pod_count).collect();
    total.probes = sums.probes;
    total.strays = sums.strays;
    total.unowned = sums.unowned.into_iter().map(unowned).collect();
    let leaks = sums.leaks.into_iter();
    total.leaks = leaks.map(|(key, span)| leak(pods, key, span)).collect();
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

fn pod_count((pod, counts): (&PodRecord, [u64; 4])) -> PodCount {
    let [free, exited, before, indistinct] = counts;
    let arrived = free + exited;
    PodCount {
        pod: pod.key(),
        uid: pod.uid.clone(),
        arrived,
        exited,
        before,
        indistinct,
    }
}

fn unowned(((node, source, destination, protocol, port), span): (UnownedKey, Span)) -> Unowned {
    Unowned {
        node,
        source,
        destination,
        protocol: protocol_name(protocol),
        port,
        packets: span.packets,
        first: span.first,
        last: span.last,
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
