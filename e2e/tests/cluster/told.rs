//! What the users' objects say on a real API server: which generation is programmed, what cannot be done and why, who
//! decides about a pod, in conditions, in the columns of `kubectl get` and in Events.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster told::`, as root; the first run builds Kubernetes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use postern_crds::conditions::Reason;
use postern_e2e::cluster::Api;
use postern_e2e::lab::{Lab, PodOptions, Programs, UpOptions};
use postern_e2e::proof::harness::{
    FLOWS, Sender, TestLab, WAIT_DEADLINE, exit, policy, wait_until,
};
use serde_json::{Value, json};

use crate::plane::{condition, get};

/// Attempts of a pod after which its silence is worth something: three seconds of all its flows.
const ATTEMPTS: u64 = 1000;

/// Who writes our Events.
const CONTROLLER: &str = "postern.dev/postern-operator";

fn cluster() -> TestLab {
    TestLab::up(&UpOptions::on_api_server(3, Programs::Postern)).unwrap()
}

/// A condition of an object, if it is about the generation that is there now.
fn current<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let found = condition(object, kind)?;
    (found["observedGeneration"] == object["metadata"]["generation"]).then_some(found)
}

/// What an object has to say: condition, status, reason and words of its sentence.
type Told = (&'static str, &'static str, &'static str, &'static str);

fn says(object: &Value, (kind, status, reason, words): Told) -> bool {
    current(object, kind).is_some_and(|condition| {
        let message = condition["message"].as_str().unwrap_or_default();
        condition["status"] == status && condition["reason"] == reason && message.contains(words)
    })
}

/// Waits until an object of the users says all of this about the generation that is there now.
fn await_told(lab: &Lab, object: &[&str], told: &[Told]) -> Value {
    let mut last = Value::Null;
    let waited = wait_until(WAIT_DEADLINE, "what it has to say", || {
        last = get(lab, object)?;
        let all = told.iter().all(|told| says(&last, *told));
        Ok(all.then_some(()))
    });
    assert!(waited.is_ok(), "{object:?} {told:?}: {waited:?}: {last:#}");
    last
}

fn egp(name: &str) -> [&str; 4] {
    ["egp", name, "-n", "crawlers"]
}

/// The one row that kubectl prints for an object, by the names of its columns.
fn columns(lab: &Lab, object: &[&str]) -> BTreeMap<String, String> {
    let text = lab.kubectl_ok(&[&["get"], object].concat()).unwrap();
    let (header, row) = text.trim_end().split_once('\n').unwrap();
    let starts: Vec<usize> = header
        .char_indices()
        .filter(|(at, letter)| *letter != ' ' && (*at == 0 || header.as_bytes()[*at - 1] == b' '))
        .map(|(at, _)| at)
        .collect();
    let cell = |line: &str, place: usize| {
        let end = starts.get(place + 1).copied().unwrap_or(line.len());
        let cell = line.get(starts[place]..end.min(line.len()));
        cell.unwrap_or_default().trim().to_owned()
    };
    (0..starts.len())
        .map(|place| (cell(header, place), cell(row, place)))
        .collect()
}

/// Waits until a row has these cells: what was true may be said again after the next intent, which a pod's address is
/// enough for.
fn row(lab: &Lab, object: &[&str], cells: &[(&str, &str)]) {
    let mut last = BTreeMap::new();
    let waited = wait_until(WAIT_DEADLINE, "what the columns tell", || {
        last = columns(lab, object);
        let is = |(name, cell): &(&str, &str)| last.get(*name).is_some_and(|found| found == cell);
        Ok(cells.iter().all(is).then_some(()))
    });
    assert!(waited.is_ok(), "{cells:?} of {last:?}");
}

/// Our Events about an object, as kind and reason.
fn events(lab: &Lab, kind: &str, name: &str) -> Vec<(String, String)> {
    let all = get(lab, &["events.events.k8s.io", "-A"]).unwrap();
    let items = all["items"].as_array().unwrap();
    let ours = items
        .iter()
        .filter(|event| event["reportingController"] == CONTROLLER)
        .filter(|event| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name);
    let word = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let told: Vec<(String, String)> = ours
        .inspect(|event| {
            let note = event["note"].as_str().unwrap_or_default();
            assert!(
                Reason::parse(&word(event, "reason")).is_some() && !note.is_empty(),
                "{event}"
            );
        })
        .map(|event| (word(event, "type"), word(event, "reason")))
        .collect();
    told
}

fn await_event(lab: &Lab, kind: &str, name: &str, told: (&str, &str)) {
    let wanted = (told.0.to_owned(), told.1.to_owned());
    let waited = wait_until(WAIT_DEADLINE, "an Event", || {
        Ok(events(lab, kind, name).contains(&wanted).then_some(()))
    });
    assert!(
        waited.is_ok(),
        "{wanted:?} of {kind} {name}: {waited:?}: {:?}",
        events(lab, kind, name)
    );
}

/// Waits until a pod has tried for seconds, and answers what of it left.
fn left(lab: &Lab, sender: &Sender, since: Timestamp) -> u64 {
    wait_until(
        WAIT_DEADLINE,
        &format!("attempts of {}", sender.pod.key()),
        || Ok((sender.attempted_since(since) > ATTEMPTS).then_some(())),
    )
    .unwrap();
    let count = lab.pod_since(sender, Timestamp::MIN).unwrap();
    count.arrived + count.before
}

/// Answers of a pod's ICMP and of its TCP in seconds that began after a time and in which it tried.
fn icmp_and_tcp(sender: &Sender, since: Timestamp) -> (u64, u64) {
    let begun = since + Duration::from_secs(2);
    wait_until(WAIT_DEADLINE, "whole seconds of attempts", || {
        Ok((sender.attempted_since(begun) > ATTEMPTS).then_some(()))
    })
    .unwrap();
    let sums = sender.since(begun);
    let received = |flows: [&str; 2]| flows.map(|flow| sums[flow].received).iter().sum();
    assert!(sums["icmp4"].sent > 0 && sums["icmp6"].sent > 0, "{sums:?}");
    (received(["icmp4", "icmp6"]), received(["tcp4", "tcp6"]))
}

const WELL: [Told; 5] = [
    ("Accepted", "True", "Accepted", "understood"),
    ("ResolvedRefs", "True", "Resolved", "leaves by exit eu"),
    ("Programmed", "True", "Programmed", "1 of 1 nodes"),
    (
        "Ready",
        "True",
        "Ready",
        "1 pod leaves by exit eu from gw-1's own",
    ),
    ("FullyEnforced", "True", "Enforced", "Every selected pod"),
];

const NO_ICMP: &str =
    "rules: [{action: Deny, to: [{cidr: 0.0.0.0/0}, {cidr: '::/0'}], ports: [{protocol: ICMP}]}]";

#[test]
fn a_change_is_programmed_under_its_own_generation_and_columns_and_events_tell_the_story() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let first = await_told(&lab, &egp("crawler"), &WELL);
    assert_eq!(first["metadata"]["generation"], 1);
    let cells = [
        ("NAME", "crawler"),
        ("READY", "True"),
        ("EXIT", "eu"),
        ("MODE", "Closed"),
        ("SELECTED", "1"),
        ("ENFORCED", "1"),
        ("BLOCKED", "0"),
        ("REASON", "Ready"),
    ];
    row(&lab, &egp("crawler"), &cells);
    await_told(
        &lab,
        &["exit", "eu"],
        &[("Programmed", "True", "Programmed", "1 of 1 client")],
    );
    let cells = [
        ("READY", "True"),
        ("ACTIVE", "gw-1"),
        ("CLIENTS", "1"),
        ("REASON", "Ready"),
    ];
    row(&lab, &["exit", "eu"], &cells);
    await_event(&lab, "EgressPolicy", "crawler", ("Normal", "Ready"));
    await_event(&lab, "ExitNode", "eu", ("Normal", "Ready"));

    // What the status calls programmed is what the kernel does.
    lab.apply_yaml(&policy("eu", NO_ICMP)).unwrap();
    let second = await_told(&lab, &egp("crawler"), &WELL);
    let programmed = Timestamp::now();
    assert_eq!(second["metadata"]["generation"], 2);
    let (icmp, tcp) = icmp_and_tcp(&sender, programmed);
    assert!(icmp == 0 && tcp > 0, "{icmp} {tcp}");

    // The exit goes and comes back: both transitions are told.
    let eu = exit("eu", "gw-1", "");
    lab.delete_yaml(&eu).unwrap();
    let lost = [
        (
            "ResolvedRefs",
            "False",
            "RefNotFound",
            "there is no ExitNode eu",
        ),
        ("Ready", "False", "NoExit", "1 pods are to be blocked"),
    ];
    await_told(&lab, &egp("crawler"), &lost);
    for reason in ["RefNotFound", "NoExit"] {
        await_event(&lab, "EgressPolicy", "crawler", ("Warning", reason));
    }
    lab.apply_yaml(&eu).unwrap();
    await_told(&lab, &egp("crawler"), &WELL);
    let since = Timestamp::now();
    sender
        .await_answers(&["tcp4", "tcp6", "udp4", "udp6"], since, WAIT_DEADLINE)
        .unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

/// A policy for pods of its own, by this exit; `further` is YAML of its spec.
fn own_policy(name: &str, exit: &str, further: &str) -> String {
    let text = policy(exit, further);
    let text = text.replace("name: crawler}", &format!("name: {name}}}"));
    text.replace("app: crawler", &format!("app: {name}"))
}

/// Policies that cannot be done as written: name, exit, what more is written, and what they have to say.
const UNDONE: [(&str, &str, &str, Told, &str); 4] = [
    (
        "missing",
        "nowhere",
        "",
        (
            "ResolvedRefs",
            "False",
            "RefNotFound",
            "there is no ExitNode nowhere",
        ),
        "NoExit",
    ),
    (
        "nobody",
        "ghost",
        "",
        (
            "ResolvedRefs",
            "False",
            "NoEligibleNode",
            "no node matches the gateway selector of ghost",
        ),
        "NoExit",
    ),
    (
        "open",
        "eu",
        "failureMode: Open\n  failOpenAfter: 30s",
        (
            "Accepted",
            "False",
            "NotImplemented",
            "spec.failureMode: Open",
        ),
        "NotImplemented",
    ),
    (
        "filter",
        "eu",
        "dns: {mode: Filter}",
        (
            "Accepted",
            "False",
            "NotImplemented",
            "spec.dns.mode: Filter",
        ),
        "NotImplemented",
    ),
];

#[test]
fn what_cannot_be_done_says_which_condition_why_and_what_instead_and_its_pods_are_blocked() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    let mut objects = exit("ghost", "no-such-node", "");
    for (name, exit, further, ..) in UNDONE {
        objects.push_str(&own_policy(name, exit, further));
    }
    lab.apply_yaml(&objects).unwrap();
    for (name, _, _, told, blocked) in UNDONE {
        await_told(&lab, &egp(name), &[told]);
        let (_, _, reason, _) = told;
        await_event(&lab, "EgressPolicy", name, ("Warning", reason));
        let pod = PodOptions::on("n1").label("app", name);
        let sender = lab.sender(&format!("crawlers/{name}"), pod).unwrap();
        await_told(
            &lab,
            &egp(name),
            &[
                told,
                ("Ready", "False", blocked, "1 pods are to be blocked"),
            ],
        );
        wait_until(WAIT_DEADLINE, "one blocked pod", || {
            let object = get(&lab, &egp(name))?;
            Ok((object["status"]["pods"]["blocked"] == 1).then_some(()))
        })
        .unwrap();
        let cells = [
            ("READY", "False"),
            ("ENFORCED", "0"),
            ("BLOCKED", "1"),
            ("REASON", blocked),
        ];
        row(&lab, &egp(name), &cells);
        assert_eq!(left(&lab, &sender, Timestamp::now()), 0, "{name}");
    }
    let nobody = [
        (
            "ResolvedRefs",
            "False",
            "NoEligibleNode",
            "No node that matches the selector",
        ),
        (
            "Ready",
            "False",
            "NoEligibleNode",
            "No node that matches the selector",
        ),
    ];
    await_told(&lab, &["exit", "ghost"], &nobody);
    row(
        &lab,
        &["exit", "ghost"],
        &[("READY", "False"), ("REASON", "NoEligibleNode")],
    );
    await_event(&lab, "ExitNode", "ghost", ("Warning", "NoEligibleNode"));
    // Whoever nobody selects leaves: the others' silence is their policies' work.
    let free = lab
        .sender("crawlers/free", PodOptions::on("n1").label("app", "free"))
        .unwrap();
    assert!(left(&lab, &free, Timestamp::now()) > 0);
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

/// A pod of the host network that the policy of its name selects.
fn host_pod(lab: &Lab, name: &str, app: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "crawlers", "name": name, "labels": {"app": app}},
        "spec": {
            "nodeName": "n1", "hostNetwork": true, "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "none"}],
        },
    });
    Api::of(lab)
        .create("/api/v1/namespaces/crawlers/pods", &pod)
        .unwrap();
}

fn await_pods(lab: &Lab, name: &str, counts: &[(&str, u64)]) {
    let mut last = Value::Null;
    let waited = wait_until(WAIT_DEADLINE, "counts of pods", || {
        last = get(lab, &egp(name))?["status"]["pods"].clone();
        let all = counts.iter().all(|(count, number)| last[*count] == *number);
        Ok(all.then_some(()))
    });
    assert!(waited.is_ok(), "{name} {counts:?}: {waited:?}: {last}");
}

#[test]
fn of_two_policies_on_one_pod_the_winner_decides_and_pods_out_of_reach_are_counted_and_told() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let stricter = policy("eu", &format!("priority: 10\n  {NO_ICMP}"));
    let stricter = stricter.replace("name: crawler}", "name: stricter}");
    lab.apply_yaml(&stricter).unwrap();
    await_told(&lab, &egp("stricter"), &WELL);
    let told = Timestamp::now();
    let (icmp, tcp) = icmp_and_tcp(&sender, told);
    assert!(icmp == 0 && tcp > 0, "{icmp} {tcp}");
    await_pods(
        &lab,
        "stricter",
        &[("selected", 1), ("enforced", 1), ("overridden", 0)],
    );
    await_pods(
        &lab,
        "crawler",
        &[("selected", 0), ("enforced", 0), ("overridden", 1)],
    );
    let overridden = (
        "Ready",
        "True",
        "Overridden",
        "another policy decides about its pods, 1 in all",
    );
    await_told(&lab, &egp("crawler"), &[overridden]);
    row(
        &lab,
        &egp("crawler"),
        &[("ENFORCED", "0"), ("REASON", "Overridden")],
    );
    await_event(&lab, "EgressPolicy", "crawler", ("Normal", "Overridden"));

    // One pod that can be enforced and one that cannot.
    host_pod(&lab, "on-host", "crawler");
    let partly = [
        (
            "Ready",
            "True",
            "Ready",
            "1 pod leaves by exit eu from gw-1's own",
        ),
        (
            "FullyEnforced",
            "False",
            "HostNetwork",
            "1 pods use the host network",
        ),
    ];
    await_told(&lab, &egp("stricter"), &partly);
    await_pods(
        &lab,
        "stricter",
        &[("selected", 1), ("enforced", 1), ("unenforceable", 1)],
    );
    await_event(&lab, "EgressPolicy", "stricter", ("Warning", "HostNetwork"));
    // A policy that has nothing else.
    host_pod(&lab, "alone", "alone");
    lab.apply_yaml(&own_policy("alone", "eu", "")).unwrap();
    let alone = [
        (
            "Programmed",
            "True",
            "HostNetwork",
            "nothing to do for pods of the host network",
        ),
        (
            "FullyEnforced",
            "False",
            "HostNetwork",
            "1 pods use the host network",
        ),
    ];
    await_told(&lab, &egp("alone"), &alone);
    row(
        &lab,
        &egp("alone"),
        &[("SELECTED", "0"), ("REASON", "HostNetwork")],
    );
    sender
        .await_answers(&FLOWS[2..], told, WAIT_DEADLINE)
        .unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
