//! The graph as a value.

use serde::Serialize;

/// What a node of the graph is; the columns of a drawing, from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum GraphColumn {
    Policy,
    /// A node of the cluster whose pods leave by an exit.
    Client,
    Exit,
    /// A node of the cluster where traffic leaves.
    Gateway,
    /// The way off the gateway: its uplink, or a server outside.
    Uplink,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GraphNode {
    pub column: GraphColumn,
    /// Unique in its column.
    pub name: String,
    /// The text below the name.
    pub detail: String,
}

/// Whether traffic takes an edge now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum EdgeStyle {
    InForce,
    /// It would, after a failure.
    Standby,
    /// It should, and does not.
    Broken,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GraphEdge {
    /// Column and name of the node where it begins.
    pub from: (GraphColumn, String),
    pub to: (GraphColumn, String),
    pub style: EdgeStyle,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
}

/// Nodes and edges, each sorted and without repetition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TrafficGraph {
    pub nodes: Vec<GraphNode>,
    pub edges: Vec<GraphEdge>,
}

impl TrafficGraph {
    /// The number of a node by which drawings name it.
    pub(super) fn number(&self, end: &(GraphColumn, String)) -> Option<usize> {
        let is_it = |node: &GraphNode| (node.column, &node.name) == (end.0, &end.1);
        self.nodes.iter().position(is_it)
    }
}
