//! Which traffic goes where: from policies and client nodes by exits and gateways to uplinks. Pure and deterministic.

mod dot;
mod mermaid;
mod model;
mod read;
mod svg;

pub use model::{EdgeStyle, GraphColumn, GraphEdge, GraphNode, TrafficGraph};
