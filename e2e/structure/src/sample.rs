//! Small workspaces for the rules' unit tests.

use crate::{Finding, Package, Severity, TextFile, Workspace};

/// One package `sample` in the folder `sample` with the given files; `lib.rs` is its root.
pub(crate) fn workspace(files: &[(&str, &str)]) -> Workspace {
    let package = Package {
        name: "sample".to_owned(),
        folder: "sample".to_owned(),
        roots: vec!["sample/src/lib.rs".to_owned()],
        ..Package::default()
    };
    with_packages(files, vec![package])
}

/// The given files and packages.
pub(crate) fn with_packages(files: &[(&str, &str)], packages: Vec<Package>) -> Workspace {
    let files = files
        .iter()
        .map(|(path, text)| TextFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        })
        .collect();
    Workspace::new(files, packages)
}

/// The places of the broken rules.
pub(crate) fn broken(findings: &[Finding]) -> Vec<&str> {
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Fail)
        .map(|finding| finding.place.as_str())
        .collect()
}

/// The number of exceeded soft budgets.
pub(crate) fn noted(findings: &[Finding]) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Note)
        .count()
}
