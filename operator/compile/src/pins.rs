//! Which WireGuard key belongs to which node. Keys come from reports, which are untrusted input: a key is pinned only
//! where the node proves that it holds the private half, to the node and its UID; it belongs to one node only, and
//! changes at most once in [`CHANGE_INTERVAL`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use postern_intent::{NodeName, WgKey};

use crate::index::Index;
use crate::snapshot::{Pin, Possession, SnapshotNode};

/// The shortest time between two keys of one node.
pub const CHANGE_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// The keys in force and what was wrong with others.
pub(crate) struct PinnedKeys {
    pins: BTreeMap<NodeName, Pin>,
    /// Why a node's reported key is not used.
    pub(crate) refused: BTreeMap<NodeName, KeyRefusal>,
}

/// Why a reported key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRefusal {
    /// The report has no proof of the private half.
    Unproved,
    /// Its proofs are good under none of the signing keys.
    BadProof,
    /// Another node has it.
    Taken,
    /// The last change was less than [`CHANGE_INTERVAL`] ago.
    TooSoon,
}

impl PinnedKeys {
    /// Pins what the reports say, as far as it may be.
    pub(crate) fn new(index: &Index<'_>) -> Self {
        let mut keys = Self {
            pins: standing(index),
            refused: BTreeMap::new(),
        };
        let proved = keys.proved(index);
        keys.give_way(&proved, index.snapshot.now);
        let changes: Vec<(&NodeName, WgKey)> = proved
            .into_iter()
            .filter(|(node, key)| keys.get(node) != Some(*key))
            .collect();
        let mut claimed: BTreeMap<WgKey, usize> = BTreeMap::new();
        for (_, key) in &changes {
            *claimed.entry(*key).or_default() += 1;
        }
        let taken: BTreeSet<WgKey> = keys.pins.values().map(|pin| pin.key).collect();
        for (name, key) in changes {
            // Two newcomers with one key: nobody can say whose it is, so it is neither's.
            let unique = claimed.get(&key) == Some(&1) && !taken.contains(&key);
            keys.change(
                index,
                name,
                key,
                if unique {
                    Ok(())
                } else {
                    Err(KeyRefusal::Taken)
                },
            );
        }
        keys
    }

    /// The keys that nodes prove. One without a proof may be a copy of another node's, so it is no claim: it neither gets a
    /// pin nor keeps the other node from one. An existing pin stays.
    fn proved<'a>(&mut self, index: &Index<'a>) -> BTreeMap<&'a NodeName, WgKey> {
        let mut proved = BTreeMap::new();
        for (node, report) in &index.reports {
            let Some(reported) = report.key else {
                continue;
            };
            let refusal = match reported.possession {
                Possession::Proved => {
                    proved.insert(*node, reported.key);
                    continue;
                }
                Possession::Unsaid => KeyRefusal::Unproved,
                Possession::Refused => KeyRefusal::BadProof,
            };
            self.refused.insert((*node).clone(), refusal);
        }
        proved
    }

    /// A pin that its node does not prove, such as one that an operator without proofs made, ends where another node
    /// proves the key. A younger one stays: without a pin the node could take its next key at once, and two nodes that
    /// agree on it change keys in every run.
    fn give_way(&mut self, proved: &BTreeMap<&NodeName, WgKey>, now: Timestamp) {
        let keys: BTreeSet<&WgKey> = proved.values().collect();
        self.pins.retain(|name, pin| {
            let is_own = proved.get(name) == Some(&pin.key);
            is_own || is_young(pin, now) || !keys.contains(&pin.key)
        });
    }

    fn change(
        &mut self,
        index: &Index<'_>,
        name: &NodeName,
        key: WgKey,
        judged: Result<(), KeyRefusal>,
    ) {
        let now = index.snapshot.now;
        let Some(node) = index.nodes.get(name) else {
            return;
        };
        let soon = self.pins.get(name).is_some_and(|pin| is_young(pin, now));
        match judged {
            Err(refusal) => {
                self.refused.insert(name.clone(), refusal);
            }
            Ok(()) if soon => {
                self.refused.insert(name.clone(), KeyRefusal::TooSoon);
            }
            Ok(()) => {
                self.pins.insert(
                    name.clone(),
                    Pin {
                        uid: node.uid.clone(),
                        key,
                        since: now,
                    },
                );
            }
        }
    }

    pub(crate) fn get(&self, node: &NodeName) -> Option<WgKey> {
        self.pins.get(node).map(|pin| pin.key)
    }

    /// What is to be remembered.
    pub(crate) fn remember(&self) -> BTreeMap<NodeName, Pin> {
        self.pins.clone()
    }
}

fn is_young(pin: &Pin, now: Timestamp) -> bool {
    now.duration_since(pin.since) < CHANGE_INTERVAL
}

/// The pins of nodes that are still the same nodes: from memory, else from what is published.
fn standing(index: &Index<'_>) -> BTreeMap<NodeName, Pin> {
    let remembered = &index.snapshot.memory.pins;
    let mut pins: BTreeMap<NodeName, Pin> = BTreeMap::new();
    for document in index.published.documents.values() {
        for peer in document.tunnels.iter().flat_map(|tunnel| &tunnel.peers) {
            let Some(name) = peer.at.node() else { continue };
            if let Some(node) = same_node(index, name) {
                let pin = Pin {
                    uid: node.uid.clone(),
                    key: peer.public_key,
                    since: document.issued_at,
                };
                pins.insert(name.clone(), pin);
            }
        }
    }
    for (name, pin) in remembered {
        if index
            .nodes
            .get(name)
            .is_some_and(|node| node.uid == pin.uid)
        {
            pins.insert(name.clone(), pin.clone());
        }
    }
    pins
}

/// The node of this name, if it is the one that the published document was for.
fn same_node<'a>(index: &Index<'a>, name: &NodeName) -> Option<&'a SnapshotNode> {
    let node = index.nodes.get(name).copied()?;
    let published = index.published.documents.get(name)?;
    (published.node.uid == node.uid).then_some(node)
}
