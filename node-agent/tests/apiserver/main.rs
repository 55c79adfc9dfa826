//! The exchange with the API server and an API server that answers, fails, forgets and is away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

mod credentials;
mod fake;
mod intents;
mod node;
mod reports;
