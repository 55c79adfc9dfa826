//! The patterns of a schema, each compiled once: a policy may have thousands of texts that one of them is for.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

/// Patterns as they are written, with what they mean.
#[derive(Debug)]
pub(super) struct Patterns(BTreeMap<String, Result<Regex, regex::Error>>);

impl Patterns {
    /// Every pattern in a schema.
    pub(super) fn of(schema: &Value) -> Self {
        let mut patterns = BTreeMap::new();
        collect(schema, &mut patterns);
        Self(patterns)
    }

    /// What is wrong with a text by a pattern, which is one of the schema's.
    pub(super) fn problem(&self, pattern: &str, text: &str) -> Option<String> {
        match self.0.get(pattern) {
            Some(Ok(regex)) if regex.is_match(text) => None,
            Some(Ok(_)) => Some(format!("Invalid value: {text:?}: should match '{pattern}'")),
            Some(Err(error)) => Some(format!(
                "the pattern '{pattern}' cannot be judged here: {error}"
            )),
            None => Some(format!("the pattern '{pattern}' cannot be judged here")),
        }
    }
}

/// At any depth: a property that is named `pattern` is an object and no text.
fn collect(schema: &Value, patterns: &mut BTreeMap<String, Result<Regex, regex::Error>>) {
    if let Some(pattern) = schema["pattern"].as_str() {
        patterns
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern));
    }
    match schema {
        Value::Object(map) => map.values().for_each(|inner| collect(inner, patterns)),
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, patterns)),
        _ => {}
    }
}
