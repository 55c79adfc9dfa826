//! The report as a file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postern_agent_core::report::PACKETS;
use postern_crds::{NodeReport, NodeReportStatus};

use crate::files::{self, FileError, Readers};

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
    pub(crate) fn take(&mut self, report: NodeReport) {
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
    pub(crate) fn conditions(
        &self,
    ) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
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

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use postern_crds::NodeReportSpec;

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
