//! The operator against an API server that answers by a script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

mod events;
mod operator;
mod pipeline;
mod revisions;
mod server;
mod writes;
