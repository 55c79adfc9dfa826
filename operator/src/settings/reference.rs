//! The keys of the settings file as a page, and which keys of a file are none of them. Both come from the types. Pure.

use std::fmt::Write as _;

use postern_compile::snapshot::{CompilerSettings, Permission};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::written::{CLUSTER_DOMAIN, SettingsFile};

const INTRODUCTION: &str = "\
# The settings of the operator

The keys of `settings.yaml` in the ConfigMap `postern-settings`. This page is generated from the types \
(`cargo run -p postern-operator --example write_settings`); a test compares it.

A key that does not stand in the file has its default. The operator reads the file again within five seconds after it \
changed; the kubelet needs up to a minute to change it. **A file with an unknown key, or with a value that cannot be \
honoured, is refused as a whole, and the settings of before stay in force.** Then the Event `SettingsRefused` on the \
ConfigMap and the condition `SettingsAccepted=False` of every ExitNode name the keys, and \
`postern_operator_settings_refused` is 1. An operator that starts with such a file writes the Event and ends: it has no \
settings of before.

Times are written like `24h`, `90m` or `1h30m`.

| key | type | default | what it is |
|---|---|---|---|
";

#[must_use]
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    rows(&mut page, &schema(), &defaults(), "");
    page
}

/// The keys of a file that no setting has, each with the keys above it.
#[must_use]
pub(super) fn unknown_keys(file: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_unknown(&schema(), file, "", &mut found);
    found.sort();
    found
}

fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let generator = settings.into_generator();
    let mut schema = generator.into_root_schema_for::<SettingsFile>().to_value();
    // Another crate of a build may switch serde_json to insertion order; the page must not depend on it.
    schema.sort_all_objects();
    schema
}

fn collect_unknown(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, inner) in value.as_object().into_iter().flatten() {
        let path = below(path, name);
        match properties.get(name) {
            Some(property) => collect_unknown(property, inner, &path, found),
            None => found.push(path),
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

fn rows(page: &mut String, schema: &Value, defaults: &Value, path: &str) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = below(path, name);
        let has_keys = property["properties"].is_object();
        let default = if has_keys {
            "by key".to_owned()
        } else {
            shown(&defaults[name])
        };
        let what = property["description"].as_str().unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{path}` | {} | {default} | {} |",
            type_of(property),
            what.replace('\n', " ")
        );
        if has_keys {
            rows(page, property, &defaults[name], &path);
        }
    }
}

fn type_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter_map(Value::as_str);
        let quoted: Vec<String> = values.map(|value| format!("`{value}`")).collect();
        return quoted.join(", ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&schema["items"])),
        Some("object") => "keys".to_owned(),
        Some("integer") => "number".to_owned(),
        Some(name) => name.to_owned(),
        None => "any".to_owned(),
    }
}

/// More items than this are counted and not listed.
const ITEMS: usize = 8;

fn shown(default: &Value) -> String {
    match default {
        Value::Array(items) if items.len() > ITEMS => format!("{} items", items.len()),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// What holds where a key is absent, in the form of the file.
fn defaults() -> Value {
    let CompilerSettings {
        pod_ranges,
        node_ranges,
        service_ranges,
        node_ports,
        api_servers,
        dns,
        dns_upstreams,
        encrypted_resolvers,
        tunnels,
        validity,
        refresh,
        envelope_budget,
        ceiling,
        // No namespace has one by default.
        ceilings: _,
        exempt_namespaces,
        gate,
    } = CompilerSettings::default();
    let permission = |permission| match permission {
        Permission::Granted => "Granted",
        Permission::Withheld => "Withheld",
    };
    json!({
        "podRanges": pod_ranges,
        "nodeRanges": node_ranges,
        "serviceRanges": service_ranges,
        "nodePorts": {"start": node_ports.from, "end": node_ports.to},
        "apiServers": api_servers,
        "dns": {"domain": CLUSTER_DOMAIN, "addresses": dns.addresses},
        "dnsUpstreams": dns_upstreams,
        "encryptedResolvers": encrypted_resolvers,
        "tunnels": {
            "ranges": tunnels.ranges,
            "ports": {"start": tunnels.ports.start(), "end": tunnels.ports.end()},
            "mtu": tunnels.mtu,
            "keepaliveSeconds": tunnels.keepalive_seconds,
        },
        "validity": format!("{validity:#}"),
        "refresh": format!("{refresh:#}"),
        "envelopeBudget": envelope_budget,
        "ceiling": {
            "lan": permission(ceiling.lan),
            "specialUse": permission(ceiling.special_use),
            "upstreams": permission(ceiling.upstreams),
            "failOpen": permission(ceiling.fail_open),
            "nodeUplink": permission(ceiling.node_uplink),
            "observe": permission(ceiling.observe),
            "priority": ceiling.priority,
        },
        "namespaceCeilings": {},
        "exemptNamespaces": exempt_namespaces,
        "gate": {"pods": gate.pods, "percent": gate.percent, "window": format!("{:#}", gate.window)},
    })
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::{defaults, markdown, unknown_keys};

    #[test]
    fn the_defaults_of_the_page_are_those_of_an_empty_file_and_every_key_has_one() {
        let written = defaults();
        assert_eq!(unknown_keys(&written), [""; 0]);
        let read = parse(&written.to_string()).expect("settings");
        assert_eq!(read, parse("").expect("settings"));
        assert!(!markdown().contains("`null`"), "{}", markdown());
    }

    #[test]
    fn every_key_of_the_page_says_what_it_is() {
        for line in markdown().lines().filter(|line| line.starts_with("| `")) {
            assert!(!line.ends_with("|  |"), "{line}");
        }
    }
}
