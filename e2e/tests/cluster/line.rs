//! The whole line on a real API server: from `kubectl apply` to conditions that the kernel's reading makes true, and
//! what holds while any part of the line is away.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster line::`, as root; the first run builds Kubernetes.

use std::time::Duration;

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::cluster::{Bump, Fault, operator_name};
use postern_e2e::lab::{Binaries, Lab, PodOptions, topology};
use postern_e2e::proof::harness::{After, FLOWS, Series, WAIT_DEADLINE, exit, policy, wait_until};
use serde_json::{Value, json};

use crate::plane::{
    LONG, SYSTEM, another, applied, approve, await_account, await_held, await_quiet, cluster,
    condition, events, gauge, get, leader, serials,
};

fn crawler(lab: &Lab) -> Result<Value, LabError> {
    get(lab, &["egp", "crawler", "-n", "crawlers"])
}

/// Waits until a condition of the generation that is there now is true.
fn await_true(
    lab: &Lab,
    arguments: &[&str],
    kind: &str,
    deadline: Duration,
) -> Result<Value, LabError> {
    wait_until(deadline, &format!("{kind}=True of {arguments:?}"), || {
        let object = get(lab, arguments)?;
        let is = condition(&object, kind).is_some_and(|condition| {
            condition["status"] == "True"
                && condition["observedGeneration"] == object["metadata"]["generation"]
        });
        Ok(is.then_some(object))
    })
}

/// How many pods the policy's status calls enforced.
fn await_enforced(lab: &Lab, pods: u64, deadline: Duration) -> Result<(), LabError> {
    wait_until(
        deadline,
        &format!("{pods} enforced pods in the policy"),
        || {
            let object = crawler(lab)?;
            Ok((object["status"]["pods"]["enforced"] == pods).then_some(()))
        },
    )
}

/// A pod that the policy selects, and that serves HTTP on port 80.
fn web(lab: &Lab) {
    let program = Binaries::locate().unwrap().lab().display().to_string();
    let dir = lab.dir().display().to_string();
    let command = [program.as_str(), "--dir", &dir, "run", "world"];
    let pod = PodOptions::on("n1").label("app", "crawler");
    await_account(lab, "crawlers").unwrap();
    lab.pod_on("crawlers/web", &pod.command(command)).unwrap();
}

/// What that pod answers to a request of the API server, which is no Node: the address that it was asked from.
fn asked_by_the_api_server(lab: &Lab) -> Result<String, LabError> {
    let page = "/api/v1/namespaces/crawlers/pods/web:80/proxy/";
    lab.kubectl_ok(&["get", "--raw", page, "--request-timeout=5s"])
}

fn await_answer_to_the_api_server(lab: &Lab) {
    let what = "the pod's answer to the API server";
    let answer = wait_until(
        WAIT_DEADLINE,
        what,
        || Ok(asked_by_the_api_server(lab).ok()),
    );
    assert_eq!(answer.unwrap().trim(), topology::CONTROL4.to_string());
}

#[test]
fn what_is_applied_is_programmed_and_the_users_objects_say_so() {
    let lab = cluster();
    web(&lab);
    await_answer_to_the_api_server(&lab);
    lab.selected_sender("n1").unwrap();
    let policy = ["egp", "crawler", "-n", "crawlers"];
    for kind in [
        "Accepted",
        "ResolvedRefs",
        "Programmed",
        "Ready",
        "FullyEnforced",
    ] {
        await_true(&lab, &policy, kind, WAIT_DEADLINE).unwrap();
    }
    await_true(&lab, &["exit", "eu"], "Ready", WAIT_DEADLINE).unwrap();
    await_enforced(&lab, 2, WAIT_DEADLINE).unwrap();
    await_answer_to_the_api_server(&lab);
    let columns = lab.kubectl_ok(&["get", "egp", "-n", "crawlers"]).unwrap();
    assert!(
        columns.contains("eu") && columns.contains("Ready"),
        "{columns}"
    );
    for node in ["n1", "gw-1"] {
        // This lab has no collector of traces, so none are made and no document names one.
        assert_eq!(lab.current_body(node).unwrap().trace_id, None);
        let report = get(&lab, &["nodereport", node]).unwrap();
        assert_eq!(report["spec"]["nodeUID"], lab.node(node).unwrap().uid);
        assert_eq!(condition(&report, "FailClosed").unwrap()["status"], "True");
    }
    // Where the node does not know the API server's address, the answer does not leave.
    lab.kill("agent-n1").unwrap();
    lab.shell("n1", "nft flush set inet postern api_host4")
        .unwrap();
    assert!(asked_by_the_api_server(&lab).is_err());
    lab.start_agent("n1").unwrap();
    await_answer_to_the_api_server(&lab);
}

#[test]
fn nothing_leaks_while_api_server_store_and_operators_are_away() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let mut series = Series::begin(&lab, "line-away").unwrap();
    let mut prove = |case: &str, act: &dyn Fn(&Lab) -> Result<(), LabError>| {
        series.prove(case, &sender, After::Flows, act).unwrap();
    };
    prove("API server away, an agent restarted meanwhile", &|lab| {
        lab.stop_api_server()?;
        lab.kill("agent-n1")?;
        lab.start_agent("n1")?;
        let since = Timestamp::now();
        lab.await_state("n1", "eu", "Enforcing", since)?;
        sender.await_answers(&FLOWS, since, WAIT_DEADLINE)?;
        lab.restart_api_server()
    });
    prove("store away", &|lab| {
        lab.stop_etcd()?;
        sender.await_answers(&FLOWS, Timestamp::now(), WAIT_DEADLINE)?;
        lab.restart_etcd()
    });
    prove("watches of the node cut", &|lab| {
        // Between two watches an agent has none for a moment.
        wait_until(WAIT_DEADLINE, "a watch of the node to cut", || {
            Ok((lab.cut_watches("n1")? > 0).then_some(()))
        })
    });
    prove("leading operator killed", &|lab| {
        let ([before, _], number) = (serials(lab)?, leader(lab)?);
        lab.kill(&operator_name(number)?)?;
        another(lab, "after-the-leader")?;
        await_enforced(lab, 2, LONG)?;
        assert!(serials(lab)?[0] > before);
        lab.start_operator(number)
    });
    let hung = "leading operator hung over its lease and resumed";
    prove(hung, &|lab| {
        let ([before, _], number) = (serials(lab)?, leader(lab)?);
        lab.pause_operator(number)?;
        another(lab, "while-it-hangs")?;
        await_enforced(lab, 3, LONG)?;
        let published = get(lab, &["nodeintent", "n1"])?;
        lab.resume_operator(number)?;
        another(lab, "when-both-are-there")?;
        await_enforced(lab, 4, LONG)?;
        let latest = get(lab, &["nodeintent", "n1"])?;
        let serial = |intent: &Value| intent["spec"]["serial"].as_u64();
        assert!(serial(&latest) > serial(&published) && serial(&published) > Some(before));
        Ok(())
    });
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}

#[test]
fn a_pod_made_while_no_operator_is_there_is_held_and_then_steered() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    lab.kill_publishers().unwrap();
    let begin = Timestamp::now();
    let held = another(&lab, "held").unwrap();
    wait_until(WAIT_DEADLINE, "attempts of the held pod", || {
        Ok((held.attempted_since(begin) > 100).then_some(()))
    })
    .unwrap();
    assert_eq!(lab.pod_since(&held, begin).unwrap().arrived, 0);
    lab.start_publishers().unwrap();
    wait_until(LONG, "packets of the held pod by the exit", || {
        Ok((lab.pod_since(&held, begin)?.exited > 0).then_some(()))
    })
    .unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn a_deleted_intent_comes_back_as_it_was_and_its_absence_takes_nothing_out_of_force() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    await_enforced(&lab, 1, WAIT_DEADLINE).unwrap();
    let before = get(&lab, &["nodeintent", "n1"]).unwrap();
    lab.kubectl_ok(&["delete", "nodeintent", "n1"]).unwrap();
    let again = wait_until(WAIT_DEADLINE, "the intent's return", || {
        Ok(get(&lab, &["nodeintent", "n1"]).ok())
    })
    .unwrap();
    assert_ne!(again["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(again["spec"], before["spec"], "byte for byte");
    lab.kill_publishers().unwrap();
    lab.kubectl_ok(&["delete", "nodeintents", "--all"]).unwrap();
    wait_until(
        WAIT_DEADLINE,
        "the agent's word that its intent is gone",
        || {
            let gone = lab.agent_metric("n1", "postern_agent_intent_gone")?;
            Ok((gone == 1).then_some(()))
        },
    )
    .unwrap();
    let since = Timestamp::now();
    sender.await_answers(&FLOWS, since, WAIT_DEADLINE).unwrap();
    assert_eq!(applied(&lab, "n1"), before["spec"]["serial"].as_u64());
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn keys_that_somebody_edits_open_nothing_and_the_agents_say_what_they_saw() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let foreign = "MCowBQYDK2VwAyEA6sL4gwZXWNaZYuwA0oYr7PrvS9hkBgWR3blt2JPrflY=";
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{foreign}\n-----END PUBLIC KEY-----\n");
    lab.kill_publishers().unwrap();
    let map = ["configmap", "postern-trust", "-n", "postern-system"];
    lab.kubectl_ok(&[&["delete"], &map[..]].concat()).unwrap();
    let literal = format!("--from-literal=foreign.pem={pem}");
    lab.kubectl_ok(&[&["create"], &map[..], &[literal.as_str()]].concat())
        .unwrap();
    lab.mount_trust().unwrap();
    let keys = lab.report_status("n1").unwrap()["trustedKeyIds"].clone();
    let told = |report: &Value| {
        let report = serde_json::json!({ "status": report });
        let accepted = condition(&report, "Accepted").cloned().unwrap_or_default();
        let message = accepted["message"].as_str().unwrap_or_default();
        accepted["status"] == "True" && message.contains("which alone count")
    };
    let what = "the other keys in the report";
    let report = lab.await_report("n1", what, told).unwrap();
    assert_eq!(report["trustedKeyIds"], keys);
    // A restart takes the keys of the ledger, not those of the folder.
    lab.kill("agent-n1").unwrap();
    lab.start_agent("n1").unwrap();
    let since = Timestamp::now();
    lab.await_state("n1", "eu", "Enforcing", since).unwrap();
    let report = lab.await_report("n1", what, told).unwrap();
    assert_eq!(report["trustedKeyIds"], keys);
    sender.await_answers(&FLOWS, since, WAIT_DEADLINE).unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn an_older_intent_of_a_store_that_was_set_back_is_refused_as_replayed() {
    let lab = cluster();
    let sender = another(&lab, "crawler").unwrap();
    let before = lab.dir().join("before.db");
    lab.snapshot_etcd(&before).unwrap();
    let objects = exit("eu", "gw-1", "") + &policy("eu", "");
    lab.apply_yaml(&objects).unwrap();
    lab.await_state("n1", "eu", "Enforcing", Timestamp::MIN)
        .unwrap();
    await_enforced(&lab, 1, LONG).unwrap();
    let enforced = Timestamp::now();
    lab.restore_etcd(&before, Bump::Keep).unwrap();
    // The agent saw the older intent, and refused it.
    let what = "the refusal of the older intent";
    lab.await_report_for(LONG, "n1", what, |report| {
        let refusals = report["refusals"].as_array().into_iter().flatten();
        let mut reasons = refusals.map(|refusal| &refusal["reason"]);
        reasons.any(|reason| reason == "Replayed")
    })
    .unwrap();
    let since = Timestamp::now();
    sender.await_answers(&FLOWS, since, WAIT_DEADLINE).unwrap();
    let count = lab.pod_since(&sender, enforced).unwrap();
    assert_eq!(count.arrived, count.exited, "everything went by the exit");
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn what_could_not_be_remembered_is_published_as_soon_as_it_can_be() {
    let lab = cluster();
    let refused = Fault {
        code: 409,
        rate: 1.0,
        user_agent: Some("postern-operator".to_owned()),
        // The first pod of a namespace makes its page of the memory.
        verb: Some("create".to_owned()),
        resource: Some("configmaps".to_owned()),
    };
    lab.set_fault(&refused).unwrap();
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))
        .unwrap();
    wait_until(
        WAIT_DEADLINE,
        "writes of the memory that are refused",
        || {
            let counts = lab.requests()?.requests;
            let met: u64 = counts.iter().map(|count| count.faults).sum();
            Ok((met >= 2).then_some(()))
        },
    )
    .unwrap();
    lab.clear_fault().unwrap();
    // Without another change, the next run for the time's sake alone would be a minute away.
    await_true(&lab, &["exit", "eu"], "Ready", Duration::from_secs(20)).unwrap();
}

/// Refuses every new page of the memory, as a quota or a webhook may.
const NO_NEW_PAGES: &str = "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-new-pages}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations:
  - expression: \"!object.metadata.name.startsWith('postern-memory-policies-')\"
    message: no more pages
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-new-pages}
spec: {policyName: no-new-pages, validationActions: [Deny]}
";

fn refuse_new_pages(lab: &Lab) {
    lab.apply_yaml(NO_NEW_PAGES).unwrap();
    let page = ["create", "configmap", "postern-memory-policies-x"];
    let tried = [&page[..], &["-n", SYSTEM, "--dry-run=server"]].concat();
    wait_until(LONG, "the refusal of a page", || {
        Ok(lab.kubectl_ok(&tried).is_err().then_some(()))
    })
    .unwrap();
}

#[test]
fn a_page_that_is_refused_is_told_with_its_tenant_and_keeps_nobody_waiting() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    await_enforced(&lab, 1, WAIT_DEADLINE).unwrap();
    refuse_new_pages(&lab);
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: red}\n";
    lab.apply_yaml(namespace).unwrap();
    let red = policy("eu", "").replace("namespace: crawlers", "namespace: red");
    lab.apply_yaml(&red).unwrap();
    await_account(&lab, "red").unwrap();
    let pod = PodOptions::on("n1").label("app", "crawler");
    let sender = lab.sender("red/crawler", pod).unwrap();
    // That tenant is served, and so is another one whose page was there before.
    await_true(&lab, &["egp", "crawler", "-n", "red"], "Ready", LONG).unwrap();
    lab.apply_yaml(&policy("eu", "priority: 1")).unwrap();
    let crawlers = ["egp", "crawler", "-n", "crawlers"];
    let changed = await_true(&lab, &crawlers, "Programmed", WAIT_DEADLINE).unwrap();
    assert_eq!(changed["metadata"]["generation"], 2);
    wait_until(LONG, "an Event that names the tenant", || {
        let notes = events(&lab, "NotDurable")?;
        let named = |note: &String| note.contains("cannot be remembered: red. ");
        Ok(notes.iter().any(named).then_some(()))
    })
    .unwrap();
    assert_eq!(gauge(&lab, "memory_unwritten_pages"), Some(1));

    // Another leader knows nothing of the tenant's policy: what goes with it waits for a person.
    lab.kill_publishers().unwrap();
    lab.delete_yaml(&red).unwrap();
    let begin = Timestamp::now();
    lab.start_publishers().unwrap();
    let subject = json!({"policy": "red/crawler"});
    let held = await_held(&lab, "Forgotten", &[subject]).unwrap();
    sender.await_answers(&FLOWS, begin, LONG).unwrap();
    let count = lab.pod_since(&sender, begin).unwrap();
    assert_eq!(count.arrived, count.exited, "everything went by the exit");
    approve(&lab, &held).unwrap();
    await_held(&lab, "none", &[]).unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn at_rest_an_agent_asks_once_a_minute_and_no_more() {
    let lab = cluster();
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))
        .unwrap();
    await_true(&lab, &["exit", "eu"], "Ready", WAIT_DEADLINE).unwrap();
    let asked = |verb: &str| -> Result<u64, LabError> {
        let counts = lab.requests()?.requests;
        let ours = counts
            .iter()
            .filter(|count| count.user_agent.starts_with("postern-agent") && count.verb == verb);
        Ok(ours.map(|count| count.requests).sum())
    };
    // Whatever the start brings along is over then.
    await_quiet(LONG, || asked("patch")).unwrap();
    lab.reset_requests().unwrap();
    let minutes = 2;
    std::thread::sleep(Duration::from_secs(60 * minutes));
    // One report a minute and node.
    let agents = 2;
    let (least, most) = (agents * (minutes - 1), agents * (minutes + 1));
    let reports = asked("patch").unwrap();
    assert!((least..=most).contains(&reports), "{reports}");
    // A watch lasts four minutes, and a list comes before each.
    for verb in ["list", "watch"] {
        assert!(asked(verb).unwrap() <= agents, "{verb}s");
    }
}
