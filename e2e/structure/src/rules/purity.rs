//! Pure crates cannot wait, listen, log or roll dice: nothing in their normal tree can.
//!
//! What the standard library offers (clock, environment, files) is banned by the `clippy.toml` of
//! each of these crates.

use crate::{Finding, Workspace};

const RULE: &str = "purity";
const PURE: [&str; 3] = ["postern-intent", "postern-compile", "postern-plan"];
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

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    workspace
        .packages
        .iter()
        .filter(|package| PURE.contains(&package.name.as_str()))
        .flat_map(|package| {
            BANNED
                .iter()
                .filter(|banned| package.reaches.contains(**banned))
                .map(|banned| {
                    let message = format!("a pure crate reaches {banned}");
                    Finding::fail(RULE, &package.name, 0, message)
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::Package;
    use crate::sample::{broken, with_packages};

    #[test]
    fn a_pure_crate_that_reaches_a_runtime_is_refused() {
        let package = |name: &str| Package {
            name: name.to_owned(),
            reaches: ["tokio".to_owned()].into(),
            ..Package::default()
        };
        let found = check(&with_packages(
            &[],
            vec![package("postern-plan"), package("postern-host")],
        ));
        assert_eq!(broken(&found), ["postern-plan"]);
    }
}
