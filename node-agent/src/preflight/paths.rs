//! Do pods' packets come by the guard at all?

use std::collections::BTreeSet;

use postern_intent::IfName;
use postern_plan::host::ObservedLink;
use postern_plan::settings::NodeSettings;
use postern_telemetry::chain;

use super::check::{PreflightCheck, PreflightOutcome, some, unread};
use super::node::NodeReading;

pub(super) fn checks(node: &NodeReading, settings: &NodeSettings) -> Vec<PreflightCheck> {
    let mut out = vec![bypasses(node), tcx(node)];
    match &node.links {
        Err(error) => out.push(unread("pod links", error)),
        Ok(links) => {
            out.extend([
                pod_links(links, settings),
                shortcuts(node, links, settings),
                routing_domains(links),
            ]);
        }
    }
    out.push(virtual_servers(node));
    out
}

/// Links that the setting matches, and everything that is a port of one.
pub(super) fn pods_are_behind(links: &[ObservedLink], settings: &NodeSettings) -> BTreeSet<IfName> {
    let is_pod_link = |name: &str| settings.is_pod_link(name);
    links
        .iter()
        .filter(|link| is_pod_link(&link.name) || link.master.as_deref().is_some_and(is_pod_link))
        .filter_map(|link| link.name.parse().ok())
        .collect()
}

fn bypasses(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "dataplane bypass";
    match &node.bypasses {
        Err(error) => unread(CHECK, error),
        Ok(found) if found.is_empty() => {
            PreflightCheck::ok(CHECK, "no tc redirect, BPF program or XDP at a pod link")
        }
        Ok(found) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Failed,
            some(
                found
                    .iter()
                    .map(|(link, bypass)| format!("{link}: {bypass}")),
            ),
            "DataplaneBypassed: the guard cannot see these pods; take the filter away, or let the CNI route by the \
             host's stack",
        ),
    }
}

/// A refused query is reported as such, and not as a link without programs.
fn tcx(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "tcx programs";
    match &node.tcx {
        Ok(true) => PreflightCheck::ok(CHECK, "they are asked for at every pod link"),
        Ok(false) => PreflightCheck::ok(CHECK, "the kernel has no tcx"),
        Err(error) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            format!("could not be checked: {}", chain(error)),
            "give the agent the capability BPF, and a seccomp profile that lets it call bpf(2)",
        ),
    }
}

fn pod_links(links: &[ObservedLink], settings: &NodeSettings) -> PreflightCheck {
    const CHECK: &str = "pod links";
    let found = pods_are_behind(links, settings);
    let pattern = settings.pod_links.join(", ");
    if found.is_empty() {
        return PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            format!("no link matches {pattern}"),
            "start a pod and look again; if there still is none, name its link with --pod-links",
        );
    }
    PreflightCheck::ok(CHECK, format!("{} links match {pattern}", found.len()))
}

/// A flowtable takes packets of known flows before the forward hook; `fwd` and `dup` at `netdev` ingress before any.
fn shortcuts(
    node: &NodeReading,
    links: &[ObservedLink],
    settings: &NodeSettings,
) -> PreflightCheck {
    const CHECK: &str = "nft shortcuts";
    let foreign = match &node.ruleset {
        Ok(foreign) => foreign,
        Err(error) => return unread(CHECK, error),
    };
    if foreign.shortcuts.is_empty() {
        return PreflightCheck::ok(CHECK, "no flowtable, and no forwarding at netdev ingress");
    }
    let pods = pods_are_behind(links, settings);
    let concerns = |device: &String| {
        pods.iter().any(|pod| pod.as_str() == device) || settings.is_pod_link(device)
    };
    // nft 1.0.6 leaves the device of a netdev chain out of its JSON: then it may be anybody's.
    let of_pods = foreign
        .shortcuts
        .iter()
        .any(|shortcut| shortcut.devices.is_empty() || shortcut.devices.iter().any(concerns));
    PreflightCheck::of(
        CHECK,
        if of_pods {
            PreflightOutcome::Failed
        } else {
            PreflightOutcome::Warning
        },
        some(
            foreign
                .shortcuts
                .iter()
                .map(|shortcut| shortcut.place.clone()),
        ),
        "take pod links out of flowtables and netdev chains: the guard does not see what they take",
    )
}

fn routing_domains(links: &[ObservedLink]) -> PreflightCheck {
    const CHECK: &str = "VRF";
    let found: Vec<String> = links
        .iter()
        .filter(|link| link.kind == "vrf")
        .map(|link| link.name.clone())
        .collect();
    if found.is_empty() {
        return PreflightCheck::ok(CHECK, "none");
    }
    PreflightCheck::of(
        CHECK,
        PreflightOutcome::Warning,
        some(found),
        "not proved with VRF: try it before you rely on it",
    )
}

fn virtual_servers(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "IPVS";
    if node.files.has("net/ip_vs") {
        return PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            "the kernel has IPVS loaded",
            "not proved with kube-proxy in IPVS mode: use iptables or nftables mode",
        );
    }
    PreflightCheck::ok(CHECK, "not in use")
}
