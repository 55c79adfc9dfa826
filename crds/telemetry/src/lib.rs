//! Logs, metrics and health endpoints, shared by operator and agent.

mod health;
mod logs;

pub use health::{Health, ServeError, serve};
pub use logs::{LogError, start_logs};
