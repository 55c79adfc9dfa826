//! How an error is printed: once, with its causes.

pub use postern_telemetry::chain;
