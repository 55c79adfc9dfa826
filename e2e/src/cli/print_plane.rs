//! Answers about the control plane.

use serde_json::json;

use crate::cli::print::{Printer, table};
use crate::cluster::{Kubeconfigs, OpenWatch, RequestCounts, Tools};
use crate::lab::LabError;

impl Printer {
    pub(crate) fn tools(&self, tools: &Tools) -> Result<(), LabError> {
        self.print(tools, || tools.folder.display().to_string())
    }

    pub(crate) fn kubeconfigs(&self, files: &Kubeconfigs) -> Result<(), LabError> {
        self.print(files, || files.outside.display().to_string())
    }

    pub(crate) fn cut(&self, count: u64) -> Result<(), LabError> {
        self.print(&json!({ "cut": count }), || format!("{count} watches cut"))
    }

    pub(crate) fn watches(&self, watches: &[OpenWatch]) -> Result<(), LabError> {
        self.print(watches, || {
            let mut table = table(&["CLIENT", "ADDRESS", "RESOURCE", "SINCE"]);
            for watch in watches {
                table.add_row([
                    &watch.user_agent,
                    &watch.address,
                    &watch.resource,
                    &watch.since.to_string(),
                ]);
            }
            table.to_string()
        })
    }

    pub(crate) fn requests(&self, counts: &RequestCounts) -> Result<(), LabError> {
        self.print(counts, || {
            let mut table = table(&[
                "CLIENT", "VERB", "RESOURCE", "REQUESTS", "OPEN", "FAULTS", "DELAYED", "CODES",
                "SENT", "RECEIVED",
            ]);
            for row in &counts.requests {
                let codes = row
                    .codes
                    .iter()
                    .map(|(code, count)| format!("{code}: {count}"));
                let codes = codes.collect::<Vec<_>>().join(", ");
                let words = [
                    row.user_agent.clone(),
                    row.verb.clone(),
                    row.resource.clone(),
                ];
                let before = [row.requests, row.open, row.faults, row.delayed];
                let before = before.map(|count| count.to_string());
                let after = [row.request_bytes, row.response_bytes].map(|count| count.to_string());
                table.add_row(words.into_iter().chain(before).chain([codes]).chain(after));
            }
            format!("since {}\n\n{table}", counts.since)
        })
    }
}
