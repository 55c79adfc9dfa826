//! Every rule over one workspace.

use super::{
    booleans, documents, files, floors, functions, links, machine, maps, names, orphans, purity,
    tables, unused,
};
use crate::{Finding, Workspace};

/// Runs every rule; broken rules first, then exceeded soft budgets, each by rule and place.
pub fn check_all(workspace: &Workspace) -> Vec<Finding> {
    let rules = [
        booleans::check,
        documents::check,
        files::check,
        floors::check,
        functions::check,
        links::check,
        machine::check,
        maps::check,
        names::check,
        orphans::check,
        purity::check,
        tables::check,
        unused::check,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(workspace)).collect();
    findings.sort();
    findings
}
