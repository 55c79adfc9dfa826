//! Several events against one lab: each a leak case of its own, and all of them one `proof.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lab::LabError;
use crate::lab::{Binaries, Cluster, Lab, read_json};
use crate::proof::harness::listed::{ABLATIONS, CLUSTER_RUNS, LONG_RUNS, RUNS, Run, listed};
use crate::proof::harness::proof::RESUME;
use crate::proof::harness::test_lab::place;
use crate::proof::harness::{After, Proof, Sender, Silence, WAIT_DEADLINE, Wanted, wait_until};
use crate::proof::judge::Leak;

/// Nothing came by for so long: traffic has stopped. A sender tries 1200 times a second.
const SILENCE: Duration = Duration::from_millis(600);

/// What one event showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    #[serde(flatten)]
    pub proof: Proof,
    /// What left by anything but the exit since the event before.
    pub leaks: Vec<Leak>,
    /// The longest time of each flow without an answer, counted from the moment before the event.
    pub silences: BTreeMap<String, Silence>,
    /// Sentences of the case that do not hold.
    pub faults: Vec<String>,
}

/// The content of a run's `proof.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunProof {
    pub run: String,
    /// Its events in order.
    pub events: Vec<Shown>,
    /// Whatever does not hold, absent events too.
    pub faults: Vec<String>,
}

/// A run in the making.
#[derive(Debug)]
pub struct Series<'a> {
    lab: &'a Lab,
    counted: Timestamp,
    proof: RunProof,
}

impl<'a> Series<'a> {
    /// Begins a run of the list, and removes an older proof of it.
    ///
    /// # Errors
    /// When the older proof cannot be removed.
    pub fn begin(lab: &'a Lab, run: &str) -> Result<Self, LabError> {
        let path = path(run)?;
        if path.exists() {
            fs::remove_file(&path).map_err(LabError::file("remove", path))?;
        }
        let proof = RunProof {
            run: run.to_owned(),
            ..RunProof::default()
        };
        Ok(Self {
            lab,
            counted: Timestamp::MIN,
            proof,
        })
    }

    /// One event: the sender's packets arrive, the event happens, what should follow follows for each flow, and a whole
    /// second of the sender's after that is counted too. Leaks are counted from the end of the event before, and the time
    /// without an answer from the moment before this event.
    ///
    /// # Errors
    /// When the event fails, nothing arrives before it, or a counter cannot be read.
    pub fn prove(
        &mut self,
        event: &str,
        sender: &Sender,
        wanted: impl Into<Wanted>,
        act: impl FnOnce(&Lab) -> Result<(), LabError>,
    ) -> Result<&Shown, LabError> {
        let (lab, wanted) = (self.lab, wanted.into());
        let after = wanted.after;
        let begin = Timestamp::now();
        let first = lab.await_arrival(sender, begin)?;
        let begun = Timestamp::now();
        act(lab)?;
        let done = match after {
            After::Stops => lab.await_silence(sender)?,
            After::Flows | After::Released => Timestamp::now(),
        };
        // Whether it resumed shows in the counts; a case that did not is told with its numbers.
        let _ = lab.await_resumption(sender, after, done);
        let mut faults = not_answered(sender, wanted, done);
        lab.await_attempts(sender, done)?;
        faults.extend(silent(sender, wanted, begun));
        let (counted, packets) = (Timestamp::now(), lab.packets_since(self.counted)?);
        let arrived_after = lab.arrived_after(sender, after, done)?;
        self.counted = counted;
        let proof = Proof {
            case: event.to_owned(),
            after,
            attempted: sender.attempted_since(begin),
            arrived_before: first,
            arrived_after,
            dropped: packets.dropped,
            leaked: packets.leaked,
            before: packets.of(&sender.pod.uid).before,
            doubts: packets.faults(),
            node_resets: packets.node_resets,
        };
        faults.extend(proof.faults());
        if after == After::Stops && arrived_after > 0 {
            faults.push("packets still arrived after the event".to_owned());
        }
        let leaks = packets.leaks;
        self.proof.events.push(Shown {
            proof,
            leaks,
            silences: sender.longest_silences(begun),
            faults,
        });
        self.write()?;
        let last = self.proof.events.last();
        last.ok_or(LabError::ThreadLost {
            act: "keep a proof",
        })
    }

    /// Ends the run: everything that does not hold, with the events that are absent.
    ///
    /// # Errors
    /// When the proof cannot be written.
    pub fn finish(mut self) -> Result<Vec<String>, LabError> {
        let shown = |event: &&&str| self.proof.events.iter().any(|e| e.proof.case == **event);
        let listed = listed(&self.proof.run);
        let absent = listed.iter().filter(|event| !shown(event));
        let mut faults: Vec<String> = absent
            .map(|event| format!("{event}: the event is absent"))
            .collect();
        for event in &self.proof.events {
            let case = &event.proof.case;
            if !listed.contains(&case.as_str()) {
                faults.push(format!("{case}: the event is not in the list"));
            }
            let faults_of_run = event.faults.iter();
            faults.extend(faults_of_run.map(|fault| format!("{case}: {fault}: {event:?}")));
        }
        self.proof.faults = faults;
        self.write()?;
        Ok(self.proof.faults)
    }

    fn write(&self) -> Result<(), LabError> {
        record_run(&self.proof.run, &self.proof)
    }
}

/// The flows that do not go on although they should.
fn not_answered(sender: &Sender, wanted: Wanted, done: Timestamp) -> Vec<String> {
    if wanted.after == After::Stops {
        return Vec::new();
    }
    let again = sender.await_answers(wanted.flows, done, RESUME);
    again.err().iter().map(ToString::to_string).collect()
}

/// The flows that were without an answer for longer than they may be.
fn silent(sender: &Sender, wanted: Wanted, begun: Timestamp) -> Vec<String> {
    let Some(bound) = wanted.bound else {
        return Vec::new();
    };
    let beyond = sender.silent_longer_than(bound, begun).into_iter();
    beyond
        .map(|(flow, silence)| {
            format!("{flow} had no answer for longer than {bound:?}: {silence:?}")
        })
        .collect()
}

/// Writes the `proof.json` of a run that is no series of events.
///
/// # Errors
/// When it cannot be written.
pub fn record_run<T: Serialize + ?Sized>(run: &str, proof: &T) -> Result<(), LabError> {
    let path = path(run)?;
    let folder = path.parent().unwrap_or(&path);
    fs::create_dir_all(folder).map_err(LabError::file("create", folder))?;
    let text = serde_json::to_string_pretty(proof).map_err(LabError::json("a proof"))?;
    fs::write(&path, text).map_err(LabError::file("write", path))
}

fn path(run: &str) -> Result<PathBuf, LabError> {
    let folder = match std::env::var_os("POSTERN_PROOF_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Binaries::locate()?.path("../proof"),
    };
    let place = match place()? {
        Cluster::Standalone => folder,
        Cluster::ApiServer => folder.join("api-server"),
    };
    Ok(place.join(run).join("proof.json"))
}

/// All proofs that there should be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proofs {
    /// Runs with their events.
    pub runs: Vec<RunProof>,
    /// What leaked when blocks were taken out, by run.
    pub ablations: BTreeMap<String, Value>,
    /// Everything that does not hold: absent runs and events too.
    pub faults: Vec<String>,
}

/// Gathers the proofs of all listed runs and writes them as one `proof.json`. On an API server the same events are to
/// be shown and further ones; what leaks with blocks taken out does not depend on who publishes.
///
/// # Errors
/// When the folder of proofs cannot be found or written to.
pub fn gather_proofs() -> Result<Proofs, LabError> {
    let mut proofs = Proofs::default();
    let (further, ablations) = match place()? {
        Cluster::Standalone => (Vec::new(), &ABLATIONS[..]),
        Cluster::ApiServer => (on_api_server()?, &[][..]),
    };
    for run in RUNS.iter().chain(further) {
        let name = run.name;
        let Ok(proof) = read_json::<RunProof>(&path(name)?) else {
            proofs.faults.push(format!("{name}: the run is absent"));
            continue;
        };
        let faults_of_run = proof.faults.iter().map(|fault| format!("{name}: {fault}"));
        proofs.faults.extend(faults_of_run);
        let shown = |event: &&&str| proof.events.iter().any(|e| e.proof.case == **event);
        let absent = run.events.iter().filter(|event| !shown(event));
        let absent = absent.map(|event| format!("{name}: {event}: the event is absent"));
        proofs.faults.extend(absent);
        proofs.runs.push(proof);
    }
    for name in ablations {
        match read_json(&path(name)?) {
            Ok(proof) => drop(proofs.ablations.insert((*name).to_owned(), proof)),
            Err(_) => proofs.faults.push(format!("{name}: the run is absent")),
        }
    }
    record_run("", &proofs)?;
    Ok(proofs)
}

/// The further runs of the API server that are to be shown.
fn on_api_server() -> Result<Vec<&'static Run>, LabError> {
    let mut runs: Vec<&Run> = CLUSTER_RUNS.iter().collect();
    for run in LONG_RUNS {
        if path(run.name)?.exists() {
            runs.push(run);
        }
    }
    Ok(runs)
}

impl Lab {
    /// Waits until nothing of a sender arrives any more although it tries, and answers since when.
    ///
    /// # Errors
    /// `Timeout`, with what still arrived.
    pub fn await_silence(&self, sender: &Sender) -> Result<Timestamp, LabError> {
        let what = format!("the end of the arrivals of {}", sender.pod.key());
        wait_until(WAIT_DEADLINE, &what, || {
            let since = Timestamp::now();
            std::thread::sleep(SILENCE);
            let arrived = self.pod_since(sender, since)?.arrived;
            Ok((arrived == 0).then_some(since))
        })
    }

    /// Waits until a sender has written the counts of a whole second after a time.
    ///
    /// # Errors
    /// `Timeout`.
    pub fn await_attempts(&self, sender: &Sender, time: Timestamp) -> Result<(), LabError> {
        let what = format!("a second of attempts of {}", sender.pod.key());
        let begun = time + Duration::from_secs(1);
        wait_until(WAIT_DEADLINE, &what, || {
            Ok((sender.attempted_since(begun) > 0).then_some(()))
        })
    }
}
