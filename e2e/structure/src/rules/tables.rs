//! One lint table and one set of thresholds for the whole workspace.

use crate::{Finding, Workspace};

const RULE: &str = "tables";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let inherits = workspace
            .text(&manifest)
            .is_some_and(|text| text.contains("[lints]\nworkspace = true"));
        if !inherits {
            let message = "does not inherit the workspace's lints: add [lints] workspace = true";
            findings.push(Finding::fail(RULE, manifest, 0, message));
        }
    }
    let thresholds: Vec<&str> = settings(workspace.text("clippy.toml").unwrap_or_default());
    let nested = workspace
        .files
        .iter()
        .filter(|file| file.path.ends_with("/clippy.toml"));
    for file in nested {
        let own = settings(&file.text);
        for missing in thresholds.iter().filter(|line| !own.contains(line)) {
            // The nearest clippy.toml replaces its parents'; it does not add to them.
            let message = format!("does not repeat `{missing}` of the workspace's clippy.toml");
            findings.push(Finding::fail(RULE, &file.path, 0, message));
        }
    }
    findings
}

fn settings(text: &str) -> Vec<&str> {
    text.lines()
        .map(str::trim)
        .filter(|line| line.contains(" = ") && !line.starts_with(['#', '{']))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, with_packages, workspace};

    #[test]
    fn a_package_with_lints_of_its_own_is_refused() {
        let found = check(&workspace(&[("sample/Cargo.toml", "[package]\n")]));
        assert_eq!(broken(&found), ["sample/Cargo.toml"]);
        let found = check(&workspace(&[(
            "sample/Cargo.toml",
            "[lints]\nworkspace = true\n",
        )]));
        assert!(found.is_empty());
    }

    #[test]
    fn a_clippy_file_that_drops_a_threshold_is_refused() {
        let files = [
            ("clippy.toml", "a = 1\nb = 2\n"),
            ("sample/clippy.toml", "a = 1\nb = 3\n"),
        ];
        let found = check(&with_packages(&files, Vec::new()));
        assert_eq!(broken(&found), ["sample/clippy.toml"]);
    }
}
