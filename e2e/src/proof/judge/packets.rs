//! What was counted, as it is told.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::proof::judge::Difference;

/// What the world saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packets {
    /// Packets that left a node for anything outside the cluster.
    pub captured: u64,
    /// Packets for pods, nodes and the API server.
    pub inside: u64,
    /// Neighbour discovery and multicast membership of the nodes' own interfaces.
    pub link: u64,
    /// Packets that the kernel dropped before the monitor saw them: with any, the rest proves nothing.
    pub dropped: u64,
    pub sources: Vec<Source>,
    /// Pods, with what arrived of them.
    pub pods: Vec<PodCount>,
    /// What left by something else than the exit in force.
    pub leaks: Vec<Leak>,
    pub leaked: u64,
    /// Packets that are no pod's own: by their source nobody can say whose they were.
    pub unowned: Vec<Unowned>,
    /// Reports that name what their node had to refuse: their node may do anything.
    pub unfounded: Vec<String>,
    /// Resets and unreachable messages that nodes sent on their own behalf.
    pub node_resets: u64,
    /// Replies of connections that the world opened to nodes.
    pub replies: u64,
    /// Packets by which clients ask, through a gateway, whether the targets of an exit's probe answer.
    #[serde(default)]
    pub probes: u64,
    /// Answers to an egress IP that came to its former gateway, which forwarded them to the present one.
    #[serde(default)]
    pub strays: u64,
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
                self.unowned.is_empty(),
                format!("packets that are nobody's left: {:?}", self.unowned),
            ),
            (
                self.unfounded.is_empty(),
                format!("reports name what had to be refused: {:?}", self.unfounded),
            ),
            (
                self.pods.iter().all(|pod| pod.indistinct == 0),
                "a pod on a gateway whose exit has no address of its own cannot be judged: give the exit egress IPs"
                    .to_owned(),
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
    /// Packets with an address that is both the node's own and that of the exit which it serves.
    #[serde(default)]
    pub indistinct: u64,
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

/// Packets that are no pod's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unowned {
    /// The port of the LAN by which they came.
    pub node: String,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// `tcp`, `udp`, `icmp`, `icmpv6` or a number.
    pub protocol: String,
    /// The port that they went to; 0 where it is none of a service.
    pub port: u16,
    pub packets: u64,
    /// Time of the first.
    pub first: Timestamp,
    /// Time of the last.
    pub last: Timestamp,
}
