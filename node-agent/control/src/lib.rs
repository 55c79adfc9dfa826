//! What people ask of the agent of a node, and its answers. Agent and `posternctl` both print them from here, so that they say the
//! same.
//!
//! | module | for |
//! |---|---|
//! | [`protocol`] | questions and answers on the agent's socket |
//! | [`client`] | who asks |
//! | [`explained`] | what becomes of one packet: by published bodies, or by what a node has in force |
//! | [`dns_check`] | what the DNS filter costs, measured |
//! | [`filter_cost`] | times of both ways, and whether the bound holds |
//! | `text` | tables and errors |

pub mod client;
pub mod dns_check;
pub mod explained;
pub mod filter_cost;
pub mod protocol;
mod text;

pub use client::{ControlError, ask, ask_for, measure_dns};
pub use protocol::{ControlAnswer, ControlRequest, ExplainRequest};
pub use text::{chain, table};
