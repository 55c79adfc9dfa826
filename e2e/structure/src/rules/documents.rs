//! Documents that promise something name what keeps the promise.

use super::links::{resolve, targets};
use crate::{Finding, Workspace};

const RULE: &str = "documents";
const INDEX: &str = "docs/adr/README.md";
const ARCHITECTURE: &str = "docs/architecture.md";
const SECURITY: &str = "docs/security.md";
const CONVENTIONS: &str = "docs/conventions.md";
const COMPATIBILITY: &str = "docs/compatibility.md";
/// Folders of the top level: a quoted word that begins with one is a path.
const TOP_LEVEL: [&str; 7] = [
    "operator/",
    "node-agent/",
    "crds/",
    "charts/",
    "deploy/",
    "e2e/",
    "docs/",
];
/// The table of the security page in which every row names its case, and how a row says that it has none yet.
const EVENTS: &str = "## What happens when";
const LATER: &str = "later";
/// Tools that an invariant may name beside files of the workspace.
const TOOLS: [&str; 5] = ["rustc", "clippy", "cargo-deny", "typos", "rustfmt"];
/// How an invariant names a rule of this lint, and the folder that has the rules.
const OWN_RULE: &str = "structure/";
const OWN_RULES: &str = "e2e/structure/src/rules";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = check_decisions(workspace);
    findings.extend(check_invariants(workspace));
    findings.extend(check_events(workspace));
    for page in [ARCHITECTURE, COMPATIBILITY, CONVENTIONS] {
        findings.extend(check_paths(workspace, page));
    }
    findings
}

/// Every path that a page quotes is there, and what it names in a file is in it.
fn check_paths(workspace: &Workspace, page: &str) -> Vec<Finding> {
    let lines = workspace.text(page).unwrap_or_default().lines();
    let mut findings = Vec::new();
    for (index, line) in lines.enumerate() {
        let quoted = line.split('`').skip(1).step_by(2);
        let mut paths = quoted.filter(|word| TOP_LEVEL.iter().any(|top| word.starts_with(top)));
        if let Some(missing) = paths.find(|path| !is_there(workspace, path)) {
            let message = format!("`{missing}` is not there");
            findings.push(Finding::fail(RULE, page, index + 1, message));
        }
    }
    findings
}

/// A path, or `path::name` with a function or a type of that name in that file.
fn is_there(workspace: &Workspace, name: &str) -> bool {
    let Some((path, name)) = name.split_once("::") else {
        return workspace.exists(name.trim_end_matches('/'));
    };
    // Of `test::case` the last part is what the file defines.
    let name = name.rsplit("::").next().unwrap_or(name);
    let defined = ["fn", "struct", "enum", "trait"].map(|word| format!("{word} {name}"));
    let text = workspace.text(path).unwrap_or_default();
    defined.iter().any(|defined| {
        let mut found = text.match_indices(defined.as_str());
        found.any(|(at, _)| {
            let next = text[at + defined.len()..].chars().next();
            next.is_none_or(|next| !next.is_alphanumeric() && next != '_')
        })
    })
}

/// Every row of what happens when names, in its last cell, tests that are there, or says that it comes later.
fn check_events(workspace: &Workspace) -> Vec<Finding> {
    let lines = workspace.text(SECURITY).unwrap_or_default().lines();
    let mut findings = Vec::new();
    let (mut rows, mut inside) = (0, false);
    for (index, line) in lines.enumerate() {
        if line.starts_with("## ") {
            inside = line == EVENTS;
        }
        if !inside || !line.starts_with("| ") {
            continue;
        }
        rows += 1;
        // The first row is the table's head.
        if rows > 1
            && let Some(problem) = problem_of_event(workspace, line)
        {
            findings.push(Finding::fail(RULE, SECURITY, index + 1, problem));
        }
    }
    if rows < 2 {
        let message = format!("has no rows under `{EVENTS}`");
        findings.push(Finding::fail(RULE, SECURITY, 0, message));
    }
    findings
}

fn problem_of_event(workspace: &Workspace, line: &str) -> Option<String> {
    let cell = line.trim_end_matches([' ', '|']).rsplit('|').next()?.trim();
    if cell == LATER {
        return None;
    }
    let quoted: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    if quoted.is_empty() {
        return Some("the row names no case: a path and a test, or `later`".to_owned());
    }
    quoted
        .into_iter()
        .find(|name| !is_case(workspace, name))
        .map(|name| format!("`{name}` is no test that is there"))
}

/// `path::test_name`, with the attribute of a test above the function.
fn is_case(workspace: &Workspace, name: &str) -> bool {
    let Some((path, test)) = name.split_once("::") else {
        return false;
    };
    let text = workspace.text(path).unwrap_or_default();
    let named = format!("fn {test}(");
    let mut before = text.lines().take_while(|line| !line.contains(&named));
    text.contains(&named)
        && before
            .by_ref()
            .filter(|line| !line.trim().is_empty())
            .last()
            .is_some_and(|line| line.contains("test"))
}

/// Every decision is in the index, has its own number and a status.
fn check_decisions(workspace: &Workspace) -> Vec<Finding> {
    let index = workspace.text(INDEX).unwrap_or_default();
    let linked: Vec<String> = index
        .lines()
        .flat_map(targets)
        .map(|target| resolve(INDEX, target))
        .collect();
    let mut findings = Vec::new();
    let mut previous = "";
    for file in &workspace.files {
        let Some(name) = file.path.strip_prefix("docs/adr/") else {
            continue;
        };
        if name == "README.md" {
            continue;
        }
        let number = name.split('-').next().unwrap_or_default();
        if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            let message = "a decision is named NNNN-what-was-decided.md";
            findings.push(Finding::fail(RULE, &file.path, 0, message));
        }
        if number == previous {
            let message = format!("number {number} is used twice");
            findings.push(Finding::fail(RULE, &file.path, 0, message));
        }
        previous = number;
        if !linked.contains(&file.path) {
            let message = format!("is not linked in {INDEX}");
            findings.push(Finding::fail(RULE, &file.path, 0, message));
        }
        if !file.text.lines().any(|line| line.starts_with("Status: ")) {
            findings.push(Finding::fail(RULE, &file.path, 0, "has no `Status: ` line"));
        }
    }
    findings
}

/// Every row of the invariants' table names, in its last cell, a tool or a file that is there.
fn check_invariants(workspace: &Workspace) -> Vec<Finding> {
    let Some(text) = workspace.text(ARCHITECTURE) else {
        let message = "is missing: the invariants stand there";
        return vec![Finding::fail(RULE, ARCHITECTURE, 0, message)];
    };
    let mut findings = Vec::new();
    let mut rows = 0;
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("## ") {
            inside = line == "## Invariants";
        }
        // The row of dashes ends the head of the table; a row starts with its number.
        if !inside || !is_row(line) {
            continue;
        }
        rows += 1;
        if let Some(problem) = problem_of(workspace, line) {
            findings.push(Finding::fail(RULE, ARCHITECTURE, index + 1, problem));
        }
    }
    if rows == 0 {
        let message = "has no numbered rows under `## Invariants`";
        findings.push(Finding::fail(RULE, ARCHITECTURE, 0, message));
    }
    findings
}

fn is_row(line: &str) -> bool {
    line.strip_prefix("| ")
        .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
}

fn problem_of(workspace: &Workspace, line: &str) -> Option<String> {
    let cell = line.trim_end_matches([' ', '|']).rsplit('|').next()?;
    let quoted: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    if quoted.is_empty() {
        return Some("the invariant names no tool that enforces it".to_owned());
    }
    quoted
        .into_iter()
        .find(|name| !is_enforcer(workspace, name))
        .map(|name| format!("`{name}` is neither a tool nor a file nor a test that is there"))
}

/// A tool, a path, or `path::test_name` with that test in that file.
fn is_enforcer(workspace: &Workspace, name: &str) -> bool {
    if TOOLS.iter().any(|tool| name.starts_with(tool)) {
        return true;
    }
    if let Some(rule) = name.strip_prefix(OWN_RULE) {
        return workspace.exists(&format!("{OWN_RULES}/{rule}.rs"))
            || workspace.exists(&format!("{OWN_RULES}/{rule}"));
    }
    match name.split_once("::") {
        Some((path, test)) => workspace
            .text(path)
            .is_some_and(|text| text.contains(&format!("fn {test}("))),
        None => workspace.exists(name),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, workspace};

    /// A security page whose one row names a test.
    const EVENTS: (&str, &str) = (
        "docs/security.md",
        "## What happens when\n| event | what | case |\n|---|---|---|\n| it dies | blocked | later |\n",
    );

    const GOOD: &str =
        "## Invariants\n| # | what | by |\n|---|---|---|\n| 1 | it holds | `clippy` |\n";

    #[test]
    fn a_decision_outside_the_index_is_refused() {
        let found = check(&workspace(&[
            EVENTS,
            ("docs/architecture.md", GOOD),
            ("docs/adr/README.md", "[one](0001-one.md)"),
            ("docs/adr/0001-one.md", "Status: accepted\n"),
            ("docs/adr/0002-two.md", "Status: accepted\n"),
        ]));
        assert_eq!(broken(&found), ["docs/adr/0002-two.md"]);
    }

    #[test]
    fn a_decision_without_status_or_with_a_used_number_is_refused() {
        let found = check(&workspace(&[
            EVENTS,
            ("docs/architecture.md", GOOD),
            ("docs/adr/README.md", "[a](0001-a.md) [b](0001-b.md)"),
            ("docs/adr/0001-a.md", "no status\n"),
            ("docs/adr/0001-b.md", "Status: accepted\n"),
        ]));
        assert_eq!(broken(&found), ["docs/adr/0001-a.md", "docs/adr/0001-b.md"]);
    }

    #[test]
    fn an_invariant_without_a_tool_is_refused() {
        let text = GOOD.replace("`clippy`", "good will");
        let found = check(&workspace(&[EVENTS, ("docs/architecture.md", &text)]));
        assert_eq!(broken(&found), ["docs/architecture.md"]);
    }

    #[test]
    fn an_invariant_that_names_a_missing_test_is_refused() {
        let text = GOOD.replace("clippy", "sample/src/lib.rs::it_holds");
        let with = |code| {
            let files = [
                EVENTS,
                ("docs/architecture.md", text.as_str()),
                ("sample/src/lib.rs", code),
            ];
            check(&workspace(&files)).len()
        };
        assert_eq!((with("fn it_leaks() {}"), with("fn it_holds() {}")), (1, 0));
    }

    #[test]
    fn an_invariant_that_names_a_missing_rule_of_this_lint_is_refused() {
        let text = GOOD.replace("clippy", "structure/floors");
        let with = |path: &str| {
            let files = [EVENTS, ("docs/architecture.md", text.as_str()), (path, "")];
            check(&workspace(&files)).len()
        };
        let rules = "e2e/structure/src/rules";
        assert_eq!(with(&format!("{rules}/names.rs")), 1);
        assert_eq!(with(&format!("{rules}/floors.rs")), 0);
        assert_eq!(with(&format!("{rules}/floors/mod.rs")), 0);
    }

    #[test]
    fn a_page_that_quotes_a_path_or_a_name_that_is_not_there_is_refused() {
        let with = |quoted: &str| {
            let text = format!("{GOOD}\nSee `{quoted}`.\n");
            let files = [
                EVENTS,
                ("docs/architecture.md", text.as_str()),
                ("crds/src/a.rs", "pub struct Peer;\nfn peers() {}\n"),
            ];
            broken(&check(&workspace(&files))).len()
        };
        for good in [
            "crds/src",
            "crds/src/a.rs",
            "crds/src/a.rs::Peer",
            "crds/src/a.rs::peers",
        ] {
            assert_eq!(with(good), 0, "{good}");
        }
        for bad in [
            "crds/src/b.rs",
            "crds/src/a.rs::Pee",
            "crds/src/a.rs::Peers",
            "operator/src",
        ] {
            assert_eq!(with(bad), 1, "{bad}");
        }
    }

    #[test]
    fn an_architecture_without_invariants_is_refused() {
        let found = check(&workspace(&[
            EVENTS,
            ("docs/architecture.md", "## Code map\n"),
        ]));
        assert_eq!(broken(&found), ["docs/architecture.md"]);
    }

    #[test]
    fn an_event_without_a_case_or_with_one_that_is_not_there_is_refused() {
        let with = |cell: &str| {
            let text = EVENTS.1.replace("| later |", &format!("| {cell} |"));
            let files = [
                ("docs/architecture.md", GOOD),
                ("docs/security.md", text.as_str()),
                (
                    "sample/src/lib.rs",
                    "#[test]\nfn it_holds() {}\n\nfn a_helper() {}\n",
                ),
            ];
            check(&workspace(&files)).len()
        };
        assert_eq!(
            (with("later"), with("`sample/src/lib.rs::it_holds`")),
            (0, 0)
        );
        for cell in [
            "built",
            "`sample/src/lib.rs`",
            "`sample/src/lib.rs::it_leaks`",
            "`sample/src/lib.rs::a_helper`",
        ] {
            assert_eq!(with(cell), 1, "{cell}");
        }
    }
}
