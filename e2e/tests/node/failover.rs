//! A gateway of an exit that has two is lost, in each way in which one can be: its clients go on by the other one, without
//! operator, and nothing leaves by any other path.

use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use postern_e2e::LabError;
use postern_e2e::lab::{Lab, UpOptions};
use postern_e2e::proof::harness::{
    FLOWS, Sender, TestLab, WAIT_DEADLINE, exit, policy, wait_until,
};
use serde_json::{Value, json};

/// The longest time without an answer when a gateway is lost, with the default probe.
const OUTAGE: Duration = Duration::from_millis(500);

/// Loses a gateway, and gives it back.
struct Loss {
    event: &'static str,
    lose: fn(&Lab, &str) -> Result<(), LabError>,
    restore: fn(&Lab, &str) -> Result<(), LabError>,
}

const LOSSES: [Loss; 6] = [
    Loss {
        event: "tunnel process killed",
        lose: |lab, gateway| lab.kill(&format!("tunnel-{gateway}")),
        restore: Lab::start_tunnel,
    },
    Loss {
        event: "node cut off",
        lose: Lab::cut_node,
        restore: Lab::join_node,
    },
    Loss {
        event: "agent and tunnel process hang",
        lose: |lab, gateway| signal(lab, gateway, Signal::SIGSTOP),
        restore: |lab, gateway| signal(lab, gateway, Signal::SIGCONT),
    },
    Loss {
        event: "keys of the clients removed from the gateway",
        lose: forget_clients,
        // Its agent puts them back by itself.
        restore: |_, _| Ok(()),
    },
    Loss {
        event: "uplink behind the gateway dead",
        lose: Lab::block_world,
        restore: Lab::unblock_world,
    },
    Loss {
        event: "node cordoned",
        lose: |lab, gateway| schedule(lab, gateway, &json!({"unschedulable": true})),
        restore: |lab, gateway| schedule(lab, gateway, &json!({})),
    },
];

/// Gives a node another spec.
fn schedule(lab: &Lab, gateway: &str, spec: &Value) -> Result<(), LabError> {
    let mut object = lab.object("Node", "", gateway)?.unwrap();
    object["spec"]["unschedulable"] = spec["unschedulable"].clone();
    lab.apply(vec![object]).map(drop)
}

fn signal(lab: &Lab, gateway: &str, signal: Signal) -> Result<(), LabError> {
    for program in ["agent", "tunnel"] {
        lab.signal(&format!("{program}-{gateway}"), signal)?;
    }
    Ok(())
}

/// Removes every peer of the served tunnel. A process of userspace WireGuard whose own key is removed goes on with the
/// sessions that it has.
fn forget_clients(lab: &Lab, gateway: &str) -> Result<(), LabError> {
    let ask = |request: &str| lab.ask_tunnel(gateway, "pst-s-eu", request);
    let answer = ask("get=1\n\n")?;
    let peers = answer
        .lines()
        .filter(|line| line.starts_with("public_key="));
    let removals: String = peers.map(|line| format!("{line}\nremove=true\n")).collect();
    let answer = ask(&format!("set=1\n{removals}\n"))?;
    assert!(answer.contains("errno=0"), "{answer}");
    Ok(())
}

/// The label by which the exit finds a gateway.
fn label(lab: &Lab, node: &str, value: &str) {
    let mut object = lab.object("Node", "", node).unwrap().unwrap();
    let labels = object["metadata"]["labels"].as_object_mut().unwrap();
    labels.insert("postern.dev/exit".to_owned(), Value::from(value));
    lab.apply(vec![object]).unwrap();
}

/// The gateway that a node's report names for the exit, where it answers.
fn in_use(lab: &Lab, node: &str) -> Option<String> {
    let report = lab.report_status(node)?;
    let exit = report["exits"].as_array()?.first()?;
    let healthy = exit["healthy"] == true;
    exit["gateway"]
        .as_str()
        .filter(|_| healthy)
        .map(str::to_owned)
}

fn await_gateway(lab: &Lab, node: &str, is_it: impl Fn(&str) -> bool) -> String {
    wait_until(WAIT_DEADLINE, "a gateway in use that answers", || {
        Ok(in_use(lab, node).filter(|gateway| is_it(gateway)))
    })
    .unwrap()
}

/// Waits until both gateways answer.
fn await_warm(lab: &Lab, node: &str) {
    let both = |report: &Value| report["exits"][0]["answering"] == 2;
    lab.await_report(node, "two gateways that answer", both)
        .unwrap();
}

fn flows_by(lab: &Lab, sender: &Sender, since: Timestamp) -> Result<(), LabError> {
    sender.await_answers(&FLOWS, since, WAIT_DEADLINE)?;
    lab.packets().map(drop)
}

fn annotated(annotation: &str) -> String {
    exit("eu", "gw-1", "").replace(
        "{name: eu}",
        &format!("{{name: eu, annotations: {{{annotation}}}}}"),
    )
}

/// A gateway is selected, the same one is selected again after clients have left it, and the exit is taken out of use.
fn a_person_decides(lab: &Lab, sender: &Sender) {
    await_warm(lab, "n1");
    let before = await_gateway(lab, "n1", |_| true);
    let other = if before == "gw-1" { "gw-2" } else { "gw-1" };
    let select = |node: &str, when: u8| annotated(&format!("postern.dev/gateway: {node} {when}"));
    lab.apply_yaml(&select(other, 1)).unwrap();
    await_gateway(lab, "n1", |gateway| gateway == other);
    lab.cut_node(other).unwrap();
    await_gateway(lab, "n1", |gateway| gateway == before);
    lab.join_node(other).unwrap();
    await_warm(lab, "n1");
    lab.apply_yaml(&select(other, 2)).unwrap();
    await_gateway(lab, "n1", |gateway| gateway == other);
    flows_by(lab, sender, Timestamp::now()).unwrap();

    lab.apply_yaml(&annotated("postern.dev/off: \"true\""))
        .unwrap();
    lab.await_silence(sender).unwrap();
    lab.apply_yaml(&exit("eu", "gw-1", "")).unwrap();
    flows_by(lab, sender, Timestamp::now()).unwrap();
}

#[test]
fn clients_go_on_by_the_other_gateway_within_half_a_second_however_one_is_lost() {
    let lab = TestLab::up(&UpOptions {
        gateways: 2,
        ..UpOptions::default()
    })
    .unwrap();
    label(&lab, "gw-2", "gw-1");
    let sender = lab.selected_sender("n1").unwrap();
    let probed = exit("eu", "gw-1", "").replace(
        "spec:\n",
        "spec:\n  probe: {targets: [{tcp: \"203.0.112.1:80\"}]}\n",
    );
    lab.apply_yaml(&(probed + &policy("eu", ""))).unwrap();
    let rounds: usize = std::env::var("POSTERN_FAILOVERS").map_or(1, |text| text.parse().unwrap());
    for loss in LOSSES.iter().cycle().take(rounds * LOSSES.len()) {
        await_warm(&lab, "n1");
        let gateway = await_gateway(&lab, "n1", |_| true);
        let begun = Timestamp::now();
        (loss.lose)(&lab, &gateway).unwrap();
        let other = await_gateway(&lab, "n1", |other| other != gateway);
        flows_by(&lab, &sender, Timestamp::now()).unwrap();
        println!(
            "{}: {gateway} to {other}: {:?}",
            loss.event,
            sender.longest_silences(begun)
        );
        let silent = sender.silent_longer_than(OUTAGE, begun);
        (loss.restore)(&lab, &gateway).unwrap();
        assert_eq!(silent, Vec::new(), "{}", loss.event);
    }
    a_person_decides(&lab, &sender);
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
