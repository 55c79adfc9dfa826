//! The report as a file, and what the agent gives to [`ReportInputs`], which composes it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_agent_core::report::{
    FailedStep, GuardMeans, InForce, NodeRelease, NodeSetup, PACKETS, PluginUse, ReportInputs,
    ReportTime, RunResult,
};
use postern_crds::{NodeReport, NodeReportSpec, NodeReportStatus};
use postern_host::Host;
use postern_plan::check::Seal;
use postern_telemetry::chain;

use crate::agent::Agent;
use crate::files::{self, FileError, Readers};
use crate::options::Plugin;

mod table;

pub use postern_agent_core::report::RefusalEntry;
pub use table::table;

/// At most one report a second, and one at least every minute.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
pub(crate) const AT_LEAST_EVERY: Duration = Duration::from_secs(60);

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
        let inputs = self.report_inputs();
        let (now, findings) = (inputs.time.now, inputs.findings());
        let mut status = inputs.status();
        status.conditions = self.report.conditions();
        for finding in findings {
            postern_crds::conditions::set(&mut status.conditions, &finding, None, now);
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
        self.report_inputs().status()
    }

    /// Everything that a report depends on, borrowed from the agent.
    pub fn report_inputs(&self) -> ReportInputs<'_> {
        ReportInputs {
            in_force: self.in_force(),
            read_back: self.last.read_back.as_deref(),
            run: self.run_result(),
            setup: self.node_setup(),
            time: ReportTime {
                now: self.clock.now(),
                wall: Timestamp::now(),
            },
        }
    }

    fn in_force(&self) -> InForce<'_> {
        InForce {
            body: self.body(),
            claim: self.inputs().claim(),
            release: match self.is_released() {
                true => NodeRelease::Released,
                false => NodeRelease::Guarded,
            },
            ledger: self.ledger_lost,
            serial: self.ledger.entries().serial,
            cluster_serial: self.ledger.entries().cluster_serial,
            keys: &self.keys,
            key_difference: self.other_keys(),
            bindings: self.bindings.get(),
            standing_refusal: self.inbox.standing_refusal(),
            refusals: &self.refusals,
        }
    }

    fn run_result(&self) -> RunResult<'_> {
        let failures = self.last.failures.iter();
        let failures = failures.map(|(stage, step, error)| FailedStep {
            stage: *stage,
            step: step.clone(),
            message: chain(error),
        });
        let scopes = self.scopes.iter();
        let bypasses = self.last.bypasses.iter();
        RunResult {
            failures: failures.collect(),
            owed_cuts: &self.owed_cuts,
            verified_at: self.last.verified_at,
            tunnels: &self.last.tunnels,
            probes: &self.last.probes,
            scopes: scopes
                .map(|(id, track)| (id.clone(), track.status))
                .collect(),
            lease: self.lease_reading(),
            bypasses: bypasses
                .map(|(link, bypass)| (link.clone(), bypass.to_string()))
                .collect(),
            counters: &self.counters,
        }
    }

    fn node_setup(&self) -> NodeSetup<'_> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        NodeSetup {
            facts: &self.facts,
            plugin: match self.plugin {
                Plugin::Expected => PluginUse::Expected,
                Plugin::None => PluginUse::None,
            },
            second_lock: self.settings.second_lock,
            no_lock: self.last.no_lock.as_ref().map(|error| chain(error)),
            guard: match self.has_no_guard() {
                true => GuardMeans::Absent,
                false => GuardMeans::Present,
            },
            kernel: release.unwrap_or_default().trim().to_owned(),
            wireguard_key: &self.key.public,
            key_proofs: self.key.prove(&self.keys, &self.node),
            damages: &self.damages,
            preflight: self.preflight.as_deref(),
        }
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
