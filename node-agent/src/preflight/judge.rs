//! From what was read to checks.

use postern_host::{HostError, Nature};
use postern_plan::settings::Settings;
use postern_telemetry::chain;

use super::check::{Check, Outcome};
use super::node::Node;
use super::{firewall, marks, paths, system};

/// Every check.
#[must_use]
pub fn judge(node: &Node, settings: &Settings) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(firewall::checks(node, settings));
    checks.extend(system::checks(node, settings));
    checks.extend(marks::checks(node, settings));
    checks.extend(paths::checks(node, settings));
    checks
}

/// What could not be read is told, and is never taken for well.
pub(super) fn unread(check: &'static str, error: &HostError) -> Check {
    let result = match error.nature() {
        Nature::Unsupported => Outcome::Unsupported,
        Nature::Transient | Nature::Refused => Outcome::Failed,
    };
    Check::of(
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
