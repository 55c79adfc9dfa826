//! The whole pipeline: what fails for one object stops no other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use postern_crds::names::{CLUSTER_INTENT, MEMORY_CONFIG_MAP};
use postern_operator::pipeline::{IdleReason, PipelineError, RunOutcome};
use serde_json::{Value, json};

use crate::operator::{Script, operator};
use crate::server::Asked;

fn refuses_reports(asked: &Asked) -> Script {
    if asked.method == Method::POST && asked.path.ends_with("/nodereports") {
        return Script::Says(StatusCode::FORBIDDEN, "Forbidden");
    }
    Script::Usual
}

#[tokio::test]
async fn an_object_that_is_refused_keeps_no_intent_waiting() {
    let mut operator = operator(&["n1", "n2"], refuses_reports);
    let outcome = operator.first_run().await;
    assert!(
        matches!(
            outcome,
            RunOutcome::Partly {
                intents: 0,
                retry: Some(_)
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(
        operator.made("/nodeintents"),
        3,
        "of both nodes and of all nodes"
    );
    assert_eq!(operator.made("/nodereports"), 2, "each was tried once");
}

fn refuses_one_intent(asked: &Asked) -> Script {
    let is_intent = asked.method == Method::POST && asked.path.ends_with("/nodeintents");
    if is_intent && asked.body.contains("\"name\":\"n1\"") {
        return Script::Says(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
    }
    Script::Usual
}

#[tokio::test]
async fn an_intent_that_is_refused_keeps_no_other_node_waiting() {
    let mut operator = operator(&["n1", "n2"], refuses_one_intent);
    let outcome = operator.first_run().await;
    assert!(
        matches!(outcome, RunOutcome::Partly { intents: 1, .. }),
        "{outcome:?}"
    );
    assert_eq!(operator.made("/nodeintents"), 3, "the shared one too");
    assert_eq!(operator.made("/nodereports"), 2, "the cleanup are done too");
}

fn is_cluster_write(asked: &Asked) -> bool {
    let is_intent = asked.method == Method::POST && asked.path.ends_with("/nodeintents");
    is_intent && asked.body.contains(CLUSTER_INTENT)
}

#[tokio::test]
async fn no_intent_that_names_a_refused_cluster_document_is_written() {
    let refuses = |asked: &Asked| match is_cluster_write(asked) {
        true => Script::Says(StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
        false => Script::Usual,
    };
    let mut operator = operator(&["n1", "n2"], refuses);
    let outcome = operator.first_run().await;
    assert!(
        matches!(outcome, RunOutcome::Partly { intents: 1, .. }),
        "{outcome:?}"
    );
    assert_eq!(operator.made("/nodeintents"), 1, "the shared one alone");
    assert_eq!(operator.made("/nodereports"), 2, "the cleanup are done");
}

#[tokio::test]
async fn a_cluster_document_that_was_stored_without_an_answer_is_known_before_the_next_decision() {
    let stored = Arc::new(Mutex::new(None));
    let stores = move |asked: &Asked| {
        let mut stored = stored.lock().unwrap();
        if is_cluster_write(asked) {
            let mut object: Value = serde_json::from_str(&asked.body).unwrap();
            object["metadata"]["resourceVersion"] = json!("20");
            *stored = Some(object);
            return Script::Says(StatusCode::GATEWAY_TIMEOUT, "Timeout");
        }
        match &*stored {
            Some(object) if asked.path.ends_with(CLUSTER_INTENT) => Script::Shows(object.clone()),
            _ => Script::Usual,
        }
    };
    let mut operator = operator(&["n1"], stores);
    let first = operator.first_run().await;
    assert!(matches!(first, RunOutcome::Partly { .. }), "{first:?}");
    assert_eq!(
        operator.pipeline.run().await.unwrap(),
        RunOutcome::Idle(IdleReason::Lagging),
        "what is stored is this operator's own, and the watch will show it"
    );
    assert_eq!(operator.made("/nodeintents"), 1, "it is not written again");
}

#[tokio::test]
async fn an_unanswered_write_of_one_node_that_cannot_be_read_ends_no_run() {
    let fails = |asked: &Asked| {
        let is_write = asked.method == Method::POST && asked.path.ends_with("/nodeintents");
        let is_of_n1 = is_write && asked.body.contains("\"name\":\"n1\"");
        match is_of_n1 || asked.path.ends_with("/nodeintents/n1") {
            true => Script::Says(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            false => Script::Usual,
        }
    };
    let mut operator = operator(&["n1", "n2"], fails);
    let first = operator.first_run().await;
    assert!(matches!(first, RunOutcome::Partly { .. }), "{first:?}");
    let second = operator.pipeline.run().await;
    assert!(second.is_ok(), "{second:?}");
    assert!(operator.was_asked("/nodeintents/n1"));
}

fn has_no_service_cidr(asked: &Asked) -> Script {
    if asked.path.ends_with("/servicecidrs") {
        return Script::Says(StatusCode::NOT_FOUND, "NotFound");
    }
    Script::Usual
}

#[tokio::test]
async fn a_cluster_before_kubernetes_1_33_is_served_with_the_ranges_of_the_settings() {
    let mut operator = operator(&["n1"], has_no_service_cidr);
    assert_eq!(operator.first_run().await, RunOutcome::Done);
    assert_eq!(operator.made("/nodeintents"), 2, "the shared one too");
}

/// A watch of the definition that shows a change and ends, again and again.
fn redefines_policies(asked: &Asked) -> Script {
    if !asked.path.ends_with("/customresourcedefinitions") || !asked.query.contains("watch=true") {
        return Script::Usual;
    }
    Script::Shows(json!({"type": "MODIFIED", "object": {
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "egresspolicies.postern.dev", "uid": "d", "generation": 2, "resourceVersion": "11"},
    }}))
}

#[tokio::test]
async fn policies_are_listed_again_when_their_definition_has_changed() {
    let mut operator = operator(&["n1"], redefines_policies);
    operator.first_run().await;
    let again = async {
        while operator.listed("/egresspolicies") < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again)
        .await
        .expect("a watch through the change may have shown too few fields");
    assert_eq!(
        operator.listed("/exitnodes"),
        1,
        "of other kinds nothing changed"
    );
}

fn never_takes_a_status(asked: &Asked) -> Script {
    if asked.path.ends_with("/status") {
        return Script::Silent;
    }
    Script::Usual
}

#[tokio::test]
async fn no_intent_waits_for_a_status() {
    let mut operator = operator(&["n1"], never_takes_a_status);
    let run = tokio::time::timeout(Duration::from_secs(5), operator.first_run());
    assert_eq!(
        run.await.expect("the run waits for nothing"),
        RunOutcome::Done
    );
    assert_eq!(operator.made("/nodeintents"), 2, "the shared one too");
    let asked = async {
        while !operator.was_asked("/egresspolicies/p/status") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
    asked.expect("the status is written beside the run");
}

/// It refuses to make the ConfigMaps whose names begin so.
fn refuses_maps(begin: String) -> impl Fn(&Asked) -> Script + Clone + Send + 'static {
    move |asked| {
        let is_map = asked.method == Method::POST && asked.path.ends_with("/configmaps");
        match is_map && asked.body.contains(&format!("\"name\":\"{begin}")) {
            true => Script::Says(StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
            false => Script::Usual,
        }
    }
}

#[tokio::test]
async fn a_page_of_policies_that_is_refused_is_told_and_keeps_no_intent_waiting() {
    let mut operator = operator(&["n1"], refuses_maps(format!("{MEMORY_CONFIG_MAP}-")));
    operator.first_run().await;
    assert_eq!(operator.made("/nodeintents"), 2, "the shared one too");
    let event = operator.told("Remember").await;
    let note = event["note"].as_str().unwrap();
    assert!(
        note.contains("shop") && note.contains("the test refuses it"),
        "{note}"
    );
}

#[tokio::test]
async fn without_the_page_that_says_what_was_let_go_nothing_is_published() {
    let mut operator = operator(&["n1"], refuses_maps(format!("{MEMORY_CONFIG_MAP}\"")));
    operator.complete().await;
    let run = operator.pipeline.run().await;
    assert!(matches!(run, Err(PipelineError::Memory(_))), "{run:?}");
    assert_eq!(operator.made("/nodeintents"), 0);
}

/// It shows the policy in a form that can be read: what cannot be read does not count as an answer to the write.
fn takes_the_status(asked: &Asked) -> Script {
    if !asked.path.ends_with("/egresspolicies/p/status") {
        return Script::Usual;
    }
    Script::Shows(json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {
            "name": "p", "namespace": "shop", "uid": "uid-p", "generation": 1, "resourceVersion": "21",
        },
        "spec": {
            "podSelector": {}, "defaultAction": "Allow",
            "route": {"type": "Exit", "exitNodes": [{"name": "e1"}]},
        },
    }))
}

/// `kubectl describe` asks for Events by the UID of what it describes.
#[tokio::test]
async fn events_of_a_policys_status_and_of_what_cannot_be_read_carry_its_uid() {
    let mut operator = operator(&["n1"], takes_the_status);
    operator.first_run().await;
    for action in ["Accepted", "Read"] {
        let event = operator.told(action).await;
        let regarding = json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy", "namespace": "shop", "name": "p",
            "uid": "uid-p",
        });
        assert_eq!(event["regarding"], regarding, "{action}");
    }
}
