//! A leak case that proves itself: traffic flowed before, traffic flowed after, and nothing leaked between.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lab::LabError;
use crate::lab::{Binaries, Lab};
use crate::proof::harness::{FLOWS, Sender, wait_until};
use crate::proof::judge::{Packets, PodCount};

/// Traffic that should flow again does so within this time.
pub(super) const RESUME: Duration = Duration::from_secs(10);

/// What should become of the sender's traffic after the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum After {
    /// It goes on by the exit, or starts again within 10 s.
    Flows,
    /// Nothing of it leaves any more.
    Stops,
    /// It leaves by anything: the pod was released.
    Released,
}

impl After {
    /// The same, of these flows alone.
    #[must_use]
    pub fn of(self, flows: &'static [&'static str]) -> Wanted {
        Wanted {
            flows,
            ..self.into()
        }
    }

    /// The same, and no flow is without an answer for longer than this from the event on.
    #[must_use]
    pub fn within(self, bound: Duration) -> Wanted {
        Wanted {
            bound: Some(bound),
            ..self.into()
        }
    }
}

/// What should become of each of a sender's flows.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub(super) after: After,
    /// The flows that are answered again where it goes on.
    pub(super) flows: &'static [&'static str],
    /// How long each flow may be without an answer.
    pub(super) bound: Option<Duration>,
}

impl From<After> for Wanted {
    fn from(after: After) -> Self {
        Self {
            after,
            flows: &FLOWS,
            bound: None,
        }
    }
}

/// What a leak case showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    pub case: String,
    /// What should happen after the event.
    pub after: After,
    /// Packets and connections that the pod attempted during the case.
    pub attempted: u64,
    /// Packets that arrived as they should before the event.
    pub arrived_before: u64,
    /// Packets that arrived after it: by the exit, or anyhow from a released pod.
    pub arrived_after: u64,
    /// Packets that the capture lost.
    pub dropped: u64,
    /// Packets that left by anything but the exit.
    pub leaked: u64,
    /// Packets of the sender that left elsewhere before its namespace was guarded: listed, and no leak.
    #[serde(default)]
    pub before: u64,
    /// Why the counts do not prove that nothing leaked.
    pub doubts: Vec<String>,
    /// Resets that nodes sent on their own behalf.
    pub node_resets: u64,
}

impl Proof {
    /// Every sentence of a leak case that does not hold; none means the case is proved.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let came = self.arrived_after > 0;
        let claims = [
            (self.attempted > 0, "the pod attempted nothing"),
            (self.arrived_before > 0, "nothing arrived before the event"),
            (
                came || self.after == After::Stops,
                "nothing arrived after the event",
            ),
        ];
        let faults = claims.iter().filter(|(holds, _)| !holds);
        let faults = faults.map(|(_, fault)| (*fault).to_owned());
        faults.chain(self.doubts.iter().cloned()).collect()
    }
}

impl Lab {
    /// Runs a leak case: waits until the sender's packets arrive, lets the event happen, waits for what should follow,
    /// goes on for a whole second in which the sender tries, counts, and writes the proof to `proof/CASE.json` of the
    /// target directory.
    ///
    /// Look at [`Proof::faults`]: this answers a proof also when the case failed.
    ///
    /// # Errors
    /// When the event fails, nothing arrives before it, or a counter cannot be read.
    pub fn prove(
        &self,
        case: &str,
        sender: &Sender,
        after: After,
        event: impl FnOnce(&Self) -> Result<(), LabError>,
    ) -> Result<Proof, LabError> {
        let begin = Timestamp::now();
        let first = self.await_arrival(sender, begin)?;
        event(self)?;
        let done = Timestamp::now();
        let resumed = self.await_resumption(sender, after, done);
        // Whether it resumed shows in the counts; a case that did not is told with its numbers.
        drop(resumed);
        self.await_attempts(sender, Timestamp::now())?;
        let packets = self.packets()?;
        let proof = Proof {
            case: case.to_owned(),
            after,
            attempted: sender.attempted_since(begin),
            arrived_before: first,
            arrived_after: self.arrived_after(sender, after, done)?,
            dropped: packets.dropped,
            leaked: packets.leaked,
            before: packets.of(&sender.pod.uid).before,
            doubts: packets.faults(),
            node_resets: packets.node_resets,
        };
        record(&proof, &packets)?;
        Ok(proof)
    }

    pub(super) fn await_arrival(&self, sender: &Sender, begin: Timestamp) -> Result<u64, LabError> {
        let what = format!("the arrival of packets of {}", sender.pod.key());
        wait_until(RESUME, &what, || {
            let count = self.pod_since(sender, begin)?.arrived;
            Ok((count > 0).then_some(count))
        })
    }

    pub(super) fn await_resumption(
        &self,
        sender: &Sender,
        after: After,
        done: Timestamp,
    ) -> Result<(), LabError> {
        if after == After::Stops {
            return Ok(());
        }
        wait_until(RESUME, "the return of traffic", || {
            Ok((self.arrived_after(sender, after, done)? > 0).then_some(()))
        })
    }

    /// Packets that arrived after an event as the case wants them.
    pub(super) fn arrived_after(
        &self,
        sender: &Sender,
        after: After,
        done: Timestamp,
    ) -> Result<u64, LabError> {
        Ok(arrived_after(&self.pod_since(sender, done)?, after))
    }
}

fn arrived_after(count: &PodCount, after: After) -> u64 {
    match after {
        After::Released => count.arrived,
        After::Flows | After::Stops => count.exited,
    }
}

fn record(proof: &Proof, packets: &Packets) -> Result<(), LabError> {
    let folder = match std::env::var_os("POSTERN_PROOF_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Binaries::locate()?.path("../proof"),
    };
    fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
    let path = folder.join(format!("{}.json", proof.case));
    let whole =
        serde_json::json!({"proof": proof, "faults": proof.faults(), "leaks": packets.leaks});
    let text = serde_json::to_string_pretty(&whole).map_err(LabError::json("a proof"))?;
    fs::write(&path, text).map_err(LabError::file("write", path))
}
