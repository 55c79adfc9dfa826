//! The report as a value for its sinks: the status file, and the exchange with the API server.

mod file;
mod publisher;
mod table;

pub use file::write_reports;
pub use postern_agent_core::report::RefusalEntry;
pub(crate) use publisher::{AT_LEAST_EVERY, EVERY};
pub use publisher::{LatestReport, ReportPublisher};
pub use table::table;
