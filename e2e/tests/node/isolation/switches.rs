//! Switches of the uplink, and links that others bring up.

use std::time::{Duration, Instant};

use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};

use super::uplinks::{NODE, TwoUplinks, command, isolation, overlap};

const OVERRIDE: &str = "remoteSafety: Override";

#[test]
fn a_switch_brings_one_uplink_down_before_the_other_comes_up_and_the_end_brings_back_what_was() {
    let node = TwoUplinks::up();
    let before = node.configuration();
    node.lab.apply_yaml(&isolation("[eth0]", OVERRIDE)).unwrap();
    node.await_state("Compliant", "eth0");
    assert_eq!(node.links_up(), ["eth0".to_owned()].into());
    for preferred in ["eth1", "eth0", "eth1"] {
        node.lab
            .apply_yaml(&isolation(&format!("[{preferred}]"), OVERRIDE))
            .unwrap();
        node.await_state("Compliant", preferred);
        assert_eq!(node.links_up(), [preferred.to_owned()].into());
    }
    assert_eq!(overlap(&node.events()), None, "{:?}", node.events());

    node.lab
        .delete_yaml(&isolation("[eth1]", OVERRIDE))
        .unwrap();
    wait_until(WAIT_DEADLINE, "both uplinks as they were", || {
        Ok((node.configuration() == before).then_some(()))
    })
    .unwrap_or_else(|error| {
        panic!(
            "{error}: {:#?} instead of {before:#?}",
            node.configuration()
        )
    });
    node.lab
        .await_report(NODE, "a node that is not isolated", |report| {
            report["isolation"].is_null()
        })
        .unwrap();
    let file = node.lab.node_dir(NODE).join("state/isolation.json");
    assert!(!file.exists(), "nothing is remembered");
    let rules = node.lab.shell(NODE, "nft list table inet postern").unwrap();
    assert!(!rules.contains("isolated"), "no rule is left");
}

/// How long the forbidden link is raised.
const RAISED: Duration = Duration::from_secs(10);

#[test]
fn a_link_that_another_program_raises_carries_no_packet_and_is_down_again_at_once() {
    let node = TwoUplinks::up();
    // They go on while the link is down, and say that on their standard error.
    let ping = |to| {
        let ping = ["ping", "-q", "-i", "0.002", "-I", "eth1", to];
        let mut talker = command(&node.lab, &ping);
        talker.stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut talkers = ["192.168.10.1", "2001:db8:10::1"].map(ping);
    let start = node.packets();
    wait_until(WAIT_DEADLINE, "packets by the second uplink", || {
        Ok((node.packets() > start + 100).then_some(()))
    })
    .unwrap();

    node.lab.apply_yaml(&isolation("[eth0]", OVERRIDE)).unwrap();
    node.await_state("Compliant", "eth0");
    let guarded = node.packets();
    let begun = node.events().len();
    let until = Instant::now() + RAISED;
    let raise = "while :; do ip link set eth1 up; sleep 0.05; done";
    let mut raiser = command(&node.lab, &["sh", "-c", raise]).spawn().unwrap();
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let [four, six] = &mut talkers;
    for child in [&mut raiser, four, six] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let left = node.packets() - guarded;
    let events = &node.events()[begun..];
    let mut times = times_up(events);
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!(
        "raised {} times, down again after p50 {:?}, p99 {:?}, at most {:?}; packets by it: {left}",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
    assert!(times.len() > 50, "it was raised {} times", times.len());
    assert_eq!(left, 0, "packets by the forbidden uplink");
    node.await_state("Compliant", "eth0");
    assert_eq!(node.links_up(), ["eth0".to_owned()].into());
}

/// How long the second uplink was up, each time.
fn times_up(events: &[super::uplinks::LinkEvent]) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut since = None;
    for event in events.iter().filter(|event| event.link == "eth1") {
        match (event.up, since) {
            (true, None) => since = Some(event.at),
            (false, Some(begun)) => {
                let time = event.at.duration_since(begun);
                times.push(Duration::try_from(time).unwrap_or_default());
                since = None;
            }
            _ => {}
        }
    }
    times
}
