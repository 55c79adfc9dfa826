//! A joining node is tainted until its guard is in place. The taint is removed when its report confirms the guard, and
//! nothing else of the node is changed.

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use postern_apiserver::ApiVerb;
use postern_crds::names::{NOT_SEALED_TAINT, OPERATOR_FIELD_MANAGER};
use serde_json::{Value, json};
use tracing::{error, info};

use super::tally::Tally;
use super::writer::{WriteAttempt, Writer};
use crate::metrics::WriteLabel;
use crate::pipeline::object_key::ObjectKey;

/// The change that takes the taint away, if it is there: in exactly these taints, else it fails. Pure.
#[must_use]
pub fn without_taint(taints: &[Taint]) -> Option<Value> {
    let kept: Vec<&Taint> = taints
        .iter()
        .filter(|taint| taint.key != NOT_SEALED_TAINT)
        .collect();
    (kept.len() < taints.len()).then(|| {
        json!([
            { "op": "test", "path": "/spec/taints", "value": taints },
            { "op": "replace", "path": "/spec/taints", "value": kept },
        ])
    })
}

/// Takes the taint away.
pub async fn untaint(writer: &Writer, node: &str, change: Value) -> Tally {
    let api: Api<Node> = Api::all(writer.client.clone());
    let params = PatchParams {
        field_manager: Some(OPERATOR_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    // The change is made by `without_taint` alone, and is a JSON patch by construction.
    let Ok(patch) = serde_json::from_value(change) else {
        error!(node, "the change of the taints is no JSON patch");
        return Tally::default();
    };
    let patch = Patch::<Node>::Json(patch);
    let request = api.patch_metadata(node, &params, &patch);
    let key = ObjectKey::cluster("Node", node);
    let attempt = writer.attempt(&key, ApiVerb::Patch, request).await;
    if matches!(attempt, WriteAttempt::Written(_)) {
        writer.metrics.wrote(WriteLabel::Taint);
        info!(node, "the guard is in place: the taint is gone");
    }
    attempt.tally()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Taint;
    use postern_crds::names::NOT_SEALED_TAINT;

    use super::without_taint;

    fn taint(key: &str) -> Taint {
        Taint {
            key: key.to_owned(),
            effect: "NoExecute".to_owned(),
            ..Taint::default()
        }
    }

    #[test]
    fn only_the_taint_of_a_joining_node_goes() {
        let change = without_taint(&[taint("other"), taint(NOT_SEALED_TAINT)]).expect("a change");
        assert_eq!(change[0]["op"], "test");
        assert_eq!(change[1]["value"].as_array().map(Vec::len), Some(1));
        assert_eq!(change[1]["value"][0]["key"], "other");
        assert!(without_taint(&[taint("other")]).is_none());
    }
}
