//! What was published and what nodes reported, as it happened: the judge needs the past, and files show only the
//! present.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{Inotify, WatchMask};
use jiff::Timestamp;
use postern_intent::body::NodeIdentity;
use postern_intent::envelope::unpack;
use postern_intent::verify::{VerifyContext, verify_cluster, verify_intent, verify_key_set};
use postern_intent::{ClusterDocument, DsseEnvelope, NodeDocument, Serial, TrustedKeys};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lab::Lab;
use crate::lab::LabError;
use crate::lab::keys::installed;
use crate::lab::topology::Node;

/// Time between two questions for events.
const PAUSE: Duration = Duration::from_millis(5);

/// An intent that appeared in a node's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    pub node: String,
    /// When it was written there.
    pub at: Timestamp,
    /// Its digest, as reports name it.
    pub digest: String,
    pub envelope: Value,
}

/// A report with the intent that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub node: String,
    /// `status.appliedDigest`.
    pub digest: String,
    /// `status.appliedClusterSerial`.
    pub cluster_serial: Serial,
    /// `status.verifiedAt`.
    pub verified_at: Timestamp,
    /// `status.released`.
    pub released: bool,
}

/// A cluster document that appeared in the folders of nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedCluster {
    /// When it was first written to one of them.
    pub at: Timestamp,
    pub document: ClusterDocument,
}

/// A line of the history about one.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ClusterLine {
    at: Timestamp,
    digest: String,
    envelope: DsseEnvelope,
}

impl Published {
    /// The node's document, if the node had to accept it when it was published, whatever it had accepted before.
    ///
    /// # Errors
    /// Why it had to refuse it.
    pub(crate) fn verified(
        &self,
        node: &Node,
        keys: &[TrustedKeys],
    ) -> Result<NodeDocument, String> {
        let say = |error: &dyn std::fmt::Display| error.to_string();
        let identity = NodeIdentity {
            name: node.name.parse().map_err(|error| say(&error))?,
            uid: node.uid.parse().map_err(|error| say(&error))?,
        };
        let envelope: DsseEnvelope =
            serde_json::from_value(self.envelope.clone()).map_err(|error| say(&error))?;
        let mut refusal = "no key is trusted".to_owned();
        for keys in keys {
            let context = VerifyContext {
                node: &identity,
                keys,
                now: self.at,
                last: None,
            };
            match verify_intent(&envelope, &context) {
                Ok(verified) => return Ok(verified.get().clone()),
                Err(error) => refusal = say(&error),
            }
        }
        Err(refusal)
    }
}

impl Lab {
    /// Records for the judge that root makes a node trust the keys of its folder, as `postern-agent trust-keys` does.
    ///
    /// # Errors
    /// When the folder cannot be read, or the lab's history not written.
    pub fn record_trusted_by_root(&self) -> Result<(), LabError> {
        let folder = self.trust_dir();
        let list = || -> std::io::Result<Vec<String>> {
            fs::read_dir(&folder)?
                .map(|entry| fs::read_to_string(entry?.path()))
                .collect()
        };
        let pems = list().map_err(LabError::file("read", &folder))?;
        append(&trusted_by_root_path(self), &pems)
    }
}

/// The key sets that nodes had to trust at some time: the installed one, those that root put in force, and what one of
/// them signed.
pub(crate) fn read_key_sets(lab: &Lab) -> Result<Vec<TrustedKeys>, LabError> {
    let mut sets = vec![lab.trusted()?];
    for pems in read_lines::<Vec<String>>(&trusted_by_root_path(lab))? {
        sets.push(installed(&pems)?);
    }
    for envelope in read_lines::<DsseEnvelope>(&key_sets_path(lab))? {
        let next = sets
            .iter()
            .find_map(|pinned| verify_key_set(&envelope, pinned).ok());
        sets.extend(next.map(|next| next.get().clone()));
    }
    Ok(sets)
}

/// Every cluster document that nodes had to accept when it was published, by its serial: of two with one serial a node
/// refuses the later one.
pub(crate) fn read_cluster_documents(
    lab: &Lab,
    keys: &[TrustedKeys],
) -> Result<BTreeMap<Serial, PublishedCluster>, LabError> {
    let lines = read_lines::<ClusterLine>(&cluster_path(lab))?;
    let mut good = BTreeMap::new();
    for line in lines {
        let verified = keys
            .iter()
            .find_map(|keys| verify_cluster(&line.envelope, keys, line.at, None).ok());
        if let Some(document) = verified.map(|verified| verified.get().clone()) {
            good.entry(document.serial).or_insert(PublishedCluster {
                at: line.at,
                document,
            });
        }
    }
    Ok(good)
}

/// Every intent that was seen, in order.
pub(crate) fn read_published(lab: &Lab) -> Result<Vec<Published>, LabError> {
    read_lines(&published_path(lab))
}

/// Every change of what nodes report, in order.
pub(crate) fn read_applied(lab: &Lab) -> Result<Vec<Applied>, LabError> {
    read_lines(&applied_path(lab))
}

fn published_path(lab: &Lab) -> PathBuf {
    lab.dir().join("history/published.jsonl")
}

fn applied_path(lab: &Lab) -> PathBuf {
    lab.dir().join("history/applied.jsonl")
}

fn cluster_path(lab: &Lab) -> PathBuf {
    lab.dir().join("history/cluster.jsonl")
}

fn key_sets_path(lab: &Lab) -> PathBuf {
    lab.dir().join("history/key-sets.jsonl")
}

fn trusted_by_root_path(lab: &Lab) -> PathBuf {
    lab.dir().join("history/trusted-by-root.jsonl")
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, LabError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).map_err(LabError::file("read", path))?;
    // The last line may be half written; a whole line that cannot be read would hide all that came after it.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            serde_json::from_str(line).map_err(LabError::json("a line of the lab's history"))
        })
        .collect()
}

/// Watches a lab's intents and reports for ever.
pub(crate) struct Watcher {
    lab: Lab,
    nodes: Vec<String>,
    /// The last intent of each node.
    published: BTreeMap<String, String>,
    /// When each was written, by node and digest.
    seen: BTreeMap<(String, String), Timestamp>,
    /// The last key set of each node, as its file has it.
    key_sets: BTreeMap<String, Vec<u8>>,
    /// Digests of the cluster documents that were seen.
    cluster: BTreeSet<String>,
    /// When each serial of them was written first.
    cluster_seen: BTreeMap<Serial, Timestamp>,
    applied: BTreeMap<String, Applied>,
}

impl Watcher {
    pub(crate) fn new(lab: Lab, nodes: Vec<String>) -> Self {
        Self {
            lab,
            nodes,
            published: BTreeMap::new(),
            seen: BTreeMap::new(),
            key_sets: BTreeMap::new(),
            cluster: BTreeSet::new(),
            cluster_seen: BTreeMap::new(),
            applied: BTreeMap::new(),
        }
    }

    pub(crate) fn run(mut self) -> Result<(), LabError> {
        let mut inotify = Inotify::init().map_err(LabError::file("watch", self.lab.dir()))?;
        let mut folders = vec![self.lab.dir().join("reports")];
        // With an API server an agent writes its report into its run folder.
        let own = |node: &String| [self.lab.intents(node), self.lab.run_dir(node)];
        folders.extend(self.nodes.iter().flat_map(own));
        for folder in &folders {
            let events = WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE;
            inotify
                .watches()
                .add(folder, events)
                .map_err(LabError::file("watch", folder))?;
        }
        let mut buffer = [0; 4096];
        self.look()?;
        loop {
            match inotify.read_events(&mut buffer) {
                Ok(_) => self.look()?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(PAUSE)
                }
                Err(error) => return Err(LabError::file("watch", self.lab.dir())(error)),
            }
        }
    }

    fn look(&mut self) -> Result<(), LabError> {
        for node in self.nodes.clone() {
            self.look_for_keys(&node)?;
            self.look_for_cluster(&node)?;
            if let Some(published) = self.new_intent(&node) {
                append(&published_path(&self.lab), &published)?;
                let key = (node.clone(), published.digest.clone());
                self.seen.entry(key).or_insert(published.at);
                self.published.insert(node.clone(), published.digest);
            }
            if let Some(release) = self.new_release(&node) {
                append(&published_path(&self.lab), &release)?;
            }
            if let Some(applied) = self.new_report(&node) {
                append(&applied_path(&self.lab), &applied)?;
                self.applied.insert(node, applied);
            }
        }
        Ok(())
    }

    fn look_for_keys(&mut self, node: &str) -> Result<(), LabError> {
        let Ok(text) = fs::read(self.lab.intents(node).join("keys.dsse.json")) else {
            return Ok(());
        };
        if self.key_sets.get(node) != Some(&text) {
            if let Ok(envelope) = serde_json::from_slice::<DsseEnvelope>(&text) {
                append(&key_sets_path(&self.lab), &envelope)?;
            }
            self.key_sets.insert(node.to_owned(), text);
        }
        Ok(())
    }

    fn look_for_cluster(&mut self, node: &str) -> Result<(), LabError> {
        let path = self.lab.intents(node).join("cluster.dsse.json");
        let line = || {
            let written = fs::metadata(&path).and_then(|meta| meta.modified()).ok()?;
            let envelope: DsseEnvelope = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some(ClusterLine {
                at: written.try_into().ok()?,
                digest: envelope.digest().ok()?,
                envelope,
            })
        };
        match line() {
            Some(line) if self.cluster.insert(line.digest.clone()) => {
                if let Some(serial) = serial_of(&line.envelope) {
                    self.cluster_seen.entry(serial).or_insert(line.at);
                }
                append(&cluster_path(&self.lab), &line)
            }
            _ => Ok(()),
        }
    }

    fn new_intent(&self, node: &str) -> Option<Published> {
        let path = self.lab.intents(node).join("intent.dsse.json");
        // Nobody can have read it before it was written, and an agent may be quicker than this watcher.
        let written = fs::metadata(&path).and_then(|meta| meta.modified()).ok()?;
        let text = fs::read(&path).ok()?;
        let envelope: DsseEnvelope = serde_json::from_slice(&text).ok()?;
        let digest = envelope.digest().ok()?;
        if self.published.get(node) == Some(&digest) {
            return None;
        }
        let envelope = serde_json::from_slice(&text).ok()?;
        Some(Published {
            node: node.to_owned(),
            at: written.try_into().ok()?,
            digest,
            envelope,
        })
    }

    /// A release is no intent, but from it on another rule is in force: it is recorded as the last intent, published
    /// again when the node let go.
    fn new_release(&self, node: &str) -> Option<Published> {
        let status = self.report_status(node)?;
        let known = self.applied.get(node)?;
        let at = self.released_at(node)?;
        let digest = release_name(at);
        if !released(&status) || known.digest == digest {
            return None;
        }
        let text = fs::read(self.lab.intents(node).join("intent.dsse.json")).ok()?;
        Some(Published {
            node: node.to_owned(),
            at,
            digest,
            envelope: serde_json::from_slice(&text).ok()?,
        })
    }

    /// The time of the release in the node's audit log: written after the ledger and before anything opens.
    fn released_at(&self, node: &str) -> Option<Timestamp> {
        let log = fs::read_to_string(self.lab.node_dir(node).join("audit.jsonl")).ok()?;
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut releases =
            lines.filter(|line| line["kind"] == "release" && line["event"] == "Released");
        releases.next_back()?["time"].as_str()?.parse().ok()
    }

    fn report_status(&self, node: &str) -> Option<Value> {
        let report: Value = serde_json::from_slice(&fs::read(self.lab.report(node)).ok()?).ok()?;
        report.get("status").cloned()
    }

    fn new_report(&self, node: &str) -> Option<Applied> {
        let status = &self.report_status(node)?;
        let known = self.applied.get(node);
        // A node that is released applies none: what was in force before says what is inside.
        let cluster_serial = status
            .get("appliedClusterSerial")
            .and_then(Value::as_u64)
            .map(Serial)
            .or(known.map(|known| known.cluster_serial));
        let applied = Applied {
            node: node.to_owned(),
            digest: match status.get("appliedDigest").and_then(Value::as_str) {
                Some(digest) => digest.to_owned(),
                None if released(status) => release_name(self.released_at(node)?),
                None => return None,
            },
            cluster_serial: cluster_serial.unwrap_or_default(),
            verified_at: status.get("verifiedAt")?.as_str()?.parse().ok()?,
            released: released(status),
        };
        // The first mention counts, and the first verification that is younger than the intent: a report names a new
        // intent when its guard holds, and may show the time of the check before for as long as something differs.
        let Some(known) = known else {
            return Some(applied);
        };
        let intent = self.seen.get(&(node.to_owned(), applied.digest.clone()));
        let cluster = self.cluster_seen.get(&applied.cluster_serial);
        // Whichever of the two came last.
        let seen = intent.map(|at| cluster.map_or(*at, |cluster| *cluster.max(at)));
        let younger = |report: &Applied| seen.is_some_and(|at| report.verified_at >= at);
        let same = (&known.digest, known.cluster_serial, known.released)
            == (&applied.digest, applied.cluster_serial, applied.released);
        (!same || (!younger(known) && younger(&applied))).then_some(applied)
    }
}

/// The serial in an envelope that nobody has verified.
fn serial_of(envelope: &DsseEnvelope) -> Option<Serial> {
    let json = unpack(&envelope.payload_bytes().ok()?).ok()?;
    let document: Value = serde_json::from_slice(&json).ok()?;
    document["serial"].as_u64().map(Serial)
}

fn released(status: &Value) -> bool {
    status.get("released").and_then(Value::as_bool) == Some(true)
}

fn release_name(at: Timestamp) -> String {
    format!("released at {at}")
}

fn append<T: Serialize>(path: &Path, value: &T) -> Result<(), LabError> {
    let line =
        serde_json::to_string(value).map_err(LabError::json("a line of the lab's history"))?;
    let file = OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.map_err(LabError::file("open", path))?, "{line}")
        .map_err(LabError::file("write", path))
}
