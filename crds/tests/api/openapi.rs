//! A judge of objects by a structural schema, as an API server is one: it refuses unknown fields too.
//!
//! CEL rules are judged elsewhere; this is types, bounds, patterns, enums and required fields.

use regex::Regex;
use serde_json::Value;

/// What is wrong with a value: each place with the keyword that it breaks.
pub(crate) fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    judge(schema, value, "", &mut found);
    found
}

fn judge(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut say = |keyword: &str| found.push(format!("{path}: {keyword}"));
    if !has_type(schema, value) {
        say("type");
        return;
    }
    let values = schema["enum"].as_array();
    if values.is_some_and(|values| !values.contains(value)) {
        say("enum");
    }
    let sizes = match value {
        Value::String(text) => ("minLength", "maxLength", text.chars().count() as f64),
        Value::Array(items) => ("minItems", "maxItems", items.len() as f64),
        Value::Object(map) => ("minProperties", "maxProperties", map.len() as f64),
        Value::Number(number) => ("minimum", "maximum", number.as_f64().unwrap()),
        Value::Bool(_) | Value::Null => return,
    };
    let (low, high, size) = sizes;
    if schema[low].as_f64().is_some_and(|bound| size < bound) {
        say(low);
    }
    if schema[high].as_f64().is_some_and(|bound| size > bound) {
        say(high);
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        say("pattern");
    }
    judge_inside(schema, value, path, found);
}

fn judge_inside(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        judge(&schema["items"], item, &format!("{path}[{index}]"), found);
    }
    let Some(map) = value.as_object() else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !map.contains_key(name.as_str().unwrap()) {
            found.push(format!("{path}.{}: required", name.as_str().unwrap()));
        }
    }
    // The insides of metadata are the API server's own business.
    if path == ".metadata" {
        return;
    }
    for (name, inner) in map {
        let path = format!("{path}.{name}");
        let own = &schema["properties"][name];
        let any = &schema["additionalProperties"];
        match (own.is_object(), any.is_object()) {
            (true, _) => judge(own, inner, &path, found),
            (false, true) => judge(any, inner, &path, found),
            (false, false) if is_object_meta(&path) => {}
            (false, false) => found.push(format!("{path}: unknown")),
        }
    }
}

fn is_object_meta(path: &str) -> bool {
    [".apiVersion", ".kind", ".metadata"].contains(&path)
}

fn has_type(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == Value::Bool(true) {
        return value.is_i64() || value.is_string();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        other => panic!("the schema has type {other:?}"),
    }
}
