//! The findings as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::{Finding, Severity, Workspace};

/// How much of what was found is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Broken rules one by one, exceeded soft budgets as a count per rule.
    Failures,
    /// Everything one by one.
    All,
}

/// Prints broken rules first, one line each, and closes with the counts.
pub fn render(workspace: &Workspace, findings: &[Finding], detail: Detail) -> String {
    let mut text = String::new();
    let mut notes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures = 0;
    for finding in findings {
        match (finding.severity, detail) {
            (Severity::Fail, _) => failures += 1,
            (Severity::Note, Detail::All) => {}
            (Severity::Note, Detail::Failures) => {
                *notes.entry(finding.rule).or_default() += 1;
                continue;
            }
        }
        let Finding {
            rule,
            place,
            line,
            message,
            ..
        } = finding;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{place}:{line}: structure/{rule}: {message}");
    }
    for (rule, count) in notes {
        let _ = writeln!(
            text,
            "structure/{rule}: {count} over the soft budget (--notes lists them)"
        );
    }
    let _ = write!(
        text,
        "structure: {} Rust files, {} packages, {failures} rules broken",
        workspace.rust.len(),
        workspace.packages.len()
    );
    text
}
