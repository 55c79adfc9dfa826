//! When a report is published, and what the next one is compared with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_agent_core::report::{PACKETS, QUESTIONS};
use postern_crds::{NodeReport, NodeReportStatus};
use tokio::sync::watch;

/// At most one report a second, and one at least every minute.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
pub(crate) const AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// The report that was published last; none before the first.
pub type LatestReport = Option<Arc<NodeReport>>;

/// Publishes reports at their pace, with what was published last.
#[derive(Debug)]
pub struct ReportPublisher {
    reports: watch::Sender<LatestReport>,
    last: NodeReportStatus,
    published: Option<Instant>,
    pending: Option<NodeReport>,
    /// Somebody waits for a report, though nothing may have changed.
    asked: bool,
}

impl ReportPublisher {
    /// Publishes to the receivers of this channel.
    #[must_use]
    pub fn new(reports: watch::Sender<LatestReport>) -> Self {
        Self {
            reports,
            last: NodeReportStatus::default(),
            published: None,
            pending: None,
            asked: false,
        }
    }

    /// The next report is published whether or not something changed.
    pub(crate) fn ask(&mut self) {
        self.asked = true;
    }

    /// Takes a report: published now if something changed and the last one is old enough, else kept.
    pub(crate) fn take(&mut self, report: NodeReport) {
        self.pending = Some(report);
        self.flush();
    }

    /// When the pending report is to be published: soon if it is different, else when its minute is over.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let status = self.pending.as_ref()?.status.as_ref()?;
        let apart = match self.asked || without_times(status) != without_times(&self.last) {
            true => EVERY,
            false => AT_LEAST_EVERY,
        };
        let due = self.published.map(|at| at + apart);
        Some(due.unwrap_or_else(Instant::now))
    }

    /// Publishes the pending report when its time has come.
    pub fn flush(&mut self) {
        if self.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        let Some(report) = self.pending.take() else {
            return;
        };
        self.last = report.status.clone().unwrap_or_default();
        self.published = Some(Instant::now());
        self.asked = false;
        self.reports.send_replace(Some(Arc::new(report)));
    }

    /// Conditions of the last report that was published, to keep their times.
    pub(crate) fn conditions(
        &self,
    ) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
        self.last.conditions.clone()
    }
}

/// Times and counters of packets and questions differ in every report: they are no change, and are published with the next one. What the
/// agent counts itself, such as repairs, is a change.
fn without_times(status: &NodeReportStatus) -> NodeReportStatus {
    let mut still = status.clone();
    still.verified_at = None;
    let moves = |name: &String| name.starts_with(PACKETS) || name.starts_with(QUESTIONS);
    still.counters.retain(|name, _| !moves(name));
    for scope in &mut still.scopes {
        scope.observed.clear();
        scope.denied.clear();
    }
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
        let (sender, reports) = watch::channel(None);
        let mut publisher = ReportPublisher::new(sender);
        publisher.take(report("first"));
        assert_eq!(publisher.due(), None, "it is published");
        assert_eq!(reports.borrow().as_deref(), Some(&report("first")));
        let published = publisher.published.unwrap();
        publisher.take(report("first"));
        assert_eq!(publisher.due(), Some(published + AT_LEAST_EVERY));
        publisher.take(report("second"));
        assert_eq!(publisher.due(), Some(published + EVERY));
    }

    #[test]
    fn counts_of_packets_and_questions_are_no_news_and_counts_of_events_are() {
        for (counter, wait) in [
            ("packets_blocked", AT_LEAST_EVERY),
            ("questions_exit", AT_LEAST_EVERY),
            ("repairs", EVERY),
        ] {
            let mut publisher = ReportPublisher::new(watch::channel(None).0);
            publisher.take(report("same"));
            let published = publisher.published.unwrap();
            let mut later = report("same");
            let counters = later.status.as_mut().map(|status| &mut status.counters);
            counters.unwrap().insert(counter.to_owned(), 1);
            publisher.take(later);
            assert_eq!(publisher.due(), Some(published + wait), "{counter}");
        }
    }
}
