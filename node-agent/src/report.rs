//! The report: what this node's agent saw, from what was read back and never from having written it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use postern_agent_core::ReadBack;
use postern_crds::node_report::{
    AppliedPods, Capabilities, Difference, Mismatch, PublicKeys, Refusal, TunnelKind,
};
use postern_crds::{NodeReport, NodeReportSpec, NodeReportStatus};
use postern_host::Host;
use postern_intent::Verified;
use postern_plan::check::Seal;
use postern_plan::host::{Family, TunnelBackend};
use postern_plan::order::{Plan, Stage};
use postern_telemetry::chain;
use sha2::{Digest as _, Sha256};

use crate::agent::Agent;
use crate::files::{self, FileError, Readers};
use crate::options::Plugin;

mod exits;
mod findings;
mod scopes;
mod table;

pub use table::table;

/// At most one report a second, and one at least every minute.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
pub(crate) const AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// How the names of counters of packets begin.
const PACKETS: &str = "packets_";
/// Caps of the schema.
const MISMATCHES: usize = 32;

/// A refused document, for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalEntry {
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, in sentences.
    pub message: String,
    /// Its digest.
    pub digest: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// The file and what was last written to it.
#[derive(Debug)]
pub struct ReportWriter {
    path: PathBuf,
    last: NodeReportStatus,
    written: Option<Instant>,
    /// The last attempt: a disk that is full is not asked all the time.
    tried: Option<Instant>,
    pending: Option<NodeReport>,
    /// Somebody waits for a report, though nothing may have changed.
    asked: bool,
}

impl ReportWriter {
    /// Writes to this file.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            last: NodeReportStatus::default(),
            written: None,
            tried: None,
            pending: None,
            asked: false,
        }
    }

    /// The next report is written whether or not something changed.
    pub(crate) fn ask(&mut self) {
        self.asked = true;
    }

    /// Takes a report: written now if something changed and the last one is old enough, else kept.
    fn take(&mut self, report: NodeReport) {
        self.pending = Some(report);
        self.flush();
    }

    /// When what is pending is to be written: soon if it is different, else when its minute is over.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let status = self.pending.as_ref()?.status.as_ref()?;
        let apart = match self.asked || without_times(status) != without_times(&self.last) {
            true => EVERY,
            false => AT_LEAST_EVERY,
        };
        let last = self.written.max(self.tried);
        Some(last.map_or_else(Instant::now, |at| at + apart))
    }

    /// Writes what is pending when its time has come.
    pub fn flush(&mut self) {
        let Some(report) = &self.pending else { return };
        let status = report.status.clone().unwrap_or_default();
        let age = self.written.map(|at| at.elapsed());
        let changed = self.asked || without_times(&status) != without_times(&self.last);
        let due = match age {
            None => true,
            Some(age) if changed => age >= EVERY,
            Some(age) => age >= AT_LEAST_EVERY,
        };
        if !due || self.tried.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        let outcome = self.write(report);
        self.tried = Some(Instant::now());
        match outcome {
            Ok(()) => {
                self.last = status;
                self.written = Some(Instant::now());
                self.pending = None;
                self.asked = false;
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the report cannot be written"
            ),
        }
    }

    fn write(&self, report: &NodeReport) -> Result<(), FileError> {
        files::write_json(&self.path, report, Readers::Everybody)
    }

    /// Conditions of the last report that was written, to keep their times.
    fn conditions(&self) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
        self.last.conditions.clone()
    }
}

/// Times and counters of packets move all the time: they are told with the next change, and are none themselves. What
/// the agent counts itself, repairs among it, is a change.
fn without_times(status: &NodeReportStatus) -> NodeReportStatus {
    let mut still = status.clone();
    still.verified_at = None;
    still.counters.retain(|name, _| !name.starts_with(PACKETS));
    for exit in &mut still.exits {
        exit.last_handshake = None;
    }
    for mismatch in &mut still.mismatches {
        mismatch.at = None;
    }
    still
}

impl<H: Host> Agent<H> {
    /// Composes the report of the last run and hands it to the writer.
    pub fn write_report(&mut self) {
        let serial = self.body().map(|body| body.serial.0);
        self.metrics
            .found(self.last.seal().unwrap_or(Seal::NotSealed), serial);
        let mut status = self.status();
        status.conditions = self.report.conditions();
        for finding in self.findings() {
            postern_crds::conditions::set(&mut status.conditions, &finding, None, self.clock.now());
        }
        let report = NodeReport {
            metadata: ObjectMeta {
                name: Some(self.node.name.to_string()),
                ..ObjectMeta::default()
            },
            spec: NodeReportSpec {
                node_uid: self.node.uid.to_string(),
            },
            status: Some(status),
        };
        self.report.take(report);
    }

    /// What the agent saw, without conditions.
    pub fn status(&self) -> NodeReportStatus {
        let read_back = self.last.read_back.as_deref();
        let applied = read_back.and_then(ReadBack::applied);
        let entries = self.ledger.entries();
        NodeReportStatus {
            conditions: Vec::new(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            applied_serial: applied.map(|verified| verified.get().serial.0),
            applied_digest: applied.map(|verified| verified.digest().to_owned()),
            verified_at: self.last.verified_at.map(MicroTime),
            ledger_serial: (entries.serial.0 > 0).then_some(entries.serial.0),
            key_set_version: Some(self.keys.version()),
            trusted_key_ids: self.keys.ids().map(ToString::to_string).collect(),
            released: self.is_released()
                && self.last.read_back.is_none()
                && self.last.failures.is_empty(),
            guarded_namespaces: applied
                .map(|verified| {
                    verified
                        .get()
                        .guarded_namespaces
                        .iter()
                        .map(ToString::to_string)
                        .collect()
                })
                .unwrap_or_default(),
            applied_pods: applied.map(applied_pods),
            scopes: self.scope_reports(),
            exits: self.exit_reports(),
            mismatches: self.mismatches(),
            refusals: self.refusals.iter().map(refusal).collect(),
            counters: self.report_counters(),
            capabilities: Some(self.capabilities()),
            public_keys: Some(PublicKeys {
                wireguard: Some(self.key.public.to_string()),
                credentials: None,
            }),
        }
    }

    fn mismatches(&self) -> Vec<Mismatch> {
        let mismatch = |stage: Stage, difference: Difference, message: String| Mismatch {
            object: stage.word().to_owned(),
            difference,
            message,
            at: None,
        };
        let read_back = self.last.read_back.as_deref();
        let unread = read_back.map(ReadBack::unread).unwrap_or_default();
        let unread = unread
            .iter()
            .map(|part| mismatch(part.stage, Difference::Unreadable, part.message.clone()));
        let failed = self.last.failures.iter().map(|(stage, step, error)| {
            let message = format!("{step}: {}", chain(error));
            mismatch(*stage, Difference::Missing, message)
        });
        let differences = read_back.map(ReadBack::differences).into_iter();
        let found = differences
            .flat_map(Plan::differences)
            .map(|(stage, step)| mismatch(stage, Difference::Changed, step.to_string()));
        unread.chain(failed).chain(found).take(MISMATCHES).collect()
    }

    fn report_counters(&self) -> BTreeMap<String, u64> {
        let mut counters = self.counters.clone();
        let bypassed = u64::try_from(self.bypassed_pods().len()).unwrap_or(u64::MAX);
        counters.insert("bypassed_pods".to_owned(), bypassed);
        let unlisted = u64::try_from(self.unlisted().len()).unwrap_or(u64::MAX);
        counters.insert("unlisted_pods".to_owned(), unlisted);
        if let Some(observed) = self.last.read_back.as_deref().map(ReadBack::observed) {
            for table in [&observed.firewall.inet, &observed.firewall.bridge]
                .into_iter()
                .flatten()
            {
                for (name, packets) in &table.counters {
                    counters.insert(format!("{PACKETS}{name}"), *packets);
                }
            }
        }
        counters
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            nftables: !self.has_no_guard(),
            tunnels: match self.facts.tunnel_backend {
                None => TunnelKind::None,
                Some(TunnelBackend::Kernel) => TunnelKind::Kernel,
                Some(TunnelBackend::Userspace) => TunnelKind::Userspace,
            },
            second_lock: self.last.lock() == Some(Seal::Sealed) && !self.desired.locks.is_empty(),
            ipv6: !self.facts.absent.contains(&Family::V6),
            plugin: self.plugin == Plugin::Expected,
        }
    }
}

fn applied_pods(verified: &Verified<postern_intent::Body>) -> AppliedPods {
    let mut uids: Vec<&str> = verified
        .get()
        .pods
        .iter()
        .map(|pod| pod.uid.as_str())
        .collect();
    uids.sort_unstable();
    let mut hash = Sha256::new();
    for uid in &uids {
        hash.update(uid.as_bytes());
        hash.update(b"\n");
    }
    let digest = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    AppliedPods {
        count: u32::try_from(uids.len()).unwrap_or(u32::MAX),
        digest: Some(digest),
    }
}

fn refusal(entry: &RefusalEntry) -> Refusal {
    Refusal {
        reason: entry.reason.to_owned(),
        serial: None,
        digest: entry.digest.clone(),
        at: Some(MicroTime(entry.at)),
        message: entry.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(version: &str) -> NodeReport {
        let status = NodeReportStatus {
            agent_version: version.to_owned(),
            ..NodeReportStatus::default()
        };
        NodeReport {
            metadata: ObjectMeta::default(),
            spec: NodeReportSpec {
                node_uid: "u1".to_owned(),
            },
            status: Some(status),
        }
    }

    #[test]
    fn a_report_without_news_is_due_when_its_minute_is_over_and_one_with_news_in_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ReportWriter::new(&folder.path().join("report.json"));
        writer.take(report("first"));
        assert_eq!(writer.due(), None, "it is written");
        let written = writer.written.unwrap().max(writer.tried.unwrap());
        writer.take(report("first"));
        assert_eq!(writer.due(), Some(written + AT_LEAST_EVERY));
        writer.take(report("second"));
        assert_eq!(writer.due(), Some(written + EVERY));
    }
}
