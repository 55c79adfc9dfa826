//! One exit: its state, and what a person asks of it by annotations.

use kube::Api;
use kube::api::{Patch, PatchParams};
use postern_crds::ExitNode;
use postern_crds::names::CTL_FIELD_MANAGER;
use serde_json::json;

use super::ask::ask;
use super::error::ClusterError;
use super::namespace_client::NamespaceClient;
use super::request::ResourceRequest;

const EXITS: &str = "exitnodes.postern.dev";

/// An exit; none: there is no such exit.
pub(super) async fn exit(
    seat: &NamespaceClient,
    name: &str,
) -> Result<Option<ExitNode>, ClusterError> {
    let act = ResourceRequest::on_object("get", EXITS, name, None);
    let exits: Api<ExitNode> = Api::all(seat.client.clone());
    ask(act, exits.get_opt(name)).await
}

/// Sets an annotation of an exit, or removes it. The whole object is not read before: nothing else of it changes.
pub(super) async fn annotate(
    seat: &NamespaceClient,
    name: &str,
    annotation: &str,
    value: Option<&str>,
) -> Result<(), ClusterError> {
    let act = ResourceRequest::on_object("patch", EXITS, name, None);
    let exits: Api<ExitNode> = Api::all(seat.client.clone());
    let params = PatchParams {
        field_manager: Some(CTL_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
    ask(act, exits.patch_metadata(name, &params, &patch))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use postern_crds::names::GATEWAY_ANNOTATION;
    use serde_json::json;

    use super::annotate;
    use crate::cluster::answering::{answering, failure};

    #[tokio::test]
    async fn an_annotation_is_patched_alone_and_a_missing_exit_is_named() {
        let object = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "ExitNode", "metadata": {"name": "eu"}});
        let (seat, asked) = answering(vec![
            (200, object.clone()),
            (200, object),
            failure(404, "NotFound"),
        ]);
        let set = annotate(&seat, "eu", GATEWAY_ANNOTATION, Some("gw-2 now")).await;
        set.expect("it is set");
        let removed = annotate(&seat, "eu", GATEWAY_ANNOTATION, None).await;
        removed.expect("it is removed");
        let missing = annotate(&seat, "us", GATEWAY_ANNOTATION, None).await;
        assert!(
            missing
                .expect_err("there is none")
                .to_string()
                .contains("us")
        );
        let asked = asked.lock().expect("a list");
        let bodies: Vec<_> = asked.iter().map(|(_, body)| body).take(2).collect();
        let patch = |value| json!({"metadata": {"annotations": {GATEWAY_ANNOTATION: value}}});
        assert_eq!(bodies, [&patch(json!("gw-2 now")), &patch(json!(null))]);
        assert!(
            asked.iter().all(|(line, _)| line.starts_with("PATCH ")),
            "{asked:?}"
        );
    }
}
