//! Arguments that compile and explain share: what to read, and the cluster's settings.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use postern_compile::snapshot::CompilerSettings;
use postern_intent::{Address, Prefix};

use super::VerbError;
use crate::files::{EarlierRuns, FileInputs, FilesError, Sources};
use crate::keys::read_trust;

/// What to read.
#[derive(Debug, Args)]
pub(super) struct InputArguments {
    /// Manifests: a file, or a folder with YAML and JSON files in any depth.
    #[arg(short = 'f', long, required = true)]
    manifests: Option<PathBuf>,
    #[command(flatten)]
    beside: BesideArguments,
    #[command(flatten)]
    settings: SettingsArguments,
}

/// What to read beside manifests. A verb that asks a cluster where there are none would pass it over, so it needs them.
#[derive(Debug, Args)]
#[group(requires = "manifests")]
struct BesideArguments {
    /// Node reports: a folder with one `<node>.json` for each node.
    #[arg(long)]
    reports: Option<PathBuf>,
    /// Published envelopes: a folder with one `<node>/intent.dsse.json` for each node. What stands in the folder that is
    /// written to counts too.
    #[arg(long)]
    previous: Option<PathBuf>,
    /// Public keys (PEM) whose envelopes count as published, besides the keys that sign.
    #[arg(long)]
    trust: Vec<PathBuf>,
    /// Approvals: a YAML file that `posternctl approve` wrote.
    #[arg(long, value_name = "FILE")]
    approve: Option<PathBuf>,
    /// What the last compile remembered, and where this one remembers if it writes envelopes: a JSON file; default:
    /// `state.json` among the envelopes.
    #[arg(long)]
    state: Option<PathBuf>,
    /// The time that counts as now (RFC 3339); default: the clock.
    #[arg(long)]
    now: Option<Timestamp>,
}

/// The cluster's settings, as [`BesideArguments`].
#[derive(Debug, Args)]
#[group(requires = "manifests")]
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
    /// Where the nodes' addresses lie; what a node claims outside of them counts for nothing. Default: every claim counts.
    #[arg(long, value_delimiter = ',')]
    node_cidrs: Vec<Prefix>,
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
    fn settings(&self) -> CompilerSettings {
        let mut settings = CompilerSettings {
            pod_ranges: self.pod_cidrs.clone(),
            node_ranges: self.node_cidrs.clone(),
            service_ranges: self.service_cidrs.clone(),
            api_servers: self.api_servers.iter().copied().collect(),
            dns_upstreams: self.dns_upstreams.clone(),
            validity: self.validity,
            refresh: self.refresh,
            ..CompilerSettings::default()
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
    /// Reads everything. `out` is the folder that is written to, `keys` are the ones that sign.
    pub(super) fn read(
        &self,
        out: Option<&Path>,
        keys: &[SigningKey],
    ) -> Result<(FileInputs, EarlierRuns), VerbError> {
        let beside = &self.beside;
        let trusted = read_trust(&beside.trust, keys)?;
        if let Some(previous) = &beside.previous {
            std::fs::read_dir(previous).map_err(|source| FilesError::Read {
                path: previous.clone(),
                source,
            })?;
        }
        let state = self.state(out);
        let mut known =
            EarlierRuns::of_folders(beside.previous.as_deref(), out, state.as_deref(), &trusted)?;
        let sources = Sources {
            // The command line is refused without it, except where `explain` asks a cluster.
            manifests: self.manifests.clone().unwrap_or_default(),
            reports: beside.reports.clone(),
            approvals: beside.approve.clone(),
        };
        let now = beside.now.unwrap_or_else(Timestamp::now);
        let inputs = FileInputs::read(&sources, &mut known, self.settings.settings(), keys, now)?;
        Ok((inputs, known))
    }

    /// Whether files are meant.
    pub(super) const fn are_files(&self) -> bool {
        self.manifests.is_some()
    }

    /// Where the state is.
    pub(super) fn state(&self, out: Option<&Path>) -> Option<PathBuf> {
        let beside = out.or(self.beside.previous.as_deref());
        let named = &self.beside.state;
        named
            .clone()
            .or_else(|| beside.map(|folder| folder.join("state.json")))
    }
}
