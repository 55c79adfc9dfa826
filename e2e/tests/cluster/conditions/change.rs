//! A changed policy: its generation, its columns and its Events.

use jiff::Timestamp;
use postern_e2e::proof::harness::{WAIT_DEADLINE, exit, policy};

use crate::conditions::reading::{
    ENFORCED, NO_ICMP, await_conditions, await_event, cluster, egp, icmp_and_tcp, row,
};

#[test]
fn a_change_is_programmed_under_its_own_generation_and_columns_and_events_tell_the_story() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let first = await_conditions(&lab, &egp("crawler"), &ENFORCED);
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
    await_conditions(
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
    let second = await_conditions(&lab, &egp("crawler"), &ENFORCED);
    let programmed = Timestamp::now();
    assert_eq!(second["metadata"]["generation"], 2);
    let (icmp, tcp) = icmp_and_tcp(&sender, programmed);
    assert!(icmp == 0 && tcp > 0, "{icmp} {tcp}");

    // The exit is deleted and made again: both transitions have Events.
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
    await_conditions(&lab, &egp("crawler"), &lost);
    for reason in ["RefNotFound", "NoExit"] {
        await_event(&lab, "EgressPolicy", "crawler", ("Warning", reason));
    }
    lab.apply_yaml(&eu).unwrap();
    await_conditions(&lab, &egp("crawler"), &ENFORCED);
    let since = Timestamp::now();
    sender
        .await_answers(&["tcp4", "tcp6", "udp4", "udp6"], since, WAIT_DEADLINE)
        .unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
