//! Why a pod of a cluster leaves as it does, by objects as an API server has them.

use jiff::Timestamp;
use posternctl::cluster::{PodView, PolicyView, ReadExits, UnreadableObject};
use posternctl::explained::{ExplainedPod, ExplainedPolicy};
use posternctl::output::TableOutput as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn policy(name: &str, app: &str, priority: i32, status: &Value) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": "shop", "name": name, "uid": name, "generation": 2},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}}, "priority": priority, "defaultAction": "Allow",
            "route": {"type": "Exit", "exitNodes": [{"name": "eu"}, {"name": "us"}]},
        },
        "status": status,
    })
}

fn status(exit: &Value, ready: &str, reason: &str) -> Value {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": format!("about {kind}"),
            "observedGeneration": 2, "lastTransitionTime": "2026-11-23T03:00:00Z",
        })
    };
    json!({
        "observedGeneration": 2, "exitNode": exit,
        "conditions": [condition("Accepted", "True", "Accepted"), condition("Ready", ready, reason)],
    })
}

fn view(policies: &[Value]) -> PodView {
    PodView {
        pod: object(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "shop", "name": "web-1", "uid": "u", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"phase": "Running", "podIP": "10.1.0.7", "podIPs": [{"ip": "10.1.0.7"}]},
        })),
        namespace: Some(object(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"},
        }))),
        policies: policies
            .iter()
            .cloned()
            .map(|policy| Ok(object(policy)))
            .collect(),
        ..PodView::default()
    }
}

fn explained(view: &PodView) -> ExplainedPod {
    let now: Timestamp = "2026-11-23T04:00:00Z".parse().expect("a time");
    ExplainedPod::of("shop/web-1", view, now)
}

#[test]
fn the_exit_in_use_is_told_and_not_the_one_that_is_preferred() {
    let good = policy("crawler", "web", 5, &status(&json!("us"), "True", "Ready"));
    let lower = policy("all", "web", 1, &status(&json!("eu"), "True", "Ready"));
    let found = explained(&view(&[lower, good]));
    assert_eq!(
        found.summary,
        "policy crawler decides about it: it leaves by exit us"
    );
    assert!(found.is_well());
    let outcomes: Vec<String> = found
        .policies
        .iter()
        .map(|one| format!("{} {:?}", one.name, one.outcome))
        .collect();
    assert_eq!(outcomes, ["crawler Decides", "all Overridden"]);
    let in_use: Vec<(&str, bool)> = found
        .exits
        .iter()
        .map(|exit| (&*exit.name, exit.in_use))
        .collect();
    assert_eq!(in_use, [("eu", false), ("us", true)]);
}

#[test]
fn a_policy_without_an_exit_in_use_says_that_nothing_leaves_and_why() {
    let lost = policy(
        "crawler",
        "web",
        5,
        &status(&Value::Null, "False", "NoExit"),
    );
    let found = explained(&view(&[lost]));
    assert!(
        found.summary.contains("nothing of the pod leaves"),
        "{}",
        found.summary
    );
    assert!(
        found.summary.contains("NoExit: about Ready"),
        "{}",
        found.summary
    );
    assert!(!found.is_well());
}

#[test]
fn what_no_operator_has_looked_at_yet_is_said() {
    let mut new = policy("crawler", "web", 5, &json!({"observedGeneration": -1}));
    let found = explained(&view(&[new.clone()]));
    assert!(
        found.summary.ends_with("no operator has looked at it yet"),
        "{}",
        found.summary
    );
    new["status"] = status(&json!("eu"), "True", "Ready");
    new["status"]["observedGeneration"] = json!(1);
    let found = explained(&view(&[new]));
    assert!(
        found.summary.contains("the status is about generation 1"),
        "{}",
        found.summary
    );
    assert!(!found.is_well());
}

#[test]
fn a_pod_that_no_policy_selects_leaves_freely_unless_its_namespace_denies_that() {
    let mut view = view(&[policy("crawler", "other", 5, &json!({}))]);
    assert!(
        explained(&view)
            .summary
            .contains("leaves by its node's uplink")
    );
    let labels = [("postern.dev/egress-default".to_owned(), "deny".to_owned())];
    let namespace = view.namespace.as_mut().expect("a namespace");
    namespace.metadata.labels = Some(labels.into());
    let denied = explained(&view);
    assert!(
        denied.summary.contains("nothing of it leaves the cluster"),
        "{}",
        denied.summary
    );
    assert!(!denied.is_well());
    view.namespace = None;
    let unknown = explained(&view);
    assert!(
        unknown.summary.contains("could not be read"),
        "{}",
        unknown.summary
    );
}

#[test]
fn whether_a_policy_that_could_not_be_read_selects_a_pod_is_not_known() {
    let mut view = view(&[policy("crawler", "other", 5, &json!({}))]);
    view.policies.push(Err(UnreadableObject {
        namespace: Some("shop".to_owned()),
        name: "newer".to_owned(),
        why: "no such action".to_owned(),
    }));
    let found = explained(&view);
    assert!(!found.is_well());
    let summary = found.summary;
    assert!(summary.starts_with("not known: "), "{summary}");
    assert!(
        summary.ends_with("EgressPolicy newer is not understood: no such action"),
        "{summary}"
    );
}

#[test]
fn what_could_not_be_read_is_listed_and_makes_the_answer_one_with_findings() {
    let mut view = view(&[policy(
        "crawler",
        "web",
        5,
        &status(&json!("eu"), "True", "Ready"),
    )]);
    view.policies.push(Err(UnreadableObject {
        namespace: Some("shop".to_owned()),
        name: "newer".to_owned(),
        why: "a field".to_owned(),
    }));
    view.exits
        .unread
        .push("ExitNode eu is not understood".to_owned());
    let found = explained(&view);
    assert_eq!(found.unread.len(), 2);
    assert!(!found.is_well());
    let table = found.table();
    for words in [
        "not read:",
        "ExitNode eu is not understood",
        "EgressPolicy newer is not understood",
    ] {
        assert!(table.contains(words), "{table}");
    }
    assert!(table.contains("it could not be read"), "{table}");
}

#[test]
fn a_tenant_without_rights_to_exits_gets_a_good_answer_that_names_them() {
    let ready = status(&json!("us"), "True", "Ready");
    let mut view = view(&[
        policy("other", "other", 9, &ready),
        policy("crawler", "web", 5, &ready),
    ]);
    let now: Timestamp = "2026-11-23T04:00:00Z".parse().expect("a time");
    let deciding = ExplainedPod::deciding(&view, now).expect("a policy");
    assert_eq!(deciding.metadata.name.as_deref(), Some("crawler"));
    let deciding = deciding.clone();
    view.exits = ReadExits {
        not_permitted: vec!["the right to get exitnodes.postern.dev eu is missing".to_owned()],
        ..ReadExits::default()
    };
    let pod = explained(&view);
    let policy = ExplainedPolicy::of(
        "shop/crawler",
        &PolicyView {
            policy: Ok(deciding),
            exits: view.exits,
        },
    );
    assert!(pod.is_well() && policy.is_well());
    for table in [pod.table(), policy.table()] {
        assert!(
            table.contains("the right to get exitnodes.postern.dev eu"),
            "{table}"
        );
        assert!(!table.contains("not read:"), "{table}");
    }
}

#[test]
fn a_policy_is_explained_by_its_conditions_and_exits() {
    let view = PolicyView {
        policy: Ok(object(policy(
            "crawler",
            "web",
            5,
            &status(&json!("us"), "True", "Ready"),
        ))),
        exits: ReadExits {
            by_name: [("eu".to_owned(), None)].into(),
            ..ReadExits::default()
        },
    };
    let found = ExplainedPolicy::of("shop/crawler", &view);
    assert!(found.is_well());
    let table = found.table();
    for words in ["Accepted", "there is no such ExitNode", "us"] {
        assert!(table.contains(words), "{table}");
    }
}
