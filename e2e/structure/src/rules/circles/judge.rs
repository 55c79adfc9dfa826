use std::collections::BTreeSet;

use super::graph::{Imports, circles, imports};
use crate::{Finding, Workspace};

const RULE: &str = "circles";

pub(in crate::rules) fn check(workspace: &Workspace) -> Vec<Finding> {
    let roots = workspace.packages.iter().flat_map(|package| &package.roots);
    let found = roots.flat_map(|root| {
        let imports = imports(workspace, root);
        let describe = |circle: &BTreeSet<&str>| {
            let (place, line, message) = describe(&imports, circle);
            Finding::fail(RULE, place, line, message)
        };
        let found = circles(&imports);
        found.iter().map(describe).collect::<Vec<_>>()
    });
    found.collect()
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
    use super::check;
    use crate::Workspace;
    use crate::sample::{broken, workspace};

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
}
