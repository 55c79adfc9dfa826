//! Pods start, and addresses change hands: the first source that the world ever sees of a selected pod is its exit.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_e2e::lab::{Plugin, PodOptions, UpOptions};
use postern_e2e::proof::harness::{Sender, TestLab, WAIT_DEADLINE, exit, policy, wait_until};

fn selected() -> PodOptions {
    PodOptions::on("n1").label("app", "crawler")
}

fn unselected() -> PodOptions {
    PodOptions::on("n1")
}

fn lab_with(options: &UpOptions) -> TestLab {
    let lab = TestLab::up(options).unwrap();
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))
        .unwrap();
    // The policy promises from the node's first report of it on, and from the first instruction for pods after that.
    lab.await_report("n1", "the policy's namespace in force", |report| {
        report["guardedNamespaces"]
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name == "crawlers"))
    })
    .unwrap();
    lab
}

/// Waits until packets of the pod have left by an exit.
fn leaves_by_the_exit(lab: &TestLab, sender: &Sender) {
    let what = format!("packets of {} by its exit", sender.pod.key());
    wait_until(WAIT_DEADLINE, &what, || {
        let count = lab.pod_since(sender, Timestamp::MIN)?;
        Ok((count.exited > 0).then_some(()))
    })
    .unwrap();
}

/// Waits until packets of the pod have arrived at all.
fn leaves(lab: &TestLab, sender: &Sender) {
    let what = format!("packets of {}", sender.pod.key());
    wait_until(WAIT_DEADLINE, &what, || {
        let count = lab.pod_since(sender, Timestamp::MIN)?;
        Ok((count.arrived > 0).then_some(()))
    })
    .unwrap();
}

/// Nothing leaked, and the two counters agree that nothing did.
fn nothing_leaked(lab: &TestLab) {
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

/// Starts so many pairs of a selected and an unselected pod, both of a pair at once, while intents come late.
fn pairs(delay: SignedDuration, pods: usize) {
    let lab = lab_with(&UpOptions {
        intent_delay: delay,
        ..UpOptions::default()
    });
    let mut waits = Vec::new();
    for n in 0..pods {
        let (plain, crawler) = std::thread::scope(|scope| {
            let plain = scope.spawn(|| {
                let begun = Instant::now();
                let name = format!("default/plain-{n}");
                let sender = lab.sender(&name, unselected()).unwrap();
                (sender, begun.elapsed())
            });
            let name = format!("crawlers/crawler-{n}");
            let crawler = lab.sender(&name, selected()).unwrap();
            (plain.join().unwrap(), crawler)
        });
        let (plain, waited) = plain;
        waits.push(waited);
        leaves(&lab, &plain);
        leaves_by_the_exit(&lab, &crawler);
        lab.delete_pod(&plain.pod.key()).unwrap();
        lab.delete_pod(&crawler.pod.key()).unwrap();
    }
    nothing_leaked(&lab);
    waits.sort();
    println!(
        "intents {delay} late: {pods} unselected pods were started in {:?} (median), {:?} (longest)",
        waits[pods / 2],
        waits[pods - 1]
    );
}

#[test]
fn the_first_source_ever_seen_of_a_selected_pod_is_its_exit() {
    pairs(SignedDuration::ZERO, 20);
}

#[test]
fn the_first_source_is_the_exit_while_intents_come_half_a_second_late() {
    pairs(SignedDuration::from_millis(500), 18);
}

#[test]
fn the_first_source_is_the_exit_while_intents_come_three_seconds_late() {
    pairs(SignedDuration::from_secs(3), 12);
}

/// The pod's addresses, for the next pod to ask for.
fn addresses(sender: &Sender) -> Vec<IpAddr> {
    sender.pod.addresses.clone()
}

#[test]
fn a_pod_on_an_address_that_was_just_freed_inherits_nothing_either_way() {
    let lab = lab_with(&UpOptions::default());
    let first = lab.sender("default/first", unselected()).unwrap();
    leaves(&lab, &first);
    lab.delete_pod("default/first").unwrap();
    let options = PodOptions {
        addresses: addresses(&first),
        ..selected()
    };
    let second = lab.sender("crawlers/second", options).unwrap();
    assert_eq!(second.pod.addresses, first.pod.addresses);
    leaves_by_the_exit(&lab, &second);
    lab.delete_pod("crawlers/second").unwrap();
    let options = PodOptions {
        addresses: addresses(&first),
        ..unselected()
    };
    let third = lab.sender("default/third", options).unwrap();
    leaves(&lab, &third);
    let count = lab.pod_since(&third, Timestamp::MIN).unwrap();
    assert_eq!(count.exited, 0, "the unselected pod leaves by itself");
    nothing_leaked(&lab);
}

#[test]
fn while_the_agent_is_away_no_pod_starts_and_an_address_inherits_nothing_over_it() {
    let lab = lab_with(&UpOptions::default());
    let first = lab.sender("default/first", unselected()).unwrap();
    leaves(&lab, &first);
    lab.kill("agent-n1").unwrap();
    lab.delete_pod("default/first").unwrap();
    let second = std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            let options = PodOptions {
                addresses: addresses(&first),
                ..selected()
            };
            lab.sender("crawlers/second", options).unwrap()
        });
        // The kubelet's attempts are refused all the while; the time is what a real one would try in.
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            assert!(
                !starting.is_finished(),
                "a pod started on a node that cannot hold it"
            );
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(50));
        }
        lab.start_agent("n1").unwrap();
        starting.join().unwrap()
    });
    leaves_by_the_exit(&lab, &second);
    nothing_leaked(&lab);
}

#[test]
fn without_the_plugin_a_fresh_address_is_held_until_the_intent_lists_it() {
    let lab = lab_with(&UpOptions {
        plugin: Plugin::Absent,
        ..UpOptions::default()
    });
    let status_delay = Duration::from_secs(1);
    let plain = PodOptions {
        status_delay,
        ..unselected()
    };
    let crawler = PodOptions {
        status_delay,
        ..selected()
    };
    let plain = lab.sender("default/plain", plain).unwrap();
    let crawler = lab.sender("crawlers/crawler", crawler).unwrap();
    leaves(&lab, &plain);
    leaves_by_the_exit(&lab, &crawler);
    let report = lab.report_status("n1").unwrap();
    let binding = report["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "SourceBinding")
        .cloned();
    assert_eq!(binding.unwrap()["status"], "False");
    // Reuse inherits nothing once the report shows the serial without the old pod.
    lab.delete_pod("default/plain").unwrap();
    let gone = plain.pod.addresses[0].to_string();
    wait_until(WAIT_DEADLINE, "the ruleset without the old pod", || {
        let listed = lab.shell("n1", "nft list map inet postern from4")?;
        Ok((!listed.contains(&gone)).then_some(()))
    })
    .unwrap();
    let options = PodOptions {
        addresses: addresses(&plain),
        status_delay,
        ..selected()
    };
    let next = lab.sender("crawlers/next", options).unwrap();
    leaves_by_the_exit(&lab, &next);
    nothing_leaked(&lab);
}
