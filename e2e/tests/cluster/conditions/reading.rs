//! Waiting for conditions, columns, Events and packets.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use postern_crds::conditions::Reason;
use postern_e2e::lab::{Lab, Programs, UpOptions};
use postern_e2e::proof::harness::{Sender, TestLab, WAIT_DEADLINE, policy, wait_until};
use serde_json::Value;

use crate::plane::{condition, get};

/// Attempts of a pod after which it counts that nothing arrived: three seconds of all its flows.
const ATTEMPTS: u64 = 1000;

/// Who writes our Events.
const CONTROLLER: &str = "postern.dev/postern-operator";

pub(super) fn cluster() -> TestLab {
    TestLab::up(&UpOptions::on_api_server(3, Programs::Postern)).unwrap()
}

/// A condition of an object, if it and the status as a whole are about the current generation.
fn current<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let found = condition(object, kind)?;
    let generation = &object["metadata"]["generation"];
    let observed = [
        &found["observedGeneration"],
        &object["status"]["observedGeneration"],
    ];
    (observed == [generation, generation]).then_some(found)
}

/// An expected condition: type, status, reason and a part of the message.
pub(super) type Expected = (&'static str, &'static str, &'static str, &'static str);

fn shows(object: &Value, (kind, status, reason, words): Expected) -> bool {
    current(object, kind).is_some_and(|condition| {
        let message = condition["message"].as_str().unwrap_or_default();
        condition["status"] == status && condition["reason"] == reason && message.contains(words)
    })
}

/// Waits until an object has all these conditions for its current generation.
pub(super) fn await_conditions(lab: &Lab, object: &[&str], expected: &[Expected]) -> Value {
    let mut last = Value::Null;
    let waited = wait_until(WAIT_DEADLINE, "the expected conditions", || {
        last = get(lab, object)?;
        let all = expected.iter().all(|one| shows(&last, *one));
        Ok(all.then_some(()))
    });
    assert!(
        waited.is_ok(),
        "{object:?} {expected:?}: {waited:?}: {last:#}"
    );
    last
}

pub(super) fn egp(name: &str) -> [&str; 4] {
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

/// Waits until a row has these cells. A new intent, for example for the address of a pod, sets them back for a moment.
pub(super) fn row(lab: &Lab, object: &[&str], cells: &[(&str, &str)]) {
    let mut last = BTreeMap::new();
    let waited = wait_until(WAIT_DEADLINE, "the expected columns", || {
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
    ours.inspect(|event| {
        let note = event["note"].as_str().unwrap_or_default();
        assert!(
            Reason::parse(&word(event, "reason")).is_some() && !note.is_empty(),
            "{event}"
        );
    })
    .map(|event| (word(event, "type"), word(event, "reason")))
    .collect()
}

pub(super) fn await_event(lab: &Lab, kind: &str, name: &str, expected: (&str, &str)) {
    let wanted = (expected.0.to_owned(), expected.1.to_owned());
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
pub(super) fn left(lab: &Lab, sender: &Sender, since: Timestamp) -> u64 {
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
pub(super) fn icmp_and_tcp(sender: &Sender, since: Timestamp) -> (u64, u64) {
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

pub(super) const ENFORCED: [Expected; 5] = [
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

pub(super) const NO_ICMP: &str =
    "rules: [{action: Deny, to: [{cidr: 0.0.0.0/0}, {cidr: '::/0'}], ports: [{protocol: ICMP}]}]";

/// A policy for pods of its own, by this exit; `further` is YAML of its spec.
pub(super) fn own_policy(name: &str, exit: &str, further: &str) -> String {
    let text = policy(exit, further);
    let text = text.replace("name: crawler}", &format!("name: {name}}}"));
    text.replace("app: crawler", &format!("app: {name}"))
}
