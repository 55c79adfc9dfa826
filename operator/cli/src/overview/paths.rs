//! Ways out: how far packets get from a node by an exit, and through which MTU.

use postern_crds::NodeReport;
use postern_crds::node_report::{AddressFamily, PathHop, PathReport, PathState};
use serde::Serialize;

use crate::cluster::ReadResult;
use crate::output::json_name;

/// One family of one exit on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathLine {
    /// The node that says so.
    pub node: String,
    pub exit: String,
    /// Whether the node uses the exit or serves it.
    pub role: PathRole,
    /// The family; none where the node says nothing of any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<AddressFamily>,
    /// MTU of the tunnel in bytes, which the node read back; none where there is no tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// What the node's probes show.
    pub state: PathState,
    /// Where the way ends, if it is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<PathHop>,
    /// What was found there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Which end of the tunnel a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum PathRole {
    /// Its pods leave by the exit.
    Used,
    /// It is the exit's gateway.
    Served,
}

impl PathLine {
    pub(super) const HEADER: [&'static str; 7] =
        ["NODE", "EXIT", "ROLE", "FAMILY", "MTU", "STATE", "MESSAGE"];

    /// The paths of every report, by node and exit. A report that cannot be read shows in the line of its node.
    pub(super) fn all(reports: &[ReadResult<NodeReport>]) -> Vec<Self> {
        let readable = reports.iter().filter_map(|report| report.as_ref().ok());
        let mut lines: Vec<Self> = readable.flat_map(of_node).collect();
        lines.sort_by(|a, b| {
            (&a.node, a.role, &a.exit, a.family).cmp(&(&b.node, b.role, &b.exit, b.family))
        });
        lines
    }

    pub(super) fn row(&self) -> Vec<String> {
        let hop = self.hop.map(json_name);
        let message = Some(self.message.clone()).filter(|message| !message.is_empty());
        let message: Vec<String> = hop.into_iter().chain(message).collect();
        vec![
            self.node.clone(),
            self.exit.clone(),
            json_name(self.role),
            self.family.map_or_else(String::new, json_name),
            self.mtu.map_or_else(String::new, |mtu| mtu.to_string()),
            json_name(self.state),
            message.join(": "),
        ]
    }
}

fn of_node(report: &NodeReport) -> Vec<PathLine> {
    let node = report.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = &report.status else {
        return Vec::new();
    };
    let used = status
        .exits
        .iter()
        .map(|one| (PathRole::Used, &one.exit, one.mtu, &one.paths));
    let served = status
        .served
        .iter()
        .map(|one| (PathRole::Served, &one.exit, one.mtu, &one.paths));
    used.chain(served)
        .flat_map(|(role, exit, mtu, paths)| {
            let unsaid = PathLine {
                node: node.to_owned(),
                exit: exit.clone(),
                role,
                family: None,
                mtu,
                state: PathState::Untested,
                hop: None,
                message: String::new(),
            };
            of_exit(unsaid, paths)
        })
        .collect()
}

/// The lines of one exit; that nothing is said of any family is a line too.
fn of_exit(unsaid: PathLine, paths: &[PathReport]) -> Vec<PathLine> {
    if paths.is_empty() {
        return vec![unsaid];
    }
    let said = |path: &PathReport| PathLine {
        family: Some(path.family),
        state: path.state,
        hop: path.hop,
        message: path.message.clone(),
        ..unsaid.clone()
    };
    paths.iter().map(said).collect()
}
