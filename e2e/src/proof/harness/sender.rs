//! A pod that sends all the time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::lab::LabError;
use crate::lab::PodRecord;
use crate::lab::traffic::send::{Line, Tally};
use crate::proof::harness::silence::{Silence, silences};
use crate::proof::harness::wait_until;

/// The flows of a sender: three protocols in two families.
pub const FLOWS: [&str; 6] = ["icmp4", "icmp6", "tcp4", "tcp6", "udp4", "udp6"];

/// A pod that sends all the time, and the counts that it writes.
#[derive(Clone, Debug)]
pub struct Sender {
    pub pod: PodRecord,
    out: PathBuf,
}

impl Sender {
    pub(crate) fn new(pod: PodRecord, out: PathBuf) -> Self {
        Self { pod, out }
    }

    /// Its lines, one a second; none in its first second.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.out).unwrap_or_default();
        text.lines()
            .map_while(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Sums per flow of the seconds that ended after a time.
    #[must_use]
    pub fn since(&self, time: Timestamp) -> BTreeMap<String, Tally> {
        let mut sums: BTreeMap<String, Tally> = BTreeMap::new();
        for line in self.lines().into_iter().filter(|line| line.at > time) {
            for (name, tally) in line.flows {
                sums.entry(name).or_default().add(tally);
            }
        }
        sums
    }

    /// Sums per flow of all seconds.
    #[must_use]
    pub fn total(&self) -> BTreeMap<String, Tally> {
        self.since(Timestamp::MIN)
    }

    /// Packets and connections attempted after a time, over all flows.
    #[must_use]
    pub fn attempted_since(&self, time: Timestamp) -> u64 {
        self.since(time).values().map(|tally| tally.sent).sum()
    }

    /// The longest time of each flow without an answer, counted from a time on.
    #[must_use]
    pub fn longest_silences(&self, since: Timestamp) -> BTreeMap<String, Silence> {
        let all = silences(&self.lines(), since).into_iter();
        all.filter_map(|(flow, silences)| {
            Some((flow, silences.into_iter().max_by_key(|one| one.length)?))
        })
        .collect()
    }

    /// Every time of a flow without an answer that is longer than it may be, counted from a time on.
    #[must_use]
    pub fn silent_longer_than(&self, bound: Duration, since: Timestamp) -> Vec<(String, Silence)> {
        let all = silences(&self.lines(), since).into_iter();
        all.flat_map(|(flow, silences)| {
            let beyond = silences.into_iter().filter(|one| one.exceeds(bound));
            beyond.map(move |one| (flow.clone(), one))
        })
        .collect()
    }

    /// When it began to send, once a second of it is over.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        let mut began = self.lines().into_iter().map(|line| line.from);
        // A pod of the same name may have written to the file before.
        began.find(|from| *from >= self.pod.created)
    }

    /// Waits until every one of these flows has had an answer in a second that began after the time.
    ///
    /// # Errors
    /// `Timeout` with what each flow has had.
    pub fn await_answers(
        &self,
        flows: &[&str],
        time: Timestamp,
        deadline: Duration,
    ) -> Result<(), LabError> {
        let begun = time + Duration::from_secs(1);
        let what = format!("an answer to every flow of {}", self.pod.key());
        let answered = |sums: &BTreeMap<String, Tally>| {
            flows
                .iter()
                .all(|flow| sums.get(*flow).is_some_and(|tally| tally.received > 0))
        };
        wait_until(deadline, &what, || {
            Ok(answered(&self.since(begun)).then_some(()))
        })
        .map_err(|error| match error {
            LabError::Timeout { what, seconds, .. } => LabError::Timeout {
                what,
                seconds,
                detail: format!("; since then: {:?}", self.since(begun)),
            },
            other => other,
        })
    }
}
