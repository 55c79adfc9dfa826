//! The structural part of a schema: types, enums, bounds, patterns, formats, required and unknown fields. In the words of
//! an API server.

use jiff::Timestamp;
use serde_json::Value;

use super::lists::duplicates;
use super::patterns::Patterns;

/// What is wrong with an object, each with its place.
#[must_use]
pub(super) fn problems(schema: &Value, patterns: &Patterns, object: &Value) -> Vec<String> {
    let mut found = StructureProblems {
        patterns,
        problems: Vec::new(),
    };
    judge(schema, object, "", &mut found);
    found.problems
}

/// What was found so far.
struct StructureProblems<'a> {
    patterns: &'a Patterns,
    problems: Vec<String>,
}

impl StructureProblems<'_> {
    fn push(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

fn judge(schema: &Value, value: &Value, path: &str, found: &mut StructureProblems<'_>) {
    if !has_type(schema, value) {
        let wanted = schema["type"].as_str().unwrap_or("number or string");
        found.push(format!(
            "{path}: Invalid value: {value}: must be of type {wanted}"
        ));
        return;
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        found.push(format!(
            "{path}: Unsupported value: {value}: supported values: {}",
            values.join(", ")
        ));
    }
    bounds(schema, value, path, found);
    if let Some(text) = value.as_str() {
        words(schema, text, path, found);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        judge(&schema["items"], item, &format!("{path}[{index}]"), found);
    }
    found.problems.extend(duplicates(schema, value, path));
    if value.is_object() {
        fields(schema, value, path, found);
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == Value::Bool(true) {
        return value.is_i64() || value.is_u64() || value.is_string();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        // A type that this function does not know is no valid value.
        _ => false,
    }
}

fn bounds(schema: &Value, value: &Value, path: &str, found: &mut StructureProblems<'_>) {
    let (low, high, size, unit) = match value {
        Value::String(text) => (
            "minLength",
            "maxLength",
            count(text.chars().count()),
            " characters",
        ),
        Value::Array(items) => ("minItems", "maxItems", count(items.len()), " items"),
        Value::Object(map) => (
            "minProperties",
            "maxProperties",
            count(map.len()),
            " properties",
        ),
        Value::Number(number) => (
            "minimum",
            "maximum",
            number.as_f64().unwrap_or(f64::NAN),
            "",
        ),
        Value::Bool(_) | Value::Null => return,
    };
    let shown = if value.is_number() {
        format!("{value}: ")
    } else {
        String::new()
    };
    if schema[low].as_f64().is_some_and(|bound| size < bound) {
        found.push(format!(
            "{path}: Invalid value: {shown}should be at least {}{unit}",
            schema[low]
        ));
    }
    if schema[high].as_f64().is_some_and(|bound| size > bound) {
        found.push(format!(
            "{path}: Invalid value: {shown}should be at most {}{unit}",
            schema[high]
        ));
    }
}

/// Sizes of objects are far below 2^53, up to which a double is exact.
const fn count(size: usize) -> f64 {
    size as f64
}

fn words(schema: &Value, text: &str, path: &str, found: &mut StructureProblems<'_>) {
    let pattern = schema["pattern"].as_str();
    let problem = pattern.and_then(|pattern| found.patterns.problem(pattern, text));
    if let Some(problem) = problem {
        found.push(format!("{path}: {problem}"));
    }
    match schema["format"].as_str() {
        Some("date-time") if text.parse::<Timestamp>().is_err() => {
            found.push(format!(
                "{path}: Invalid value: {text:?}: must be a time of RFC 3339, such as 2027-01-01T00:00:00Z"
            ));
        }
        Some("date-time") | None => {}
        Some(other) => found.push(format!("{path}: the format {other} cannot be judged here")),
    }
}

fn fields(schema: &Value, value: &Value, path: &str, found: &mut StructureProblems<'_>) {
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.get(name).is_none() {
            found.push(format!("{}: Required value", below(path, name)));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let at = below(path, name);
        let (own, any) = (&schema["properties"][name], &schema["additionalProperties"]);
        match (own.is_object(), any.is_object()) {
            // The insides of metadata are the same for every kind and in no schema.
            _ if ["apiVersion", "kind", "metadata"].contains(&at.as_str()) => {}
            (true, _) => judge(own, inner, &at, found),
            (false, true) => judge(any, inner, &at, found),
            (false, false) => found.push(format!("unknown field {at:?}")),
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
