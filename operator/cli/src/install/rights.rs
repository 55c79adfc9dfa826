//! Whether the caller has the rights for an installation.

use postern_compile::first_names;

use super::check::{CheckResult, InstallCheck};
use super::reading::{AccessRight, InstallReading, RightAnswer};

pub(super) fn checks(reading: &InstallReading) -> Vec<InstallCheck> {
    const CHECK: &str = "your rights";
    let judge = |answers: &Vec<RightAnswer>| {
        let refused = answers.iter().filter(|answer| !answer.is_allowed);
        let refused: Vec<String> = refused.map(|answer| words(&answer.right)).collect();
        if refused.is_empty() {
            return InstallCheck::passed(CHECK, "everything that an installation makes");
        }
        InstallCheck::of(
            CHECK,
            CheckResult::Refused,
            format!("missing: {}", first_names(refused)),
            "install as a user with the ClusterRole cluster-admin",
        )
    };
    vec![InstallCheck::read(CHECK, &reading.rights, judge)]
}

fn words(right: &AccessRight) -> String {
    let AccessRight {
        verb,
        group,
        resource,
        ..
    } = right;
    match *group {
        "" => format!("{verb} {resource}"),
        group => format!("{verb} {resource}.{group}"),
    }
}
