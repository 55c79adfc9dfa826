//! Every status of a scope, reached on a real kernel with a pod that sends in it all the time.

use std::collections::BTreeSet;

use crate::documents::next;
use jiff::{SignedDuration, Timestamp};
use postern_e2e::lab::{Lab, UpOptions};
use postern_e2e::proof::harness::{Sender, TestLab, WAIT_DEADLINE, wait_until};
use postern_intent::NodeDocument;
use postern_intent::body::{BlockedReason, EgressPath, ScopeFailureMode};
use postern_intent::sign::sign_intent;
use serde_json::Value;

const NODE: &str = "n1";

/// A lab whose publisher has stopped, with a pod whose scope is `Enforcing`, and its body.
fn enforcing() -> (TestLab, Sender, NodeDocument) {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap();
    let sender = lab.selected_sender(NODE).unwrap();
    lab.kill("publisher").unwrap();
    let body = lab.current_body(NODE).unwrap();
    in_state(&lab, "Enforcing", "");
    (lab, sender, body)
}

/// Waits until the node's one scope is in a state, for a reason where there is one, and answers when that was seen.
fn in_state(lab: &Lab, state: &str, reason: &str) -> Timestamp {
    let says = |report: &Value| {
        let scopes = report["scopes"].as_array().map(Vec::as_slice);
        let Some([scope]) = scopes else { return false };
        scope["state"] == state && scope["reason"].as_str().unwrap_or_default() == reason
    };
    let what = format!("the state {state} {reason}");
    lab.await_report(NODE, &what, says).unwrap();
    Timestamp::now()
}

/// Starts the agent with these arguments, and waits for its first own report.
fn restart(lab: &Lab, arguments: &[&str]) {
    lab.stop("agent-n1").unwrap();
    lab.set_agent_arguments(NODE, arguments).unwrap();
    let begin = Timestamp::now();
    lab.start_agent(NODE).unwrap();
    lab.await_state(NODE, "eu", "Enforcing", begin).unwrap();
    lab.await_probed(NODE).unwrap();
}

fn publish(lab: &Lab, body: &NodeDocument) {
    let signed = sign_intent(body, &[lab.signing().unwrap()]).unwrap();
    lab.put(NODE, "intent.dsse.json", &signed).unwrap();
    lab.await_report(NODE, "the body in force", |report| {
        report["appliedSerial"] == body.serial.0
    })
    .unwrap();
}

/// Nothing of the pod arrives any more although it tries.
fn nothing_leaves(lab: &Lab, sender: &Sender) {
    let silent = lab.await_silence(sender).unwrap();
    lab.await_attempts(sender, silent).unwrap();
    let count = lab.packets_since(silent).unwrap().of(&sender.pod.uid);
    assert_eq!(count.arrived, 0, "{count:?}");
}

fn by_the_exit_again(lab: &Lab, sender: &Sender) {
    in_state(lab, "Enforcing", "");
    assert!(lab.await_exit(sender).unwrap() > 0);
}

fn no_leak(lab: &Lab) {
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

fn device(body: &NodeDocument) -> &str {
    body.routes[0].interface.as_str()
}

#[test]
fn a_scope_is_enforced_degraded_by_a_lost_address_and_mended_at_a_restart() {
    let (lab, sender, body) = enforcing();
    let seen = lab.transitions(NODE);
    let [_, reason, to] = seen.last().unwrap();
    assert_eq!([reason, to], ["Enforced", "Enforcing"], "{seen:?}");

    // An agent that repairs mends an address in the run that sees it gone; this one only looks.
    restart(&lab, &["--repair", "off"]);
    let address = body.tunnels[0]
        .addresses
        .iter()
        .find(|net| net.addr().is_ipv6());
    let line = format!(
        "ip -6 address del {} dev {}",
        address.unwrap(),
        device(&body)
    );
    lab.shell(NODE, &line).unwrap();
    let degraded = in_state(&lab, "Degraded", "");
    let exited = wait_until(WAIT_DEADLINE, "packets by the exit while degraded", || {
        let exited = lab.packets_since(degraded)?.of(&sender.pod.uid).exited;
        Ok((exited > 0).then_some(exited))
    });
    assert!(exited.unwrap() > 0, "the other family goes on by the exit");
    in_state(&lab, "Degraded", "");

    restart(&lab, &[]);
    by_the_exit_again(&lab, &sender);
    no_leak(&lab);
}

#[test]
fn a_closed_scope_is_blocked_for_each_cause_lets_nothing_out_and_comes_back() {
    let (lab, sender, body) = enforcing();
    let mut by_body = next(&body, 1);
    by_body.firewall[0].way = EgressPath::Blocked {
        reason: BlockedReason::NoExit,
    };
    publish(&lab, &by_body);
    in_state(&lab, "Blocked", "NoExit");
    nothing_leaves(&lab, &sender);
    publish(&lab, &next(&body, 2));
    by_the_exit_again(&lab, &sender);

    lab.kill("tunnel-n1").unwrap();
    in_state(&lab, "Blocked", "ExitLost");
    // The chain lets packets into the tunnel's device all the same, and into no other.
    lab.await_report(NODE, "the posture of the rules", |report| {
        report["scopes"][0]["posture"] == "TunnelOnly"
    })
    .unwrap();
    nothing_leaves(&lab, &sender);
    lab.start_tunnel(NODE).unwrap();
    by_the_exit_again(&lab, &sender);

    let mut short = next(&body, 3);
    short.not_after = Timestamp::now() + SignedDuration::from_secs(6);
    publish(&lab, &short);
    in_state(&lab, "Blocked", "Expired");
    nothing_leaves(&lab, &sender);
    publish(&lab, &next(&body, 4));
    by_the_exit_again(&lab, &sender);

    lab.stop("agent-n1").unwrap();
    lab.shell(NODE, "mount -t tmpfs none /dev/net").unwrap();
    lab.shell(NODE, &format!("ip link del {}", device(&body)))
        .unwrap();
    lab.start_agent(NODE).unwrap();
    in_state(&lab, "Blocked", "NoTunnel");
    nothing_leaves(&lab, &sender);
    lab.stop("agent-n1").unwrap();
    lab.shell(NODE, "umount /dev/net").unwrap();
    lab.start_agent(NODE).unwrap();
    by_the_exit_again(&lab, &sender);

    let states: BTreeSet<String> = lab
        .transitions(NODE)
        .into_iter()
        .map(|[_, _, to]| to)
        .collect();
    assert!(
        !states.contains("FailedOpen") && !states.contains("Unclaimed"),
        "{states:?}"
    );
    no_leak(&lab);
}

#[test]
fn an_open_scope_leaves_by_the_uplink_only_while_its_exit_is_lost_for_longer_than_the_body_allows()
{
    let (lab, sender, body) = enforcing();
    let mut open = next(&body, 1);
    open.firewall[0].failure = ScopeFailureMode::Open { after_seconds: 3 };
    publish(&lab, &open);
    by_the_exit_again(&lab, &sender);
    no_leak(&lab);

    let killed = Timestamp::now();
    lab.kill("tunnel-n1").unwrap();
    in_state(&lab, "FailedOpen", "");
    let uplink = wait_until(WAIT_DEADLINE, "packets by the node's uplink", || {
        let leaks = lab.packets_since(killed)?.leaks;
        Ok((!leaks.is_empty()).then_some(leaks))
    });
    assert!(!uplink.unwrap().is_empty());
    lab.start_tunnel(NODE).unwrap();
    by_the_exit_again(&lab, &sender);

    // The counter knows no policy that may fail open, so it calls a leak what this state lets out.
    let audit = lab.audit(NODE);
    let time = |end: &str| {
        let mut lines = audit.iter().filter(|line| line[end] == "FailedOpen");
        let last = lines.next_back().unwrap()["time"].as_str().unwrap();
        last.parse::<Timestamp>().unwrap()
    };
    let (opened, closed) = (time("to"), time("from"));
    assert!(opened.duration_since(killed) >= SignedDuration::from_secs(3));
    let own = lab.node(NODE).unwrap().addresses();
    let packets = lab.packets().unwrap();
    for leak in &packets.leaks {
        assert!(
            own.contains(&leak.source) && leak.pod == sender.pod.key(),
            "{leak:?}"
        );
        assert!(
            leak.first >= opened && leak.last <= closed,
            "{opened} {leak:?} {closed}"
        );
    }
    assert!(packets.leaked > 0 && packets.agreed, "{packets:?}");
    // The exit may answer before the routes of a tunnel device that was made anew have been read back.
    let seen = lab.transitions(NODE);
    let after: Vec<&str> = seen.iter().map(|[_, _, to]| to.as_str()).collect();
    let back = [
        &["FailedOpen", "Enforcing"][..],
        &["FailedOpen", "Degraded", "Enforcing"],
    ];
    assert!(
        after.contains(&"Blocked") && back.iter().any(|row| after.ends_with(row)),
        "{seen:?}"
    );
}

#[test]
fn a_released_scope_goes_through_releasing_and_only_then_leaves_by_the_uplink() {
    let (lab, sender, body) = enforcing();
    let release = crate::documents::release_of(&body, 1, "the case about releasing");
    let signed = postern_intent::sign::sign_release(&release, &[lab.signing().unwrap()]).unwrap();
    lab.put(NODE, crate::documents::RELEASE, &signed).unwrap();
    lab.await_report(NODE, "released", |report| report["released"] == true)
        .unwrap();
    let released = Timestamp::now();
    let seen = lab.transitions(NODE);
    let last = &seen[seen.len() - 2..];
    assert_eq!(last[0], ["Enforcing", "Released", "Releasing"]);
    assert_eq!(last[1], ["Releasing", "Released", "Unclaimed"]);
    let arrived = wait_until(WAIT_DEADLINE, "packets by the node's uplink", || {
        let count = lab.packets_since(released)?.of(&sender.pod.uid);
        Ok((count.arrived > count.exited).then_some(count))
    });
    assert!(arrived.is_ok(), "{arrived:?}");
    no_leak(&lab);
}
