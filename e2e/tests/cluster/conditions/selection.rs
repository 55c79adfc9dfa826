//! Two policies for one pod, and pods that no policy can reach.

use jiff::Timestamp;
use postern_e2e::cluster::Api;
use postern_e2e::lab::Lab;
use postern_e2e::proof::harness::{FLOWS, WAIT_DEADLINE, policy, wait_until};
use serde_json::{Value, json};

use crate::conditions::reading::{
    ENFORCED, Expected, NO_ICMP, await_conditions, await_event, cluster, egp, icmp_and_tcp,
    own_policy, row,
};
use crate::plane::get;

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

/// Of the policy whose one pod another one decides about.
const OVERRIDDEN: [Expected; 2] = [
    (
        "Ready",
        "False",
        "Overridden",
        "another policy decides about its pods, 1 in all",
    ),
    (
        "FullyEnforced",
        "False",
        "Overridden",
        "1 pods that it selects are decided by stricter",
    ),
];

#[test]
fn of_two_policies_on_one_pod_the_winner_decides_and_pods_out_of_reach_are_counted_and_told() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let stricter = policy("eu", &format!("priority: 10\n  {NO_ICMP}"));
    let stricter = stricter.replace("name: crawler}", "name: stricter}");
    lab.apply_yaml(&stricter).unwrap();
    await_conditions(&lab, &egp("stricter"), &ENFORCED);
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
    await_conditions(&lab, &egp("crawler"), &OVERRIDDEN);
    row(
        &lab,
        &egp("crawler"),
        &[("ENFORCED", "0"), ("REASON", "Overridden")],
    );
    await_event(&lab, "EgressPolicy", "crawler", ("Warning", "Overridden"));

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
    await_conditions(&lab, &egp("stricter"), &partly);
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
            "False",
            "HostNetwork",
            "the pods that it selects use the host network",
        ),
        (
            "FullyEnforced",
            "False",
            "HostNetwork",
            "1 pods use the host network",
        ),
    ];
    await_conditions(&lab, &egp("alone"), &alone);
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
