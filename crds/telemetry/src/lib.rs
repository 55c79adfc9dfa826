//! Logs, metrics, health endpoints and traces, shared by operator and agent.
//!
//! Traces need the feature `otlp`, which brings some sixty crates.

mod chain;
mod health;
mod logs;
#[cfg(feature = "otlp")]
mod origin;
mod scrape;
#[cfg(feature = "otlp")]
mod traces;

pub use chain::chain;
pub use health::{Health, ServeError, listen, serve};
pub use logs::{LogError, start_logs};
#[cfg(feature = "otlp")]
pub use origin::{Late, TraceOrigin};
pub use scrape::{ScrapeArguments, serve_scrapes};
#[cfg(feature = "otlp")]
pub use traces::{TraceError, Traces, start_logs_and_traces, trace_id};
