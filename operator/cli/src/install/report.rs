//! All checks, and how they end together.

use std::ops::RangeInclusive;

use postern_intent::Prefix;
use serde::Serialize;

use super::check::{CheckResult, InstallCheck};
use super::reading::InstallReading;
use super::{definitions, network, node_facts, nodes, ports, ranges, rights};
use crate::output::{TableOutput, json_name};

/// What tunnels would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelNumbers {
    pub ranges: Vec<Prefix>,
    /// UDP ports of gateways.
    pub ports: RangeInclusive<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstallReport {
    pub checks: Vec<InstallCheck>,
}

impl InstallReport {
    #[must_use]
    pub fn of(reading: &InstallReading, tunnels: &TunnelNumbers) -> Self {
        let parts = [
            nodes::checks(reading),
            network::checks(reading),
            ranges::checks(reading, &tunnels.ranges),
            ports::checks(reading, &tunnels.ports),
            rights::checks(reading),
            definitions::checks(reading),
            node_facts::checks(reading),
        ];
        Self {
            checks: parts.into_iter().flatten().collect(),
        }
    }

    /// The gravest result.
    #[must_use]
    pub fn result(&self) -> CheckResult {
        let results = self.checks.iter().map(|check| check.result);
        results.max().unwrap_or(CheckResult::Unknown)
    }

    fn count(&self, result: CheckResult) -> usize {
        let same = self.checks.iter().filter(|check| check.result == result);
        same.count()
    }
}

impl TableOutput for InstallReport {
    fn table(&self) -> String {
        let widths = self.checks.iter().map(|check| check.check.len());
        let width = widths.max().unwrap_or_default();
        let lines = self.checks.iter().flat_map(|check| {
            let result = json_name(check.result);
            let line = format!("{:<width$}  {result:<7}  {}", check.check, check.found);
            let to_do = Some(&check.to_do).filter(|to_do| !to_do.is_empty());
            let to_do = to_do.map(|to_do| format!("{:<width$}           -> {to_do}", ""));
            [Some(line), to_do].into_iter().flatten()
        });
        let lines = lines.collect::<Vec<_>>().join("\n");
        let [passed, warnings, refused, unknown] = [
            CheckResult::Passed,
            CheckResult::Warning,
            CheckResult::Refused,
            CheckResult::Unknown,
        ]
        .map(|result| self.count(result));
        format!(
            "{lines}\n\n{passed} passed, {warnings} warnings, {refused} refused, {unknown} unknown"
        )
    }

    fn is_well(&self) -> bool {
        self.result() == CheckResult::Passed
    }
}
