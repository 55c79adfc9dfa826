//! Tables for people, JSON and YAML for programs.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use thiserror::Error;

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

/// An error with its causes, outermost first. Some libraries' errors end with the text of their cause, which is not repeated.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        source = cause.source();
    }
    text
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

/// A table without lines, as `kubectl` prints it.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}
