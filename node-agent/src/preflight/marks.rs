//! Our bits of the mark, our rules, our ports: does somebody else use them?

use std::collections::BTreeSet;

use postern_linux::survey::{MarkAct, RuleSeen};
use postern_plan::host::RouteKind;
use postern_plan::settings::{
    FROM_RULE_PRIORITY, MARK_RULE_PRIORITY, NodeSettings, ROUTE_PROTOCOL,
};

use super::check::{PreflightCheck, PreflightOutcome, some, unread};
use super::node::NodeReading;

/// UDP ports of tunnels, unless the operator is described otherwise.
const TUNNEL_PORTS: std::ops::RangeInclusive<u16> = 51_850..=51_899;
const NFT: &str = "marks in nft";
const RULES: &str = "marks in ip rule";
const BAND: &str = "routing rules";
const ROUTES: &str = "routes";

pub(super) fn checks(node: &NodeReading, settings: &NodeSettings) -> Vec<PreflightCheck> {
    vec![
        in_firewall(node, settings),
        legacy(node),
        in_rules(node, settings),
        band(node),
        routes(node),
        tunnel_ports(node),
        dns_port(node, settings),
    ]
}

fn in_firewall(node: &NodeReading, settings: &NodeSettings) -> PreflightCheck {
    let mask = settings.mark_mask;
    let (foreign, modules) = match (&node.ruleset, &node.module_marks) {
        (Ok(foreign), Ok(modules)) => (foreign, modules),
        (Err(error), _) | (_, Err(error)) => return unread(NFT, error),
    };
    let native = foreign.marks.iter();
    let mut sets: BTreeSet<String> = native
        .clone()
        .filter(|m| m.sets & mask != 0)
        .map(|m| m.place.clone())
        .collect();
    let mut reads: BTreeSet<String> = native
        .filter(|m| m.reads & mask != 0)
        .map(|m| m.place.clone())
        .collect();
    for mark in modules.iter().filter(|mark| mark.bits & mask != 0) {
        let place = format!("{} {}", mark.table, mark.chain);
        match mark.act {
            MarkAct::Sets => sets.insert(place),
            MarkAct::Reads => reads.insert(place),
        };
    }
    let to_do =
        format!("choose other bits with --mark-mask than {mask:#x}, the same on every node");
    if !sets.is_empty() {
        return PreflightCheck::of(
            NFT,
            PreflightOutcome::Failed,
            format!("our bits are set by {}", some(sets)),
            to_do,
        );
    }
    if !reads.is_empty() {
        return PreflightCheck::of(
            NFT,
            PreflightOutcome::Warning,
            format!("our bits are looked at by {}", some(reads)),
            to_do,
        );
    }
    PreflightCheck::ok(NFT, format!("nobody uses {mask:#x}"))
}

/// The old iptables has lists of its own in the kernel, which nft does not show.
fn legacy(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "iptables (legacy)";
    let lists = ["net/ip_tables_names", "net/ip6_tables_names"];
    let names: BTreeSet<String> = lists
        .iter()
        .filter_map(|list| node.files.text(list))
        .flat_map(|text| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    if names.is_empty() {
        return PreflightCheck::ok(CHECK, "not in use");
    }
    PreflightCheck::of(
        CHECK,
        PreflightOutcome::Warning,
        format!(
            "tables {} are there, and their rules were not looked at",
            some(names)
        ),
        "use iptables-nft, or look in iptables-legacy-save for marks under our mask and for NOTRACK of port 53",
    )
}

/// A rule with one of our priorities and our number is ours, or one of an agent before.
fn is_ours(rule: &RuleSeen) -> bool {
    rule.protocol == ROUTE_PROTOCOL
        && [FROM_RULE_PRIORITY, MARK_RULE_PRIORITY].contains(&rule.priority)
}

fn described(rule: &RuleSeen) -> String {
    format!(
        "IPv{} rule {} to table {}",
        rule.family.digit(),
        rule.priority,
        rule.table
    )
}

fn in_rules(node: &NodeReading, settings: &NodeSettings) -> PreflightCheck {
    let rules = match &node.rules {
        Ok(rules) => rules,
        Err(error) => return unread(RULES, error),
    };
    let overlaps = |rule: &&RuleSeen| {
        rule.mark
            .is_some_and(|mark| mark.mask & settings.mark_mask != 0)
    };
    let foreign: Vec<&RuleSeen> = rules
        .iter()
        .filter(|rule| !is_ours(rule))
        .filter(overlaps)
        .collect();
    if foreign.is_empty() {
        return PreflightCheck::ok(RULES, "no rule of others looks at our bits");
    }
    // A rule behind ours is asked only for what ours did not take.
    let earlier = foreign
        .iter()
        .any(|rule| rule.priority <= MARK_RULE_PRIORITY);
    let result = if earlier {
        PreflightOutcome::Failed
    } else {
        PreflightOutcome::Warning
    };
    let found = some(foreign.into_iter().map(described));
    PreflightCheck::of(
        RULES,
        result,
        found,
        "choose other bits with --mark-mask, or narrow the mask of these rules",
    )
}

fn band(node: &NodeReading) -> PreflightCheck {
    let rules = match &node.rules {
        Ok(rules) => rules,
        Err(error) => return unread(BAND, error),
    };
    let numbered = rules
        .iter()
        .filter(|rule| rule.protocol == ROUTE_PROTOCOL && !is_ours(rule));
    let numbered: Vec<String> = numbered.map(described).collect();
    if !numbered.is_empty() {
        let to_do = format!(
            "the agent would remove them: rules with protocol {ROUTE_PROTOCOL} are its own"
        );
        return PreflightCheck::of(BAND, PreflightOutcome::Failed, some(numbered), to_do);
    }
    let ours = [FROM_RULE_PRIORITY, MARK_RULE_PRIORITY];
    let beside = rules
        .iter()
        .filter(|rule| ours.contains(&rule.priority) && !is_ours(rule));
    let beside: Vec<String> = beside.map(described).collect();
    if !beside.is_empty() {
        return PreflightCheck::of(
            BAND,
            PreflightOutcome::Warning,
            some(beside),
            "give these rules other priorities",
        );
    }
    PreflightCheck::ok(BAND, "our priorities and our protocol number are free")
}

fn routes(node: &NodeReading) -> PreflightCheck {
    let routes = match &node.routes {
        Ok(routes) => routes,
        Err(error) => return unread(ROUTES, error),
    };
    let ours = |kind: &RouteKind| match kind {
        RouteKind::Device(device) => postern_host::is_own_link(device.as_str()),
        RouteKind::Unreachable => true,
    };
    let foreign = routes.iter().filter(|route| !ours(&route.kind));
    let foreign: Vec<String> = foreign
        .map(|route| format!("{} of table {}", route.destination, route.table))
        .collect();
    if foreign.is_empty() {
        return PreflightCheck::ok(ROUTES, "our protocol number is free");
    }
    let to_do =
        format!("the agent would remove them: routes with protocol {ROUTE_PROTOCOL} are its own");
    PreflightCheck::of(ROUTES, PreflightOutcome::Failed, some(foreign), to_do)
}

fn has_agent(node: &NodeReading) -> bool {
    node.ruleset.as_ref().is_ok_and(|foreign| foreign.own)
}

fn tunnel_ports(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "tunnel ports";
    let used: Vec<String> = node
        .files
        .ports("udp")
        .into_iter()
        .filter(|port| TUNNEL_PORTS.contains(port))
        .map(|port| port.to_string())
        .collect();
    let range = format!("UDP {} to {}", TUNNEL_PORTS.start(), TUNNEL_PORTS.end());
    match (used.is_empty(), has_agent(node)) {
        (true, _) => PreflightCheck::ok(CHECK, format!("{range} are free")),
        (false, true) => PreflightCheck::ok(
            CHECK,
            format!("in use, as by tunnels of an agent: {}", some(used)),
        ),
        (false, false) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            format!("of {range}, somebody uses {}", some(used)),
            "give the operator another range before this node becomes a gateway",
        ),
    }
}

fn dns_port(node: &NodeReading, settings: &NodeSettings) -> PreflightCheck {
    const CHECK: &str = "DNS port";
    let port = settings.dns_port;
    let used = node.files.ports("udp").contains(&port) || node.files.ports("tcp").contains(&port);
    match (used, has_agent(node)) {
        (false, _) => PreflightCheck::ok(CHECK, format!("{port} is free")),
        (true, true) => PreflightCheck::ok(CHECK, format!("{port} is in use, as by an agent")),
        (true, false) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Failed,
            format!("somebody listens on {port}"),
            "choose another port with --dns-port",
        ),
    }
}
