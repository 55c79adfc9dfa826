//! What others do on the node: marks, chains, tables, rules.

use postern_agent::preflight::node::NodeReading;
use postern_agent::preflight::{PreflightOutcome, check, judge};
use postern_linux::survey::{MarkAct, ModuleMark, RuleSeen};
use postern_plan::host::{Family, MaskedMark};
use postern_plan::settings::NodeSettings;
use serde_json::{Value, json};

use crate::{listing, node, proc, rule, says, write};

#[test]
fn a_marked_source_lookup_is_a_conflict_with_a_strict_pod_link_only() {
    let files = proc();
    write(&files, "sys/net/ipv4/conf/all/src_valid_mark", "1");
    assert!(!check::failed(&judge(
        &node(files.path()),
        &NodeSettings::default()
    )));
    write(&files, "sys/net/ipv4/conf/cni0/rp_filter", "1");
    says(
        &node(files.path()),
        "src_valid_mark",
        PreflightOutcome::Failed,
    );
}

#[test]
fn marks_of_others_are_judged_by_the_bits_that_they_touch() {
    let mark = json!({"meta": {"key": "mark"}});
    let set = |value: Value| json!([{"mangle": {"key": mark, "value": value}}]);
    let cases = [
        (set(json!({"|": [mark, 0x4000]})), PreflightOutcome::Ok),
        (set(json!({"|": [mark, 0x10]})), PreflightOutcome::Failed),
        (
            set(json!({"&": [mark, 0xffff_ff8f_u32]})),
            PreflightOutcome::Failed,
        ),
        (
            set(json!({"&": [mark, 0xffff_bfff_u32]})),
            PreflightOutcome::Ok,
        ),
        (
            set(json!({"^": [{"&": [mark, 0xffff_f0ff_u32]}, 0x200]})),
            PreflightOutcome::Ok,
        ),
        (set(json!(0x4000)), PreflightOutcome::Failed),
        (
            set(json!({"ct": {"key": "mark"}})),
            PreflightOutcome::Failed,
        ),
        (
            json!([{"match": {"op": "==", "left": {"&": [mark, 0x4000]}, "right": 0x4000}}]),
            PreflightOutcome::Ok,
        ),
        (
            json!([{"match": {"op": "==", "left": {"&": [mark, 0x20]}, "right": 0x20}}]),
            PreflightOutcome::Warning,
        ),
        (
            json!([{"match": {"op": "==", "left": mark, "right": 1}}]),
            PreflightOutcome::Warning,
        ),
        (
            json!([{"vmap": {"key": {"&": [mark, 0xf0]}, "data": {"set": []}}}]),
            PreflightOutcome::Warning,
        ),
    ];
    for (expressions, expected) in cases {
        let files = proc();
        let node = NodeReading {
            ruleset: listing(&[rule(&expressions)]),
            ..node(files.path())
        };
        let checks = judge(&node, &NodeSettings::default());
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
    let node = NodeReading {
        ruleset: listing(&[table, ours]),
        ..node(files.path())
    };
    assert!(
        judge(&node, &NodeSettings::default())
            .iter()
            .all(|check| check.result == PreflightOutcome::Ok)
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
        NodeReading {
            module_marks: Ok(vec![mark]),
            ..node(files.path())
        }
    };
    says(
        &module(MarkAct::Sets, 0x40),
        "marks in nft",
        PreflightOutcome::Failed,
    );
    says(
        &module(MarkAct::Reads, 0x40),
        "marks in nft",
        PreflightOutcome::Warning,
    );
    assert!(!check::failed(&judge(
        &module(MarkAct::Sets, 0xc000),
        &NodeSettings::default()
    )));
}

#[test]
fn chains_at_our_priorities_are_told() {
    let files = proc();
    let chain = |family: &str, hook: &str, priority: i32| {
        let chain = json!({"chain": {"family": family, "table": "t", "name": "c", "hook": hook, "prio": priority}});
        NodeReading {
            ruleset: listing(&[chain]),
            ..node(files.path())
        }
    };
    says(
        &chain("inet", "forward", -5),
        "nft priorities",
        PreflightOutcome::Warning,
    );
    says(
        &chain("ip", "postrouting", 90),
        "nft priorities",
        PreflightOutcome::Failed,
    );
    for other in [
        chain("inet", "forward", 0),
        chain("bridge", "forward", -5),
        chain("ip", "input", 90),
    ] {
        assert!(
            judge(&other, &NodeSettings::default())
                .iter()
                .all(|check| check.result == PreflightOutcome::Ok)
        );
    }
}

#[test]
fn a_table_of_our_name_that_a_process_owns_is_failed() {
    let files = proc();
    let table =
        json!({"table": {"family": "inet", "name": "postern", "handle": 1, "flags": ["owner"]}});
    let node = NodeReading {
        ruleset: listing(&[table]),
        ..node(files.path())
    };
    says(&node, "nft table postern", PreflightOutcome::Failed);
}

#[test]
fn a_flowtable_or_forwarding_at_ingress_of_a_pods_link_is_failed() {
    let files = proc();
    let table = |device: &str| {
        let table = json!({"flowtable": {"family": "ip", "name": "f", "table": "t", "hook": "ingress", "prio": 0, "dev": device}});
        NodeReading {
            ruleset: listing(&[table]),
            ..node(files.path())
        }
    };
    says(&table("veth1"), "nft shortcuts", PreflightOutcome::Failed);
    says(&table("eth0"), "nft shortcuts", PreflightOutcome::Warning);
    let chain = json!({"chain": {"family": "netdev", "table": "n", "name": "i", "hook": "ingress", "dev": "veth1", "prio": 0}});
    let sends = json!({"rule": {"family": "netdev", "table": "n", "chain": "i", "expr": [{"fwd": {"dev": "eth0"}}]}});
    let node = NodeReading {
        ruleset: listing(&[chain, sends]),
        ..node(files.path())
    };
    says(&node, "nft shortcuts", PreflightOutcome::Failed);
    let without_device = json!({"rule": {"family": "netdev", "table": "n", "chain": "i", "expr": [{"fwd": {"dev": "eth0"}}]}});
    let node = NodeReading {
        ruleset: listing(&[without_device]),
        ..crate::node(files.path())
    };
    says(&node, "nft shortcuts", PreflightOutcome::Failed);
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
        NodeReading {
            rules: Ok(vec![rule]),
            ..node(files.path())
        }
    };
    says(
        &with(100, 0, Some((0x10, 0xff))),
        "marks in ip rule",
        PreflightOutcome::Failed,
    );
    says(
        &with(32764, 0, Some((0xca6c, u32::MAX))),
        "marks in ip rule",
        PreflightOutcome::Warning,
    );
    says(
        &with(77, 200, None),
        "routing rules",
        PreflightOutcome::Failed,
    );
    says(
        &with(10_010, 3, None),
        "routing rules",
        PreflightOutcome::Warning,
    );
    for other in [
        with(9, 0, Some((0x200, 0xf00))),
        with(10_010, 200, Some((0x10, 0x70))),
    ] {
        assert!(
            judge(&other, &NodeSettings::default())
                .iter()
                .all(|check| check.result == PreflightOutcome::Ok)
        );
    }
}

#[test]
fn rules_that_keep_dns_questions_out_of_connection_tracking_are_told_with_what_to_do() {
    let port = |right: Value| json!({"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": right}});
    let source = json!({"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "sport"}}, "right": 53}});
    // `iptables-nft -t raw -A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 -j NOTRACK`, by nft 1.0.6.
    let cache = json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "169.254.20.10"}});
    let module = |name: &str| json!({"xt": {"type": "target", "name": name}});
    let untracked = json!({"notrack": null});
    let meta = |key: &str, right: &str| json!({"match": {"op": "==", "left": {"meta": {"key": key}}, "right": right}});
    let told = [
        ("prerouting", json!([cache, port(json!(53)), module("CT")])),
        ("prerouting", json!([port(json!(53)), module("NOTRACK")])),
        (
            "prerouting",
            json!([port(json!({"set": [53, 853]})), untracked]),
        ),
        (
            "prerouting",
            json!([port(json!({"range": [1, 1023]})), untracked]),
        ),
        ("prerouting", json!([untracked])),
    ];
    let silent = [
        ("output", json!([cache, port(json!(53)), module("CT")])),
        ("prerouting", json!([port(json!(443)), untracked])),
        (
            "prerouting",
            json!([port(json!({"set": [80, 443]})), untracked]),
        ),
        // A conntrack zone of another program, without a port.
        ("prerouting", json!([module("CT")])),
        ("prerouting", json!([port(json!(53)), module("LOG")])),
        ("output", json!([source, untracked])),
        ("prerouting", json!([meta("iifname", "lo"), untracked])),
        ("prerouting", json!([meta("l4proto", "icmp"), untracked])),
    ];
    let files = proc();
    let found = |(hook, expressions): &(&str, Value)| {
        let chain = json!({"chain": {"family": "ip", "table": "raw", "name": "PRE", "hook": hook, "prio": -300}});
        let rule =
            json!({"rule": {"family": "ip", "table": "raw", "chain": "PRE", "expr": expressions}});
        let node = NodeReading {
            ruleset: listing(&[chain, rule]),
            ..node(files.path())
        };
        check::concerns(&judge(&node, &NodeSettings::default()))
    };
    for case in &told {
        let concerns = found(case);
        assert_eq!(concerns.len(), 1, "{case:?}: {concerns:?}");
        assert!(
            concerns[0].starts_with("untracked DNS: ip raw PRE: "),
            "{concerns:?}"
        );
        assert!(concerns[0].contains("-setupiptables=false"), "{concerns:?}");
    }
    for case in &silent {
        assert!(found(case).is_empty(), "{case:?}: {:?}", found(case));
    }
}
