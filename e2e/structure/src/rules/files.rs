//! A file that does not fit into one's head is split: 400 lines are a note, more than 500 a failure.

use crate::{Finding, Workspace};

const RULE: &str = "files";
const SOFT: usize = 400;
const HARD: usize = 500;

/// Files that people read and change. Generated references are as long as what they describe.
const ENDINGS: [&str; 4] = [".rs", ".md", ".sh", "Makefile"];
const GENERATED: [&str; 1] = ["docs/api.md"];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    workspace
        .files
        .iter()
        .filter(|file| ENDINGS.iter().any(|ending| file.path.ends_with(ending)))
        .filter(|file| !GENERATED.contains(&file.path.as_str()))
        .filter_map(|file| match file.text.lines().count() {
            lines if lines > HARD => Some(Finding::fail(
                RULE,
                &file.path,
                lines,
                format!("{lines} lines, at most {HARD}"),
            )),
            lines if lines > SOFT => Some(Finding::note(
                RULE,
                &file.path,
                lines,
                format!("{lines} lines, should be at most {SOFT}"),
            )),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, noted, workspace};

    #[test]
    fn a_file_over_the_hard_budget_is_refused() {
        let found = check(&workspace(&[("sample/src/lib.rs", &"//\n".repeat(501))]));
        assert_eq!(broken(&found), ["sample/src/lib.rs"]);
    }

    #[test]
    fn a_file_over_the_soft_budget_is_only_noted() {
        let found = check(&workspace(&[("docs/long.md", &"x\n".repeat(500))]));
        assert_eq!((broken(&found).len(), noted(&found)), (0, 1));
    }

    #[test]
    fn generated_references_have_no_budget() {
        assert!(check(&workspace(&[("docs/api.md", &"x\n".repeat(501))])).is_empty());
    }
}
