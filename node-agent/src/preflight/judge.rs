//! From what was read to checks.

use postern_plan::settings::Settings;

use super::check::Check;
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
