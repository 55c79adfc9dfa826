//! Checks of the machines by their Node objects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, NodeSystemInfo};

use postern_compile::first_names;

use super::check::{CheckResult, InstallCheck};
use super::reading::InstallReading;
use super::version::numbers;

/// Runtimes that call CNI plugins by their lists, as the chained plugin needs.
const RUNTIMES: [&str; 2] = ["containerd", "cri-o"];

/// Connection tracking is asked for single addresses since this version; docs/host-contact.md.
const OLDEST_KERNEL: (u32, u32) = (5, 8);

/// The first version whose tokens name the node, which admission compares with the report.
const OLDEST_SERVER: (u32, u32) = (1, 32);

/// The first version with ServiceCIDR objects.
const RANGES_SERVED: (u32, u32) = (1, 33);

pub(super) fn checks(reading: &InstallReading) -> Vec<InstallCheck> {
    let nodes = &reading.nodes;
    vec![
        InstallCheck::read("Kubernetes", &reading.server_version, |version| {
            server(version)
        }),
        InstallCheck::read("kubelets", nodes, |nodes| kubelets(nodes)),
        InstallCheck::read("operating system", nodes, |nodes| systems(nodes)),
        InstallCheck::read("kernel version", nodes, |nodes| kernels(nodes)),
        InstallCheck::read("container runtime", nodes, |nodes| runtimes(nodes)),
        InstallCheck::read("pod ranges of nodes", nodes, |nodes| pod_ranges(nodes)),
    ]
}

fn info(node: &Node) -> NodeSystemInfo {
    let status = node.status.as_ref();
    let info = status.and_then(|status| status.node_info.clone());
    info.unwrap_or_default()
}

pub(super) fn name(node: &Node) -> String {
    node.metadata.name.clone().unwrap_or_default()
}

/// Which nodes have which value.
fn by_value(nodes: &[Node], value: impl Fn(&NodeSystemInfo) -> String) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for node in nodes {
        *found.entry(value(&info(node))).or_default() += 1;
    }
    found
}

fn counted(values: &BTreeMap<String, usize>) -> String {
    let each = values.iter().map(|(value, nodes)| {
        let word = if *nodes == 1 { "node" } else { "nodes" };
        format!("{value} ({nodes} {word})")
    });
    first_names(each)
}

fn server(version: &str) -> InstallCheck {
    const CHECK: &str = "Kubernetes";
    match numbers(version) {
        None => InstallCheck::of(
            CHECK,
            CheckResult::Unknown,
            format!("the API server names its version {version:?}"),
            "it has to be 1.33 or later",
        ),
        Some(numbers) if numbers < OLDEST_SERVER => InstallCheck::of(
            CHECK,
            CheckResult::Refused,
            version,
            "upgrade to 1.33: tokens of an older API server name no node, so every report would be refused",
        ),
        Some(numbers) if numbers < RANGES_SERVED => InstallCheck::of(
            CHECK,
            CheckResult::Warning,
            format!("{version} has no ServiceCIDR objects"),
            "write serviceRanges into the settings, or upgrade to 1.33",
        ),
        Some(_) => InstallCheck::passed(CHECK, version),
    }
}

fn kubelets(nodes: &[Node]) -> InstallCheck {
    not_older(
        "kubelets",
        &by_value(nodes, |info| info.kubelet_version.clone()),
        OLDEST_SERVER,
        "upgrade them to 1.32 or later: no older one was tried",
    )
}

/// Warns where a version is older than this one, or is no version.
fn not_older(
    check: &'static str,
    found: &BTreeMap<String, usize>,
    oldest: (u32, u32),
    to_do: &'static str,
) -> InstallCheck {
    let is_old = |version: &String| numbers(version).is_none_or(|numbers| numbers < oldest);
    match found.keys().any(is_old) {
        false => InstallCheck::passed(check, counted(found)),
        true => InstallCheck::of(check, CheckResult::Warning, counted(found), to_do),
    }
}

fn systems(nodes: &[Node]) -> InstallCheck {
    const CHECK: &str = "operating system";
    let systems = by_value(nodes, |info| info.os_image.clone());
    let is_other = |node: &&Node| info(node).operating_system != "linux";
    let others: Vec<String> = nodes.iter().filter(is_other).map(name).collect();
    if others.is_empty() {
        return InstallCheck::passed(CHECK, counted(&systems));
    }
    InstallCheck::of(
        CHECK,
        CheckResult::Warning,
        format!("not Linux: {}", first_names(others)),
        "agents run on Linux only: nothing holds pods on other nodes, so keep pods that policies select away from them",
    )
}

fn kernels(nodes: &[Node]) -> InstallCheck {
    not_older(
        "kernel version",
        &by_value(nodes, |info| info.kernel_version.clone()),
        OLDEST_KERNEL,
        "use Linux 5.8 or later: an older kernel walks its whole connection table for each address whose flows are cut",
    )
}

fn runtimes(nodes: &[Node]) -> InstallCheck {
    const CHECK: &str = "container runtime";
    let found = by_value(nodes, |info| info.container_runtime_version.clone());
    let is_known = |runtime: &String| {
        let name = runtime.split_once("://").map_or("", |(name, _)| name);
        RUNTIMES.contains(&name)
    };
    match found.keys().all(is_known) {
        true => InstallCheck::passed(CHECK, counted(&found)),
        false => InstallCheck::of(
            CHECK,
            CheckResult::Warning,
            counted(&found),
            "only containerd was tried; the runtime has to call CNI plugins by a .conflist",
        ),
    }
}

/// A range with host bits is none, as the compiler takes it.
fn pod_ranges(nodes: &[Node]) -> InstallCheck {
    const CHECK: &str = "pod ranges of nodes";
    let without: Vec<String> = nodes
        .iter()
        .filter(|node| ranges_of(node).is_empty())
        .map(name)
        .collect();
    if without.is_empty() {
        let all: BTreeSet<String> = nodes.iter().flat_map(ranges_of).collect();
        return InstallCheck::passed(CHECK, first_names(all));
    }
    InstallCheck::of(
        CHECK,
        CheckResult::Warning,
        format!("without spec.podCIDRs: {}", first_names(without)),
        "write the pods' ranges as podRanges into the settings, and as --pod-cidrs for the agents; see docs/settings.md",
    )
}

pub(super) fn ranges_of(node: &Node) -> Vec<String> {
    let Some(spec) = &node.spec else {
        return Vec::new();
    };
    let many = spec.pod_cidrs.iter().flatten();
    let ranges: BTreeSet<String> = many.chain(spec.pod_cidr.as_ref()).cloned().collect();
    ranges.into_iter().collect()
}
