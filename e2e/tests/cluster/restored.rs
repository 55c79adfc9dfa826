//! A cluster that lost data: its store is older than its nodes, intents or definitions are deleted, the key is gone.
//! Nothing of that opens anything; what may loosen waits for a person.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster restored::`, as root; the first run builds Kubernetes.

use std::path::Path;

use crate::plane::{
    LONG, NODES, SYSTEM, another, approve, ask, await_generation, await_held, body, change,
    cluster, condition, events, gauge, get, held, objects, published, serials,
};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jiff::Timestamp;
use postern_crds::names::CLUSTER_INTENT;
use postern_e2e::LabError;
use postern_e2e::cluster::{Bump, OPERATORS};
use postern_e2e::lab::{Lab, PodOptions};
use postern_e2e::proof::harness::{After, Sender, Series, WAIT_DEADLINE, exit, policy, wait_until};
use postern_intent::KeyId;
use serde_json::{Value, json};

pub(crate) fn nodes() -> [Value; 2] {
    NODES.map(|node| json!({"node": node}))
}

/// Waits until a pod has tried for a while, and answers how many of its packets got out.
fn got_out(lab: &Lab, sender: &Sender) -> Result<u64, LabError> {
    wait_until(WAIT_DEADLINE, "attempts of a held pod", || {
        Ok((sender.attempted_since(Timestamp::MIN) > 1000).then_some(()))
    })?;
    Ok(lab.pod_since(sender, Timestamp::MIN)?.arrived)
}

/// No node gets a new intent, and a person finds the reason: in a ConfigMap, an Event with the digest and a metric.
fn await_restored(lab: &Lab) -> Result<Vec<Value>, LabError> {
    let held = await_held(lab, "Restored", &nodes())?;
    wait_until(WAIT_DEADLINE, "Events and the metric of the nodes", || {
        let told = events(lab, "Restored")?;
        let digest = |one: &Value| one["digest"].as_str().unwrap_or_default().to_owned();
        let all = held
            .iter()
            .all(|one| told.iter().any(|note| note.contains(&digest(one))));
        Ok((all && gauge(lab, "nodes_restored") == Some(2)).then_some(()))
    })?;
    Ok(held)
}

/// Approves both nodes and waits until they carry something newer than they ever had.
pub(crate) fn approve_nodes(lab: &Lab, held: &[Value]) -> Result<(), LabError> {
    let before = serials(lab)?;
    approve(lab, held)?;
    wait_until(LONG, "newer serials at both nodes", || {
        let now = serials(lab)?;
        Ok((now[0] > before[0] && now[1] > before[1]).then_some(()))
    })
}

#[test]
fn a_store_set_back_to_before_a_policy_opens_nothing() {
    let lab = cluster();
    let file = lab.dir().join("before.db");
    // The pod is older than the snapshot: a kubelet would end one that the store has never heard of.
    let sender = another(&lab, "crawler").unwrap();
    lab.snapshot_etcd(&file).unwrap();
    lab.apply_yaml(&objects(0)).unwrap();
    lab.await_exit(&sender).unwrap();
    let mut series = Series::begin(&lab, "store-set-back").unwrap();
    let mut prove = |case: &str, act: &dyn Fn(&Lab) -> Result<(), LabError>| {
        series.prove(case, &sender, After::Flows, act).unwrap();
    };
    prove("store set back to before the policy", &|lab| {
        set_back(lab, &file, Bump::Keep)
    });
    prove("policy applied again, nodes approved", &|lab| {
        lab.apply_yaml(&objects(0))?;
        let late = another(lab, "late")?;
        assert_eq!(got_out(lab, &late)?, 0);
        approve_nodes(lab, &held(lab)?)?;
        lab.await_exit(&late)?;
        assert_eq!(held(lab)?, Vec::<Value>::new());
        Ok(())
    });
    prove("store set back with later revisions", &|lab| {
        set_back(lab, &file, Bump::By(1_000_000_000))?;
        lab.apply_yaml(&objects(0))?;
        approve_nodes(lab, &held(lab)?)
    });
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}

/// A namespace with a policy that selects no pod: it changes what all nodes read, and no intent of a node.
fn guarded(namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n{}",
        policy("eu", "").replace("namespace: crawlers", &format!("namespace: {namespace}"))
    )
}

/// Waits until both nodes hold the unlisted pods of these namespaces, and of no other one.
fn await_guarded(lab: &Lab, namespaces: &[String]) {
    for node in NODES {
        let what = format!("{namespaces:?} guarded on {node}");
        lab.await_report(node, &what, |report| {
            report["guardedNamespaces"] == json!(namespaces)
        })
        .unwrap();
    }
}

#[test]
fn a_store_set_back_to_before_a_namespace_was_guarded_leaves_it_guarded_until_a_person_approves() {
    let lab = cluster();
    let file = lab.dir().join("before.db");
    let sender = lab.selected_sender("n1").unwrap();
    let mut guards = vec!["crawlers".to_owned()];
    await_guarded(&lab, &guards);
    // If an intent changed too, for an earlier reason, the next namespace is tried.
    let mut only_facts = false;
    while !only_facts {
        assert!(guards.len() < 6, "no namespace came alone");
        lab.snapshot_etcd(&file).unwrap();
        let intents = serials(&lab).unwrap();
        let late = format!("late-{}", guards.len());
        lab.apply_yaml(&guarded(&late)).unwrap();
        guards.push(late);
        await_guarded(&lab, &guards);
        only_facts = serials(&lab).unwrap() == intents;
    }
    // Without a renewal of the lease after the snapshot the operators cannot detect the restore.
    let renewed = || -> Result<Value, LabError> {
        let lease = get(&lab, &["lease", "postern-operator", "-n", SYSTEM])?;
        Ok(lease["spec"]["renewTime"].clone())
    };
    let before = renewed().unwrap();
    wait_until(WAIT_DEADLINE, "a renewal of the lease", || {
        Ok((renewed()? != before).then_some(()))
    })
    .unwrap();

    let mut series = Series::begin(&lab, "facts-set-back").unwrap();
    series
        .prove("facts set back", &sender, After::Flows, |lab| {
            lab.restore_etcd(&file, Bump::By(1_000_000_000))?;
            let held = await_restored(lab)?;
            await_guarded(lab, &guards);
            // What is published since then is newer than all that the nodes have seen, and they do not take it.
            lab.apply_yaml(&guarded("later"))?;
            for node in NODES {
                lab.await_report(
                    node,
                    "the refusal of the newer cluster document",
                    |report| {
                        let mut refusals = report["refusals"].as_array().into_iter().flatten();
                        refusals.any(|one| one["reason"] == "FormerLineage")
                    },
                )?;
            }
            await_guarded(lab, &guards);
            approve_nodes(lab, &held)?;
            let mut after = guards[..guards.len() - 1].to_vec();
            after.push("later".to_owned());
            await_guarded(lab, &after);
            Ok(())
        })
        .unwrap();
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}

fn set_back(lab: &Lab, file: &Path, bump: Bump) -> Result<(), LabError> {
    let before = serials(lab)?;
    lab.restore_etcd(file, bump)?;
    assert_eq!(lab.object("EgressPolicy", "crawlers", "crawler")?, None);
    await_restored(lab)?;
    assert_eq!(serials(lab)?, before);
    Ok(())
}

#[test]
fn intents_and_definitions_that_go_open_nothing() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let mut series = Series::begin(&lab, "intents-gone").unwrap();
    let mut prove = |case: &str, act: &dyn Fn(&Lab) -> Result<(), LabError>| {
        series.prove(case, &sender, After::Flows, act).unwrap();
    };
    prove("intents deleted while the leader lives", &|lab| {
        let before = published(lab)?;
        assert!(before.is_some());
        lab.kubectl_ok(&["delete", "nodeintents", "--all"])?;
        let after = wait_until(WAIT_DEADLINE, "the intents", || published(lab))?;
        assert_eq!(Some(after), before);
        Ok(())
    });
    prove(
        "intents deleted while no operator is there",
        &intents_deleted_without_operators,
    );
    prove("nodes approved after their intents went", &|lab| {
        approve_nodes(lab, &held(lab)?)?;
        wait_until(LONG, "the pod that was held", || {
            let late = lab.pod("crawlers/late")?;
            let body = lab.current_body("n1")?;
            Ok(body
                .pods
                .iter()
                .any(|pod| pod.uid.as_str() == late.uid)
                .then_some(()))
        })?;
        let marks = |body: &postern_intent::NodeDocument| -> Vec<String> {
            body.routes
                .iter()
                .map(|route| format!("{:?}", route.mark))
                .collect()
        };
        let marks = marks(&lab.current_body("n1")?);
        assert_eq!(marks.len(), 2);
        assert_ne!(marks[0], marks[1]);
        Ok(())
    });
    prove("definition of policies deleted and applied again", &|lab| {
        lab.kubectl_ok(&["delete", "crd", "egresspolicies.postern.dev"])?;
        let policies =
            ["crawler", "other"].map(|name| json!({"policy": format!("crawlers/{name}")}));
        await_held(lab, "DefinitionTerminating", &policies)?;
        apply_definitions(lab)?;
        witness(lab)?;
        // Under the new definition the same release waits.
        let held = held(lab)?;
        let subjects: Vec<&Value> = held.iter().map(|one| &one["subject"]).collect();
        assert_eq!(subjects, policies.each_ref(), "{held:?}");
        assert!(!events(lab, "ReleaseHeld")?.is_empty());
        lab.apply_yaml(&(objects(0) + &other()))?;
        await_held(lab, "none", &[])?;
        lab.delete_yaml(WITNESS)
    });
    prove(
        "all definitions deleted and applied again with the policies",
        &|lab| {
            let [before, _] = serials(lab)?;
            lab.kubectl_ok(&["delete", "-k", DEFINITIONS])?;
            apply_definitions(lab)?;
            lab.apply_yaml(&(objects(0) + &other()))?;
            // The key of a gateway is in its report, which was deleted too: its agent writes it again within a minute.
            wait_until(LONG, "a policy that is ready, by newer intents", || {
                let newer = published(lab)?.is_some() && serials(lab)?[0] > before;
                Ok((newer && is_ready(lab)?).then_some(()))
            })
        },
    );
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}

fn is_ready(lab: &Lab) -> Result<bool, LabError> {
    let policy = get(lab, &["egp", "crawler", "-n", "crawlers"])?;
    let ready = condition(&policy, "Ready");
    Ok(ready.is_some_and(|ready| ready["status"] == "True"))
}

/// A policy of another namespace, which selects no pod.
const WITNESS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: witness}\n---\n\
     apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {namespace: witness, name: witness}\nspec:\n  \
     podSelector: {}\n  route: {type: Exit, exitNodes: [{name: eu}]}\n  defaultAction: Allow\n";

/// Waits until an operator has read policies again and kept what it made of them: it says of a new one that it is
/// accepted, and says so after it has kept everything else.
fn witness(lab: &Lab) -> Result<(), LabError> {
    lab.apply_yaml(WITNESS)?;
    wait_until(LONG, "an operator that reads policies again", || {
        let policy = get(lab, &["egp", "witness", "-n", "witness"])?;
        let accepted = condition(&policy, "Accepted");
        Ok(accepted
            .is_some_and(|accepted| accepted["status"] == "True")
            .then_some(()))
    })
}

const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");

pub(crate) fn apply_definitions(lab: &Lab) -> Result<(), LabError> {
    lab.kubectl_ok(&["apply", "--server-side", "-k", DEFINITIONS])?;
    lab.kubectl_ok(&["wait", "--for=condition=Established", "crd", "--all"])
        .map(drop)
}

/// A second exit of the same gateway with a policy of its own: it needs numbers that no other exit has.
fn other() -> String {
    exit("us", "gw-1", "")
        + "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {namespace: crawlers, name: other}\nspec:\n  \
           podSelector: {matchLabels: {app: other}}\n  route: {type: Exit, exitNodes: [{name: us}]}\n  \
           defaultAction: Allow\n---\n"
}

/// What was published is gone and not in memory: no number is given to anything new until a person approves.
fn intents_deleted_without_operators(lab: &Lab) -> Result<(), LabError> {
    lab.kill_publishers()?;
    lab.kubectl_ok(&["delete", "nodeintents", "--all"])?;
    lab.start_publishers()?;
    lab.apply_yaml(&other())?;
    let late = PodOptions::on("n1").label("app", "other");
    let late = lab.sender("crawlers/late", late)?;
    await_restored(lab)?;
    assert_eq!(got_out(lab, &late)?, 0);
    // Of all intents only the one with the cluster document is written again.
    let list = get(lab, &["nodeintents"])?;
    let items = list["items"].as_array().into_iter().flatten();
    let names: Vec<&Value> = items.map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, [CLUSTER_INTENT]);
    Ok(())
}

#[test]
fn a_key_goes_when_all_trust_the_next_and_a_lost_secret_is_no_reason_for_a_new_one() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let mut series = Series::begin(&lab, "keys").unwrap();
    let mut prove = |case: &str, act: &dyn Fn(&Lab) -> Result<(), LabError>| {
        series.prove(case, &sender, After::Flows, act).unwrap();
    };
    let old = trusted(&lab, "n1").remove(0);
    let new = SigningKey::from_bytes(&[7; 32]);
    let id = KeyId::of(&new.verifying_key()).to_string();
    let both = sorted(&[&old, &id]);
    prove("key rotated while an agent is away", &|lab| {
        lab.kill("agent-gw-1")?;
        retire(lab, &old, &new)?;
        wait_until(LONG, "a node that trusts both keys", || {
            let there = trusted(lab, "n1") == both && gauge(lab, WAITING) == Some(1);
            Ok(there.then_some(()))
        })?;
        // What is published from now on is still signed by the old key: the node that is away trusts no other.
        let generation = change(lab, 1)?;
        await_generation(lab, "n1", generation)?;
        assert_eq!(signed_by(lab)?, [both.clone(), both.clone()]);
        assert_eq!(trusted(lab, "gw-1"), std::slice::from_ref(&old));
        Ok(())
    });
    prove("agent back: the old key goes", &|lab| {
        lab.start_agent("gw-1")?;
        let only = vec![id.clone()];
        wait_until(LONG, "nodes that trust the new key alone", || {
            let there = NODES.iter().all(|node| trusted(lab, node) == only);
            Ok((there && gauge(lab, WAITING) == Some(0)).then_some(()))
        })?;
        let generation = change(lab, 2)?;
        await_generation(lab, "n1", generation)?;
        assert_eq!(signed_by(lab)?, [only.clone(), only]);
        Ok(())
    });
    prove(
        "operator reinstalled, signing key lost",
        &reinstalled_without_key,
    );
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}

/// How many nodes a key that is to go waits for.
const WAITING: &str = "key_rotation_waiting_nodes";

fn sorted(ids: &[&str]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    ids.sort();
    ids
}

/// The ids of the keys that a node trusts, from its last report.
pub(crate) fn trusted(lab: &Lab, node: &str) -> Vec<String> {
    let report = lab.report_status(node).unwrap_or_default();
    let ids = report["trustedKeyIds"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
    sorted(&ids)
}

/// The ids of the keys that signed what is published, by node.
fn signed_by(lab: &Lab) -> Result<[Vec<String>; 2], LabError> {
    let specs = published(lab)?.unwrap_or_default();
    Ok([0, 1].map(|node| {
        let signatures = &specs[node]["envelope"]["signatures"];
        let signatures = signatures.as_array().into_iter().flatten();
        let ids: Vec<&str> = signatures.filter_map(|one| one["keyid"].as_str()).collect();
        sorted(&ids)
    }))
}

/// Puts a second key into the Secret and names the first one as the one that is to go.
fn retire(lab: &Lab, old: &str, new: &SigningKey) -> Result<(), LabError> {
    let pem = new.to_pkcs8_pem(LineEnding::LF).unwrap();
    let patch = json!({
        "metadata": {"annotations": {"postern.dev/retire": old}},
        "stringData": {"next.pem": pem.as_str()},
    });
    let patch = patch.to_string();
    let secret = ["secret", "postern-signing-key", "-n", SYSTEM, "-p", &patch];
    lab.kubectl_ok(&[&["patch"], &secret[..]].concat())
        .map(drop)
}

pub(crate) fn of<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &["-n", SYSTEM]].concat()
}

/// Reinstalled: both operators ended, and everything that they keep in their namespace deleted with them: Secret,
/// memory, trust root and Lease. What users wrote, the definitions and the published intents stay.
fn reinstalled_without_key(lab: &Lab) -> Result<(), LabError> {
    let backup = get(lab, &of(&["secret", "postern-signing-key"]))?;
    let before = published(lab)?;
    lab.kill_publishers()?;
    lab.kubectl_ok(&of(&["delete", "secret", "postern-signing-key"]))?;
    lab.kubectl_ok(&of(&[
        "delete",
        "configmap",
        "postern-memory",
        "postern-trust",
    ]))?;
    lab.kubectl_ok(&of(&["delete", "lease", "postern-operator"]))?;
    lab.start_publishers()?;
    let late = another(lab, "late")?;
    wait_until(LONG, "an operator that says what it misses", || {
        let says = |number| {
            let ready = ask(lab, number, "/readyz").unwrap_or_default();
            ready.contains(" 503 ") && ready.contains("is gone while nodes trust its key")
        };
        let told = (1..=OPERATORS).any(says) && !events(lab, "SigningKeyLost")?.is_empty();
        Ok(told.then_some(()))
    })?;
    assert_eq!(gauge(lab, "signing_key_present"), Some(0));
    assert_eq!(got_out(lab, &late)?, 0);
    let secret = of(&["secret", "postern-signing-key", "--ignore-not-found"]);
    assert_eq!(
        lab.kubectl_ok(&[&["get", "-o", "name"], &secret[..]].concat())?,
        ""
    );
    assert_eq!(published(lab)?, before);
    lab.apply_yaml(
        &json!({
            "apiVersion": "v1", "kind": "Secret", "data": backup["data"],
            "metadata": {
                "name": "postern-signing-key", "namespace": SYSTEM,
                "annotations": backup["metadata"]["annotations"],
            },
        })
        .to_string(),
    )?;
    wait_until(LONG, "the departure of the pod that was held", || {
        Ok((lab.pod_since(&late, Timestamp::MIN)?.exited > 0).then_some(()))
    })?;
    let serial =
        |specs: Option<Vec<Value>>| specs.and_then(|specs| body(&specs[0])).unwrap().serial;
    assert!(serial(published(lab)?) > serial(before));
    Ok(())
}
