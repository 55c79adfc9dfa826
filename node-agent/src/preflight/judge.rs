//! From what was read to checks.

use postern_plan::settings::NodeSettings;

use super::check::PreflightCheck;
use super::node::NodeReading;
use super::{firewall, marks, paths, system};

#[must_use]
pub fn judge(node: &NodeReading, settings: &NodeSettings) -> Vec<PreflightCheck> {
    let mut checks = Vec::new();
    checks.extend(firewall::checks(node, settings));
    checks.extend(system::checks(node, settings));
    checks.extend(marks::checks(node, settings));
    checks.extend(paths::checks(node, settings));
    checks
}
