//! Which keys a key set announces to nodes, and which keys sign. Pure.
//!
//! A new key in the Secret is announced in a key set that the present keys sign. A key that is to go is named in the
//! Secret's annotation `postern.dev/retire`; it continues to sign until every node reports that it trusts the others.

use std::collections::BTreeSet;

use postern_intent::{KeyId, NodeName};

/// Which keys a node trusts, as it reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTrust {
    pub node: NodeName,
    /// The version of its key set; 0: the keys of the installation.
    pub version: u64,
    /// Ids of its keys; empty: it has not said.
    pub keys: BTreeSet<KeyId>,
}

/// The key set that is published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnnouncedKeys {
    /// Its version; 0: none was ever needed.
    pub version: u64,
    pub keys: BTreeSet<KeyId>,
}

/// What is to be done about keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rotation {
    /// A new key set to publish; none: what is published stays.
    pub announce: Option<AnnouncedKeys>,
    /// Keys that sign no more.
    pub dropped: BTreeSet<KeyId>,
    /// Nodes that a retiring key waits for.
    pub waiting: Vec<NodeName>,
}

/// Decides. `secret` are the keys of the Secret, `retiring` those that are to go.
#[must_use]
pub fn rotate(
    secret: &BTreeSet<KeyId>,
    retiring: &BTreeSet<KeyId>,
    announced: &AnnouncedKeys,
    nodes: &[NodeTrust],
) -> Rotation {
    let staying: BTreeSet<KeyId> = secret.difference(retiring).cloned().collect();
    let asks_to_go = staying.len() < secret.len();
    // Without a key that stays, nothing could be signed.
    let may_go = asks_to_go && !staying.is_empty();
    let waiting: Vec<NodeName> = nodes
        .iter()
        .filter(|_| may_go)
        .filter(|node| !staying.is_subset(&node.keys))
        .map(|node| node.node.clone())
        .collect();
    let target = if may_go && waiting.is_empty() {
        &staying
    } else {
        secret
    };
    let stands = if announced.version == 0 {
        // Nodes trust what they were installed with: nothing is announced while that is the target.
        nodes
            .iter()
            .all(|node| node.keys.is_empty() || node.keys == *target)
    } else {
        announced.keys == *target
    };
    let highest = nodes
        .iter()
        .map(|node| node.version)
        .fold(announced.version, u64::max);
    Rotation {
        announce: (!stands).then(|| AnnouncedKeys {
            version: highest.saturating_add(1),
            keys: target.clone(),
        }),
        dropped: secret.difference(target).cloned().collect(),
        waiting,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ed25519_dalek::SigningKey;
    use postern_intent::KeyId;

    use super::{AnnouncedKeys, NodeTrust, rotate};

    fn id(seed: u8) -> KeyId {
        KeyId::of(&SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    fn ids(seeds: &[u8]) -> BTreeSet<KeyId> {
        seeds.iter().map(|seed| id(*seed)).collect()
    }

    fn node(name: &str, version: u64, seeds: &[u8]) -> NodeTrust {
        NodeTrust {
            node: name.parse().expect("a name"),
            version,
            keys: ids(seeds),
        }
    }

    fn announced(version: u64, seeds: &[u8]) -> AnnouncedKeys {
        AnnouncedKeys {
            version,
            keys: ids(seeds),
        }
    }

    #[test]
    fn nothing_is_announced_while_everybody_trusts_what_signs() {
        let nodes = [node("a", 0, &[1]), node("b", 0, &[])];
        let found = rotate(&ids(&[1]), &ids(&[]), &announced(0, &[]), &nodes);
        assert_eq!(found, super::Rotation::default());
    }

    #[test]
    fn a_new_key_is_announced_beside_the_old_one() {
        let nodes = [node("a", 0, &[1])];
        let found = rotate(&ids(&[1, 2]), &ids(&[]), &announced(0, &[]), &nodes);
        assert_eq!(found.announce, Some(announced(1, &[1, 2])));
        assert!(found.dropped.is_empty());
        let found = rotate(&ids(&[1, 2]), &ids(&[]), &announced(1, &[1, 2]), &nodes);
        assert_eq!(found.announce, None, "once is enough");
    }

    #[test]
    fn a_key_goes_only_when_every_node_trusts_the_others() {
        let away = [node("a", 1, &[1, 2]), node("b", 0, &[1])];
        let found = rotate(&ids(&[1, 2]), &ids(&[1]), &announced(1, &[1, 2]), &away);
        assert_eq!((found.announce, found.dropped.len()), (None, 0));
        assert_eq!(found.waiting, ["b".parse().expect("a name")]);
        let back = [node("a", 1, &[1, 2]), node("b", 1, &[1, 2])];
        let found = rotate(&ids(&[1, 2]), &ids(&[1]), &announced(1, &[1, 2]), &back);
        assert_eq!(found.announce, Some(announced(2, &[2])));
        assert_eq!((found.dropped, found.waiting.len()), (ids(&[1]), 0));
    }

    #[test]
    fn a_node_that_says_nothing_blocks_the_going_of_a_key() {
        let nodes = [node("a", 0, &[])];
        let found = rotate(&ids(&[1, 2]), &ids(&[1]), &announced(1, &[1, 2]), &nodes);
        assert_eq!((found.waiting.len(), found.dropped.len()), (1, 0));
    }

    #[test]
    fn the_last_key_never_goes() {
        let nodes = [node("a", 0, &[1])];
        let found = rotate(&ids(&[1]), &ids(&[1]), &announced(0, &[]), &nodes);
        assert_eq!(found, super::Rotation::default());
    }

    #[test]
    fn a_version_is_above_what_any_node_has_seen() {
        let nodes = [node("a", 7, &[1])];
        let found = rotate(&ids(&[1, 2]), &ids(&[]), &announced(0, &[]), &nodes);
        assert_eq!(found.announce.map(|set| set.version), Some(8));
    }
}
