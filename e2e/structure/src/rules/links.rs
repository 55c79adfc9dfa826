//! A relative link in a document leads to a file that is there.

use crate::{Finding, Workspace};

const RULE: &str = "links";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in workspace
        .files
        .iter()
        .filter(|file| file.path.ends_with(".md"))
    {
        for (index, line) in file.text.lines().enumerate() {
            for target in targets(line) {
                let path = resolve(&file.path, target);
                if !workspace.exists(&path) {
                    let message = format!("links to `{target}`, which is not there");
                    findings.push(Finding::fail(RULE, &file.path, index + 1, message));
                }
            }
        }
    }
    findings
}

/// The relative targets of the line's `[text](target)` links, without their `#fragment`.
pub(super) fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#']).next()?;
        let relative = !target.is_empty() && !target.contains("://") && !target.contains(' ');
        relative.then_some(target)
    })
}

/// A target as a path from the workspace's root.
pub(super) fn resolve(document: &str, target: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn a_link_to_a_missing_file_is_refused() {
        let found = check(&workspace(&[
            (
                "docs/a.md",
                "[here](b.md#part) [there](../gone.md) [out](https://docs.rs/x) [top](#top)",
            ),
            ("docs/b.md", ""),
        ]));
        assert_eq!(broken(&found), ["docs/a.md"]);
        assert!(
            found
                .iter()
                .any(|finding| finding.message.contains("gone.md"))
        );
    }
}
