//! A crate uses only crates of a lower floor, however long the way there is.

use crate::{Finding, Package, Workspace};

const RULE: &str = "floors";

/// The floors, lowest first. A crate may reach crates of lower floors only.
const FLOORS: [&[&str]; 6] = [
    &["postern-intent", "postern-telemetry"],
    &["postern-crds", "postern-plan"],
    &[
        "postern-apiserver",
        "postern-compile",
        "postern-host",
        "postern-agent-core",
        "postern-control",
    ],
    // The plugin's library has the types of the agent's socket, so it is below the agent.
    &[
        "postern-operator",
        "posternctl",
        "postern-linux",
        "postern-host-testing",
        "postern-tunnel",
        "postern-cni",
    ],
    &["postern-agent"],
    &["postern-e2e", "postern-structure"],
];

/// Crates for tests: no program reaches them but the lab, which is one itself. Development dependencies are not in the
/// tree that this rule reads.
const FOR_TESTS: [&str; 1] = ["postern-host-testing"];
const LAB: &str = "postern-e2e";

/// What the floors alone would allow.
const NEVER: [(&str, &[&str]); 4] = [
    // What decides never touches a host.
    (
        "postern-operator",
        &[
            "postern-plan",
            "postern-control",
            "postern-host",
            "postern-linux",
        ],
    ),
    // What enforces never decides: an agent that could compile could invent an intent.
    ("postern-agent", &["postern-compile"]),
    // The tunnel process knows a device and nothing else.
    (
        "postern-tunnel",
        &["postern-intent", "postern-plan", "postern-host"],
    ),
    (
        "postern-cni",
        &["postern-plan", "postern-host", "postern-linux"],
    ),
];

/// Crates that talk to the kernel, or start of their names: direct edges to them belong to
/// `postern-linux`. cargo-deny checks the direct edges too; this also covers new members of
/// the family before they are listed there.
const KERNEL: [&str; 5] = [
    "aya",
    "rtnetlink",
    "nftables",
    "wireguard-control",
    "netlink-",
];

/// Crates that may reach the client of an API server. Another crate that reaches it could decide or enforce by what it
/// reads there, past the signed document.
const CLIENTS: [&str; 5] = [
    "postern-apiserver",
    "postern-operator",
    "postern-agent",
    "posternctl",
    "postern-e2e",
];
const CLIENT: &str = "kube-client";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        findings.extend(check_floor(package));
        findings.extend(check_never(package));
        findings.extend(check_for_tests(package));
        findings.extend(check_kernel(package));
        findings.extend(check_client(package));
    }
    findings
}

fn floor_of(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn check_floor(package: &Package) -> Vec<Finding> {
    let Some(own) = floor_of(&package.name) else {
        let message = "stands on no floor: give it one in the structure lint";
        return vec![Finding::fail(RULE, &package.name, 0, message)];
    };
    package
        .reaches
        .iter()
        .filter(|other| floor_of(other).is_some_and(|floor| floor >= own))
        .map(|other| {
            let message = format!("reaches {other}, which is not on a lower floor");
            Finding::fail(RULE, &package.name, 0, message)
        })
        .collect()
}

fn check_never(package: &Package) -> Vec<Finding> {
    NEVER
        .iter()
        .filter(|(name, _)| *name == package.name)
        .flat_map(|(_, banned)| banned.iter())
        .filter(|banned| package.reaches.contains(**banned))
        .map(|banned| Finding::fail(RULE, &package.name, 0, format!("must never reach {banned}")))
        .collect()
}

fn check_for_tests(package: &Package) -> Vec<Finding> {
    FOR_TESTS
        .iter()
        .filter(|crate_for_tests| package.reaches.contains(**crate_for_tests))
        .filter(|_| package.name != LAB)
        .map(|crate_for_tests| {
            let message = format!("reaches {crate_for_tests}: make it a development dependency");
            Finding::fail(RULE, &package.name, 0, message)
        })
        .collect()
}

fn check_client(package: &Package) -> Option<Finding> {
    let allowed = CLIENTS.contains(&package.name.as_str());
    (!allowed && package.reaches.contains(CLIENT)).then(|| {
        let message = format!("reaches {CLIENT}: only {} do", CLIENTS.join(", "));
        Finding::fail(RULE, &package.name, 0, message)
    })
}

fn check_kernel(package: &Package) -> Vec<Finding> {
    if package.name == "postern-linux" {
        return Vec::new();
    }
    package
        .dependencies
        .iter()
        .filter(|dependency| {
            KERNEL
                .iter()
                .any(|start| dependency.package.starts_with(start))
        })
        .map(|dependency| {
            let message = format!("names {}: only postern-linux does", dependency.package);
            Finding::fail(RULE, &package.name, 0, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::sample::{broken, with_packages};
    use crate::{Dependency, DependencyKind, Package};

    fn package(name: &str, reaches: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            reaches: reaches.iter().map(|name| (*name).to_owned()).collect(),
            ..Package::default()
        }
    }

    fn broken_by(package: Package) -> bool {
        !broken(&check(&with_packages(&[], vec![package]))).is_empty()
    }

    #[test]
    fn a_crate_that_reaches_up_or_sideways_is_refused() {
        assert!(broken_by(package("postern-intent", &["postern-crds"])));
        assert!(broken_by(package("postern-plan", &["postern-crds"])));
        assert!(broken_by(package("postern-host", &["postern-linux"])));
        assert!(!broken_by(package("postern-linux", &["postern-host"])));
    }

    #[test]
    fn the_operator_never_reaches_the_host_and_the_agent_never_compiles() {
        assert!(broken_by(package("postern-operator", &["postern-plan"])));
        assert!(broken_by(package("postern-agent", &["postern-compile"])));
        assert!(!broken_by(package("posternctl", &["postern-plan"])));
    }

    #[test]
    fn a_program_that_reaches_the_fake_host_is_refused() {
        assert!(broken_by(package(
            "postern-agent",
            &["postern-host-testing"]
        )));
        assert!(!broken_by(package("postern-agent", &["postern-host"])));
        assert!(!broken_by(package(
            "postern-e2e",
            &["postern-host-testing"]
        )));
    }

    #[test]
    fn only_linux_names_the_kernel_crates() {
        let mut offender = package("postern-host", &[]);
        offender.dependencies.push(Dependency {
            package: "netlink-sys".to_owned(),
            import: "netlink_sys".to_owned(),
            kind: DependencyKind::Normal,
        });
        assert!(broken_by(offender));
    }

    #[test]
    fn only_those_who_speak_to_an_api_server_reach_its_client() {
        assert!(broken_by(package("postern-tunnel", &["kube-client"])));
        assert!(broken_by(package("postern-compile", &["kube-client"])));
        assert!(!broken_by(package("postern-agent", &["kube-client"])));
    }

    #[test]
    fn a_crate_without_a_floor_is_refused() {
        assert!(broken_by(package("postern-new", &[])));
    }
}
