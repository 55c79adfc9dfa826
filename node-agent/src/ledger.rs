//! What must not be forgotten: the last verified envelope, its serial, the highest time seen, the pinned keys, the last
//! applied digest, and a release by root.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_intent::keys::{KeySetDocument, PublicKeyError};
use postern_intent::published::read_cluster;
use postern_intent::{DsseEnvelope, Prefix, Serial, TrustedKeys, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::files::{self, FileError, Readers};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entries {
    /// The last verified intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<DsseEnvelope>,
    /// The highest serial that was accepted, of an intent or a release.
    #[serde(default)]
    pub serial: Serial,
    /// The digest of the document with that serial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The cluster document that the intent was joined with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_envelope: Option<DsseEnvelope>,
    /// The serial of that cluster document.
    #[serde(default)]
    pub cluster_serial: Serial,
    /// The digest of that cluster document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_digest: Option<String>,
    /// The highest time seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeySetDocument>,
    /// The digest of the body that the kernel carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_digest: Option<String>,
    /// The serial of the cluster document in that body.
    #[serde(default)]
    pub applied_cluster_serial: Serial,
    /// The digest of the last signed release that was carried out, whether it is in force or was ended since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_digest: Option<String>,
    /// The release in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<AcceptedRelease>,
    /// Written at the first start on a node that shows no sign of an earlier one, and ended by the first intent: no intent
    /// was ever in force here. A ledger that was lost and begun anew does not say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclaimed: bool,
}

impl Entries {
    /// The ranges that clients had their tunnel addresses from, and nobody else an address; none where no cluster document was
    /// ever in force. The document was verified when it was taken, and one that cannot be read any more keeps nothing from
    /// being removed.
    #[must_use]
    pub fn tunnel_ranges(&self) -> Vec<Prefix> {
        let envelope = self.cluster_envelope.as_ref();
        let Some(document) = envelope.and_then(|envelope| read_cluster(envelope).ok()) else {
            return Vec::new();
        };
        let cluster = document.cluster;
        let is_free = |range: &Prefix| {
            let mut others = cluster.pod_ranges.iter().chain(&cluster.service_ranges);
            let mut addresses = cluster
                .node_addresses
                .iter()
                .chain(&cluster.service_addresses);
            !others.any(|other| range.overlaps(other)) && !addresses.any(|one| range.contains(one))
        };
        cluster
            .tunnel_ranges
            .iter()
            .copied()
            .filter(is_free)
            .collect()
    }
}

/// A release that was accepted: no intent up to this serial is applied again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedRelease {
    /// Of the same counter as intents.
    pub serial: Serial,
    pub reason: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// Who: a signed document or root on the socket.
    pub by: ReleasedBy,
}

/// Who released the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleasedBy {
    /// A release signed by a trusted key.
    SignedRelease,
    /// Root on the node's socket.
    RootOnSocket,
    /// Root, where no agent runs.
    RootWithoutAgent,
}

impl ReleasedBy {
    /// The word in the ledger and in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedRelease => "SignedRelease",
            Self::RootOnSocket => "RootOnSocket",
            Self::RootWithoutAgent => "RootWithoutAgent",
        }
    }
}

/// The file: the entries as text, with the SHA-256 of that text, so that a torn or edited file is known as such.
#[derive(Debug, Serialize, Deserialize)]
struct LedgerFile {
    sha256: String,
    entries: String,
}

/// What was found at the start.
#[derive(Debug)]
pub enum LedgerReading {
    /// The ledger as it was left.
    Whole,
    /// No file: a new node, or somebody removed it.
    Missing,
    /// A file that cannot be read or believed; it was put aside.
    Corrupt {
        /// Where it lies now.
        aside: PathBuf,
    },
}

/// Why the ledger cannot be used.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("the ledger cannot be kept")]
    File(#[source] FileError),
    /// The pinned keys cannot be read.
    #[error("the pinned keys cannot be read")]
    Keys(#[source] PublicKeyError),
}

/// The ledger and its file.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    entries: Entries,
    /// Where a file that could not be read goes before another one is written.
    unread: Option<PathBuf>,
}

impl Ledger {
    /// Opens the ledger in a folder. A file that cannot be read or believed is put aside and named in what was found: the
    /// guard must not wait for it, and without a ledger nobody is let out.
    #[must_use]
    pub fn open(folder: &Path) -> (Self, LedgerReading) {
        let path = folder.join("ledger.json");
        let (entries, found) = match files::read(&path) {
            Ok(None) => (Entries::default(), LedgerReading::Missing),
            Ok(Some(bytes)) => match believe(&bytes) {
                Some(entries) => (entries, LedgerReading::Whole),
                None => (Entries::default(), put_aside(&path, folder)),
            },
            // It may be whole, with pinned keys and a serial in it: it stays until something has to be written in its place.
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the ledger cannot be read"
                );
                let aside = aside(folder);
                let ledger = Self {
                    path,
                    entries: Entries::default(),
                    unread: Some(aside.clone()),
                };
                return (ledger, LedgerReading::Corrupt { aside });
            }
        };
        let unread = None;
        (
            Self {
                path,
                entries,
                unread,
            },
            found,
        )
    }

    #[must_use]
    pub const fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The pinned keys, or the installed ones where none are pinned yet.
    ///
    /// # Errors
    /// [`LedgerError::Keys`].
    pub fn keys(&self, installed: &TrustedKeys) -> Result<TrustedKeys, LedgerError> {
        match &self.entries.keys {
            Some(document) => TrustedKeys::from_document(document).map_err(LedgerError::Keys),
            None => Ok(installed.clone()),
        }
    }

    /// Changes it, durable before this returns.
    ///
    /// # Errors
    /// [`LedgerError::File`]; what it held before stays in force.
    pub fn record(&mut self, change: impl FnOnce(&mut Entries)) -> Result<(), LedgerError> {
        let mut entries = self.entries.clone();
        change(&mut entries);
        // The highest time never falls, whoever writes what.
        entries.highest_time = entries.highest_time.max(self.entries.highest_time);
        self.write(entries)
    }

    /// Root says what time it is: the highest time may fall.
    ///
    /// # Errors
    /// [`LedgerError::File`]; what it held before stays in force.
    pub fn set_time(&mut self, time: Timestamp) -> Result<(), LedgerError> {
        let entries = Entries {
            highest_time: Some(time),
            ..self.entries.clone()
        };
        self.write(entries)
    }

    fn write(&mut self, entries: Entries) -> Result<(), LedgerError> {
        if entries == self.entries {
            return Ok(());
        }
        let text = serde_json::to_string(&entries).map_err(|source| {
            LedgerError::File(FileError::Content {
                path: self.path.clone(),
                source,
            })
        })?;
        let page = LedgerFile {
            sha256: sum(&text),
            entries: text,
        };
        if let Some(aside) = self.unread.take() {
            drop(std::fs::rename(&self.path, aside));
        }
        files::write_json(&self.path, &page, Readers::Owner).map_err(LedgerError::File)?;
        self.entries = entries;
        Ok(())
    }
}

fn aside(folder: &Path) -> PathBuf {
    folder.join("ledger.corrupt.json")
}

/// Where not even that can be done, the next entry writes over it or fails as such.
fn put_aside(path: &Path, folder: &Path) -> LedgerReading {
    let aside = aside(folder);
    drop(std::fs::rename(path, &aside));
    LedgerReading::Corrupt { aside }
}

fn sum(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn believe(bytes: &[u8]) -> Option<Entries> {
    let page: LedgerFile = serde_json::from_slice(bytes).ok()?;
    (sum(&page.entries) == page.sha256)
        .then(|| serde_json::from_str(&page.entries).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, found) = Ledger::open(folder.path());
        assert!(matches!(found, LedgerReading::Missing));
        ledger.record(|entries| entries.serial = Serial(7)).unwrap();
        let (again, found) = Ledger::open(folder.path());
        assert!(matches!(found, LedgerReading::Whole));
        assert_eq!(again.entries().serial, Serial(7));
    }

    #[test]
    fn a_ledger_that_cannot_be_read_stays_until_another_one_is_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("ledger.json")).unwrap();
        let (mut ledger, found) = Ledger::open(folder.path());
        assert!(matches!(found, LedgerReading::Corrupt { .. }), "{found:?}");
        assert!(folder.path().join("ledger.json").is_dir(), "it stays");
        ledger.record(|entries| entries.serial = Serial(7)).unwrap();
        assert!(folder.path().join("ledger.corrupt.json").is_dir());
        let (again, found) = Ledger::open(folder.path());
        assert!(matches!(found, LedgerReading::Whole), "{found:?}");
        assert_eq!(again.entries().serial, Serial(7));
    }

    #[test]
    fn the_highest_time_never_falls_whoever_writes_what() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::open(folder.path());
        let later: Timestamp = "2026-11-23T04:00:00Z".parse().unwrap();
        let earlier: Timestamp = "2026-11-22T04:00:00Z".parse().unwrap();
        for time in [Some(later), Some(earlier), None] {
            ledger
                .record(|entries| entries.highest_time = time)
                .unwrap();
            assert_eq!(ledger.entries().highest_time, Some(later));
        }
        let (again, _) = Ledger::open(folder.path());
        assert_eq!(again.entries().highest_time, Some(later));
    }

    #[test]
    fn a_ledger_with_any_byte_changed_is_put_aside_and_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.json");
        let (mut ledger, _) = Ledger::open(folder.path());
        ledger.record(|entries| entries.serial = Serial(7)).unwrap();
        let good = std::fs::read(&path).unwrap();
        let place = good
            .windows(8)
            .position(|window| window == b"serial\\\"")
            .unwrap()
            + 9;
        let mut bad = good.clone();
        bad[place] = b'8';
        assert_ne!(bad, good);
        std::fs::write(&path, bad).unwrap();
        let (again, found) = Ledger::open(folder.path());
        assert!(matches!(found, LedgerReading::Corrupt { .. }), "{found:?}");
        assert_eq!(again.entries().serial, Serial(0));
    }
}
