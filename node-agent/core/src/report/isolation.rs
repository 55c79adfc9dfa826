//! The isolation in the report. A node is called compliant only where the packet guard was read back too.

use postern_crds::conditions::Reason;
use postern_crds::node_report::{IsolationReport, IsolationState};
use postern_intent::SectionDigest;

use super::ReportInputs;
use crate::isolation::IsolationFinding;
use crate::read_back::GuardReading;

/// The finding of the isolation, for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedUplinks {
    pub policy: String,
    pub digest: SectionDigest,
    pub finding: IsolationFinding,
    /// Grows with every reading that differs.
    pub epoch: u64,
}

impl ReportInputs<'_> {
    pub(super) fn isolation_report(&self) -> Option<IsolationReport> {
        let found = self.run.isolation?;
        let finding = &found.finding;
        let is_guarded = self.read_back.is_some_and(|read_back| {
            let carried = read_back
                .desired()
                .ruleset
                .inet
                .chains
                .contains_key("isolation");
            read_back.guard() == GuardReading::Wanted && carried
        });
        let claims = matches!(
            finding.state,
            IsolationState::Compliant | IsolationState::RolledBack
        );
        let (state, reason, message) = match claims && !is_guarded {
            true => (
                IsolationState::Deviating,
                Reason::NotSealed,
                "the guard of the uplinks was not read back".to_owned(),
            ),
            false => (finding.state, finding.reason, finding.message.clone()),
        };
        Some(IsolationReport {
            policy: found.policy.clone(),
            digest: Some(found.digest.to_string()),
            state,
            reason: Some(reason.to_string()),
            message,
            uplinks: finding.uplinks.iter().take(32).cloned().collect(),
            epoch: found.epoch,
        })
    }
}
