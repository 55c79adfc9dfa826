//! The report for eyes.

use serde_json::Value;

/// The status as a table for eyes.
#[must_use]
pub fn table(status: &Value) -> String {
    let mut out = String::new();
    for key in ["appliedSerial", "verifiedAt", "released", "ledgerSerial"] {
        if status.get(key).is_some() {
            out.push_str(&format!("{key:<14} {}\n", word(status, key)));
        }
    }
    let unlisted = status.pointer("/counters/unlisted_pods");
    if let Some(pods) = unlisted.filter(|pods| pods.as_u64() != Some(0)) {
        out.push_str(&format!(
            "{:<14} {pods} guarded before, listed no more\n",
            "heldPods"
        ));
    }
    for scope in list(status, "scopes") {
        out.push_str(&format!(
            "{:<40} {:<11} {:<11} {}\n",
            word(scope, "id"),
            word(scope, "state"),
            word(scope, "posture"),
            word(scope, "reason")
        ));
    }
    for (role, key) in [("uses", "exits"), ("serves", "served")] {
        for exit in list(status, key) {
            push_paths(&mut out, role, exit);
        }
    }
    out
}

/// One line for each way of an exit, and one for an exit that has none.
fn push_paths(out: &mut String, role: &str, exit: &Value) {
    let name = format!("{role} {}", word(exit, "exit"));
    let mtu = exit.get("mtu").map_or_else(
        || "no tunnel".to_owned(),
        |_| format!("mtu {}", word(exit, "mtu")),
    );
    let mut line = |family: &str, state: &str, found: &str| {
        let line = format!("{name:<40} {mtu:<11} {family:<5} {state:<9} {found}");
        out.push_str(line.trim_end());
        out.push('\n');
    };
    let mut paths = list(exit, "paths").peekable();
    if paths.peek().is_none() {
        line("", "", "");
    }
    for path in paths {
        let found = [word(path, "hop"), word(path, "message")];
        let found: Vec<&str> = found
            .iter()
            .map(String::as_str)
            .filter(|word| !word.is_empty())
            .collect();
        line(
            &word(path, "family"),
            &word(path, "state"),
            &found.join(": "),
        );
    }
}

/// What stands under a key, without quotes; nothing where it is missing.
fn word(value: &Value, key: &str) -> String {
    let found = value.get(key);
    found.map_or_else(String::new, |found| {
        found
            .as_str()
            .map_or_else(|| found.to_string(), str::to_owned)
    })
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let found = value.get(key).and_then(Value::as_array);
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::table;

    #[test]
    fn each_path_is_shown_with_the_mtu_of_its_tunnel() {
        let status = json!({
            "appliedSerial": 4,
            "exits": [{
                "exit": "eu", "mtu": 1420,
                "paths": [
                    {"family": "IPv4", "state": "Works"},
                    {"family": "IPv6", "state": "Broken", "hop": "Tunnel", "message": "no answer"},
                ],
            }, {"exit": "us"}],
            "served": [{"exit": "asia", "mtu": 1380, "paths": [{"family": "IPv4", "state": "Untested"}]}],
        });
        let shown = table(&status);
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines,
            [
                vec!["appliedSerial", "4"],
                vec!["uses", "eu", "mtu", "1420", "IPv4", "Works"],
                vec![
                    "uses", "eu", "mtu", "1420", "IPv6", "Broken", "Tunnel:", "no", "answer"
                ],
                vec!["uses", "us", "no", "tunnel"],
                vec!["serves", "asia", "mtu", "1380", "IPv4", "Untested"],
            ]
        );
    }
}
