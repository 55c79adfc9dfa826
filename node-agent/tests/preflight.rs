//! What preflight says of a node, from what was read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postern_agent::preflight::node::{Files, Node};
use postern_agent::preflight::ruleset::Foreign;
use postern_agent::preflight::{Check, Outcome, check, judge};
use postern_host::{Bypass, Cause, Direction, HostError};
use postern_linux::survey::{Ipsec, MarkAct, ModuleMark, RuleSeen};
use postern_plan::host::{AdminState, Carrier, Family, MaskedMark, ObservedLink, TunnelBackend};
use postern_plan::settings::Settings;
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

fn link(name: &str, kind: &str, master: Option<&str>) -> ObservedLink {
    ObservedLink {
        index: 1,
        name: name.to_owned(),
        kind: kind.to_owned(),
        mtu: 1500,
        state: AdminState::Up,
        carrier: Carrier::Present,
        master: master.map(str::to_owned),
        mac: None,
        addresses: Vec::new(),
    }
}

/// A node on which everything is well.
fn node(files: &Path) -> Node {
    Node {
        rehearsal: Ok(()),
        ruleset: Ok(Foreign::default()),
        module_marks: Ok(Vec::new()),
        links: Ok(vec![
            link("eth0", "", None),
            link("cni0", "bridge", None),
            link("veth1", "veth", Some("cni0")),
        ]),
        bypasses: Ok(BTreeMap::new()),
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
        source: Cause::errno(postern_host::error::errno::EOPNOTSUPP),
    }
}

/// The one check that is not well.
fn only(node: &Node) -> Check {
    let checks = judge(node, &Settings::default());
    let mut found = checks
        .into_iter()
        .filter(|check| check.result != Outcome::Ok);
    let one = found.next().expect("a check that is not well");
    assert_eq!(found.next(), None);
    assert_ne!(one.to_do, "", "{}: what is to be done?", one.check);
    one
}

fn says(node: &Node, check: &str, result: Outcome) {
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
    let checks = judge(&node(files.path()), &Settings::default());
    assert!(checks.len() > 20);
    for one in &checks {
        assert_eq!(one.result, Outcome::Ok, "{}: {}", one.check, one.found);
    }
    assert!(!check::failed(&checks));
}

#[test]
fn what_a_node_lacks_is_failed_by_name() {
    let files = proc();
    let well = || node(files.path());
    says(
        &Node {
            rehearsal: Err(unsupported()),
            ..well()
        },
        "nft guard",
        Outcome::Failed,
    );
    says(
        &Node {
            tun: Err(unsupported()),
            ..well()
        },
        "tunnels",
        Outcome::Failed,
    );
    says(
        &Node {
            flows: Err(unsupported()),
            ..well()
        },
        "conntrack netlink",
        Outcome::Failed,
    );
    says(
        &Node {
            ipsec: Err(unsupported()),
            ..well()
        },
        "XFRM lock",
        Outcome::Unsupported,
    );
    says(
        &Node {
            uplinks: Ok(BTreeMap::new()),
            ..well()
        },
        "default route",
        Outcome::Warning,
    );
}

#[test]
fn kernel_wireguard_needs_no_tun() {
    let files = proc();
    let node = Node {
        wireguard: Ok(true),
        tun: Err(unsupported()),
        ..node(files.path())
    };
    assert!(!check::failed(&judge(&node, &Settings::default())));
}

#[test]
fn a_way_past_the_guard_is_named_with_its_link() {
    let files = proc();
    let redirect = Bypass::Redirect {
        direction: Direction::Ingress,
        to: "eth0".to_owned(),
    };
    let bypasses = Ok([("veth1".parse().unwrap(), redirect)].into());
    let node = Node {
        bypasses,
        ..node(files.path())
    };
    says(&node, "dataplane bypass", Outcome::Failed);
    assert!(only(&node).found.contains("veth1"));
}

#[test]
fn switches_that_kill_or_open_are_failed() {
    for (path, value, check, result) in [
        (
            "sys/net/ipv4/ip_forward",
            "0",
            "IPv4 forwarding",
            Outcome::Failed,
        ),
        (
            "sys/net/ipv6/conf/all/forwarding",
            "0",
            "IPv6 forwarding",
            Outcome::Warning,
        ),
        (
            "sys/net/bridge/bridge-nf-call-iptables",
            "0",
            "br_netfilter",
            Outcome::Failed,
        ),
        (
            "sys/net/bridge/bridge-nf-call-ip6tables",
            "0",
            "br_netfilter",
            Outcome::Failed,
        ),
        (
            "sys/net/ipv4/conf/all/rp_filter",
            "1",
            "rp_filter",
            Outcome::Warning,
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
    let links = Ok(vec![link("cali1", "veth", None)]);
    says(
        &Node {
            links,
            ..node(files.path())
        },
        "br_netfilter",
        Outcome::Warning,
    );
}

#[test]
fn a_marked_source_lookup_is_a_conflict_with_a_strict_pod_link_only() {
    let files = proc();
    write(&files, "sys/net/ipv4/conf/all/src_valid_mark", "1");
    assert!(!check::failed(&judge(
        &node(files.path()),
        &Settings::default()
    )));
    write(&files, "sys/net/ipv4/conf/cni0/rp_filter", "1");
    says(&node(files.path()), "src_valid_mark", Outcome::Failed);
}

#[test]
fn marks_of_others_are_judged_by_the_bits_that_they_touch() {
    let mark = json!({"meta": {"key": "mark"}});
    let set = |value: Value| json!([{"mangle": {"key": mark, "value": value}}]);
    let cases = [
        (set(json!({"|": [mark, 0x4000]})), Outcome::Ok),
        (set(json!({"|": [mark, 0x10]})), Outcome::Failed),
        (set(json!({"&": [mark, 0xffff_ff8f_u32]})), Outcome::Failed),
        (set(json!({"&": [mark, 0xffff_bfff_u32]})), Outcome::Ok),
        (
            set(json!({"^": [{"&": [mark, 0xffff_f0ff_u32]}, 0x200]})),
            Outcome::Ok,
        ),
        (set(json!(0x4000)), Outcome::Failed),
        (set(json!({"ct": {"key": "mark"}})), Outcome::Failed),
        (
            json!([{"match": {"op": "==", "left": {"&": [mark, 0x4000]}, "right": 0x4000}}]),
            Outcome::Ok,
        ),
        (
            json!([{"match": {"op": "==", "left": {"&": [mark, 0x20]}, "right": 0x20}}]),
            Outcome::Warning,
        ),
        (
            json!([{"match": {"op": "==", "left": mark, "right": 1}}]),
            Outcome::Warning,
        ),
        (
            json!([{"vmap": {"key": {"&": [mark, 0xf0]}, "data": {"set": []}}}]),
            Outcome::Warning,
        ),
    ];
    for (expressions, expected) in cases {
        let files = proc();
        let node = Node {
            ruleset: listing(&[rule(&expressions)]),
            ..node(files.path())
        };
        let checks = judge(&node, &Settings::default());
        let found = checks
            .iter()
            .find(|check| check.check == "marks in nft")
            .unwrap();
        assert_eq!(found.result, expected, "{expressions}");
    }
}

#[test]
fn our_own_tables_are_no_foreign_use_of_our_bits() {
    let files = proc();
    let ours = json!({"rule": {"family": "inet", "table": "postern", "chain": "steer", "expr": [
        {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"|": [{"meta": {"key": "mark"}}, 0x10]}}}
    ]}});
    let table = json!({"table": {"family": "inet", "name": "postern", "handle": 1}});
    let node = Node {
        ruleset: listing(&[table, ours]),
        ..node(files.path())
    };
    assert!(
        judge(&node, &Settings::default())
            .iter()
            .all(|check| check.result == Outcome::Ok)
    );
}

#[test]
fn marks_in_modules_of_iptables_count_too() {
    let files = proc();
    let module = |act, bits| {
        let mark = ModuleMark {
            table: "mangle".to_owned(),
            chain: "PREROUTING".to_owned(),
            act,
            bits,
        };
        Node {
            module_marks: Ok(vec![mark]),
            ..node(files.path())
        }
    };
    says(
        &module(MarkAct::Sets, 0x40),
        "marks in nft",
        Outcome::Failed,
    );
    says(
        &module(MarkAct::Reads, 0x40),
        "marks in nft",
        Outcome::Warning,
    );
    assert!(!check::failed(&judge(
        &module(MarkAct::Sets, 0xc000),
        &Settings::default()
    )));
}

#[test]
fn chains_at_our_priorities_are_told() {
    let files = proc();
    let chain = |family: &str, hook: &str, priority: i32| {
        let chain = json!({"chain": {"family": family, "table": "t", "name": "c", "hook": hook, "prio": priority}});
        Node {
            ruleset: listing(&[chain]),
            ..node(files.path())
        }
    };
    says(
        &chain("inet", "forward", -5),
        "nft priorities",
        Outcome::Warning,
    );
    says(
        &chain("ip", "postrouting", 90),
        "nft priorities",
        Outcome::Failed,
    );
    for other in [
        chain("inet", "forward", 0),
        chain("bridge", "forward", -5),
        chain("ip", "input", 90),
    ] {
        assert!(
            judge(&other, &Settings::default())
                .iter()
                .all(|check| check.result == Outcome::Ok)
        );
    }
}

#[test]
fn a_table_of_our_name_that_a_process_owns_is_failed() {
    let files = proc();
    let table =
        json!({"table": {"family": "inet", "name": "postern", "handle": 1, "flags": ["owner"]}});
    let node = Node {
        ruleset: listing(&[table]),
        ..node(files.path())
    };
    says(&node, "nft table postern", Outcome::Failed);
}

#[test]
fn a_flowtable_or_forwarding_at_ingress_of_a_pods_link_is_failed() {
    let files = proc();
    let table = |device: &str| {
        let table = json!({"flowtable": {"family": "ip", "name": "f", "table": "t", "hook": "ingress", "prio": 0, "dev": device}});
        Node {
            ruleset: listing(&[table]),
            ..node(files.path())
        }
    };
    says(&table("veth1"), "nft shortcuts", Outcome::Failed);
    says(&table("eth0"), "nft shortcuts", Outcome::Warning);
    let chain = json!({"chain": {"family": "netdev", "table": "n", "name": "i", "hook": "ingress", "dev": "veth1", "prio": 0}});
    let sends = json!({"rule": {"family": "netdev", "table": "n", "chain": "i", "expr": [{"fwd": {"dev": "eth0"}}]}});
    let node = Node {
        ruleset: listing(&[chain, sends]),
        ..node(files.path())
    };
    says(&node, "nft shortcuts", Outcome::Failed);
    let without_device = json!({"rule": {"family": "netdev", "table": "n", "chain": "i", "expr": [{"fwd": {"dev": "eth0"}}]}});
    let node = Node {
        ruleset: listing(&[without_device]),
        ..crate::node(files.path())
    };
    says(&node, "nft shortcuts", Outcome::Failed);
}

#[test]
fn routing_rules_of_others_are_judged_by_mask_number_and_priority() {
    let files = proc();
    let with = |priority, protocol, mark: Option<(u32, u32)>| {
        let mark = mark.map(|(value, mask)| MaskedMark { value, mask });
        let rule = RuleSeen {
            family: Family::V4,
            priority,
            protocol,
            mark,
            table: 100,
        };
        Node {
            rules: Ok(vec![rule]),
            ..node(files.path())
        }
    };
    says(
        &with(100, 0, Some((0x10, 0xff))),
        "marks in ip rule",
        Outcome::Failed,
    );
    says(
        &with(32764, 0, Some((0xca6c, u32::MAX))),
        "marks in ip rule",
        Outcome::Warning,
    );
    says(&with(77, 200, None), "routing rules", Outcome::Failed);
    says(&with(10_010, 3, None), "routing rules", Outcome::Warning);
    for other in [
        with(9, 0, Some((0x200, 0xf00))),
        with(10_010, 200, Some((0x10, 0x70))),
    ] {
        assert!(
            judge(&other, &Settings::default())
                .iter()
                .all(|check| check.result == Outcome::Ok)
        );
    }
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
    says(&node(files.path()), "tunnel ports", Outcome::Warning);
    write(
        &files,
        "net/udp",
        &format!("{head}  1: 0100007F:14B4 00000000:0000 07\n"),
    );
    says(&node(files.path()), "DNS port", Outcome::Failed);
    let table = json!({"table": {"family": "inet", "name": "postern", "handle": 1}});
    let node = Node {
        ruleset: listing(&[table]),
        ..node(files.path())
    };
    assert!(
        judge(&node, &Settings::default())
            .iter()
            .all(|check| check.result == Outcome::Ok)
    );
}

#[test]
fn legacy_lists_vrf_and_ipvs_are_hints() {
    let files = proc();
    write(&files, "net/ip_tables_names", "nat\n");
    says(&node(files.path()), "iptables (legacy)", Outcome::Warning);
    let files = proc();
    write(&files, "net/ip_vs", "");
    says(&node(files.path()), "IPVS", Outcome::Warning);
    let files = proc();
    let links = Ok(vec![link("cni0", "bridge", None), link("red", "vrf", None)]);
    says(
        &Node {
            links,
            ..node(files.path())
        },
        "VRF",
        Outcome::Warning,
    );
}
