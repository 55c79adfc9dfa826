//! What the kernel can do and how it is set.

use postern_intent::IfName;
use postern_plan::host::ObservedLink;
use postern_plan::settings::NodeSettings;
use postern_telemetry::chain;

use super::check::{PreflightCheck, PreflightOutcome, unread};
use super::node::{Files, NodeReading};
use super::paths::pods_are_behind;

pub(super) fn checks(node: &NodeReading, settings: &NodeSettings) -> Vec<PreflightCheck> {
    let links = node.links.as_deref().unwrap_or_default();
    vec![
        tunnels(node),
        bridges(&node.files, links, settings),
        forwarding4(&node.files),
        forwarding6(&node.files),
        reverse_path(node),
        marked_source(&node.files, links, settings),
        uplink(node),
    ]
}

fn tunnels(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "tunnels";
    match (&node.wireguard, &node.tun) {
        (Ok(true), _) => PreflightCheck::ok(CHECK, "by the kernel's WireGuard"),
        (_, Ok(_)) => PreflightCheck::ok(
            CHECK,
            "by TUN devices and the tunnel process (no WireGuard in the kernel)",
        ),
        (_, Err(error)) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Failed,
            format!("no WireGuard in the kernel, and {}", chain(error)),
            "NoTunnel: load wireguard or tun and let the agent open /dev/net/tun; its pods stay blocked without",
        ),
    }
}

/// With `bridge-nf-call-iptables` 0, what goes from pod to pod on one bridge passes no hook of the IP families: DNS to a
/// resolver on the same bridge is not redirected, and services on it are not translated back.
fn bridges(files: &Files, links: &[ObservedLink], settings: &NodeSettings) -> PreflightCheck {
    const CHECK: &str = "br_netfilter";
    let bridge = links
        .iter()
        .find(|link| link.kind == "bridge" && settings.is_pod_link(&link.name));
    let off: Vec<&str> = [
        "bridge/bridge-nf-call-iptables",
        "bridge/bridge-nf-call-ip6tables",
    ]
    .into_iter()
    .filter(|path| files.switch(path) != Some(1))
    .collect();
    let to_do = "modprobe br_netfilter, then sysctl -w net.bridge.bridge-nf-call-iptables=1 \
                 net.bridge.bridge-nf-call-ip6tables=1";
    match (off.is_empty(), bridge) {
        (true, _) => PreflightCheck::ok(CHECK, "bridged packets pass the guard"),
        (false, Some(bridge)) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Failed,
            format!(
                "pods are on the bridge {}, and {} is not 1",
                bridge.name,
                off.join(", ")
            ),
            to_do,
        ),
        (false, None) => {
            let found = format!("{} is not 1; no pod link is a bridge now", off.join(", "));
            PreflightCheck::of(
                CHECK,
                PreflightOutcome::Warning,
                found,
                format!("if the CNI makes a bridge: {to_do}"),
            )
        }
    }
}

fn forwarding4(files: &Files) -> PreflightCheck {
    const CHECK: &str = "IPv4 forwarding";
    if files.switch("ipv4/ip_forward") == Some(1) {
        return PreflightCheck::ok(CHECK, "on");
    }
    PreflightCheck::of(
        CHECK,
        PreflightOutcome::Failed,
        "net.ipv4.ip_forward is not 1",
        "sysctl -w net.ipv4.ip_forward=1",
    )
}

fn forwarding6(files: &Files) -> PreflightCheck {
    const CHECK: &str = "IPv6 forwarding";
    match files.switch("ipv6/conf/all/forwarding") {
        Some(1) => PreflightCheck::ok(CHECK, "on"),
        None => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Unsupported,
            "the kernel has no IPv6",
            "",
        ),
        Some(_) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            "net.ipv6.conf.all.forwarding is not 1: pods have no IPv6 beyond the node",
            "sysctl -w net.ipv6.conf.all.forwarding=1, if pods have IPv6",
        ),
    }
}

/// The kernel takes the higher of `all` and the device's own. A pod's answer comes by a tunnel that the main table does
/// not lead to: 1 drops it, 2 lets it in where there is a default route, and without one only 0 does. Tunnels get 2 or 0
/// accordingly, and 1 for `all` turns that 0 into 1.
fn reverse_path(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "rp_filter";
    const TO_DO: &str = "sysctl -w net.ipv4.conf.all.rp_filter=0; devices keep their own";
    let has_uplink = node
        .uplinks
        .as_ref()
        .is_ok_and(|uplinks| !uplinks.is_empty());
    match (node.files.switch("ipv4/conf/all/rp_filter"), has_uplink) {
        (Some(value @ 1..), false) => {
            let found = format!(
                "net.ipv4.conf.all.rp_filter is {value} and there is no default route: IPv4 answers from tunnels are dropped"
            );
            PreflightCheck::of(CHECK, PreflightOutcome::Failed, found, TO_DO)
        }
        (Some(1), true) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            "net.ipv4.conf.all.rp_filter is 1, the higher of it and the device's counts: a tunnel whose own is not 2 is dead for IPv4",
            TO_DO,
        ),
        (Some(value), _) => {
            PreflightCheck::ok(CHECK, format!("net.ipv4.conf.all.rp_filter is {value}"))
        }
        (None, _) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            "net.ipv4.conf.all.rp_filter cannot be read",
            "run as root",
        ),
    }
}

/// `src_valid_mark` makes the reverse path filter look up with the packet's mark: a strict bridge then drops what steering
/// has marked. wg-quick sets it.
fn marked_source(files: &Files, links: &[ObservedLink], settings: &NodeSettings) -> PreflightCheck {
    const CHECK: &str = "src_valid_mark";
    let on = |device: &str, key: &str| {
        files
            .switch(&format!("ipv4/conf/{device}/{key}"))
            .unwrap_or(0)
    };
    let pods = pods_are_behind(links, settings);
    let hit = |pod: &&IfName| {
        let marked = on("all", CHECK) == 1 || on(pod.as_str(), CHECK) == 1;
        marked && on("all", "rp_filter").max(on(pod.as_str(), "rp_filter")) == 1
    };
    match pods.iter().find(hit) {
        Some(pod) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Failed,
            format!(
                "src_valid_mark is 1 and {pod} has the strict rp_filter: marked packets of pods are dropped"
            ),
            format!(
                "sysctl -w net.ipv4.conf.all.src_valid_mark=0, or net.ipv4.conf.{pod}.rp_filter=2"
            ),
        ),
        None => PreflightCheck::ok(CHECK, "does not meet a strict pod link"),
    }
}

fn uplink(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "default route";
    match &node.uplinks {
        Err(error) => unread(CHECK, error),
        Ok(uplinks) if uplinks.is_empty() => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            "the main table has none",
            "a gateway needs one; on clients the tunnels' rp_filter is set to 0 instead of 2",
        ),
        Ok(uplinks) => {
            let found: Vec<String> = uplinks
                .iter()
                .map(|(family, name)| format!("IPv{family} by {name}"))
                .collect();
            PreflightCheck::ok(CHECK, found.join(", "))
        }
    }
}
