//! A namespace that is deleted while its pods send, on a real API server: in order, with a kubelet that ends the pods;
//! and by force, with pods that outlive their objects, their policy and their namespace.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster namespace::`, as root; the first run builds Kubernetes.

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::cluster::Api;
use postern_e2e::lab::Lab;
use postern_e2e::proof::harness::{After, FLOWS, Sender, Series, policy, wait_until};
use serde_json::{Value, json};

use crate::plane::{LONG, another, await_account, cluster, get};

/// Packets and connections that a case waits for where it claims that none of them leaks.
const ATTEMPTS: u64 = 3000;

fn attempts(sender: &Sender) -> Result<(), LabError> {
    let since = Timestamp::now();
    let what = format!("attempts of {}", sender.pod.key());
    wait_until(LONG, &what, || {
        Ok((sender.attempted_since(since) > ATTEMPTS).then_some(()))
    })
}

fn delete_namespace(lab: &Lab) -> Result<(), LabError> {
    let going = ["delete", "namespace", "crawlers", "--wait=false"];
    lab.kubectl_ok(&going).map(drop)
}

/// Waits until the namespace is gone, and the node's agent neither guards it nor lists a pod of it.
fn await_end(lab: &Lab, unlisted: u64) -> Result<(), LabError> {
    wait_until(LONG, "the end of the namespace", || {
        let found = Api::of(lab).get("/api/v1/namespaces/crawlers")?;
        Ok(found.is_none().then_some(()))
    })?;
    let what = format!("no guarded namespace, and {unlisted} pods that are listed no more");
    lab.await_report_for(LONG, "n1", &what, |report| {
        report["guardedNamespaces"].is_null() && report["counters"]["unlisted_pods"] == unlisted
    })
    .map(drop)
}

/// Makes namespace and policy again, and waits until the node guards them.
fn make_again(lab: &Lab) {
    lab.apply_yaml(&policy("eu", "")).unwrap();
    await_account(lab, "crawlers").unwrap();
    lab.await_report_for(LONG, "n1", "the namespace that was made again", |report| {
        report["guardedNamespaces"] == json!(["crawlers"])
    })
    .unwrap();
}

/// A new pod of the namespace leaves by the exit, and by nothing else.
fn resumes(lab: &Lab) {
    let begin = Timestamp::now();
    let again = another(lab, "again").unwrap();
    again.await_answers(&FLOWS, Timestamp::now(), LONG).unwrap();
    let count = lab.pod_since(&again, begin).unwrap();
    assert!(
        count.exited > 0 && count.arrived == count.exited,
        "{count:?}"
    );
}

fn nothing_leaked(lab: &Lab) {
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn a_namespace_that_is_deleted_while_its_pods_send_ends_in_order_and_nothing_leaks() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    attempts(&sender).unwrap();
    delete_namespace(&lab).unwrap();
    await_end(&lab, 0).unwrap();
    assert!(lab.pod(&sender.pod.key()).is_err(), "it was taken down");
    nothing_leaked(&lab);
    make_again(&lab);
    resumes(&lab);
    nothing_leaked(&lab);
}

#[test]
fn a_pod_that_outlives_its_object_and_its_namespace_is_held_and_a_new_one_is_steered() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let mut series = Series::begin(&lab, "namespace-gone").unwrap();
    let hangs = |lab: &Lab| {
        lab.kill("kubelet")?;
        delete_namespace(lab)?;
        wait_until(LONG, "a pod that is to go and that nobody ends", || {
            let pod = get(lab, &["pod", "crawler", "-n", "crawlers"])?;
            let going = pod["metadata"]["deletionTimestamp"] != Value::Null;
            Ok(going.then_some(()))
        })?;
        attempts(&sender)?;
        // A namespace lets its pods go first and everything else only then (KEP-5080).
        let policy = get(lab, &["egp", "crawler", "-n", "crawlers"])?;
        assert_eq!(policy["metadata"]["deletionTimestamp"], Value::Null);
        Ok(())
    };
    let event = "namespace deleted while no kubelet is there";
    series.prove(event, &sender, After::Flows, hangs).unwrap();
    let forced = |lab: &Lab| {
        let pods = ["delete", "pods", "--all", "-n", "crawlers"];
        let force = ["--force", "--grace-period=0"];
        lab.kubectl_ok(&[&pods[..], &force[..]].concat())?;
        await_end(lab, 1)?;
        attempts(&sender)
    };
    let event = "its pods deleted by force while they send";
    series.prove(event, &sender, After::Stops, forced).unwrap();
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());

    // The new namespace is another one, and what of the old one still sends is no pod of it.
    let since = Timestamp::now();
    make_again(&lab);
    attempts(&sender).unwrap();
    assert_eq!(lab.pod_since(&sender, since).unwrap().arrived, 0);
    // A kubelet that is back ends pods that have no object.
    lab.start_kubelet().unwrap();
    resumes(&lab);
    assert_eq!(lab.pod_since(&sender, since).unwrap().arrived, 0);
    nothing_leaked(&lab);
}
