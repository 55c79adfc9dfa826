//! Nodes: where no agent speaks, what agents report, and agents of other versions.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::NodeReport;
use postern_crds::conditions::{ConditionType, Reason};
use postern_crds::node_report::NodeReportStatus;

use super::finding::{DoctorFinding, Gravity};
use super::objects::{good, of_conditions, of_line, unreadable};
use super::snapshot::DoctorSnapshot;
use crate::overview::{Conditions, NodeLine};

/// What a report says beside what [`NodeLine`] has, while the guard holds: whatever the reason, no pod is blocked for it.
const BESIDE_THE_GUARD: [ConditionType; 2] = [ConditionType::SecondLock, ConditionType::Preflight];

pub(super) fn findings(snapshot: &DoctorSnapshot) -> Vec<DoctorFinding> {
    let objects = &snapshot.objects;
    let bad = objects
        .reports
        .iter()
        .filter_map(|report| report.as_ref().err());
    let bad = bad.map(|bad| unreadable("NodeReport", bad));
    let lines = NodeLine::all(objects, snapshot.now).into_iter();
    let lines =
        lines.filter_map(|line| Some(of_line(("Node", &line.name), line.finding.as_ref()?)));
    let reports = good(&objects.reports).flat_map(of_report);
    let mut found: Vec<DoctorFinding> = bad.chain(lines).chain(reports).collect();
    found.extend(without_agents(snapshot));
    found.extend(versions(snapshot));
    found
}

fn of_report(report: &NodeReport) -> Vec<DoctorFinding> {
    let name = report.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = &report.status else {
        return Vec::new();
    };
    let node = ("Node", name);
    let conditions = Conditions {
        all: &status.conditions,
        generation: None,
    };
    let mut found = match status.released {
        // A node without our objects has no bindings and no lock to report.
        true => vec![released(node)],
        false => {
            let bound = of_conditions(node, None, &conditions, &[ConditionType::SourceBinding]);
            let beside = of_conditions(node, None, &conditions, &BESIDE_THE_GUARD);
            let beside = beside.into_iter().map(|finding| DoctorFinding {
                gravity: finding.gravity.max(Gravity::Degraded),
                ..finding
            });
            bound.into_iter().chain(beside).collect()
        }
    };
    found.extend(mismatches(node, status));
    found.extend(refusals(node, status));
    found
}

fn released(node: (&'static str, &str)) -> DoctorFinding {
    let reason = Reason::Released;
    let (gravity, action) = super::action::of(reason);
    DoctorFinding::of(gravity, reason.as_str(), node, reason.sentence(), action)
}

fn mismatches(node: (&'static str, &str), status: &NodeReportStatus) -> Option<DoctorFinding> {
    let first = status.mismatches.first()?;
    let (reason, count) = (Reason::Mismatch, status.mismatches.len());
    let (gravity, action) = super::action::of(reason);
    let message = format!(
        "{} is {:?} ({} in all): {}",
        first.object, first.difference, count, first.message
    );
    Some(DoctorFinding::of(
        gravity,
        reason.as_str(),
        node,
        message,
        action,
    ))
}

/// The newest refusal, while it is newer than the applied document: an older one is over.
fn refusals(node: (&'static str, &str), status: &NodeReportStatus) -> Option<DoctorFinding> {
    let last = status.refusals.last()?;
    let is_newer = last
        .serial
        .is_none_or(|serial| Some(serial) > status.applied_serial);
    let action = Reason::parse(&last.reason).map(super::action::of);
    let (gravity, action) = action.unwrap_or((Gravity::Degraded, "look at the log of the agent"));
    let message = format!("a document was refused: {}", last.message);
    is_newer.then(|| DoctorFinding::of(gravity, &last.reason, node, message, action))
}

/// Nodes of the cluster for which no agent ever spoke.
fn without_agents(snapshot: &DoctorSnapshot) -> Vec<DoctorFinding> {
    const REASON: &str = "NoAgent";
    let nodes = match &snapshot.nodes {
        Ok(nodes) => nodes,
        Err(why) => {
            return vec![DoctorFinding::of(
                Gravity::Notice,
                "NotLookedAt",
                ("Node", "*"),
                format!("nodes without an agent are not looked for: {why}"),
                "bind the roles postern-approver, or run it as an administrator",
            )];
        }
    };
    let reported: BTreeSet<&str> = snapshot
        .objects
        .reports
        .iter()
        .filter_map(|report| match report {
            Ok(report) => report.status.as_ref().and(report.metadata.name.as_deref()),
            Err(bad) => Some(bad.name.as_str()),
        })
        .collect();
    let silent = nodes
        .iter()
        .filter(|node| !reported.contains(node.name.as_str()));
    silent
        .map(|node| {
            let object = ("Node", node.name.as_str());
            if node.is_linux {
                let message = "no agent has ever reported: nothing holds its pods";
                let action = "kubectl -n postern-system get pods -o wide; the agent's DaemonSet tolerates every taint, so its Pod says why it does not run";
                return DoctorFinding::of(Gravity::Open, REASON, object, message, action);
            }
            let message = "it is not Linux, so no agent can run: nothing holds its pods";
            let action = "keep pods that policies select away from it";
            DoctorFinding::of(Gravity::Open, REASON, object, message, action)
        })
        .collect()
}

/// Agents that are not of the newest version among them.
fn versions(snapshot: &DoctorSnapshot) -> Vec<DoctorFinding> {
    let mut by_version: BTreeMap<(Vec<u64>, &str), Vec<&str>> = BTreeMap::new();
    for report in good(&snapshot.objects.reports) {
        let Some(status) = report
            .status
            .as_ref()
            .filter(|one| !one.agent_version.is_empty())
        else {
            continue;
        };
        let version = status.agent_version.as_str();
        let name = report.metadata.name.as_deref().unwrap_or_default();
        by_version
            .entry((numbers(version), version))
            .or_default()
            .push(name);
    }
    let Some(((_, newest), _)) = by_version.pop_last() else {
        return Vec::new();
    };
    let others = by_version.into_iter().flat_map(|((_, version), nodes)| {
        nodes.into_iter().map(move |node| {
            let message = format!("its agent is of version {version}, others are of {newest}");
            let action = "wait for the end of the upgrade: kubectl -n postern-system rollout status daemonset/postern-agent";
            DoctorFinding::of(Gravity::Notice, "OtherVersion", ("Node", node), message, action)
        })
    });
    others.collect()
}

fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|letter: char| !letter.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}
