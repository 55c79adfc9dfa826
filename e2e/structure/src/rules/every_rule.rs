//! Every rule over one workspace.

use super::{
    circles, comments, documents, errors, files, floors, layout, links, machine, maps, names,
    orphans, purity, tables, tests, types, unused,
};
use crate::{Finding, Workspace};

/// Runs every rule; broken rules first, then exceeded soft budgets, each by rule and place.
pub fn check_all(workspace: &Workspace) -> Vec<Finding> {
    let rules = [
        circles::check,
        comments::check,
        documents::check,
        errors::check,
        files::check,
        floors::check,
        layout::check,
        links::check,
        machine::check,
        maps::check,
        names::check,
        orphans::check,
        purity::check,
        tables::check,
        tests::check,
        types::check,
        unused::check,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(workspace)).collect();
    findings.sort();
    findings
}
