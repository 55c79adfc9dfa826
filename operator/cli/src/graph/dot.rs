//! The graph for Graphviz.

use std::fmt::Write as _;

use super::model::{EdgeStyle, GraphColumn, TrafficGraph};

impl TrafficGraph {
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text =
            "digraph postern {\n    rankdir=LR;\n    node [fontname=\"sans-serif\"];\n".to_owned();
        for (number, node) in self.nodes.iter().enumerate() {
            let shape = match node.column {
                GraphColumn::Policy => "box",
                GraphColumn::Client => "ellipse",
                GraphColumn::Exit => "hexagon",
                GraphColumn::Gateway => "component",
                GraphColumn::Uplink => "oval",
            };
            let detail = match node.detail.is_empty() {
                true => String::new(),
                false => format!("\\n{}", escaped(&node.detail)),
            };
            let name = escaped(&node.name);
            let _ = writeln!(
                text,
                "    n{number} [shape={shape}, label=\"{name}{detail}\"];"
            );
        }
        for edge in &self.edges {
            let (Some(from), Some(to)) = (self.number(&edge.from), self.number(&edge.to)) else {
                continue;
            };
            let style = match edge.style {
                EdgeStyle::InForce => "solid",
                EdgeStyle::Standby => "dashed",
                EdgeStyle::Broken => "dotted, color=red",
            };
            let label = escaped(&edge.label);
            let _ = writeln!(
                text,
                "    n{from} -> n{to} [style={style}, label=\"{label}\"];"
            );
        }
        text.push('}');
        text
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', " ")
}
