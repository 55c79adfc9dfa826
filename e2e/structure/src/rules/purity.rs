//! Pure crates cannot wait, listen, log or roll dice: nothing in their normal tree can.
//!
//! What the standard library offers (clock, environment, files) is banned by the `clippy.toml` of
//! each of these crates.

use crate::{Finding, Package, Workspace};

const RULE: &str = "purity";
const PURE: [&str; 4] = [
    "postern-intent",
    "postern-compile",
    "postern-plan",
    "postern-agent-core",
];
const BANNED: [&str; 14] = [
    "tokio",
    "async-std",
    "smol",
    "kube-client",
    "kube-runtime",
    "hyper",
    "reqwest",
    "tower",
    "tracing",
    "log",
    "rand",
    "getrandom",
    "fastrand",
    "nix",
];

/// One call of each kind that the `clippy.toml` of a pure crate refuses.
const CALLS: [&str; 8] = [
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "jiff::Timestamp::now",
    "std::env::var",
    "std::fs::read",
    "std::net::TcpStream::connect",
    "std::println",
    "std::collections::HashMap",
];

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    workspace
        .packages
        .iter()
        .filter(|package| PURE.contains(&package.name.as_str()))
        .flat_map(|package| {
            let mut findings = check_tree(package);
            findings.extend(check_bans(workspace, package));
            findings
        })
        .collect()
}

fn check_tree(package: &Package) -> Vec<Finding> {
    BANNED
        .iter()
        .filter(|banned| package.reaches.contains(**banned))
        .map(|banned| {
            let message = format!("a pure crate reaches {banned}");
            Finding::fail(RULE, &package.name, 0, message)
        })
        .collect()
}

/// Clippy does not report a missing ban, so its presence is checked here.
fn check_bans(workspace: &Workspace, package: &Package) -> Vec<Finding> {
    let path = format!("{}/clippy.toml", package.folder);
    let text = workspace.text(&path).unwrap_or_default();
    CALLS
        .iter()
        .filter(|call| !text.contains(&format!("path = \"{call}\"")))
        .map(|call| Finding::fail(RULE, &path, 0, format!("does not refuse {call}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{CALLS, check};
    use crate::Package;
    use crate::sample::{broken, with_packages};

    fn package(name: &str, reaches: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            folder: "sample".to_owned(),
            reaches: reaches.iter().map(|name| (*name).to_owned()).collect(),
            ..Package::default()
        }
    }

    fn bans(calls: &[&str]) -> String {
        let lines = calls
            .iter()
            .map(|call| format!("{{ path = \"{call}\" }},\n"));
        lines.collect()
    }

    #[test]
    fn a_pure_crate_that_reaches_a_runtime_is_refused() {
        let files = [("sample/clippy.toml", bans(&CALLS))];
        let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
        let packages = vec![
            package("postern-plan", &["tokio"]),
            package("postern-host", &["tokio"]),
        ];
        assert_eq!(
            broken(&check(&with_packages(&files, packages))),
            ["postern-plan"]
        );
    }

    #[test]
    fn a_pure_crate_whose_clippy_file_forgets_a_ban_is_refused() {
        let text = bans(&CALLS[1..]);
        let files = [("sample/clippy.toml", text.as_str())];
        let found = check(&with_packages(&files, vec![package("postern-intent", &[])]));
        assert_eq!(broken(&found), ["sample/clippy.toml"]);
    }
}
