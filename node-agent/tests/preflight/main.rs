//! What preflight says of a node, from what was read of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

mod foreign;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postern_agent::preflight::node::{Files, NodeReading};
use postern_agent::preflight::ruleset::Foreign;
use postern_agent::preflight::{PreflightCheck, PreflightOutcome, check, judge};
use postern_host::error::errno;
use postern_host::{Bypass, Direction, HostCause, HostError};
use postern_host_testing::fixture::link;
use postern_linux::survey::Ipsec;
use postern_plan::host::TunnelBackend;
use postern_plan::settings::NodeSettings;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Switches as a node wants them, and nothing listening.
const SWITCHES: [(&str, &str); 6] = [
    ("sys/net/ipv4/ip_forward", "1"),
    ("sys/net/ipv4/conf/all/rp_filter", "0"),
    ("sys/net/ipv4/conf/all/src_valid_mark", "0"),
    ("sys/net/ipv6/conf/all/forwarding", "1"),
    ("sys/net/bridge/bridge-nf-call-iptables", "1"),
    ("sys/net/bridge/bridge-nf-call-ip6tables", "1"),
];

fn write(folder: &TempDir, path: &str, text: &str) {
    let path = folder.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn proc() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, value) in SWITCHES {
        write(&folder, path, value);
    }
    folder
}

/// A node on which everything is well.
fn node(files: &Path) -> NodeReading {
    NodeReading {
        rehearsal: Ok(()),
        arp: Ok(()),
        ruleset: Ok(Foreign::default()),
        module_marks: Ok(Vec::new()),
        links: Ok(vec![
            link(1, "eth0", "", None),
            link(1, "cni0", "bridge", None),
            link(1, "veth1", "veth", Some("cni0")),
        ]),
        bypasses: Ok(BTreeMap::new()),
        tcx: Ok(true),
        rules: Ok(Vec::new()),
        routes: Ok(BTreeSet::new()),
        uplinks: Ok([('4', "eth0".parse().unwrap())].into()),
        ipsec: Ok(Ipsec::default()),
        flows: Ok(()),
        wireguard: Ok(false),
        tun: Ok(TunnelBackend::Userspace),
        files: Files::below(files),
    }
}

fn unsupported() -> HostError {
    HostError::Open {
        socket: "something",
        source: HostCause::errno(errno::EOPNOTSUPP),
    }
}

/// The one check that is not well.
fn only(node: &NodeReading) -> PreflightCheck {
    let checks = judge(node, &NodeSettings::default());
    let mut found = checks
        .into_iter()
        .filter(|check| check.result != PreflightOutcome::Ok);
    let one = found.next().expect("a check that is not well");
    assert_eq!(found.next(), None);
    assert_ne!(one.to_do, "", "{}: what is to be done?", one.check);
    one
}

fn says(node: &NodeReading, check: &str, result: PreflightOutcome) {
    let one = only(node);
    assert_eq!((one.check, one.result), (check, result), "{}", one.found);
}

fn listing(objects: &[Value]) -> Result<Foreign, HostError> {
    Ok(Foreign::of(&json!({ "nftables": objects })))
}

fn rule(expressions: &Value) -> Value {
    json!({"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 2, "expr": expressions}})
}

#[test]
fn a_node_on_which_everything_is_well_passes_every_check() {
    let files = proc();
    let checks = judge(&node(files.path()), &NodeSettings::default());
    assert!(checks.len() > 20);
    for one in &checks {
        assert_eq!(
            one.result,
            PreflightOutcome::Ok,
            "{}: {}",
            one.check,
            one.found
        );
    }
    assert!(!check::failed(&checks));
}

#[test]
fn what_a_node_lacks_is_failed_by_name() {
    let files = proc();
    let well = || node(files.path());
    says(
        &NodeReading {
            rehearsal: Err(unsupported()),
            ..well()
        },
        "nft guard",
        PreflightOutcome::Failed,
    );
    says(
        &NodeReading {
            arp: Err(unsupported()),
            ..well()
        },
        "nft ARP table",
        PreflightOutcome::Warning,
    );
    says(
        &NodeReading {
            tun: Err(unsupported()),
            ..well()
        },
        "tunnels",
        PreflightOutcome::Failed,
    );
    says(
        &NodeReading {
            flows: Err(unsupported()),
            ..well()
        },
        "conntrack netlink",
        PreflightOutcome::Failed,
    );
    says(
        &NodeReading {
            ipsec: Err(unsupported()),
            ..well()
        },
        "XFRM lock",
        PreflightOutcome::Unsupported,
    );
    says(
        &NodeReading {
            uplinks: Ok(BTreeMap::new()),
            ..well()
        },
        "default route",
        PreflightOutcome::Warning,
    );
}

#[test]
fn kernel_wireguard_needs_no_tun() {
    let files = proc();
    let node = NodeReading {
        wireguard: Ok(true),
        tun: Err(unsupported()),
        ..node(files.path())
    };
    assert!(!check::failed(&judge(&node, &NodeSettings::default())));
}

#[test]
fn a_way_past_the_guard_is_named_with_its_link() {
    let files = proc();
    let redirect = Bypass::Redirect {
        direction: Direction::Ingress,
        to: "eth0".to_owned(),
    };
    let bypasses = Ok([("veth1".parse().unwrap(), redirect)].into());
    let node = NodeReading {
        bypasses,
        ..node(files.path())
    };
    says(&node, "dataplane bypass", PreflightOutcome::Failed);
    assert!(only(&node).found.contains("veth1"));
}

#[test]
fn programs_of_tcx_that_may_not_be_asked_for_are_told_as_not_checked_and_never_as_none() {
    let files = proc();
    let refused = || HostError::ReadPaths {
        source: HostCause::errno(errno::EPERM),
    };
    let with = |tcx| NodeReading {
        tcx,
        ..node(files.path())
    };
    says(
        &with(Err(refused())),
        "tcx programs",
        PreflightOutcome::Warning,
    );
    let found = check::concerns(&judge(&with(Err(refused())), &NodeSettings::default()));
    assert!(
        found[0].starts_with("tcx programs: could not be checked: "),
        "{found:?}"
    );
    // A kernel before 6.6 has none that could be there.
    assert!(check::concerns(&judge(&with(Ok(false)), &NodeSettings::default())).is_empty());
}

#[test]
fn switches_that_kill_or_open_are_failed() {
    for (path, value, check, result) in [
        (
            "sys/net/ipv4/ip_forward",
            "0",
            "IPv4 forwarding",
            PreflightOutcome::Failed,
        ),
        (
            "sys/net/ipv6/conf/all/forwarding",
            "0",
            "IPv6 forwarding",
            PreflightOutcome::Warning,
        ),
        (
            "sys/net/bridge/bridge-nf-call-iptables",
            "0",
            "br_netfilter",
            PreflightOutcome::Failed,
        ),
        (
            "sys/net/bridge/bridge-nf-call-ip6tables",
            "0",
            "br_netfilter",
            PreflightOutcome::Failed,
        ),
        (
            "sys/net/ipv4/conf/all/rp_filter",
            "1",
            "rp_filter",
            PreflightOutcome::Warning,
        ),
    ] {
        let files = proc();
        write(&files, path, value);
        says(&node(files.path()), check, result);
    }
}

#[test]
fn without_a_bridge_of_pods_its_switch_is_a_warning() {
    let files = proc();
    write(&files, "sys/net/bridge/bridge-nf-call-iptables", "0");
    let links = Ok(vec![link(1, "cali1", "veth", None)]);
    says(
        &NodeReading {
            links,
            ..node(files.path())
        },
        "br_netfilter",
        PreflightOutcome::Warning,
    );
}

#[test]
fn ports_that_somebody_uses_are_told_unless_an_agent_does() {
    let files = proc();
    let head = "  sl  local_address rem_address   st\n";
    write(
        &files,
        "net/udp",
        &format!("{head}  1: 00000000:CA8C 00000000:0000 07\n"),
    );
    says(
        &node(files.path()),
        "tunnel ports",
        PreflightOutcome::Warning,
    );
    write(
        &files,
        "net/udp",
        &format!("{head}  1: 0100007F:14B4 00000000:0000 07\n"),
    );
    says(&node(files.path()), "DNS port", PreflightOutcome::Failed);
    let table = json!({"table": {"family": "inet", "name": "postern", "handle": 1}});
    let node = NodeReading {
        ruleset: listing(&[table]),
        ..node(files.path())
    };
    assert!(
        judge(&node, &NodeSettings::default())
            .iter()
            .all(|check| check.result == PreflightOutcome::Ok)
    );
}

#[test]
fn legacy_lists_vrf_and_ipvs_are_hints() {
    let files = proc();
    write(&files, "net/ip_tables_names", "nat\n");
    says(
        &node(files.path()),
        "iptables (legacy)",
        PreflightOutcome::Warning,
    );
    let files = proc();
    write(&files, "net/ip_vs", "");
    says(&node(files.path()), "IPVS", PreflightOutcome::Warning);
    let files = proc();
    let links = Ok(vec![
        link(1, "cni0", "bridge", None),
        link(1, "red", "vrf", None),
    ]);
    says(
        &NodeReading {
            links,
            ..node(files.path())
        },
        "VRF",
        PreflightOutcome::Warning,
    );
}
