//! What a sender saw in one second.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// One line of a sender's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The beginning of the second.
    pub from: Timestamp,
    /// The end of the second.
    pub at: Timestamp,
    /// For how long of it tasks stood in line for a processor.
    pub stalled: SignedDuration,
    /// By protocol and family: `tcp4`, `tcp6`, `udp4`, `udp6`, `icmp4`, `icmp6`.
    pub flows: BTreeMap<String, Tally>,
}

/// What became of one protocol of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Attempts: connections, pieces of a stream, datagrams, echo requests.
    pub sent: u64,
    pub received: u64,
    /// The source addresses that the world saw, from its answers (ICMP answers contain none).
    pub sources: BTreeSet<IpAddr>,
    pub errors: BTreeMap<String, u64>,
    /// When it was answered, if it was.
    pub heard: Option<Heard>,
}

/// The times of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heard {
    pub first: Timestamp,
    pub last: Timestamp,
    /// The longest time between one and the next.
    pub pause: SignedDuration,
}

impl Heard {
    fn at(time: Timestamp) -> Self {
        Self {
            first: time,
            last: time,
            pause: SignedDuration::ZERO,
        }
    }

    /// These answers, and later ones.
    fn then(self, later: Self) -> Self {
        let between = later.first.duration_since(self.last);
        Self {
            first: self.first,
            last: later.last,
            pause: self.pause.max(later.pause).max(between),
        }
    }
}

impl Tally {
    /// Adds a later tally of the same flow.
    pub fn add(&mut self, other: Self) {
        self.hear(other.heard);
        self.sent += other.sent;
        self.received += other.received;
        self.sources.extend(other.sources);
        for (name, count) in other.errors {
            *self.errors.entry(name).or_default() += count;
        }
    }

    fn hear(&mut self, heard: Option<Heard>) {
        self.heard = match (self.heard, heard) {
            (Some(before), Some(later)) => Some(before.then(later)),
            (before, later) => before.or(later),
        };
    }

    /// Notes that answers came just now.
    pub(crate) fn hears(&mut self) {
        self.hear(Some(Heard::at(Timestamp::now())));
    }

    /// Counts the world's answer `ADDRESS PORT\n`, once per line.
    pub(crate) fn answered(&mut self, text: &[u8]) {
        self.hears();
        for line in String::from_utf8_lossy(text).lines() {
            self.received += 1;
            self.sources.extend(
                line.split(' ')
                    .next()
                    .and_then(|address| address.parse::<IpAddr>().ok()),
            );
        }
    }

    /// Counts a failure; that nothing has come yet is none.
    pub(crate) fn failed(&mut self, error: &io::Error) {
        if error.kind() != io::ErrorKind::WouldBlock {
            *self
                .errors
                .entry(format!("{:?}", error.kind()))
                .or_default() += 1;
        }
    }
}
