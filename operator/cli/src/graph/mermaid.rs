//! The graph for Mermaid, which forges and editors draw.

use std::fmt::Write as _;

use super::model::{EdgeStyle, GraphColumn, TrafficGraph};

impl TrafficGraph {
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for (number, node) in self.nodes.iter().enumerate() {
            let [open, close] = match node.column {
                GraphColumn::Policy => ["[", "]"],
                GraphColumn::Client => ["(", ")"],
                GraphColumn::Exit => ["{{", "}}"],
                GraphColumn::Gateway => ["[[", "]]"],
                GraphColumn::Uplink => ["([", "])"],
            };
            let detail = match node.detail.is_empty() {
                true => String::new(),
                false => format!("<br/>{}", escaped(&node.detail)),
            };
            let name = escaped(&node.name);
            let _ = writeln!(text, "    n{number}{open}\"{name}{detail}\"{close}");
        }
        for edge in &self.edges {
            let (Some(from), Some(to)) = (self.number(&edge.from), self.number(&edge.to)) else {
                continue;
            };
            let line = match edge.style {
                EdgeStyle::InForce => "-->",
                EdgeStyle::Standby => "-.->",
                EdgeStyle::Broken => "--x",
            };
            let label = match edge.label.is_empty() {
                true => String::new(),
                false => format!("|\"{}\"|", escaped(&edge.label)),
            };
            let _ = writeln!(text, "    n{from} {line}{label} n{to}");
        }
        text.trim_end().to_owned()
    }
}

/// Mermaid's entities have a `#` in front.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => escaped.push_str("#quot;"),
            '#' => escaped.push_str("#35;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '\n' => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
