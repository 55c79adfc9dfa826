//! An exit is lost for longer than an `Open` policy waits: its pods use the node's uplink from then on, and those of a
//! `Closed` policy on the same node stay blocked.

use std::time::Duration;

use jiff::Timestamp;
use postern_e2e::lab::{PodOptions, UpOptions};
use postern_e2e::proof::harness::{FLOWS, TestLab, WAIT_DEADLINE, exit, policy, wait_until};

/// What the policy waits.
const AFTER: Duration = Duration::from_secs(5);

#[test]
fn an_open_policy_uses_the_uplink_after_its_time_and_a_closed_one_on_the_same_node_never_does() {
    let lab = TestLab::up(&UpOptions::default()).unwrap();
    let closed = policy("eu", "")
        .replace("name: crawler}", "name: closed}")
        .replace("app: crawler}", "app: closed}");
    let open = policy("eu", "failureMode: Open\n  failOpenAfter: 5s");
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &closed + &open))
        .unwrap();
    let sender = |name: &str| {
        let pod = PodOptions::on("n1").label("app", name);
        lab.sender(&format!("crawlers/{name}"), pod).unwrap()
    };
    let (open, closed) = (sender("crawler"), sender("closed"));
    for pod in [&open, &closed] {
        lab.await_exit(pod).unwrap();
    }
    let lost = Timestamp::now();
    lab.kill("tunnel-gw-1").unwrap();
    lab.await_state("n1", "eu", "FailedOpen", lost).unwrap();
    let opened = Timestamp::now();
    open.await_answers(&FLOWS, opened, WAIT_DEADLINE).unwrap();
    let within = opened + Duration::from_secs(1);
    wait_until(WAIT_DEADLINE, "attempts of the closed pod", || {
        Ok((closed.attempted_since(within) > 0).then_some(()))
    })
    .unwrap();
    let sums = closed.since(within);
    assert!(sums.values().all(|tally| tally.received == 0), "{sums:?}");

    lab.start_tunnel("gw-1").unwrap();
    wait_until(WAIT_DEADLINE, "a node that uses its exit again", || {
        let report = lab.report_status("n1").unwrap_or_default();
        let mut scopes = report["scopes"].as_array().into_iter().flatten();
        Ok(scopes
            .all(|scope| scope["state"] == "Enforcing")
            .then_some(()))
    })
    .unwrap();
    let back = Timestamp::now();
    for pod in [&open, &closed] {
        pod.await_answers(&FLOWS, back, WAIT_DEADLINE).unwrap();
    }
    // The counter knows no policy that may fail open, so it calls a leak what this state lets out.
    let packets = lab.packets().unwrap();
    let own = lab.node("n1").unwrap().addresses();
    for leak in &packets.leaks {
        let is_open = leak.pod == open.pod.key() && own.contains(&leak.source);
        assert!(
            is_open && leak.first >= lost + AFTER && leak.last <= back,
            "{leak:?}"
        );
    }
    assert!(packets.leaked > 0 && packets.agreed && packets.unowned.is_empty());
}
