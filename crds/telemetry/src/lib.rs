//! Logs, metrics, health endpoints and traces, shared by operator and agent.
//!
//! Traces need the feature `otlp` and records for a collector the feature `otlp-logs`; each brings crates that other programs have no use for.

mod chain;
#[cfg(feature = "otlp-logs")]
mod export;
#[cfg(all(test, feature = "otlp-logs"))]
mod export_tests;
mod health;
mod logs;
#[cfg(feature = "otlp")]
mod origin;
mod scrape;
#[cfg(feature = "otlp")]
mod traces;

pub use chain::chain;
#[cfg(feature = "otlp-logs")]
pub use export::{
    EntryValue, ExportError, ExportLabel, ExportMetrics, LogEntry, LogExport, LogQueue, log_export,
};
pub use health::{Health, ServeError, listen, serve};
pub use logs::{LogError, start_logs};
#[cfg(feature = "otlp")]
pub use origin::{Late, TraceOrigin};
pub use scrape::{ScrapeArguments, serve_scrapes};
#[cfg(feature = "otlp")]
pub use traces::{TraceError, Traces, start_logs_and_traces, trace_id};
