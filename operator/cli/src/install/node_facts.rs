//! What only a node knows: nft, tunnels, the second lock, and what other programs do there. Agents report it.

use postern_crds::NodeReport;
use postern_crds::conditions::{ConditionStatus, ConditionType, find};
use postern_crds::node_report::{NodeReportStatus, TunnelKind};

use postern_compile::first_names;

use super::check::{CheckResult, InstallCheck};
use super::nodes::name;
use super::reading::InstallReading;

/// Where no agent runs, this shows it.
const COMMAND: &str =
    "on each node, as root in the host's network namespace: postern-agent preflight";

/// One fact of a report: none where it is well, else the node's own message.
struct NodeFact {
    check: &'static str,
    well: &'static str,
    result: CheckResult,
    to_do: &'static str,
    says: fn(&NodeReportStatus) -> Option<String>,
}

const FACTS: [NodeFact; 4] = [
    NodeFact {
        check: "nft on nodes",
        well: "tables can be written and read",
        result: CheckResult::Refused,
        to_do: "load nf_tables and give the kernel CONFIG_NF_TABLES_INET; without it no guard is possible",
        says: |status| {
            let capabilities = status.capabilities.as_ref();
            let can = capabilities.is_some_and(|found| found.nftables);
            (!can).then(|| "nft cannot be used".to_owned())
        },
    },
    NodeFact {
        check: "tunnels on nodes",
        well: "by WireGuard of the kernel or by TUN devices",
        result: CheckResult::Warning,
        to_do: "load wireguard or tun: pods there are blocked with the reason NoTunnel, and the node can be no gateway",
        says: |status| {
            let capabilities = status.capabilities.as_ref();
            let tunnels = capabilities.map_or(TunnelKind::None, |found| found.tunnels);
            (tunnels == TunnelKind::None).then(|| "no tunnel is possible".to_owned())
        },
    },
    NodeFact {
        check: "second lock on nodes",
        well: "the XFRM lock is in place",
        result: CheckResult::Warning,
        to_do: "without it, a program that flushes nft opens the node until the repair",
        says: |status| unheld(status, ConditionType::SecondLock),
    },
    NodeFact {
        check: "modules, marks and rules on nodes",
        well: "Preflight holds",
        result: CheckResult::Warning,
        to_do: "the message says what to do; postern-agent preflight on the node lists every check",
        says: |status| unheld(status, ConditionType::Preflight),
    },
];

pub(super) fn checks(reading: &InstallReading) -> Vec<InstallCheck> {
    let check = |fact: &NodeFact| {
        InstallCheck::read(fact.check, &reading.reports, |reports| {
            judge(fact, reading, reports)
        })
    };
    FACTS.iter().map(check).collect()
}

fn unheld(status: &NodeReportStatus, kind: ConditionType) -> Option<String> {
    let found = find(&status.conditions, kind);
    match found {
        Some(found) if found.status == ConditionStatus::True.as_str() => None,
        Some(found) => Some(found.message.clone()),
        None => Some(format!("{kind} is not reported")),
    }
}

fn judge(fact: &NodeFact, reading: &InstallReading, reports: &[NodeReport]) -> InstallCheck {
    let reported: Vec<(&str, &NodeReportStatus)> = reports
        .iter()
        .filter_map(|report| Some((report.metadata.name.as_deref()?, report.status.as_ref()?)))
        .collect();
    let bad: Vec<String> = reported
        .iter()
        .filter_map(|(node, status)| Some(format!("{node}: {}", (fact.says)(status)?)))
        .collect();
    if !bad.is_empty() {
        return InstallCheck::of(fact.check, fact.result, first_names(bad), fact.to_do);
    }
    let silent: Vec<String> = reading
        .nodes
        .iter()
        .flatten()
        .map(name)
        .filter(|node| !reported.iter().any(|(reported, _)| reported == node))
        .collect();
    if reported.is_empty() || !silent.is_empty() {
        let whom = if reported.is_empty() {
            "no agent runs yet".to_owned()
        } else {
            format!("no agent has reported: {}", first_names(silent))
        };
        return InstallCheck::of(fact.check, CheckResult::Unknown, whom, COMMAND);
    }
    InstallCheck::passed(fact.check, fact.well)
}
