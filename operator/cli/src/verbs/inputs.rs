//! Arguments that compile and explain share: what to read, and the cluster's settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use postern_compile::snapshot::Settings;
use postern_intent::{Address, Body, NodeName, Prefix};

use super::VerbError;
use crate::files::{Inputs, Sources, State, read_envelopes};
use crate::keys::read_trusted_keys;

/// What to read.
#[derive(Debug, Args)]
pub(super) struct InputArguments {
    /// Manifests: a file, or a folder with YAML and JSON files in any depth.
    #[arg(short = 'f', long)]
    manifests: PathBuf,
    /// Node reports: a folder with one `<node>.json` for each node.
    #[arg(long)]
    reports: Option<PathBuf>,
    /// Published envelopes: a folder with one `<node>/intent.dsse.json` for each node.
    #[arg(long, requires = "trust")]
    previous: Option<PathBuf>,
    /// Public keys (PEM) whose envelopes count as published.
    #[arg(long)]
    trust: Vec<PathBuf>,
    /// Approvals: a YAML file that `posternctl approve` wrote.
    #[arg(long, value_name = "FILE")]
    approve: Option<PathBuf>,
    /// What the last compile remembered, and where this one remembers: a JSON file.
    #[arg(long)]
    pub(super) state: Option<PathBuf>,
    /// The time that counts as now (RFC 3339); default: the clock.
    #[arg(long)]
    now: Option<Timestamp>,
    #[command(flatten)]
    settings: SettingsArguments,
}

/// The cluster's settings.
#[derive(Debug, Args)]
struct SettingsArguments {
    /// How long an intent is in force.
    #[arg(long, default_value = "24h")]
    validity: SignedDuration,
    /// After what time an unchanged intent is issued again.
    #[arg(long, default_value = "1h")]
    refresh: SignedDuration,
    /// Pod ranges besides those of the nodes.
    #[arg(long, value_delimiter = ',')]
    pod_cidrs: Vec<Prefix>,
    /// Service ranges.
    #[arg(long, value_delimiter = ',')]
    service_cidrs: Vec<Prefix>,
    /// Where tunnel addresses are taken from, one range of each family.
    #[arg(long, value_delimiter = ',')]
    tunnel_cidrs: Vec<Prefix>,
    /// API server endpoints, address and port.
    #[arg(long, value_delimiter = ',')]
    api_servers: Vec<SocketAddr>,
    /// The cluster domain.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Addresses of the cluster's resolver.
    #[arg(long, value_delimiter = ',')]
    cluster_dns: Vec<Address>,
    /// Resolvers that are asked through the exit where a policy names none.
    #[arg(long, value_delimiter = ',')]
    dns_upstreams: Vec<SocketAddr>,
}

impl SettingsArguments {
    fn settings(&self) -> Settings {
        let mut settings = Settings {
            pod_ranges: self.pod_cidrs.clone(),
            service_ranges: self.service_cidrs.clone(),
            api_servers: self.api_servers.iter().copied().collect(),
            dns_upstreams: self.dns_upstreams.clone(),
            validity: self.validity,
            refresh: self.refresh,
            ..Settings::default()
        };
        settings.dns.domain.clone_from(&self.cluster_domain);
        settings.dns.addresses.clone_from(&self.cluster_dns);
        if !self.tunnel_cidrs.is_empty() {
            settings.tunnels.ranges.clone_from(&self.tunnel_cidrs);
        }
        settings
    }
}

impl InputArguments {
    /// Reads everything.
    pub(super) fn read(&self) -> Result<(Inputs, State), VerbError> {
        let mut state = self
            .state
            .as_deref()
            .map(State::read)
            .transpose()?
            .unwrap_or_default();
        let trusted = read_trusted_keys(&self.trust)?;
        let previous: BTreeMap<NodeName, Body> = match &self.previous {
            Some(folder) => {
                let published = read_envelopes(folder, &trusted)?;
                published
                    .into_iter()
                    .map(|(node, published)| (node, published.body))
                    .collect()
            }
            None => BTreeMap::new(),
        };
        let sources = Sources {
            manifests: self.manifests.clone(),
            reports: self.reports.clone(),
            approvals: self.approve.clone(),
        };
        let now = self.now.unwrap_or_else(Timestamp::now);
        let inputs = Inputs::read(
            &sources,
            &mut state,
            previous,
            self.settings.settings(),
            now,
        )?;
        Ok((inputs, state))
    }
}
