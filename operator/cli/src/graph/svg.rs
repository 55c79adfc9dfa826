//! The graph drawn, without any other program: a column for each kind, from the left to the right.

use std::fmt::Write as _;

use super::model::{EdgeStyle, GraphColumn, GraphNode, TrafficGraph};

const WIDTH: usize = 230;
const HEIGHT: usize = 46;
const BETWEEN_COLUMNS: usize = 110;
const BETWEEN_ROWS: usize = 18;
const MARGIN: usize = 20;
/// How many characters fit into a box.
const LETTERS: usize = 32;

const COLUMNS: [(usize, &str); 4] = [
    (0, "policies and clients"),
    (1, "exits"),
    (2, "gateways"),
    (3, "uplinks"),
];

const STYLE: &str = "text{font:12px sans-serif}.head{font-weight:bold}.detail{fill:#555}\
    rect{fill:#f6f8fa;stroke:#57606a}path{fill:none;stroke:#1a7f37;stroke-width:1.5}\
    .standby{stroke:#57606a;stroke-dasharray:5 4}.broken{stroke:#cf222e;stroke-dasharray:2 3}";

/// Clients are below the policies in one column: both lead to exits.
const fn column(kind: GraphColumn) -> usize {
    match kind {
        GraphColumn::Policy | GraphColumn::Client => 0,
        GraphColumn::Exit => 1,
        GraphColumn::Gateway => 2,
        GraphColumn::Uplink => 3,
    }
}

impl TrafficGraph {
    #[must_use]
    pub fn svg(&self) -> String {
        let places = self.places();
        let lowest = places
            .iter()
            .map(|(_, y)| y + HEIGHT)
            .max()
            .unwrap_or(MARGIN);
        let (width, height) = (left_of(3) + WIDTH + MARGIN, lowest + MARGIN);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
             <style>{STYLE}</style>\n"
        );
        for (number, title) in COLUMNS {
            let x = left_of(number);
            let _ = writeln!(
                text,
                "<text class=\"head\" x=\"{x}\" y=\"{MARGIN}\">{title}</text>"
            );
        }
        self.draw_edges(&places, &mut text);
        for (node, (x, y)) in self.nodes.iter().zip(&places) {
            draw_node(node, *x, *y, &mut text);
        }
        text.push_str("</svg>");
        text
    }

    /// The upper left corner of each node's box.
    fn places(&self) -> Vec<(usize, usize)> {
        let mut rows = [0; COLUMNS.len()];
        let place = |node: &GraphNode| {
            let column = column(node.column);
            let y = 2 * MARGIN + rows[column] * (HEIGHT + BETWEEN_ROWS);
            rows[column] += 1;
            (left_of(column), y)
        };
        self.nodes.iter().map(place).collect()
    }

    fn draw_edges(&self, places: &[(usize, usize)], text: &mut String) {
        for edge in &self.edges {
            let place = |end| self.number(end).and_then(|number| places.get(number));
            let (Some((from_x, from_y)), Some((to_x, to_y))) = (place(&edge.from), place(&edge.to))
            else {
                continue;
            };
            let (x1, y1) = (from_x + WIDTH, from_y + HEIGHT / 2);
            let (x2, y2) = (*to_x, to_y + HEIGHT / 2);
            let class = match edge.style {
                EdgeStyle::InForce => "",
                EdgeStyle::Standby => " class=\"standby\"",
                EdgeStyle::Broken => " class=\"broken\"",
            };
            let bend = BETWEEN_COLUMNS / 2;
            let (c1, c2) = (x1 + bend, x2.saturating_sub(bend));
            let _ = writeln!(
                text,
                "<path{class} d=\"M{x1} {y1} C{c1} {y1} {c2} {y2} {x2} {y2}\"/>"
            );
            if !edge.label.is_empty() {
                let (x, y) = ((x1 + x2) / 2, usize::midpoint(y1, y2).saturating_sub(4));
                let label = escaped(&edge.label);
                let _ = writeln!(
                    text,
                    "<text class=\"detail\" text-anchor=\"middle\" x=\"{x}\" y=\"{y}\">{label}</text>"
                );
            }
        }
    }
}

const fn left_of(column: usize) -> usize {
    MARGIN + column * (WIDTH + BETWEEN_COLUMNS)
}

fn draw_node(node: &GraphNode, x: usize, y: usize, text: &mut String) {
    let (name, detail) = (escaped(&cut(&node.name)), escaped(&cut(&node.detail)));
    let whole = escaped(&node.name);
    let _ = writeln!(
        text,
        "<g><title>{whole}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\
         <text x=\"{tx}\" y=\"{ty}\">{name}</text><text class=\"detail\" x=\"{tx}\" y=\"{dy}\">{detail}</text></g>",
        tx = x + 10,
        ty = y + 19,
        dy = y + 37,
    );
}

fn cut(text: &str) -> String {
    match text.chars().count() > LETTERS {
        true => text.chars().take(LETTERS - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
