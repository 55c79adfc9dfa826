//! Two operators that both think they lead, and an API server that answers badly: nothing stale is published.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster leaders::`, as root; the first run builds Kubernetes.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::plane::{LONG, NODES, await_generation, body, change, cluster, get, leader};
use postern_e2e::LabError;
use postern_e2e::cluster::{Fault, RequestCount, operator_name};
use postern_e2e::lab::Lab;
use postern_e2e::proof::harness::{After, Series, WAIT_DEADLINE, wait_until};
use serde_json::Value;

/// How long a fault lasts.
const DISTURBED: Duration = Duration::from_secs(20);

/// Longer than an answer of the API server takes.
const STILL: Duration = Duration::from_millis(500);

/// Every version of every intent, as the API server shows them to one who watches from the beginning.
struct Versions {
    kubectl: Child,
    out: PathBuf,
}

/// One version of one node's intent.
#[derive(Debug)]
struct Version {
    node: String,
    serial: u64,
    said: u64,
    epoch: u64,
    /// The generation of the policy `crawlers/crawler` that it carries.
    generation: i64,
}

impl Versions {
    fn watch(lab: &Lab) -> Self {
        let out = lab.dir().join("versions.json");
        let watch = [
            "get",
            "nodeintents",
            "--watch",
            "--output-watch-events",
            "-o",
            "json",
        ];
        let mut command = lab.kubectl(watch).unwrap();
        command
            .stdout(File::create(&out).unwrap())
            .stderr(Stdio::null());
        let kubectl = command.spawn().unwrap();
        Self { kubectl, out }
    }

    fn so_far(&self) -> Vec<Version> {
        let text = std::fs::read_to_string(&self.out).unwrap();
        let events = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let read = |event: Value| {
            let object = &event["object"];
            let body = body(&object["spec"]);
            let generations = body.iter().flat_map(|body| &body.firewall);
            let epoch = object["metadata"]["annotations"]["postern.dev/epoch"].as_str();
            Version {
                node: object["metadata"]["name"].as_str().unwrap().to_owned(),
                serial: object["spec"]["serial"].as_u64().unwrap(),
                said: body.as_ref().map(|body| body.serial.0).unwrap_or_default(),
                epoch: epoch
                    .and_then(|epoch| epoch.parse().ok())
                    .unwrap_or_default(),
                generation: generations
                    .map(|scope| scope.policy.generation)
                    .max()
                    .unwrap_or_default(),
            }
        };
        // The last one may be half written.
        events.map_while(Result::ok).map(read).collect()
    }

    /// What is wrong with the versions so far: a serial, an epoch or a policy's generation that fell, and a document
    /// that is newer or older than its object says.
    fn faults(&self) -> Vec<String> {
        let versions = self.so_far();
        let mut faults = Vec::new();
        for node in NODES {
            let of: Vec<&Version> = versions.iter().filter(|one| one.node == node).collect();
            for pair in of.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                let fell = after.serial < before.serial
                    || after.epoch < before.epoch
                    || after.generation < before.generation
                    || (after.serial == before.serial && after.generation != before.generation);
                if fell {
                    faults.push(format!("{before:?} and then {after:?}"));
                }
            }
            let lies = of.iter().filter(|one| one.serial != one.said);
            faults.extend(lies.map(|one| format!("{one:?}")));
        }
        faults
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// How the operators call themselves.
const OPERATOR: &str = "postern-operator";

/// What the operators have asked since the last reset.
fn of_operators(lab: &Lab) -> Result<Vec<RequestCount>, LabError> {
    let mut rows = lab.requests()?.requests;
    rows.retain(|row| row.user_agent.starts_with(OPERATOR));
    Ok(rows)
}

/// What the operators have tried to write since the last reset.
fn writes_of_operators(lab: &Lab) -> Result<Vec<RequestCount>, LabError> {
    let mut rows = of_operators(lab)?;
    rows.retain(|row| !matches!(row.verb.as_str(), "get" | "list" | "watch"));
    Ok(rows)
}

/// Cuts the watches of all clients, and returns how many of them were the operators'.
fn cut_all(lab: &Lab) -> Result<u64, LabError> {
    for node in NODES {
        lab.cut_watches(node)?;
    }
    lab.cut_watches_of(OPERATOR)
}

/// What the leader of meanwhile does when the one that hung is back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It works, and has something to publish.
    Works,
    /// It hangs too, for less than its lease: whatever is asked then, the one that is back has asked.
    Hangs,
}

/// The leader hangs right after a change, the other one takes over and publishes, and then both are there.
fn hang_and_resume(lab: &Lab, round: u32, next: Next) -> Result<(), LabError> {
    let number = leader(lab)?;
    change(lab, round * 10 + 1)?;
    lab.pause_operator(number)?;
    let other = wait_until(LONG, "another leader", || {
        let now = leader(lab)?;
        Ok((now != number).then_some(now))
    })?;
    let generation = change(lab, round * 10 + 2)?;
    await_generation(lab, "n1", generation)?;
    let hung = process(lab, number)?;
    assert!(hung.is_some(), "operator {number} runs");
    let generation = match next {
        Next::Works => {
            let generation = change(lab, round * 10 + 3)?;
            lab.resume_operator(number)?;
            generation
        }
        Next::Hangs => {
            lab.pause_operator(other)?;
            await_still(lab)?;
            let generation = change(lab, round * 10 + 3)?;
            lab.reset_requests()?;
            lab.resume_operator(number)?;
            generation
        }
    };
    await_end(lab, number, hung)?;
    if next == Next::Hangs {
        let writes = writes_of_operators(lab)?;
        lab.resume_operator(other)?;
        let done = writes.iter().flat_map(|row| &row.codes);
        let done: u64 = done
            .filter(|(code, _)| **code < 300)
            .map(|(_, count)| count)
            .sum();
        assert_eq!(done, 0, "the leader of before wrote: {writes:?}");
    }
    // Had it published, the epoch of a version would fall: the caller looks at all of them.
    await_generation(lab, "n1", generation)?;
    let generation = change(lab, round * 10 + 4)?;
    await_generation(lab, "n1", generation)
}

/// Waits until nothing that the operators have sent is still to be answered.
fn await_still(lab: &Lab) -> Result<(), LabError> {
    wait_until(WAIT_DEADLINE, "the answers to operators that hang", || {
        let before = writes_of_operators(lab)?;
        std::thread::sleep(STILL);
        Ok((writes_of_operators(lab)? == before).then_some(()))
    })
}

/// The process of an operator; the loop around it starts another one when it ends.
fn process(lab: &Lab, number: u8) -> Result<Option<u32>, LabError> {
    let group = lab.cgroup(&operator_name(number)?)?;
    let is_operator = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        // The kernel keeps fifteen letters of it.
        name.is_ok_and(|name| OPERATOR.starts_with(name.trim()))
    };
    Ok(group.processes().into_iter().find(is_operator))
}

/// Waits until a process that leads no more has ended.
fn await_end(lab: &Lab, number: u8, hung: Option<u32>) -> Result<(), LabError> {
    let what = "the end of a leader whose lease is lost";
    wait_until(WAIT_DEADLINE, what, || {
        Ok((process(lab, number)? != hung).then_some(()))
    })
}

/// Changes the policy while half of all answers are this one, and then wants the last change in force.
fn disturb(lab: &Lab, code: u16) -> Result<(), LabError> {
    lab.reset_requests()?;
    let fault = Fault {
        code,
        rate: 0.5,
        user_agent: None,
        verb: None,
        resource: None,
    };
    lab.set_fault(&fault)?;
    let begin = Instant::now();
    let mut changes = 0;
    let mut last = 0;
    while begin.elapsed() < DISTURBED {
        changes += 1;
        last = change(lab, u32::from(code) * 10 + changes)?;
        // Only an API server that ends watches lets a fault of lists and watches be met.
        if code == 410 {
            cut_all(lab)?;
        }
        std::thread::sleep(DISTURBED / 8);
    }
    let met = of_operators(lab)?;
    lab.clear_fault()?;
    let faults: u64 = met.iter().map(|row| row.faults).sum();
    assert!(faults > 0, "no operator met {code}: {met:?}");
    await_generation(lab, "n1", last)
}

/// Changes the policy while each event comes late and each watch is cut again and again, and once more when none is
/// cut.
fn slow_watches(lab: &Lab) -> Result<(), LabError> {
    lab.reset_requests()?;
    lab.delay_watches(Duration::from_secs(3))?;
    let mut cut = 0;
    for round in 0..4 {
        change(lab, 9000 + round)?;
        cut += cut_all(lab)?;
    }
    assert!(cut > 0, "the operators watched nothing");
    // A watch that is cut in time brings nothing late: its events are in the next list.
    let last = change(lab, 9004)?;
    await_generation(lab, "n1", last)?;
    wait_until(LONG, "an event that came late to an operator", || {
        let late: u64 = of_operators(lab)?.iter().map(|row| row.delayed).sum();
        Ok((late > 0).then_some(()))
    })?;
    lab.delay_watches(Duration::ZERO)
}

#[test]
fn two_leaders_and_a_bad_api_server_publish_nothing_stale() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let versions = Versions::watch(&lab);
    let mut series = Series::begin(&lab, "leaders").unwrap();
    let mut prove = |case: &str, act: &dyn Fn(&Lab) -> Result<(), LabError>| {
        series.prove(case, &sender, After::Flows, act).unwrap();
        assert_eq!(versions.faults(), Vec::<String>::new(), "{case}");
    };
    prove(
        "a leader that hung is back beside the next one, twice",
        &|lab| {
            hang_and_resume(lab, 1, Next::Works)?;
            hang_and_resume(lab, 2, Next::Hangs)
        },
    );
    for code in [409, 410, 429, 500] {
        prove(&format!("half of all answers are {code}"), &|lab| {
            disturb(lab, code)
        });
    }
    prove("watches three seconds late, and cut", &slow_watches);
    let last = get(&lab, &["egp", "crawler", "-n", "crawlers"]).unwrap();
    wait_until(
        WAIT_DEADLINE,
        "the newest generation among the versions",
        || {
            let versions = versions.so_far();
            let newest = versions.iter().map(|one| one.generation).max();
            Ok((newest == last["metadata"]["generation"].as_i64()).then_some(()))
        },
    )
    .unwrap();
    let epochs: BTreeSet<u64> = versions.so_far().iter().map(|one| one.epoch).collect();
    assert!(epochs.len() >= 3, "{epochs:?}");
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}
