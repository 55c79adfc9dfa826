//! A comment gives a reason. Work to do is in an issue, work done is in git.

use crate::{Finding, Workspace};

const RULE: &str = "comments";
const ENDINGS: [&str; 3] = [".rs", ".sh", "Makefile"];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in workspace
        .files
        .iter()
        .filter(|file| ENDINGS.iter().any(|ending| file.path.ends_with(ending)))
    {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(problem) = comment_of(line).and_then(problem_of) {
                findings.push(Finding::fail(RULE, &file.path, index + 1, problem));
            }
        }
    }
    findings
}

/// The text of a line that is a comment as a whole.
fn comment_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("//").or_else(|| line.strip_prefix("# "));
    rest.map(|text| text.trim_start_matches(['/', '!']).trim())
}

fn problem_of(text: &str) -> Option<&'static str> {
    let first = text
        .split(|letter: char| !letter.is_ascii_uppercase())
        .next();
    if matches!(first, Some("TODO" | "FIXME" | "HACK" | "XXX")) {
        return Some("a note to do something: do it, or write an issue");
    }
    let is_banner = text.len() >= 4 && text.chars().all(|letter| "-=*#~".contains(letter));
    is_banner.then_some("a banner: a file that needs one is two files")
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    #[test]
    fn notes_to_do_something_and_banners_are_refused() {
        for text in [
            "// TODO: later",
            "/// FIXME",
            "//! XXX(me) why",
            "    // -----",
            "// =======",
        ] {
            let found = check(&workspace(&[("sample/src/lib.rs", text)]));
            assert_eq!(broken(&found), ["sample/src/lib.rs"], "{text}");
        }
    }

    #[test]
    fn reasons_are_welcome() {
        let text = "//\n// The kernel drops the route first.\n//! | a |\n//! |---|\nlet todo = 1;";
        assert!(check(&workspace(&[("sample/src/lib.rs", text)])).is_empty());
    }
}
