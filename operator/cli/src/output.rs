//! Tables for people, JSON and YAML for programs.

use clap::ValueEnum;
use serde::Serialize;
use thiserror::Error;

pub use postern_control::{chain, table};

/// How a verb says what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// Why something cannot be printed.
#[derive(Debug, Error)]
pub enum OutputError {
    /// As JSON.
    #[error("the result cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// As YAML.
    #[error("the result cannot be written as YAML")]
    Yaml(#[source] serde_saphyr::SerializeError),
}

/// The name of a value of an enumeration, as JSON has it: a table says the same as `-o json`.
pub(crate) fn json_name<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Something that can be printed in every format.
pub trait TableOutput: Serialize {
    /// For people.
    fn table(&self) -> String;

    /// Whether everything in it is as asked for.
    fn is_well(&self) -> bool {
        true
    }
}

/// The text of a result in a format.
///
/// # Errors
/// [`OutputError`].
pub fn render<T: TableOutput>(value: &T, format: Format) -> Result<String, OutputError> {
    match format {
        Format::Table => Ok(value.table()),
        Format::Json => serde_json::to_string_pretty(value).map_err(OutputError::Json),
        Format::Yaml => serde_saphyr::to_string(value).map_err(OutputError::Yaml),
    }
}
