//! From objects to the graph.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::egress_policy::{Enforcement, RouteType};
use postern_crds::exit_node::GatewayRole;
use postern_crds::node_report::{ExitReport, PathState};
use postern_crds::{EgressPolicy, ExitNode, NodeReport};

use super::model::{EdgeStyle, GraphColumn, GraphEdge, GraphNode, TrafficGraph};
use crate::cluster::ClusterObjects;
use crate::full_name::name_of;

/// The label of the uplink of the pod's own node, whichever that is.
const OWN_UPLINK: &str = "the node's own uplink";

impl TrafficGraph {
    /// The graph of the objects. An object that cannot be parsed is left out: `posternctl doctor` names it.
    #[must_use]
    pub fn of(objects: &ClusterObjects) -> Self {
        let mut drawing = GraphDraft::default();
        objects
            .policies
            .iter()
            .flatten()
            .for_each(|policy| drawing.policy(policy));
        objects
            .exits
            .iter()
            .flatten()
            .for_each(|exit| drawing.exit(exit));
        objects
            .reports
            .iter()
            .flatten()
            .for_each(|report| drawing.client(report));
        drawing.finish()
    }
}

#[derive(Default)]
struct GraphDraft {
    /// The details of nodes that an object describes.
    nodes: BTreeMap<(GraphColumn, String), String>,
    edges: BTreeSet<GraphEdge>,
}

impl GraphDraft {
    fn edge(
        &mut self,
        from: (GraphColumn, &str),
        to: (GraphColumn, &str),
        style: EdgeStyle,
        label: &str,
    ) {
        let end = |(column, name): (GraphColumn, &str)| (column, name.to_owned());
        self.edges.insert(GraphEdge {
            from: end(from),
            to: end(to),
            style,
            label: label.to_owned(),
        });
    }

    fn policy(&mut self, policy: &EgressPolicy) {
        let metadata = &policy.metadata;
        let name = name_of(metadata);
        let status = policy.status.clone().unwrap_or_default();
        let pods = status.pods.unwrap_or_default();
        let (count, word) = match policy.spec.enforcement {
            Enforcement::Enforce => (pods.enforced, "enforced"),
            Enforcement::Observe => (pods.observed, "observed"),
        };
        let detail = format!("{count} of {} pods {word}", pods.selected);
        self.nodes
            .insert((GraphColumn::Policy, name.clone()), detail);
        let from = (GraphColumn::Policy, name.as_str());
        if policy.spec.route.type_ == RouteType::NodeUplink {
            self.edge(
                from,
                (GraphColumn::Uplink, OWN_UPLINK),
                EdgeStyle::InForce,
                "",
            );
        }
        for (number, exit) in policy.spec.route.exit_nodes.iter().enumerate() {
            let style = match status.exit_node.as_deref() {
                Some(in_force) if in_force == exit.name => EdgeStyle::InForce,
                _ => EdgeStyle::Standby,
            };
            let label = match policy.spec.route.exit_nodes.len() {
                1 => String::new(),
                _ => (number + 1).to_string(),
            };
            self.edge(from, (GraphColumn::Exit, &exit.name), style, &label);
        }
    }

    fn exit(&mut self, exit: &ExitNode) {
        let name = exit.metadata.name.clone().unwrap_or_default();
        let status = exit.status.clone().unwrap_or_default();
        let clients = status.clients.unwrap_or_default();
        let detail = format!(
            "{} of {} clients carry it",
            clients.programmed, clients.desired
        );
        self.nodes.insert((GraphColumn::Exit, name.clone()), detail);
        let from = (GraphColumn::Exit, name.as_str());
        let server = exit
            .spec
            .external
            .as_ref()
            .map(|external| external.endpoint.as_str());
        for gateway in &status.gateways {
            let node = gateway.node.as_str();
            let style = match (gateway.role, gateway.healthy) {
                (GatewayRole::Standby, _) => EdgeStyle::Standby,
                (GatewayRole::Active, true) => EdgeStyle::InForce,
                (GatewayRole::Active, false) => EdgeStyle::Broken,
            };
            self.edge(from, (GraphColumn::Gateway, node), style, "");
            let addresses = match (server, gateway.egress_ips.is_empty()) {
                (Some(_), _) => String::new(),
                (None, true) => "address of the uplink".to_owned(),
                (None, false) => gateway.egress_ips.join(", "),
            };
            let uplink = server.map_or_else(|| format!("uplink of {node}"), str::to_owned);
            let to = (GraphColumn::Uplink, uplink.as_str());
            self.edge((GraphColumn::Gateway, node), to, style, &addresses);
        }
        if let Some(server) = server {
            let end = (GraphColumn::Uplink, server.to_owned());
            self.nodes.insert(end, "a server outside".to_owned());
        }
    }

    /// The exits that a node uses, as its own probes see them.
    fn client(&mut self, report: &NodeReport) {
        let node = report.metadata.name.as_deref().unwrap_or_default();
        let exits = report.status.iter().flat_map(|status| &status.exits);
        for exit in exits {
            let (style, label) = reach(exit);
            self.edge(
                (GraphColumn::Client, node),
                (GraphColumn::Exit, &exit.exit),
                style,
                label,
            );
        }
    }

    /// Every end of an edge is a node, also where no object describes it.
    fn finish(self) -> TrafficGraph {
        let mut nodes = self.nodes;
        for edge in &self.edges {
            for end in [&edge.from, &edge.to] {
                let detail = match end.0 {
                    GraphColumn::Policy | GraphColumn::Exit => "not there",
                    GraphColumn::Client | GraphColumn::Gateway | GraphColumn::Uplink => "",
                };
                let described = nodes.entry(end.clone());
                described.or_insert_with(|| detail.to_owned());
            }
        }
        let nodes = nodes.into_iter().map(|((column, name), detail)| GraphNode {
            column,
            name,
            detail,
        });
        TrafficGraph {
            nodes: nodes.collect(),
            edges: self.edges.into_iter().collect(),
        }
    }
}

fn reach(exit: &ExitReport) -> (EdgeStyle, &'static str) {
    let broken = exit
        .paths
        .iter()
        .any(|path| path.state == PathState::Broken);
    let works = exit.paths.iter().any(|path| path.state == PathState::Works);
    match (works, broken) {
        (true, false) => (EdgeStyle::InForce, ""),
        (true, true) => (EdgeStyle::InForce, "one family"),
        (false, true) => (EdgeStyle::Broken, "broken"),
        (false, false) => (EdgeStyle::InForce, "untested"),
    }
}
