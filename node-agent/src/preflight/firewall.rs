//! nft: can the guard be, and who stands where it stands?

use std::collections::BTreeSet;

use postern_plan::ruleset::{Base, BaseKind, Hook};
use postern_plan::settings::NodeSettings;
use postern_telemetry::chain;

use super::check::{PreflightCheck, PreflightOutcome, some, unread};
use super::look::first_seal;
use super::node::NodeReading;
use super::ruleset::Foreign;

pub(super) fn checks(node: &NodeReading, settings: &NodeSettings) -> Vec<PreflightCheck> {
    let mut out = vec![rehearsal(node), arp(node)];
    match &node.ruleset {
        Err(error) => out.push(PreflightCheck {
            result: PreflightOutcome::Failed,
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

fn rehearsal(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "nft guard";
    match &node.rehearsal {
        Ok(()) => PreflightCheck::ok(CHECK, "the kernel would take the agent's tables"),
        Err(error) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Failed,
            chain(error),
            "install nftables 1.0.6 or later and a kernel with nf_tables, inet and bridge families; without them \
             there is no guard",
        ),
    }
}

fn arp(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "nft ARP table";
    match &node.arp {
        Ok(()) => PreflightCheck::ok(CHECK, "no ARP answer goes to the LAN for tunnel addresses"),
        Err(error) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            chain(error),
            "use a kernel with CONFIG_NF_TABLES_ARP: without it the node answers ARP for its tunnel addresses on every \
             link",
        ),
    }
}

fn owner(foreign: &Foreign) -> PreflightCheck {
    const CHECK: &str = "nft table postern";
    match (foreign.owned.is_empty(), foreign.own) {
        (false, _) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Failed,
            format!(
                "a process owns the table in {}",
                some(foreign.owned.iter().cloned())
            ),
            "stop the process that made `table postern` with flags owner, or rename its table",
        ),
        (true, true) => PreflightCheck::ok(
            CHECK,
            "our tables are there: an agent has been on this node",
        ),
        (true, false) => PreflightCheck::ok(CHECK, "the name is free"),
    }
}

/// At equal priority the chain that registered last comes first, so that who wins depends on who restarted.
fn order(foreign: &Foreign, settings: &NodeSettings) -> PreflightCheck {
    const CHECK: &str = "nft priorities";
    let ruleset = first_seal(settings).ruleset;
    let ours: BTreeSet<Base> = ruleset
        .inet
        .chains
        .values()
        .filter_map(|chain| chain.base)
        .collect();
    let mut worst = PreflightOutcome::Ok;
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
            BaseKind::Nat => PreflightOutcome::Failed,
            BaseKind::Filter => PreflightOutcome::Warning,
        });
        found.push(format!(
            "{} ({} {})",
            chain.place, chain.hook, chain.priority
        ));
    }
    if found.is_empty() {
        return PreflightCheck::ok(CHECK, "nobody has a base chain at a priority of ours");
    }
    PreflightCheck::of(
        CHECK,
        worst,
        some(found),
        "move these chains to another priority",
    )
}

/// The redirect to the forwarder is NAT, which sees tracked packets only: such a question is dropped instead, so that a
/// selected pod resolves no name.
fn questions(foreign: &Foreign) -> PreflightCheck {
    const CHECK: &str = "untracked DNS";
    if foreign.untracked_questions.is_empty() {
        return PreflightCheck::ok(
            CHECK,
            "no rule of nft keeps questions to port 53 out of connection tracking",
        );
    }
    let places = some(foreign.untracked_questions.iter().cloned());
    PreflightCheck::of(
        CHECK,
        PreflightOutcome::Warning,
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

fn locks(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "XFRM lock";
    match &node.ipsec {
        Ok(ipsec) if ipsec.policies + ipsec.states == 0 => {
            PreflightCheck::ok(CHECK, "the kernel has XFRM, and nobody uses it")
        }
        Ok(ipsec) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Warning,
            format!(
                "IPsec is in use: {} policies, {} states",
                ipsec.policies, ipsec.states
            ),
            "set --second-lock off; a flush of nft then opens the node until it is repaired",
        ),
        Err(error) => PreflightCheck {
            to_do: "use a kernel with XFRM_USER, or --second-lock off".to_owned(),
            ..unread(CHECK, error)
        },
    }
}

fn flows(node: &NodeReading) -> PreflightCheck {
    const CHECK: &str = "conntrack netlink";
    match &node.flows {
        Ok(()) => PreflightCheck::ok(CHECK, "flows can be cut"),
        Err(error) => PreflightCheck::of(
            CHECK,
            PreflightOutcome::Failed,
            chain(error),
            "load nf_conntrack_netlink: without it established flows cannot be cut",
        ),
    }
}
