//! The report for eyes.

/// The status as a table for eyes.
#[must_use]
pub fn table(status: &serde_json::Value) -> String {
    let mut out = String::new();
    let text = |value: &serde_json::Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    for key in ["appliedSerial", "verifiedAt", "released", "ledgerSerial"] {
        if let Some(value) = status.get(key) {
            out.push_str(&format!("{key:<14} {}\n", text(value)));
        }
    }
    let unlisted = status.pointer("/counters/unlisted_pods");
    if let Some(pods) = unlisted.filter(|pods| pods.as_u64() != Some(0)) {
        out.push_str(&format!(
            "{:<14} {pods} guarded before, listed no more\n",
            "heldPods"
        ));
    }
    for scope in status
        .get("scopes")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
    {
        let word = |key: &str| scope.get(key).map(text).unwrap_or_default();
        out.push_str(&format!(
            "{:<40} {:<11} {:<11} {}\n",
            word("id"),
            word("state"),
            word("posture"),
            word("reason")
        ));
    }
    out
}
