//! Two operators that both think they lead, and an API server that answers badly: nothing stale is published.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster_leaders`, as root; the first run builds Kubernetes.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

mod plane;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use plane::{LONG, NODES, SYSTEM, await_generation, body, change, cluster, get};
use postern_e2e::LabError;
use postern_e2e::controlplane::{Fault, OPERATORS, operator_name};
use postern_e2e::harness::{After, PATIENCE, Series, wait_until};
use postern_e2e::lab::Lab;
use serde_json::Value;

/// How long a fault lasts.
const DISTURBED: Duration = Duration::from_secs(20);

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

/// The number of the operator that holds the Lease.
fn leader(lab: &Lab) -> Result<u8, LabError> {
    wait_until(LONG, "a holder of the Lease", || {
        let lease = get(lab, &["lease", "postern-operator", "-n", SYSTEM])?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        Ok((1..=OPERATORS).find(|number| {
            let name = operator_name(*number).unwrap();
            holder.starts_with(&format!("{name}_"))
        }))
    })
}

/// The leader hangs right after a change, the other one takes over and publishes twice, and then both are there.
fn hang_and_resume(lab: &Lab, round: u32) -> Result<(), LabError> {
    let number = leader(lab)?;
    change(lab, round * 10 + 1)?;
    lab.pause_operator(number)?;
    wait_until(LONG, "another leader", || {
        Ok((leader(lab)? != number).then_some(()))
    })?;
    let generation = change(lab, round * 10 + 2)?;
    await_generation(lab, "n1", generation)?;
    let generation = change(lab, round * 10 + 3)?;
    lab.resume_operator(number)?;
    await_generation(lab, "n1", generation)?;
    let generation = change(lab, round * 10 + 4)?;
    await_generation(lab, "n1", generation)
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
            NODES
                .iter()
                .try_for_each(|node| lab.cut_watches(node).map(drop))?;
        }
        std::thread::sleep(DISTURBED / 8);
    }
    let met: u64 = lab.requests()?.requests.iter().map(|row| row.faults).sum();
    lab.clear_fault()?;
    assert!(met > 0, "nobody met {code}");
    await_generation(lab, "n1", last)
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
            hang_and_resume(lab, 1)?;
            hang_and_resume(lab, 2)
        },
    );
    for code in [409, 410, 429, 500] {
        prove(&format!("half of all answers are {code}"), &|lab| {
            disturb(lab, code)
        });
    }
    prove("watches three seconds late, and cut", &|lab| {
        lab.delay_watches(Duration::from_secs(3))?;
        let mut last = 0;
        for round in 0..4 {
            last = change(lab, 9000 + round)?;
            NODES
                .iter()
                .try_for_each(|node| lab.cut_watches(node).map(drop))?;
        }
        await_generation(lab, "n1", last)?;
        lab.delay_watches(Duration::ZERO)
    });
    let last = get(&lab, &["egp", "crawler", "-n", "crawlers"]).unwrap();
    wait_until(PATIENCE, "the newest generation among the versions", || {
        let versions = versions.so_far();
        let newest = versions.iter().map(|one| one.generation).max();
        Ok((newest == last["metadata"]["generation"].as_i64()).then_some(()))
    })
    .unwrap();
    let epochs: BTreeSet<u64> = versions.so_far().iter().map(|one| one.epoch).collect();
    assert!(epochs.len() >= 3, "{epochs:?}");
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}
