//! What each block is worth. Without repair, blocks are taken out: with any one of them out nothing leaks, and with all of
//! them out it does, so that a zero is the blocks' doing and not the case's. The guard holds alone after every event; the
//! lock alone where nothing marks the pod's packets any more; the routes alone where the way is lost.

use std::net::SocketAddr;

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::lab::{Binaries, Exec, Lab, PodOptions, PodRecord, UpOptions};
use postern_e2e::proof::harness::{Sender, TestLab, WAIT_DEADLINE, exit, record_run, wait_until};
use serde_json::{Value, json};

/// Takes out the guard by source address, at forward and before SNAT; steering stays.
const GUARD: &str = "nft 'flush chain inet postern guard; flush chain inet postern last'";
/// Takes out the lock that does not depend on nft.
const LOCK: &str = "ip xfrm policy flush";
/// Takes out the routes below the tunnel's and the rules from its addresses.
const ROUTES: &str = "for f in -4 -6; do ip $f route delete unreachable default table 5210 metric 4278198272; \
                      ip $f rule delete priority 10005; done";

const TABLES: &str = "nft 'delete table inet postern; delete table bridge postern'";

/// Agents that report a missing object and do not repair it.
fn without_repair() -> UpOptions {
    UpOptions {
        nodes: 2,
        agent_arguments: vec!["--repair=off".to_owned()],
        ..UpOptions::default()
    }
}

/// Waits until the node has an intent in force that lists the pods' addresses: a later one would be carried out, and
/// with it what was taken out by then.
fn settled(lab: &Lab, pods: &[&PodRecord]) {
    wait_until(WAIT_DEADLINE, "an intent with every address", || {
        let body = lab.current_body("n1")?;
        let digest = lab.current_envelope("n1")?.digest().unwrap();
        let applied = lab.report_status("n1").unwrap_or_default()["appliedDigest"] == digest;
        let listed = |pod: &&PodRecord| {
            let listed = body.pods.iter().find(|other| other.uid.as_str() == pod.uid);
            listed.is_some_and(|other| pod.addresses.iter().all(|a| other.addresses.contains(a)))
        };
        Ok((applied && pods.iter().all(listed)).then_some(()))
    })
    .unwrap();
}

/// What left wrongly in at least one whole second of the sender's after now.
fn leaked(lab: &Lab, sender: &Sender) -> u64 {
    let begin = Timestamp::now();
    lab.await_attempts(sender, begin).unwrap();
    let packets = lab.packets_since(begin).unwrap();
    assert_eq!(
        (packets.dropped, packets.agreed),
        (0, true),
        "{:?}",
        packets.differences
    );
    packets.leaked
}

/// Starts dead processes, restarts the agent, which puts everything back, and waits for the exit.
fn restore(lab: &Lab, sender: &Sender) {
    lab.apply_yaml(&exit("eu", "gw-1", "")).unwrap();
    lab.start_tunnel("n1").unwrap();
    lab.kill("agent-n1").unwrap();
    let begin = Timestamp::now();
    lab.start_agent("n1").unwrap();
    lab.await_state("n1", "eu", "Enforcing", begin).unwrap();
    // A run that the start left to do would put back what is taken out next.
    lab.await_probed("n1").unwrap();
    let begin = Timestamp::now();
    wait_until(WAIT_DEADLINE, "packets by the exit", || {
        Ok((lab.packets_since(begin)?.of(&sender.pod.uid).exited > 0).then_some(()))
    })
    .unwrap();
    settled(lab, &[&sender.pod]);
}

/// One event with nothing taken out but what is named; answers what leaked.
fn ablate(lab: &Lab, sender: &Sender, (out, leaks): (&[&str], Leaks), event: Event) -> Value {
    for line in out {
        lab.shell("n1", line).unwrap();
    }
    let begin = Timestamp::now();
    (event.act)(lab).unwrap();
    let mut sum = leaked(lab, sender);
    if leaks == Leaks::Some && sum == 0 {
        let found = wait_until(WAIT_DEADLINE, "a leak", || {
            let leaked = lab.packets_since(begin)?.leaked;
            Ok((leaked > 0).then_some(leaked))
        });
        sum = found.unwrap_or_default();
    }
    let entry = json!({
        "event": event.name, "out": out, "leaked": sum, "attempted": sender.attempted_since(begin),
    });
    restore(lab, sender);
    entry
}

/// Whether something is to leave that should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaks {
    No,
    Some,
}

/// The lock sees no interface, so that it lets pass what steering has marked for the tunnel, whatever carries it now.
const MARKED: Leaks = Leaks::Some;

#[derive(Clone, Copy)]
struct Event {
    name: &'static str,
    act: fn(&Lab) -> Result<(), LabError>,
    /// What the lock is worth without the other two.
    by_the_lock_alone: Leaks,
    /// What the routes are worth without the other two.
    by_the_routes_alone: Leaks,
}

/// One event: with each block taken out, with each one left alone, then with all of them out.
fn ablate_all(run: &str, event: Event) {
    let lab = TestLab::up(&without_repair()).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    settled(&lab, &[&sender.pod]);
    let outs = [
        (&[GUARD][..], Leaks::No),
        (&[LOCK], Leaks::No),
        (&[ROUTES], Leaks::No),
        (&[LOCK, ROUTES], Leaks::No),
        (&[GUARD, ROUTES], event.by_the_lock_alone),
        (&[GUARD, LOCK], event.by_the_routes_alone),
        (&[GUARD, LOCK, ROUTES], Leaks::Some),
    ];
    let entries = outs.map(|(out, leaks)| (ablate(&lab, &sender, (out, leaks), event), leaks));
    let told: Vec<&Value> = entries.iter().map(|(entry, _)| entry).collect();
    record_run(run, &told).unwrap();
    for (entry, leaks) in &entries {
        assert_ne!(entry["attempted"], 0, "{entry}");
        assert_eq!(entry["leaked"] != 0, *leaks == Leaks::Some, "{entry}");
    }
}

#[test]
fn any_one_block_out_leaks_nothing_and_all_of_them_out_leak_when_the_tunnel_process_is_killed() {
    let event = Event {
        name: "tunnel process killed",
        act: |lab| lab.kill("tunnel-n1"),
        by_the_lock_alone: MARKED,
        by_the_routes_alone: Leaks::No,
    };
    ablate_all("ablation-tunnel-killed", event);
}

#[test]
fn any_one_block_out_leaks_nothing_and_all_of_them_out_leak_when_the_device_is_deleted() {
    let event = Event {
        name: "tunnel device deleted",
        act: |lab| lab.shell("n1", "ip link delete pst-c-eu").map(drop),
        by_the_lock_alone: MARKED,
        by_the_routes_alone: Leaks::No,
    };
    ablate_all("ablation-device-deleted", event);
}

#[test]
fn any_one_block_out_leaks_nothing_and_all_of_them_out_leak_when_the_policy_changes() {
    let event = Event {
        name: "policy changed",
        act: |lab| {
            lab.delete_yaml(&exit("eu", "gw-1", ""))?;
            wait_until(WAIT_DEADLINE, "a pod that is steered no more", || {
                let steered = lab.shell("n1", "nft list map inet postern steer4")?;
                Ok((!steered.contains("10.244.1.3")).then_some(()))
            })
        },
        by_the_lock_alone: Leaks::No,
        // A pod that is steered no more takes the main table, where the unreachable route does not stand.
        by_the_routes_alone: Leaks::Some,
    };
    ablate_all("ablation-policy-changed", event);
}

#[test]
fn without_our_tables_the_second_lock_holds_alone_and_its_absence_is_said() {
    let lab = TestLab::up(&without_repair()).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    settled(&lab, &[&sender.pod]);
    let event = Event {
        name: "our tables deleted",
        act: |lab| lab.shell("n1", TABLES).map(drop),
        by_the_lock_alone: Leaks::No,
        by_the_routes_alone: Leaks::Some,
    };
    let with = ablate(&lab, &sender, (&[], Leaks::No), event);
    lab.shell("n1", LOCK).unwrap();
    lab.shell("n1", TABLES).unwrap();
    let said = lab.await_report("n1", "SecondLock=False", |report| {
        let conditions = report["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|c| c["type"] == "SecondLock" && c["status"] == "False")
    });
    said.unwrap();
    let without = json!({"event": event.name, "out": [LOCK], "leaked": leaked(&lab, &sender)});
    record_run("tables-and-lock", &[with.clone(), without.clone()]).unwrap();
    assert_eq!(with["leaked"], 0, "{with}");
    assert_ne!(without["leaked"], 0, "{without}");
}

/// The node's own table with something wrong in it, in one batch, and then what else is taken out.
fn load(lab: &Lab, table: &str, text: &str, then: &str) {
    let batch = format!("delete table {table}\n{text}\n{then}\n");
    lab.node_namespace("n1").nft(&batch).unwrap();
}

/// The text without its lines that contain all of these words; there must be some.
fn without_lines(text: &str, words: &[&str]) -> String {
    let wrong = |line: &&str| words.iter().all(|word| line.contains(word));
    assert!(text.lines().any(|line| wrong(&line)), "{words:?}: {text}");
    let rest: Vec<&str> = text.lines().filter(|line| !wrong(line)).collect();
    rest.join("\n")
}

#[test]
fn a_removed_guard_rule_and_a_wrong_priority_are_seen_by_the_counter() {
    let lab = TestLab::up(&without_repair()).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    settled(&lab, &[&sender.pod]);
    let table = "inet postern";
    let right = lab
        .shell("n1", "nft -s list table inet postern 2>/dev/null")
        .unwrap();
    for line in [LOCK, ROUTES, "ip link delete pst-c-eu"] {
        lab.shell("n1", line).unwrap();
    }
    let guard_alone = "flush chain inet postern last";
    let last_alone = "flush chain inet postern guard";
    load(&lab, table, &right, guard_alone);
    assert_eq!(leaked(&lab, &sender), 0, "the guard alone");
    let wrong = without_lines(&right, &["oifname != \"pst-c-eu\" goto refuse"]);
    load(&lab, table, &wrong, guard_alone);
    assert!(leaked(&lab, &sender) > 0, "a guard rule is away");

    load(&lab, table, &right, last_alone);
    assert_eq!(leaked(&lab, &sender), 0, "the look before SNAT alone");
    let wrong = right.replace("postrouting priority 80;", "postrouting priority 120;");
    assert_ne!(wrong, right);
    load(&lab, table, &wrong, last_alone);
    assert!(leaked(&lab, &sender) > 0, "it looks after SNAT");
}

#[test]
fn a_removed_source_match_is_seen_by_the_counter() {
    let lab = TestLab::up(&without_repair()).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    let released = lab.pod_on("default/released", &PodOptions::on("n1"));
    let released = released.unwrap();
    settled(&lab, &[&sender.pod]);
    wait_until(WAIT_DEADLINE, "a released pod", || {
        let map = lab.shell("n1", "nft list map inet postern from4")?;
        let released = format!("{} : goto released", released.addresses[0]);
        Ok(map.contains(&released).then_some(()))
    })
    .unwrap();
    let right = lab.shell("n1", "nft -s list table bridge postern").unwrap();
    load(&lab, "bridge postern", &right, "");
    assert_eq!(forged(&lab, &sender, &released), 0, "the source is matched");
    let wrong = without_lines(&right, &["ip saddr", "@bind4"]);
    let wrong = without_lines(&wrong, &["ip6 saddr", "@bind6"]);
    load(&lab, "bridge postern", &wrong, "");
    let leaked = forged(&lab, &sender, &released);
    assert!(leaked > 0, "nobody matches the source");
}

/// The selected pod sends as the released one; answers what leaked.
fn forged(lab: &Lab, sender: &Sender, released: &PodRecord) -> u64 {
    let program = Binaries::locate().unwrap().lab().display().to_string();
    let begin = Timestamp::now();
    for (from, to) in released.addresses.iter().zip(sender.pod.world) {
        let (from, to) = (SocketAddr::new(*from, 4000), SocketAddr::new(to, 7));
        let (from, to) = (from.to_string(), to.to_string());
        let args = [&program, "forge", "udp", "--from", &from, "--to", &to];
        lab.exec_ok(Exec::Pod("crawlers/crawler"), &args).unwrap();
    }
    lab.await_attempts(sender, begin).unwrap();
    lab.packets_since(begin).unwrap().leaked
}
