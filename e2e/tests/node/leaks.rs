//! Programs die, devices and rulesets go: nothing of a selected pod leaves but by its exit.

use std::time::Duration;

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::lab::{Lab, PodOptions, UpOptions};
use postern_e2e::proof::harness::{
    After, FLOWS, Sender, Series, TestLab, WAIT_DEADLINE, exit, policy,
};

/// Whoever loses nothing has an answer at least this often.
const UNBROKEN: Duration = Duration::from_millis(300);

/// Kills a program, waits until nothing comes through any more, and starts it again.
fn outage(
    lab: &Lab,
    sender: &Sender,
    name: &str,
    start: impl FnOnce(&Lab) -> Result<(), LabError>,
) -> Result<(), LabError> {
    lab.kill(name)?;
    let silent = lab.await_silence(sender)?;
    lab.await_attempts(sender, silent)?;
    start(lab)
}

/// Does something to a node's ruleset and waits until its agent has repaired and counted it.
fn repaired(lab: &Lab, node: &str, line: &str) -> Result<(), LabError> {
    let (before, begun) = (lab.repairs(node), Timestamp::now());
    lab.shell(node, line)?;
    lab.await_report(node, "the repair in the report", |_| {
        lab.repairs(node) > before
    })?;
    lab.await_state(node, "eu", "Enforcing", begun).map(drop)
}

#[test]
fn nothing_leaks_when_programs_die_and_devices_and_rulesets_go() {
    let lab = TestLab::up(&UpOptions::default()).unwrap();
    let pod = PodOptions::on("n1").label("app", "crawler");
    let sender = lab.sender("crawlers/crawler", pod).unwrap();
    let mut series = Series::begin(&lab, "processes").unwrap();
    let mut prove = |event: &str, act: &dyn Fn(&Lab) -> Result<(), LabError>| {
        let wanted = match event {
            "agent killed and restarted" => After::Flows.within(UNBROKEN),
            _ => After::Flows.into(),
        };
        series.prove(event, &sender, wanted, act).unwrap();
    };
    prove("policy applied while they send", &|lab| {
        lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))?;
        lab.await_state("n1", "eu", "Enforcing", Timestamp::MIN)
            .map(drop)
    });
    let applied = Timestamp::now();
    sender
        .await_answers(&FLOWS, applied, WAIT_DEADLINE)
        .unwrap();
    prove("tunnel process killed", &|lab| {
        outage(lab, &sender, "tunnel-n1", |lab| lab.start_tunnel("n1"))
    });
    prove("tunnel process of the gateway killed", &|lab| {
        outage(lab, &sender, "tunnel-gw-1", |lab| lab.start_tunnel("gw-1"))
    });
    prove("tunnel device deleted", &|lab| {
        repaired(lab, "n1", "ip link delete pst-c-eu")
    });
    prove("agent killed and restarted", &|lab| {
        lab.kill("agent-n1")?;
        let killed = Timestamp::now();
        sender.await_answers(&FLOWS, killed, WAIT_DEADLINE)?;
        lab.start_agent("n1")?;
        let started = Timestamp::now();
        lab.await_state("n1", "eu", "Enforcing", started).map(drop)
    });
    prove("our tables deleted by somebody else", &|lab| {
        repaired(
            lab,
            "n1",
            "nft 'delete table inet postern; delete table bridge postern'",
        )
    });
    prove("the whole ruleset flushed by somebody else", &|lab| {
        repaired(lab, "n1", "nft flush ruleset")
    });
    // What the flush took from the cluster's own programs is theirs to bring back.
    lab.restore_masquerade("n1").unwrap();
    lab.translate_services().unwrap();
    let last = Timestamp::now();
    sender.await_answers(&FLOWS, last, WAIT_DEADLINE).unwrap();
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}
