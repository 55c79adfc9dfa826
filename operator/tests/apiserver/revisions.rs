//! Before anything is let go, the API server is asked whether its store went back. Only versions of one resource are
//! compared.

use http::StatusCode;
use postern_operator::pipeline::PipelineError;
use postern_operator::pipeline::gather::{KnownRevisions, LiveObjects, confirm};
use serde_json::json;

use crate::server;

/// An API server whose lease and whose list of namespaces have these versions.
async fn asked(
    lease: u64,
    namespaces: u64,
    known: KnownRevisions,
) -> Result<LiveObjects, PipelineError> {
    let (client, _log) = server::server(move |asked| {
        let answer = if asked.path.ends_with("/leases/postern-operator") {
            json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {"name": "postern-operator", "resourceVersion": lease.to_string()},
            })
        } else if asked.path.ends_with("/namespaces") {
            json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                "metadata": {"resourceVersion": namespaces.to_string()}, "items": [],
            })
        } else {
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound",
                "message": "there is none", "code": 404,
            });
            return Some((StatusCode::NOT_FOUND, status.to_string()));
        };
        Some((StatusCode::OK, answer.to_string()))
    });
    confirm(&client, "postern-system", known).await
}

const fn known(lease: u64, namespaces: u64) -> KnownRevisions {
    KnownRevisions {
        lease: Some(lease),
        namespaces: Some(namespaces),
    }
}

#[tokio::test]
async fn leases_in_a_store_of_their_own_say_nothing_about_the_namespaces() {
    let live = asked(9_000, 50, known(9_000, 50)).await;
    assert_eq!(live.unwrap().revision.as_deref(), Some("50"));
    let live = asked(50, 9_000, known(50, 9_000)).await;
    assert_eq!(live.unwrap().revision.as_deref(), Some("9000"));
}

#[tokio::test]
async fn a_lease_that_is_renewed_while_the_api_server_is_asked_makes_no_answer_old() {
    let live = asked(105, 99, known(100, 90)).await;
    assert!(live.is_ok(), "{live:?}");
}

#[tokio::test]
async fn a_store_that_went_back_is_seen_by_the_lease_and_by_the_namespaces() {
    for (lease, namespaces, expected) in [(99, 100, "leases"), (100, 89, "namespaces")] {
        match asked(lease, namespaces, known(100, 90)).await {
            Err(PipelineError::WentBack { resource, .. }) => assert_eq!(resource, expected),
            other => panic!("{expected} went back, not {other:?}"),
        }
    }
}
