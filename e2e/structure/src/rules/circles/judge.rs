//! Circles as findings.

use std::collections::BTreeSet;

use super::allowed::{ALLOWED, Allowed};
use super::graph::{Imports, circles, imports};
use crate::{Finding, Workspace};

const RULE: &str = "circles";
/// The list of the circles that are allowed.
const LIST: &str = "e2e/structure/src/rules/circles/allowed.rs";

pub(in crate::rules) fn check(workspace: &Workspace) -> Vec<Finding> {
    check_against(workspace, ALLOWED)
}

fn check_against(workspace: &Workspace, allowed: &[Allowed]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut met = BTreeSet::new();
    for root in workspace.packages.iter().flat_map(|package| &package.roots) {
        let imports = imports(workspace, root);
        for circle in circles(&imports) {
            let (place, line, message) = describe(&imports, &circle);
            let entry = allowed.iter().position(|entry| covers(entry, &circle));
            findings.push(match entry {
                Some(entry) => {
                    met.insert(entry);
                    let files = circle.iter().copied().collect::<Vec<_>>().join(", ");
                    let message = format!("allowed: these import each other: {files}");
                    Finding::allowed(RULE, place, line, message)
                }
                None => Finding::fail(RULE, place, line, message),
            });
        }
    }
    let gone = allowed.iter().enumerate();
    let gone = gone.filter(|(number, _)| !met.contains(number));
    findings.extend(gone.map(|(_, entry)| refuse_entry(entry)));
    findings
}

/// The list must not keep a circle that is gone: a new circle of the same files would be allowed.
fn refuse_entry(entry: &Allowed) -> Finding {
    let files = entry.files.join(", ");
    let message = format!(
        "no circle in {} any more: remove the entry of {files}",
        entry.folder
    );
    Finding::fail(RULE, LIST, 0, message)
}

fn covers(entry: &Allowed, circle: &BTreeSet<&str>) -> bool {
    circle.iter().all(|path| {
        path.strip_prefix(entry.folder)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|rest| entry.files.contains(&rest))
    })
}

/// Place, line and message: every import inside the circle, so that one sees which to cut.
fn describe<'a>(imports: &Imports<'a>, circle: &BTreeSet<&'a str>) -> (String, usize, String) {
    let mut edges = Vec::new();
    for (file, others) in imports.iter().filter(|(file, _)| circle.contains(*file)) {
        for (other, line) in others.iter().filter(|(other, _)| circle.contains(*other)) {
            edges.push((*file, *line, *other));
        }
    }
    let shown: Vec<String> = edges
        .iter()
        .map(|(file, line, other)| format!("{file}:{line} imports {other}"))
        .collect();
    let (place, line) = edges
        .first()
        .map_or(("", 0), |(file, line, _)| (*file, *line));
    let message = format!(
        "{} files import each other: {}",
        circle.len(),
        shown.join("; ")
    );
    (place.to_owned(), line, message)
}

#[cfg(test)]
mod tests {
    use super::{Allowed, check_against};
    use crate::sample::{broken, workspace};
    use crate::{Finding, Severity, Workspace};

    fn check(workspace: &Workspace) -> Vec<Finding> {
        check_against(workspace, &[])
    }

    fn two_files(first: &str, second: &str) -> Workspace {
        workspace(&[
            ("sample/src/lib.rs", "mod a; mod b; pub use b::B;"),
            ("sample/src/a.rs", first),
            ("sample/src/b.rs", second),
        ])
    }

    #[test]
    fn two_files_that_import_each_other_are_refused() {
        for first in [
            "use crate::b::B; pub struct A;",
            "use super::b; pub struct A(b::B);",
            "pub struct A; fn f() { crate::b::B::new(); }",
            "pub struct A; fn f() { assert!(crate::b::B::holds()); }",
            "use crate::B; pub struct A;",
            "use crate::{b::{B as Other}}; pub struct A;",
        ] {
            let found = check(&two_files(first, "use crate::a::A; pub struct B(A);"));
            assert_eq!(broken(&found), ["sample/src/a.rs"], "{first}");
        }
    }

    #[test]
    fn a_circle_of_three_files_is_refused_once_and_names_each_import() {
        let found = check(&workspace(&[
            ("sample/src/lib.rs", "mod a; mod b; mod c;"),
            ("sample/src/a.rs", "use crate::b::B; pub struct A;"),
            ("sample/src/b.rs", "use crate::c::C; pub struct B;"),
            ("sample/src/c.rs", "\nuse crate::a::A; pub struct C;"),
        ]));
        assert_eq!(broken(&found), ["sample/src/a.rs"]);
        let message = "sample/src/c.rs:2 imports sample/src/a.rs";
        assert!(found[0].message.contains(message), "{found:?}");
    }

    #[test]
    fn imports_in_one_direction_are_no_circle() {
        for first in [
            "pub struct A;",
            "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }",
            "use crate::b; pub struct A;",
            "use other::B; pub struct A;",
        ] {
            let found = check(&two_files(first, "use crate::a::A; pub struct B(A);"));
            assert!(found.is_empty(), "{first}: {found:?}");
        }
    }

    #[test]
    fn a_map_that_passes_names_on_is_in_no_circle() {
        let found = check(&workspace(&[
            (
                "sample/src/lib.rs",
                "mod a; pub use a::A; pub const N: u8 = 1;",
            ),
            ("sample/src/a.rs", "use crate::N; pub struct A;"),
        ]));
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn an_allowed_circle_is_printed_and_an_entry_without_its_circle_is_refused() {
        let allowed = [Allowed {
            folder: "sample/src",
            files: &["a.rs", "b.rs"],
        }];
        let circle = two_files(
            "use crate::b::B; pub struct A;",
            "use crate::a::A; pub struct B;",
        );
        let found = check_against(&circle, &allowed);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Allowed);
        let straight = two_files("pub struct A;", "use crate::a::A; pub struct B;");
        assert_eq!(broken(&check_against(&straight, &allowed)).len(), 1);
    }
}
