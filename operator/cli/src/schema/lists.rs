//! Lists whose items have an identity: sets, and maps by keys.

use std::collections::BTreeSet;

use serde_json::Value;

/// Items of a list that are there twice, where the schema allows each once.
#[must_use]
pub(super) fn duplicates(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let Some(items) = value.as_array() else {
        return Vec::new();
    };
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let identity = |item: &Value| match (schema["x-kubernetes-list-type"].as_str(), keys) {
        (Some("set"), _) => Some(item.to_string()),
        (Some("map"), Some(keys)) => {
            let parts = keys.iter().filter_map(Value::as_str);
            Some(
                parts
                    .map(|key| item[key].to_string())
                    .collect::<Vec<_>>()
                    .join(","),
            )
        }
        _ => None,
    };
    let mut seen = BTreeSet::new();
    let identities = items.iter().enumerate();
    let named = identities.filter_map(|(index, item)| Some((index, identity(item)?)));
    named
        .filter(|(_, identity)| !seen.insert(identity.clone()))
        .map(|(index, identity)| format!("{path}[{index}]: Duplicate value: {identity}"))
        .collect()
}
