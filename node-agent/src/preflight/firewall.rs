//! nft: can the guard be, and who stands where it stands?

use std::collections::BTreeSet;

use postern_plan::ruleset::{Base, BaseKind, Hook};
use postern_plan::settings::Settings;
use postern_telemetry::chain;

use super::check::{Check, Outcome, some, unread};
use super::look::first_seal;
use super::node::Node;
use super::ruleset::Foreign;

pub(super) fn checks(node: &Node, settings: &Settings) -> Vec<Check> {
    let mut out = vec![rehearsal(node), arp(node)];
    match &node.ruleset {
        Err(error) => out.push(Check {
            result: Outcome::Failed,
            to_do:
                "mend what the check of the guard says; marks and chains of others are not known"
                    .to_owned(),
            ..unread("nft ruleset", error)
        }),
        Ok(foreign) => out.extend([owner(foreign), order(foreign, settings), questions(foreign)]),
    }
    out.extend([locks(node), flows(node)]);
    out
}

fn rehearsal(node: &Node) -> Check {
    const CHECK: &str = "nft guard";
    match &node.rehearsal {
        Ok(()) => Check::ok(CHECK, "the kernel would take the agent's tables"),
        Err(error) => Check::of(
            CHECK,
            Outcome::Failed,
            chain(error),
            "install nftables 1.0.6 or later and a kernel with nf_tables, inet and bridge families; without them \
             there is no guard",
        ),
    }
}

fn arp(node: &Node) -> Check {
    const CHECK: &str = "nft ARP table";
    match &node.arp {
        Ok(()) => Check::ok(CHECK, "the LAN is not told of tunnel addresses"),
        Err(error) => Check::of(
            CHECK,
            Outcome::Warning,
            chain(error),
            "use a kernel with CONFIG_NF_TABLES_ARP: without it the node answers ARP for its tunnel addresses on every \
             link",
        ),
    }
}

fn owner(foreign: &Foreign) -> Check {
    const CHECK: &str = "nft table postern";
    match (foreign.owned.is_empty(), foreign.own) {
        (false, _) => Check::of(
            CHECK,
            Outcome::Failed,
            format!(
                "a process owns the table in {}",
                some(foreign.owned.iter().cloned())
            ),
            "stop the process that made `table postern` with flags owner, or rename its table",
        ),
        (true, true) => Check::ok(
            CHECK,
            "our tables are there: an agent has been on this node",
        ),
        (true, false) => Check::ok(CHECK, "the name is free"),
    }
}

/// At equal priority the chain that registered last comes first, so that who wins depends on who restarted.
fn order(foreign: &Foreign, settings: &Settings) -> Check {
    const CHECK: &str = "nft priorities";
    let ruleset = first_seal(settings).ruleset;
    let ours: BTreeSet<Base> = ruleset
        .inet
        .chains
        .values()
        .filter_map(|chain| chain.base)
        .collect();
    let mut worst = Outcome::Ok;
    let mut found = Vec::new();
    for chain in &foreign.chains {
        let same = |base: &&Base| {
            word(base.hook) == chain.hook && i64::from(base.priority) == chain.priority
        };
        let Some(base) = ours
            .iter()
            .find(same)
            .filter(|_| judges_packets(&chain.place))
        else {
            continue;
        };
        worst = worst.max(match base.kind {
            BaseKind::Nat => Outcome::Failed,
            BaseKind::Filter => Outcome::Warning,
        });
        found.push(format!(
            "{} ({} {})",
            chain.place, chain.hook, chain.priority
        ));
    }
    if found.is_empty() {
        return Check::ok(CHECK, "nobody has a base chain at a priority of ours");
    }
    Check::of(
        CHECK,
        worst,
        some(found),
        "move these chains to another priority",
    )
}

/// The redirect to the forwarder is NAT, which sees tracked packets only: such a question is dropped instead, so that a
/// selected pod resolves no name.
fn questions(foreign: &Foreign) -> Check {
    const CHECK: &str = "untracked DNS";
    if foreign.untracked_questions.is_empty() {
        return Check::ok(
            CHECK,
            "no rule of nft keeps questions to port 53 out of connection tracking",
        );
    }
    let places = some(foreign.untracked_questions.iter().cloned());
    Check::of(
        CHECK,
        Outcome::Warning,
        format!(
            "{places}: these may keep questions to port 53 out of connection tracking; those of selected pods are then dropped"
        ),
        "start NodeLocal DNSCache with -setupiptables=false, or take the rule (notrack, NOTRACK, CT --notrack) away",
    )
}

/// A chain of the bridge, arp or netdev family is in another list than ours of inet.
fn judges_packets(place: &str) -> bool {
    place
        .split(' ')
        .next()
        .is_some_and(|family| matches!(family, "ip" | "ip6" | "inet"))
}

const fn word(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
    }
}

fn locks(node: &Node) -> Check {
    const CHECK: &str = "XFRM lock";
    match &node.ipsec {
        Ok(ipsec) if ipsec.policies + ipsec.states == 0 => {
            Check::ok(CHECK, "the kernel has XFRM, and nobody uses it")
        }
        Ok(ipsec) => Check::of(
            CHECK,
            Outcome::Warning,
            format!(
                "IPsec is in use: {} policies, {} states",
                ipsec.policies, ipsec.states
            ),
            "set --second-lock off; a flush of nft then opens the node until it is repaired",
        ),
        Err(error) => Check {
            to_do: "use a kernel with XFRM_USER, or --second-lock off".to_owned(),
            ..unread(CHECK, error)
        },
    }
}

fn flows(node: &Node) -> Check {
    const CHECK: &str = "conntrack netlink";
    match &node.flows {
        Ok(()) => Check::ok(CHECK, "flows can be cut"),
        Err(error) => Check::of(
            CHECK,
            Outcome::Failed,
            chain(error),
            "load nf_conntrack_netlink: without it established flows cannot be cut",
        ),
    }
}
