//! The file: every field of [`CompilerSettings`] in camelCase, each with its default, unknown fields refused.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use postern_compile::snapshot::{
    Ceiling, CompilerSettings, GateSettings, Permission, TunnelSettings,
};
use postern_intent::body::{ClusterDns, EncryptedResolvers, PortSpan};
use serde_json::Value;
use thiserror::Error;

use super::reference::unknown_keys;
use super::written::{
    CLUSTER_DOMAIN, SettingsFile, WrittenCeiling, WrittenPermission, WrittenTunnels,
};

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("settings file {path:?} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It is not what settings look like.
    #[error("the settings are not understood")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// It has keys that no version so far knows, or that only a newer one does.
    #[error("unknown keys: {}; docs/settings.md lists those that this version knows", keys.join(", "))]
    Unknown {
        /// With the keys that they stand under, as `tunnels.mtu`.
        keys: Vec<String>,
    },
    /// A value cannot be honoured.
    #[error("settings: {field}: {problem}")]
    Value {
        field: &'static str,
        /// What is wrong, and what to write instead.
        problem: &'static str,
    },
}

impl SettingsError {
    pub(super) fn unreadable(path: &Path, source: &std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source: source.kind().into(),
        }
    }
}

/// Reads a settings file.
///
/// # Errors
/// [`SettingsError`].
pub fn read(path: &Path) -> Result<CompilerSettings, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text)
}

/// Parses settings; an empty text means the defaults.
///
/// # Errors
/// [`SettingsError::Yaml`], [`SettingsError::Unknown`] or [`SettingsError::Value`].
pub fn parse(text: &str) -> Result<CompilerSettings, SettingsError> {
    let nothing = text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    let written: SettingsFile = if nothing {
        SettingsFile::default()
    } else {
        let yaml = |source| SettingsError::Yaml(Box::new(source));
        let value: Value = serde_saphyr::from_str(text).map_err(yaml)?;
        // All of them at once and with the whole path; serde names the first one, without the keys above it.
        let keys = unknown_keys(&value);
        if !keys.is_empty() {
            return Err(SettingsError::Unknown { keys });
        }
        serde_saphyr::from_str(text).map_err(yaml)?
    };
    let settings = settings(written);
    check(&settings)?;
    Ok(settings)
}

fn settings(written: SettingsFile) -> CompilerSettings {
    // Taken apart by name: a field of the compiler's settings that this file does not know would not compile.
    let default = CompilerSettings::default();
    let general = ceiling(&written.ceiling, &default.ceiling);
    let ceilings = written.namespace_ceilings.iter();
    let ceilings = ceilings.map(|(namespace, own)| (namespace.clone(), ceiling(own, &general)));
    CompilerSettings {
        ceilings: ceilings.collect(),
        pod_ranges: written.pod_ranges,
        node_ranges: written.node_ranges,
        service_ranges: written.service_ranges,
        node_ports: written
            .node_ports
            .map_or(default.node_ports, |ports| PortSpan {
                from: ports.start,
                to: ports.end,
            }),
        api_servers: written.api_servers,
        dns: ClusterDns {
            domain: written
                .dns
                .domain
                .unwrap_or_else(|| CLUSTER_DOMAIN.to_owned()),
            addresses: written.dns.addresses,
        },
        dns_upstreams: written.dns_upstreams,
        encrypted_resolvers: written.encrypted_resolvers.map_or(
            default.encrypted_resolvers,
            |resolvers| EncryptedResolvers {
                names: resolvers.names,
                addresses: resolvers.addresses,
            },
        ),
        tunnels: tunnels(written.tunnels, default.tunnels),
        validity: written.validity.unwrap_or(default.validity),
        refresh: written.refresh.unwrap_or(default.refresh),
        envelope_budget: written.envelope_budget.unwrap_or(default.envelope_budget),
        ceiling: general,
        exempt_namespaces: default
            .exempt_namespaces
            .into_iter()
            .chain(written.exempt_namespaces)
            .collect(),
        gate: GateSettings {
            pods: written.gate.pods.unwrap_or(default.gate.pods),
            percent: written.gate.percent.unwrap_or(default.gate.percent),
            window: written.gate.window.unwrap_or(default.gate.window),
        },
    }
}

fn tunnels(written: WrittenTunnels, default: TunnelSettings) -> TunnelSettings {
    TunnelSettings {
        ranges: written.ranges.unwrap_or(default.ranges),
        ports: written
            .ports
            .map_or(default.ports, |ports| ports.start..=ports.end),
        mtu: written.mtu.unwrap_or(default.mtu),
        keepalive_seconds: written
            .keepalive_seconds
            .unwrap_or(default.keepalive_seconds),
    }
}

fn ceiling(written: &WrittenCeiling, default: &Ceiling) -> Ceiling {
    let permission = |written: Option<WrittenPermission>, default| match written {
        Some(WrittenPermission::Granted) => Permission::Granted,
        Some(WrittenPermission::Withheld) => Permission::Withheld,
        None => default,
    };
    Ceiling {
        lan: permission(written.lan, default.lan),
        special_use: permission(written.special_use, default.special_use),
        upstreams: permission(written.upstreams, default.upstreams),
        fail_open: permission(written.fail_open, default.fail_open),
        node_uplink: permission(written.node_uplink, default.node_uplink),
        observe: permission(written.observe, default.observe),
        priority: written.priority.unwrap_or(default.priority),
    }
}

fn check(settings: &CompilerSettings) -> Result<(), SettingsError> {
    let refuse = |field, problem| Err(SettingsError::Value { field, problem });
    if settings.validity <= SignedDuration::ZERO {
        return refuse("validity", "write a time above zero, for example 24h");
    }
    if settings.refresh <= SignedDuration::ZERO || settings.refresh >= settings.validity {
        return refuse(
            "refresh",
            "write a time above zero and below validity, for example 1h",
        );
    }
    if settings.node_ports.from == 0 || settings.node_ports.from > settings.node_ports.to {
        return refuse(
            "nodePorts",
            "write the API server's --service-node-port-range, for example start: 30000, end: 32767",
        );
    }
    if settings.tunnels.ports.is_empty() {
        return refuse("tunnels.ports", "start must not be above end");
    }
    if settings.envelope_budget > postern_crds::node_intent::PAYLOAD_LIMIT {
        return refuse(
            "envelopeBudget",
            "the API server takes no payload above 716800 bytes",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use postern_compile::snapshot::{CompilerSettings, Permission};

    use super::parse;

    #[test]
    fn an_empty_file_means_the_defaults_and_the_usual_domain() {
        let mut expected = CompilerSettings::default();
        expected.dns.domain = "cluster.local".to_owned();
        for text in ["", "# nothing\n", "{}"] {
            assert_eq!(parse(text).expect("settings"), expected, "{text:?}");
        }
    }

    #[test]
    fn every_field_can_be_written() {
        let text = "
podRanges: [10.1.0.0/16]
nodeRanges: [192.0.2.0/24]
serviceRanges: [10.96.0.0/12]
apiServers: ['192.0.2.1:6443']
dns: {domain: example.org, addresses: [10.96.0.10]}
dnsUpstreams: ['192.0.2.53:53']
encryptedResolvers: {names: ['*.doh.example'], addresses: [192.0.2.44]}
tunnels: {ranges: [198.18.0.0/16], ports: {start: 1, end: 2}, mtu: 1400, keepaliveSeconds: 5}
validity: 2h
refresh: 10m
envelopeBudget: 1000
ceiling: {lan: Withheld, specialUse: Withheld, upstreams: Withheld, failOpen: Withheld, nodeUplink: Withheld, observe: Withheld, priority: 7}
namespaceCeilings: {crawlers: {priority: 9, lan: Granted}}
exemptNamespaces: [infra]
gate: {pods: 1, percent: 2, window: 3m}
";
        let read = parse(text).expect("settings");
        let default = CompilerSettings::default();
        assert_ne!(read.tunnels, default.tunnels);
        assert_ne!(read.ceiling, default.ceiling);
        assert_ne!(read.gate, default.gate);
        let own = read.ceiling_of(&"crawlers".parse().expect("a namespace"));
        let general = &read.ceiling;
        assert_eq!((own.priority, own.lan), (9, Permission::Granted));
        assert_eq!(own.observe, Permission::Withheld, "as for all others");
        assert_eq!(
            read.ceiling_of(&"office".parse().expect("a namespace")),
            general
        );
        assert_eq!(
            read.exempt_namespaces.len(),
            default.exempt_namespaces.len() + 1
        );
        assert_eq!((read.pod_ranges.len(), read.node_ranges.len()), (1, 1));
        let resolvers = &read.encrypted_resolvers;
        assert_eq!((resolvers.names.len(), resolvers.addresses.len()), (1, 1));
        assert_eq!(read.tunnels.ports, 1..=2);
        assert_eq!(
            (read.validity.as_secs(), read.refresh.as_secs()),
            (7200, 600)
        );
        assert_eq!(read.api_servers.len() + read.dns_upstreams.len(), 2);
        assert_eq!((read.envelope_budget, read.gate.pods), (1000, 1));
    }

    #[test]
    fn unknown_keys_are_refused_and_all_of_them_are_named_with_their_path() {
        let refused = parse("expiry: 2h\nvalidity: 2h\ntunnels: {port: 3, mtu: 1400}").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "unknown keys: expiry, tunnels.port; docs/settings.md lists those that this version knows"
        );
    }

    #[test]
    fn a_refresh_that_comes_after_the_end_is_refused() {
        assert!(parse("validity: 1h\nrefresh: 1h").is_err());
    }
}
