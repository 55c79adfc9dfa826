//! What a sender saw in one second.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of a sender's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The end of the second.
    pub at: Timestamp,
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
}

impl Tally {
    /// Adds another tally of the same flow.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.sources.extend(other.sources);
        for (name, count) in other.errors {
            *self.errors.entry(name).or_default() += count;
        }
    }

    /// Counts the world's answer `ADDRESS PORT\n`, once per line.
    pub(crate) fn answered(&mut self, text: &[u8]) {
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
