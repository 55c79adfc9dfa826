//! All findings, the gravest first, those of one reason joined.

use std::collections::BTreeMap;

use postern_compile::first_names;
use serde::Serialize;

use super::finding::{DoctorFinding, Gravity};
use super::snapshot::DoctorSnapshot;
use super::{documents, nodes, objects, operator};
use crate::output::{TableOutput, json_name};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoctorReport {
    pub findings: Vec<DoctorFinding>,
}

/// How many objects are concerned, by gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct GravityCounts {
    pub open: usize,
    pub blocked: usize,
    pub degraded: usize,
    pub notice: usize,
}

impl DoctorReport {
    /// What the snapshot shows.
    #[must_use]
    pub fn of(snapshot: &DoctorSnapshot) -> Self {
        let parts = [
            objects::findings(snapshot),
            nodes::findings(snapshot),
            documents::findings(snapshot),
            operator::findings(snapshot),
        ];
        let mut joined: BTreeMap<(Gravity, String, &str, String), DoctorFinding> = BTreeMap::new();
        let mut all: Vec<DoctorFinding> = parts.into_iter().flatten().collect();
        all.sort();
        for one in all {
            let key = (
                one.gravity,
                one.reason.clone(),
                one.kind,
                one.action.clone(),
            );
            match joined.get_mut(&key) {
                Some(found) => found.objects.extend(one.objects),
                None => {
                    joined.insert(key, one);
                }
            }
        }
        let mut findings: Vec<DoctorFinding> = joined.into_values().collect();
        for finding in &mut findings {
            finding.objects.sort();
            finding.objects.dedup();
        }
        Self { findings }
    }

    #[must_use]
    pub fn counts(&self) -> GravityCounts {
        let of = |gravity| {
            let same = self.findings.iter().filter(|one| one.gravity == gravity);
            same.map(|one| one.objects.len()).sum()
        };
        GravityCounts {
            open: of(Gravity::Open),
            blocked: of(Gravity::Blocked),
            degraded: of(Gravity::Degraded),
            notice: of(Gravity::Notice),
        }
    }

    /// The counts in one line, for the end of other answers.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.findings.is_empty() {
            return "nothing is wrong".to_owned();
        }
        let GravityCounts {
            open,
            blocked,
            degraded,
            notice,
        } = self.counts();
        format!("found: {open} open, {blocked} blocked, {degraded} degraded, {notice} of notice")
    }
}

fn named(finding: &DoctorFinding) -> String {
    format!("{} {}", finding.kind, first_names(&finding.objects))
}

impl TableOutput for DoctorReport {
    fn table(&self) -> String {
        let lines = self.findings.iter().map(|finding| {
            let gravity = json_name(finding.gravity);
            let head = format!("{gravity:<8}  {}: {}", finding.reason, named(finding));
            let indent = " ".repeat(10);
            format!(
                "{head}\n{indent}{}\n{indent}-> {}",
                finding.message, finding.action
            )
        });
        lines.chain([self.summary()]).collect::<Vec<_>>().join("\n")
    }

    fn is_well(&self) -> bool {
        self.findings.is_empty()
    }
}
