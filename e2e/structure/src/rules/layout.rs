//! The top level is a table of contents: who adds to it adds a chapter.

use std::collections::BTreeSet;

use crate::{Finding, Workspace};

const RULE: &str = "layout";
const FOLDERS: [&str; 7] = [
    "charts",
    "crds",
    "deploy",
    "docs",
    "e2e",
    "node-agent",
    "operator",
];
const FILES: [&str; 11] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
];
/// Configuration of tools that look for it here only.
const TOOLS: [&str; 1] = ["typos.toml"];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let entries: BTreeSet<(&str, bool)> = workspace
        .files
        .iter()
        .map(|file| match file.path.split_once('/') {
            Some((folder, _)) => (folder, true),
            None => (file.path.as_str(), false),
        })
        .collect();
    entries
        .into_iter()
        .filter(|(name, _)| !name.starts_with('.'))
        .filter(|(name, is_folder)| match is_folder {
            true => !FOLDERS.contains(name),
            false => !FILES.contains(name) && !TOOLS.contains(name),
        })
        .map(|(name, _)| Finding::fail(RULE, name, 0, "does not belong to the top level"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, with_packages};

    #[test]
    fn a_new_entry_at_the_top_level_is_refused() {
        let files = [
            ("README.md", ""),
            (".ci/run", ""),
            ("docs/a.md", ""),
            ("notes.md", ""),
            ("scripts/a.sh", ""),
        ];
        let found = check(&with_packages(&files, Vec::new()));
        assert_eq!(broken(&found), ["notes.md", "scripts"]);
    }
}
