//! Everything on one page.

use jiff::Timestamp;
use postern_compile::gate::PendingApproval;
use postern_crds::node_report::PathState;
use serde::Serialize;

use super::conditions::LineFinding;
use super::exits::ExitLine;
use super::nodes::NodeLine;
use super::paths::PathLine;
use super::policies::PolicyLine;
use super::tiers::TierLine;
use crate::approval::held_table;
use crate::cluster::ClusterObjects;
use crate::output::{TableOutput, table};

/// How things stand in a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterOverview {
    /// Policies, by namespace and name.
    pub policies: Vec<PolicyLine>,
    /// Rules of administrators, in the order in which they are asked.
    pub cluster_policies: Vec<TierLine>,
    pub exits: Vec<ExitLine>,
    pub nodes: Vec<NodeLine>,
    /// Ways out of each node, by node and exit.
    pub paths: Vec<PathLine>,
    /// What waits for an approval.
    pub held: Vec<PendingApproval>,
}

impl ClusterOverview {
    /// What the objects say, at this time.
    #[must_use]
    pub fn of(objects: &ClusterObjects, now: Timestamp) -> Self {
        let mut policies: Vec<PolicyLine> = objects.policies.iter().map(PolicyLine::of).collect();
        policies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut exits: Vec<ExitLine> = objects.exits.iter().map(ExitLine::of).collect();
        exits.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            policies,
            cluster_policies: TierLine::all(&objects.cluster_policies),
            exits,
            nodes: NodeLine::all(objects, now),
            paths: PathLine::all(&objects.reports),
            held: objects.held.clone(),
        }
    }

    /// The same without what changes with every second: where two are equal here, nothing has happened.
    #[must_use]
    pub fn timeless(mut self) -> Self {
        for line in &mut self.nodes {
            (line.verified_at, line.report_age_seconds) = (None, None);
        }
        self
    }

    /// Everything that is not as it was asked for, besides what waits.
    pub fn findings(&self) -> impl Iterator<Item = &LineFinding> {
        let policies = self.policies.iter().map(|line| line.finding.as_ref());
        let exits = self.exits.iter().map(|line| line.finding.as_ref());
        let nodes = self.nodes.iter().map(|line| line.finding.as_ref());
        let tiers = self.cluster_policies.iter();
        let tiers = tiers.map(|line| line.finding.as_ref());
        policies.chain(tiers).chain(exits).chain(nodes).flatten()
    }
}

/// How many lines of a kind fit on one screen with those of the others.
const SCREEN_LINES: usize = 12;

/// One kind. Where more objects exist than fit, those with a finding come first, and the last line counts the others.
fn section<L>(
    header: &[&str],
    lines: &[L],
    row: impl Fn(&L) -> Vec<String>,
    is_well: impl Fn(&L) -> bool,
    none: &str,
) -> String {
    if lines.is_empty() {
        return none.to_owned();
    }
    if lines.len() <= SCREEN_LINES {
        return table(header, &lines.iter().map(row).collect::<Vec<_>>());
    }
    let (well, ill): (Vec<&L>, Vec<&L>) = lines.iter().partition(|line| is_well(line));
    let shown = ill.iter().chain(&well).take(SCREEN_LINES);
    let rows: Vec<_> = shown.map(|line| row(line)).collect();
    let left_out = lines.len() - rows.len();
    let with_findings = ill.len().saturating_sub(rows.len());
    format!(
        "{}\nand {left_out} more, {with_findings} of them with a message; -o json has all",
        table(header, &rows)
    )
}

impl TableOutput for ClusterOverview {
    fn table(&self) -> String {
        let tiers = section(
            &TierLine::HEADER,
            &self.cluster_policies,
            TierLine::row,
            |line| line.finding.is_none(),
            "there are no rules of administrators",
        );
        [
            section(
                &PolicyLine::HEADER,
                &self.policies,
                PolicyLine::row,
                |line| line.finding.is_none(),
                "there is no policy",
            ),
            tiers,
            section(
                &ExitLine::HEADER,
                &self.exits,
                ExitLine::row,
                |line| line.finding.is_none(),
                "there is no exit",
            ),
            section(
                &NodeLine::HEADER,
                &self.nodes,
                NodeLine::row,
                |line| line.finding.is_none(),
                "no node has reported, and nothing is published",
            ),
            section(
                &PathLine::HEADER,
                &self.paths,
                PathLine::row,
                |line| line.state == PathState::Works,
                "no node uses or serves an exit",
            ),
            held_table(&self.held),
        ]
        .join("\n\n")
    }

    fn is_well(&self) -> bool {
        self.held.is_empty() && self.findings().next().is_none()
    }
}
