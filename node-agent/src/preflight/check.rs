//! A check and what it found.

use postern_host::{HostError, Nature};
use postern_telemetry::chain;
use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum PreflightOutcome {
    /// As it should be.
    Ok,
    /// It works, with what is said.
    Warning,
    /// This node cannot do it, and something else does the same or goes without.
    Unsupported,
    /// Pods would leak or lose their network: to be mended before the agent is let onto this node.
    Failed,
}

impl PreflightOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Warning => "Warning",
            Self::Unsupported => "Unsupported",
            Self::Failed => "Failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightCheck {
    /// What was looked at.
    pub check: &'static str,
    pub result: PreflightOutcome,
    pub found: String,
    /// What to do about it; empty where there is nothing to do.
    pub to_do: String,
}

impl PreflightCheck {
    /// As it should be.
    #[must_use]
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::of(check, PreflightOutcome::Ok, found, "")
    }

    /// Something else than well.
    #[must_use]
    pub fn of(
        check: &'static str,
        result: PreflightOutcome,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self {
            check,
            result,
            found: found.into(),
            to_do: to_do.into(),
        }
    }
}

/// The check of what could not be read: it never counts as well.
pub(super) fn unread(check: &'static str, error: &HostError) -> PreflightCheck {
    let result = match error.nature() {
        Nature::Unsupported => PreflightOutcome::Unsupported,
        Nature::Transient | Nature::Refused => PreflightOutcome::Failed,
    };
    PreflightCheck::of(
        check,
        result,
        chain(error),
        "run preflight as root in the host's network namespace",
    )
}

/// Some of them by name, and how many more.
pub(super) fn some(names: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = names.into_iter().collect();
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

#[must_use]
pub fn failed(checks: &[PreflightCheck]) -> bool {
    checks
        .iter()
        .any(|check| check.result == PreflightOutcome::Failed)
}

/// What is looked at before an agent runs: a running one finds its own sockets, and judges pod links at each ADD.
const AT_INSTALLATION: [&str; 3] = ["DNS port", "tunnel ports", "pod links"];

/// What a check found on a node with an agent that is not as it should be, with what to do about it.
#[must_use]
pub fn concerns(checks: &[PreflightCheck]) -> Vec<String> {
    let concerned = |check: &&PreflightCheck| {
        matches!(
            check.result,
            PreflightOutcome::Warning | PreflightOutcome::Failed
        ) && !AT_INSTALLATION.contains(&check.check)
    };
    checks
        .iter()
        .filter(concerned)
        .map(|check| format!("{}: {} ({})", check.check, check.found, check.to_do))
        .collect()
}

/// A table for eyes: a line a check, and below it what to do.
#[must_use]
pub fn table(checks: &[PreflightCheck]) -> String {
    let width = checks
        .iter()
        .map(|check| check.check.len())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for check in checks {
        let result = check.result.as_str();
        out.push_str(&format!(
            "{:<width$}  {result:<11}  {}\n",
            check.check, check.found
        ));
        if !check.to_do.is_empty() {
            out.push_str(&format!("{:<width$}  {:<11}  -> {}\n", "", "", check.to_do));
        }
    }
    out
}
