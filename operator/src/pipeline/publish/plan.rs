//! Which intents are written and how. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use postern_compile::publish::{DocumentChange, DocumentWrite};
use postern_crds::{NodeIntent, NodeIntentSpec};
use postern_intent::{NodeDocument, NodeName};

use crate::lease::EPOCH_ANNOTATION;
use crate::watches::WatchedObject;

/// How an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteMethod {
    Create,
    /// In the place of exactly what was seen.
    Replace {
        /// Generation of what was seen: a status does not move it.
        generation: Option<i64>,
    },
    /// What is there cannot be replaced: its serial, which never falls, is above ours.
    Anew {
        /// UID of what is there.
        uid: Option<String>,
        version: Option<String>,
    },
}

#[derive(Debug, Clone)]
pub struct PlannedWrite<D = NodeDocument> {
    pub node: NodeName,
    /// What the envelope says.
    pub document: Arc<D>,
    pub object: NodeIntent,
    /// How it is written.
    pub method: WriteMethod,
    pub change: DocumentChange,
}

/// Plans one write in the place of what is shown.
#[must_use]
pub fn plan<D>(
    write: DocumentWrite<D, Arc<NodeIntentSpec>>,
    shown: Option<&WatchedObject<NodeIntent>>,
    epoch: u64,
) -> PlannedWrite<D> {
    let DocumentWrite {
        name: node,
        document,
        form,
        change,
    } = write;
    let spec = Arc::unwrap_or_clone(form);
    let method = method_of(&spec, shown);
    let metadata = match (&method, shown) {
        (WriteMethod::Replace { .. }, Some(object)) => object.meta().clone(),
        _ => ObjectMeta::default(),
    };
    let mut annotations: BTreeMap<String, String> = metadata.annotations.unwrap_or_default();
    annotations.insert(EPOCH_ANNOTATION.to_owned(), epoch.to_string());
    let object = NodeIntent {
        metadata: ObjectMeta {
            name: Some(node.to_string()),
            annotations: Some(annotations),
            labels: metadata.labels,
            resource_version: metadata.resource_version,
            uid: metadata.uid,
            finalizers: metadata.finalizers,
            owner_references: metadata.owner_references,
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    PlannedWrite {
        node,
        document,
        object,
        method,
        change,
    }
}

/// The definition's transition rules let a serial only grow, and everything else change only with it.
fn method_of(spec: &NodeIntentSpec, shown: Option<&WatchedObject<NodeIntent>>) -> WriteMethod {
    let Some(object) = shown else {
        return WriteMethod::Create;
    };
    let anew = || WriteMethod::Anew {
        uid: object.meta().uid.clone(),
        version: object.meta().resource_version.clone(),
    };
    match object.good() {
        Some(there) if may_follow(spec, &there.spec) => WriteMethod::Replace {
            generation: object.meta().generation,
        },
        Some(_) | None => anew(),
    }
}

fn may_follow(new: &NodeIntentSpec, old: &NodeIntentSpec) -> bool {
    let version = |spec: &NodeIntentSpec| spec.key_set.as_ref().map_or(0, |set| set.version);
    let keys = version(new) > version(old) || new.key_set == old.key_set;
    let grows = new.serial > old.serial;
    let same_payload = new.serial == old.serial
        && payload(new) == payload(old)
        && new.node_uid == old.node_uid
        && new.not_after == old.not_after;
    keys && (grows || same_payload)
}

fn payload(spec: &NodeIntentSpec) -> Option<(&str, &str)> {
    let envelope = spec.envelope.as_ref()?;
    Some((&envelope.payload_type, &envelope.payload))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use postern_crds::node_intent::{Envelope, KeySet};
    use postern_crds::{NodeIntent, NodeIntentSpec};

    use super::{WriteMethod, method_of};
    use crate::watches::{InvalidObject, WatchedObject};

    fn spec(serial: u64, payload: &str) -> NodeIntentSpec {
        NodeIntentSpec {
            node_uid: "u1".to_owned(),
            serial,
            envelope: Some(Envelope {
                payload: payload.to_owned(),
                ..Envelope::default()
            }),
            ..NodeIntentSpec::default()
        }
    }

    fn shown(spec: NodeIntentSpec) -> WatchedObject<NodeIntent> {
        WatchedObject::Good(NodeIntent {
            metadata: ObjectMeta {
                uid: Some("o1".to_owned()),
                resource_version: Some("7".to_owned()),
                generation: Some(3),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        })
    }

    #[test]
    fn what_the_definition_would_refuse_is_made_anew() {
        let anew = WriteMethod::Anew {
            uid: Some("o1".to_owned()),
            version: Some("7".to_owned()),
        };
        let replace = WriteMethod::Replace {
            generation: Some(3),
        };
        let ours = spec(5, "ours");
        assert_eq!(method_of(&ours, None), WriteMethod::Create);
        assert_eq!(method_of(&ours, Some(&shown(spec(4, "old")))), replace);
        assert_eq!(method_of(&ours, Some(&shown(spec(5, "ours")))), replace);
        assert_eq!(method_of(&ours, Some(&shown(spec(5, "theirs")))), anew);
        assert_eq!(method_of(&ours, Some(&shown(spec(9, "theirs")))), anew);
        let with_keys = |version, payload: &str| NodeIntentSpec {
            key_set: Some(KeySet {
                version,
                envelope: Envelope {
                    payload: payload.to_owned(),
                    ..Envelope::default()
                },
            }),
            ..spec(5, "ours")
        };
        let ours_with_keys = with_keys(2, "ours");
        let method_over = |old| method_of(&ours_with_keys, Some(&shown(old)));
        assert_eq!(method_over(with_keys(1, "old")), replace);
        assert_eq!(method_over(with_keys(2, "ours")), replace);
        assert_eq!(method_over(with_keys(2, "theirs")), anew);
        assert_eq!(method_over(with_keys(3, "theirs")), anew);
        let poison = WatchedObject::Poison(Box::new(InvalidObject {
            metadata: ObjectMeta {
                uid: Some("o1".to_owned()),
                resource_version: Some("7".to_owned()),
                ..ObjectMeta::default()
            },
            raw: serde_json::Value::Null,
            reason: postern_crds::conditions::Reason::Invalid,
            problem: "no".to_owned(),
        }));
        assert_eq!(method_of(&ours, Some(&poison)), anew);
    }
}
