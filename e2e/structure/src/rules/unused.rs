//! A dependency that no file names costs every build and every audit.

use crate::{Dependency, DependencyKind, Finding, Package, Workspace};

const RULE: &str = "unused";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        for dependency in &package.dependencies {
            if is_named(workspace, package, dependency) {
                continue;
            }
            if package.kept.contains_key(&dependency.package) {
                continue;
            }
            let message = format!(
                "no file names `{}`: drop it, or give the reason in [package.metadata.structure.kept]",
                dependency.import
            );
            findings.push(Finding::fail(RULE, &package.name, 0, message));
        }
    }
    findings
}

fn is_named(workspace: &Workspace, package: &Package, dependency: &Dependency) -> bool {
    let sources = format!("{}/src/", package.folder);
    workspace
        .files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .filter(|file| match dependency.kind {
            // What only a test names belongs to the development dependencies.
            DependencyKind::Normal => file.path.starts_with(&sources),
            DependencyKind::Build => file.path.ends_with("build.rs"),
            DependencyKind::Development => true,
        })
        .filter(|file| {
            workspace
                .owner(&file.path)
                .is_some_and(|owner| owner.name == package.name)
        })
        .any(|file| names(&file.text, &dependency.import))
}

/// Whether a line of code, not a comment, has `word` as a whole word.
fn names(text: &str, word: &str) -> bool {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| {
            line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .any(|part| part == word)
        })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, with_packages};
    use crate::{Dependency, DependencyKind, Package};

    fn package(kind: DependencyKind) -> Package {
        Package {
            name: "sample".to_owned(),
            folder: "sample".to_owned(),
            dependencies: vec![Dependency {
                package: "some-crate".to_owned(),
                import: "some_crate".to_owned(),
                kind,
            }],
            ..Package::default()
        }
    }

    #[test]
    fn a_dependency_that_no_file_names_is_refused() {
        let files = [("sample/src/lib.rs", "// some_crate\nuse some_crates::X;")];
        let found = check(&with_packages(
            &files,
            vec![package(DependencyKind::Normal)],
        ));
        assert_eq!(broken(&found), ["sample"]);
    }

    #[test]
    fn a_normal_dependency_that_only_a_test_names_is_refused() {
        let files = [("sample/tests/it.rs", "use some_crate::X;")];
        let normal = check(&with_packages(
            &files,
            vec![package(DependencyKind::Normal)],
        ));
        assert_eq!(broken(&normal), ["sample"]);
        let development = check(&with_packages(
            &files,
            vec![package(DependencyKind::Development)],
        ));
        assert!(development.is_empty());
    }

    #[test]
    fn a_kept_dependency_needs_its_reason_only() {
        let mut kept = package(DependencyKind::Normal);
        kept.kept
            .insert("some-crate".to_owned(), "picks a feature".to_owned());
        assert!(check(&with_packages(&[], vec![kept])).is_empty());
    }
}
