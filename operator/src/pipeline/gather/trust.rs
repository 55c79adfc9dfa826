//! Which keys each node of the cluster trusts, as far as it has said. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use postern_crds::NodeReport;
use postern_intent::{KeyId, NodeName};

use crate::signer::NodeTrust;
use crate::watches::WatchedObject;

/// Every node, and every node that is gone while its report is kept. One without a status under its own UID trusts
/// nothing that is known: it may be away, and a key that it never received would lock it out.
pub(super) fn trust(
    nodes: &[Arc<WatchedObject<Node>>],
    reports: &[Arc<WatchedObject<NodeReport>>],
) -> Vec<NodeTrust> {
    let mut found: BTreeMap<NodeName, NodeTrust> = BTreeMap::new();
    let mut uids: BTreeMap<NodeName, String> = BTreeMap::new();
    for node in nodes {
        let Ok(name) = node.name_any().parse::<NodeName>() else {
            continue;
        };
        uids.insert(name.clone(), node.uid().unwrap_or_default());
        found.insert(name.clone(), unknown(name));
    }
    for object in reports {
        let Ok(name) = object.name_any().parse::<NodeName>() else {
            continue;
        };
        let own = object.good().filter(|report| {
            uids.get(&name)
                .is_none_or(|uid| *uid == report.spec.node_uid)
        });
        let one = match own.and_then(|report| report.status.as_ref()) {
            Some(status) => NodeTrust {
                node: name.clone(),
                version: status.key_set_version.unwrap_or_default(),
                keys: status
                    .trusted_key_ids
                    .iter()
                    .filter_map(|id| key_id(id))
                    .collect(),
            },
            None => unknown(name.clone()),
        };
        found.insert(name, one);
    }
    found.into_values().collect()
}

fn unknown(node: NodeName) -> NodeTrust {
    NodeTrust {
        node,
        version: 0,
        keys: [].into(),
    }
}

fn key_id(text: &str) -> Option<KeyId> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use ed25519_dalek::SigningKey;
    use k8s_openapi::api::core::v1::Node;
    use postern_crds::NodeReport;
    use postern_intent::KeyId;
    use serde_json::{Value, json};

    use super::trust;
    use crate::signer::{AnnouncedKeys, rotate};
    use crate::watches::WatchedObject;

    fn id(seed: u8) -> KeyId {
        KeyId::of(&SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    fn read<K>(objects: Vec<Value>) -> Vec<Arc<WatchedObject<K>>>
    where
        K: serde::de::DeserializeOwned + kube::Resource<DynamicType = ()>,
    {
        let read = |object| Arc::new(serde_json::from_value(object).expect("an object"));
        objects.into_iter().map(read).collect()
    }

    fn node(name: &str, uid: &str) -> Value {
        json!({ "metadata": { "name": name, "uid": uid } })
    }

    /// A report of version 3 that trusts keys 1 and 2.
    fn report(name: &str, node_uid: &str) -> Value {
        json!({
            "apiVersion": "postern.dev/v1alpha1",
            "kind": "NodeReport",
            "metadata": { "name": name },
            "spec": { "nodeUID": node_uid },
            "status": { "keySetVersion": 3, "trustedKeyIds": [id(1), id(2)] },
        })
    }

    fn silent(name: &str, node_uid: &str) -> Value {
        let mut report = report(name, node_uid);
        report["status"] = Value::Null;
        report
    }

    /// The nodes for which the removal of key 1 waits, where keys 1 and 2 were announced to every node.
    fn waiting(nodes: Vec<Value>, reports: Vec<Value>) -> Vec<String> {
        let (nodes, reports) = (read::<Node>(nodes), read::<NodeReport>(reports));
        let both: BTreeSet<KeyId> = [id(1), id(2)].into();
        let announced = AnnouncedKeys {
            version: 3,
            keys: both.clone(),
        };
        let found = rotate(&both, &[id(1)].into(), &announced, &trust(&nodes, &reports));
        assert_eq!(found.dropped.is_empty(), !found.waiting.is_empty());
        found.waiting.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_key_goes_when_every_node_says_under_its_own_uid_that_it_trusts_the_others() {
        let nodes = vec![node("a", "a1"), node("b", "b1")];
        let reports = vec![report("a", "a1"), report("b", "b1")];
        assert!(waiting(nodes, reports).is_empty());
    }

    #[test]
    fn a_node_without_a_report_of_its_own_holds_a_retiring_key() {
        let nodes = vec![
            node("told", "t1"),
            node("silent", "s1"),
            node("without", "w1"),
            node("again", "g2"),
            json!({ "metadata": { "name": "odd", "uid": "o1" }, "spec": 7 }),
        ];
        let reports = vec![
            report("told", "t1"),
            silent("silent", "s1"),
            report("again", "g1"),
        ];
        assert_eq!(
            waiting(nodes, reports),
            ["again", "odd", "silent", "without"]
        );
    }

    #[test]
    fn a_report_that_cannot_be_read_says_nothing() {
        let mut odd = report("a", "a1");
        odd["status"]["keySetVersion"] = json!("three");
        assert_eq!(waiting(vec![node("a", "a1")], vec![odd]), ["a"]);
    }

    #[test]
    fn a_node_that_is_gone_is_waited_for_as_long_as_its_report_is_kept() {
        assert_eq!(waiting(vec![], vec![silent("gone", "g1")]), ["gone"]);
        assert!(waiting(vec![], vec![report("gone", "g1")]).is_empty());
    }
}
