//! Everything on one page.

use jiff::Timestamp;
use postern_compile::gate::PendingApproval;
use serde::Serialize;

use super::conditions::LineFinding;
use super::exits::ExitLine;
use super::nodes::NodeLine;
use super::paths::PathLine;
use super::policies::PolicyLine;
use crate::approval::held_table;
use crate::cluster::ClusterObjects;
use crate::output::{TableOutput, table};

/// How things stand in a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterOverview {
    /// Policies, by namespace and name.
    pub policies: Vec<PolicyLine>,
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
            exits,
            nodes: NodeLine::all(objects, now),
            paths: PathLine::all(&objects.reports),
            held: objects.held.clone(),
        }
    }

    /// Everything that is not as it was asked for, besides what waits.
    pub fn findings(&self) -> impl Iterator<Item = &LineFinding> {
        let policies = self.policies.iter().map(|line| line.finding.as_ref());
        let exits = self.exits.iter().map(|line| line.finding.as_ref());
        let nodes = self.nodes.iter().map(|line| line.finding.as_ref());
        policies.chain(exits).chain(nodes).flatten()
    }
}

fn section(header: &[&str], rows: &[Vec<String>], none: &str) -> String {
    if rows.is_empty() {
        none.to_owned()
    } else {
        table(header, rows)
    }
}

impl TableOutput for ClusterOverview {
    fn table(&self) -> String {
        let policies: Vec<_> = self.policies.iter().map(PolicyLine::row).collect();
        let exits: Vec<_> = self.exits.iter().map(ExitLine::row).collect();
        let nodes: Vec<_> = self.nodes.iter().map(NodeLine::row).collect();
        let paths: Vec<_> = self.paths.iter().map(PathLine::row).collect();
        [
            section(&PolicyLine::HEADER, &policies, "there is no policy"),
            section(&ExitLine::HEADER, &exits, "there is no exit"),
            section(
                &NodeLine::HEADER,
                &nodes,
                "no node has reported, and nothing is published",
            ),
            section(&PathLine::HEADER, &paths, "no node uses or serves an exit"),
            held_table(&self.held),
        ]
        .join("\n\n")
    }

    fn is_well(&self) -> bool {
        self.held.is_empty() && self.findings().next().is_none()
    }
}
