//! The socket on the node: one line of JSON each way, one request a connection. Anyone who can reach the socket may
//! read; what changes something needs root at the other end (`SO_PEERCRED`, unix(7)).

pub mod server;

pub use postern_control::{ControlAnswer, ControlRequest};
