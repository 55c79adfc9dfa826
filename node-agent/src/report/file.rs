//! The sink of reports that people and `posternctl` read: one file, replaced whole.

use std::path::PathBuf;

use tokio::sync::watch;
use tokio::time::sleep;

use super::publisher::{EVERY, LatestReport};
use crate::files::{self, Readers};

/// Writes each report to this file, the newest last, until the agent ends. A disk that is full is tried once a second.
pub async fn write_reports(path: PathBuf, mut reports: watch::Receiver<LatestReport>) {
    let mut is_open = true;
    while is_open {
        is_open = reports.changed().await.is_ok();
        let report = reports.borrow_and_update().clone();
        let Some(report) = report else { continue };
        if let Err(error) = files::write_json(&path, &*report, Readers::Everybody) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the report cannot be written"
            );
            reports.mark_changed();
            sleep(EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_crds::{NodeReport, NodeReportSpec};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_report_that_could_not_be_written_is_written_when_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/report.json");
        let (sender, reports) = watch::channel(None);
        let task = tokio::spawn(write_reports(path.clone(), reports));
        let node_uid = "u1".to_owned();
        let report = Arc::new(NodeReport::new("n1", NodeReportSpec { node_uid }));
        sender.send_replace(Some(Arc::clone(&report)));
        sleep(EVERY).await;
        assert!(!path.exists());
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        sleep(EVERY).await;
        let written: NodeReport = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(written, *report);
        drop(sender);
        task.await.unwrap();
    }
}
