//! The command line of `postern-agent`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use postern_apiserver::Endpoint;
use postern_control::dns_check::BOUND;
use postern_intent::{Address, NodeName, Prefix, Uid};
use postern_plan::settings::{DNS_PORT, MARK_MASK, NodeSettings, SecondLock};
use postern_telemetry::ScrapeArguments;

mod packet;

pub use packet::PacketArgs;

/// The node agent of Postern.
#[derive(Debug, Parser)]
#[command(name = "postern-agent", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Enforce intents on this node until stopped. Stopping opens nothing.
    Run(Box<RunArgs>),
    /// What the agent on this node says of itself.
    Status(AskArgs),
    /// What this node can and cannot do, before anything is asked of it.
    Preflight(PreflightArgs),
    /// Release this node: every pod may leave by the node's uplink. Root only; written to the ledger first.
    Release(ReleaseArgs),
    /// End a release by root: the next intent is applied again.
    Claim(AskArgs),
    /// Say as root that the wall clock is right: times ahead of it that the ledger remembers are forgotten. For a node that
    /// refuses every intent as expired after its clock was wrong.
    TrustClock(ReleaseArgs),
    /// Trust the keys that are installed here in place of the pinned ones, as after the loss of the operator's signing key.
    /// Root only; written to the ledger first.
    TrustKeys(ReleaseArgs),
    /// What becomes of the first packet of a connection of a pod on this node, by what is in force, and which name granted its
    /// address. Exit code 0 where it is let through, 3 where it is not or that is not known.
    Explain(ExplainArgs),
    /// Measure what the DNS forwarder adds to the time of its resolvers, for one pod: the same names in turn by the forwarder
    /// and of the resolvers directly, by the same exit. Root only. Exit code 0 where the bound holds, 3 where it does not.
    DnsCheck(DnsCheckArgs),
    /// Remove everything of ours from this node. Refuses without a release: in the ledger, or given here by root.
    Cleanup(CleanupArgs),
}

/// How output is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables for eyes.
    Text,
    /// JSON for programs.
    Json,
}

/// Where the agent's socket is.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The agent's run folder.
    #[arg(long, default_value = "/run/postern")]
    pub run_dir: PathBuf,
    /// How output is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// A packet that is explained.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub packet: PacketArgs,
    #[command(flatten)]
    pub ask: AskArgs,
}

/// A measurement of the DNS forwarder.
#[derive(Debug, Args)]
pub struct DnsCheckArgs {
    /// An address of the pod.
    #[arg(long, value_name = "ADDRESS")]
    pub pod: IpAddr,
    /// How often each name is asked by each way, within 20 s.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// What the forwarder may add to the 99th percentile, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = BOUND)]
    pub bound: u64,
    /// Names that the policy of the pod allows.
    #[arg(required = true)]
    pub names: Vec<String>,
    #[command(flatten)]
    pub ask: AskArgs,
}

/// Preflight: settings that matter to it.
#[derive(Debug, Args)]
pub struct PreflightArgs {
    /// Interface names or patterns behind which pods are.
    #[arg(long, value_delimiter = ',', default_values = postern_plan::settings::POD_LINKS)]
    pub pod_links: Vec<String>,
    /// Our bits of the firewall mark.
    #[arg(long, value_parser = parse_mask, default_value_t = MARK_MASK)]
    pub mark_mask: u32,
    /// How output is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// Release by root.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// Where the agent's socket is.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Why; it is written to the ledger and the audit log.
    #[arg(long)]
    pub reason: String,
}

/// Cleanup.
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// The agent's run folder.
    #[arg(long, default_value = "/run/postern")]
    pub run_dir: PathBuf,
    /// The folder of ledger, bindings and keys.
    #[arg(long, default_value = "/var/lib/postern")]
    pub state_dir: PathBuf,
    /// Release the node first, as root, where nobody did and no agent is left to be asked.
    #[arg(long, requires = "reason")]
    pub release: bool,
    /// Why it is released; it is written to the ledger.
    #[arg(long, requires = "release")]
    pub reason: Option<String>,
}

/// Is the CNI plugin installed on this node?
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Plugin {
    /// It is: bindings are known before a pod's first instruction.
    Expected,
    /// It is not: addresses come from the intent.
    None,
}

/// Which lock is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lock {
    /// The XFRM lock is kept.
    On,
    /// It is not touched, as where IPsec is in use.
    Off,
}

/// Everything that `run` needs.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where documents come from and reports go.
    #[command(flatten)]
    pub source: ExchangeOptions,
    /// This node's name.
    #[arg(long)]
    pub node_name: NodeName,
    /// This node object's UID; with --kubernetes the token says it.
    #[arg(long, required_unless_present = "kubernetes")]
    pub node_uid: Option<Uid>,
    /// Who may sign, until the first good document pins it.
    #[command(flatten)]
    pub trust: TrustOptions,
    /// Folder of ledger, bindings and keys.
    #[arg(long, default_value = "/var/lib/postern")]
    pub state_dir: PathBuf,
    /// Folder of the socket and of what the tunnel process needs.
    #[arg(long, default_value = "/run/postern")]
    pub run_dir: PathBuf,
    /// Pod ranges of the cluster.
    #[arg(long, value_delimiter = ',')]
    pub pod_cidrs: Vec<Prefix>,
    /// Pod ranges of this node.
    #[arg(long, value_delimiter = ',')]
    pub local_pod_cidrs: Vec<Prefix>,
    /// Service ranges.
    #[arg(long, value_delimiter = ',')]
    pub service_cidrs: Vec<Prefix>,
    /// Node addresses or ranges.
    #[arg(long, value_delimiter = ',')]
    pub node_cidrs: Vec<Prefix>,
    /// This node's own addresses.
    #[arg(long, value_delimiter = ',')]
    pub own_addresses: Vec<Address>,
    /// Interface names, or patterns with a trailing `*`, behind which pods are.
    #[arg(long, value_delimiter = ',', default_values = postern_plan::settings::POD_LINKS)]
    pub pod_links: Vec<String>,
    /// Resolvers asked where neither policy nor question names one.
    #[arg(long, value_delimiter = ',')]
    pub dns_upstreams: Vec<SocketAddr>,
    /// The node's own resolvers (resolv.conf(5)), asked where nothing else names one: through an exit those with public addresses,
    /// which a gateway elsewhere can reach, and by the node's uplink all that are not on the node itself.
    #[arg(long, default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
    /// Our bits of the firewall mark.
    #[arg(long, value_parser = parse_mask, default_value_t = MARK_MASK)]
    pub mark_mask: u32,
    /// Port of the DNS forwarder.
    #[arg(long, default_value_t = DNS_PORT)]
    pub dns_port: u16,
    /// Whether the XFRM lock is kept.
    #[arg(long, value_enum, default_value = "on")]
    pub second_lock: Lock,
    /// Whether the CNI plugin is installed.
    #[arg(long, value_enum, default_value = "expected")]
    pub plugin: Plugin,
    /// File of the state transition audit log.
    #[arg(long)]
    pub audit_log: Option<PathBuf>,
    /// Address that metrics and health are served on.
    #[arg(long)]
    pub metrics_listen: Option<SocketAddr>,
    /// Metrics for a Prometheus of the cluster.
    #[command(flatten)]
    pub scrape: ScrapeArguments,
    /// Collector of OpenTelemetry that gets the decisions of policies with `audit`, besides the log: OTLP over gRPC without
    /// TLS, from the node's own network, for example http://192.0.2.1:4317; none: nothing is sent.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// Seconds between two readings of the kernel when nothing happens.
    #[arg(long, default_value_t = 3)]
    pub check_seconds: u64,
    /// Repair what somebody else changed. Off only in tests that take blocks away to see what the others hold.
    #[arg(long, value_enum, default_value = "on", hide = true)]
    pub repair: Repair,
}

/// Where documents come from and reports go: the API server, or files.
#[derive(Debug, Args)]
pub struct ExchangeOptions {
    /// Take documents from the API server and report to it.
    #[arg(long, conflicts_with_all = ["intents", "report"])]
    pub kubernetes: bool,
    /// How the API server is reached; without it, by the pod's own environment and token.
    #[arg(long, requires = "kubernetes", conflicts_with_all = ["intents", "report"])]
    pub kubeconfig: Option<PathBuf>,
    /// Folder of this node's documents.
    #[arg(long, required_unless_present = "kubernetes")]
    pub intents: Option<PathBuf>,
    /// File that the NodeReport is written to.
    #[arg(long, required_unless_present = "kubernetes")]
    pub report: Option<PathBuf>,
}

/// Public keys given at installation. What the ledger has pinned counts more.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TrustOptions {
    /// PEM of a public key that may sign; may be given more than once.
    #[arg(long = "trust-key")]
    pub keys: Vec<PathBuf>,
    /// Folder of such keys: every *.pem in it.
    #[arg(long = "trust-dir")]
    pub folder: Option<PathBuf>,
}

/// Whether drift is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Repair {
    /// Always, outside of tests.
    On,
    /// Differences are seen and reported, and left.
    Off,
}

fn parse_mask(text: &str) -> Result<u32, String> {
    let digits = text
        .strip_prefix("0x")
        .map_or_else(|| text.parse(), |hex| u32::from_str_radix(hex, 16));
    let mask: u32 = digits.map_err(|error| error.to_string())?;
    let shifted = mask.checked_shr(mask.trailing_zeros()).unwrap_or(0);
    if shifted == 0b111 {
        Ok(mask)
    } else {
        Err("the mask must be three bits side by side, such as 0x70".to_owned())
    }
}

impl RunArgs {
    /// The folder of documents; with --kubernetes it has a copy of what the API server has.
    #[must_use]
    pub fn inbox(&self) -> PathBuf {
        let ours = || self.run_dir.join("inbox");
        self.source.intents.clone().unwrap_or_else(ours)
    }

    /// The file of the report; with --kubernetes the report is applied to the API server besides.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        let ours = || self.run_dir.join("report.json");
        self.source.report.clone().unwrap_or_else(ours)
    }

    /// The way to the API server, if that is where documents come from.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        let kubeconfig = self.source.kubeconfig.clone();
        self.source
            .kubernetes
            .then(|| Endpoint::of_node(kubeconfig))
    }

    /// The collector's address. A variable that is there and empty names none, as OpenTelemetry has it.
    #[must_use]
    pub fn collector(&self) -> Option<&str> {
        let address = self.otlp_endpoint.as_deref();
        address.filter(|address| !address.is_empty())
    }

    /// The node's own settings.
    #[must_use]
    pub fn settings(&self) -> NodeSettings {
        NodeSettings {
            pod_ranges: self.pod_cidrs.clone(),
            local_pod_ranges: self.local_pod_cidrs.clone(),
            service_ranges: self.service_cidrs.clone(),
            node_ranges: self.node_cidrs.clone(),
            own_addresses: self.own_addresses.iter().copied().collect(),
            pod_links: self.pod_links.clone(),
            mark_mask: self.mark_mask,
            dns_port: self.dns_port,
            second_lock: match self.second_lock {
                Lock::On => SecondLock::On,
                Lock::Off => SecondLock::Off,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<RunArgs, clap::Error> {
        let words = ["postern-agent", "run", "--node-name=n1"]
            .into_iter()
            .chain(words.split_whitespace());
        match Cli::try_parse_from(words)?.verb {
            Verb::Run(args) => Ok(*args),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn documents_come_from_the_api_server_or_from_files_and_never_from_both_or_neither() {
        for good in [
            "--intents=/i --report=/r --node-uid=u --trust-key=/k",
            "--intents=/i --report=/r --node-uid=u --trust-dir=/t",
            "--kubernetes --trust-dir=/t",
            "--kubernetes --kubeconfig=/c --node-uid=u --trust-key=/k --trust-key=/l",
        ] {
            assert!(parsed(good).is_ok(), "{good}: {:?}", parsed(good).err());
        }
        for bad in [
            "--node-uid=u --trust-key=/k",
            "--intents=/i --node-uid=u --trust-key=/k",
            "--report=/r --node-uid=u --trust-key=/k",
            "--intents=/i --report=/r --trust-key=/k",
            "--kubernetes --intents=/i --trust-key=/k",
            "--kubernetes --report=/r --trust-key=/k",
            "--kubernetes",
            "--kubernetes --trust-key=/k --trust-dir=/t",
            "--intents=/i --report=/r --node-uid=u --trust-key=/k --kubeconfig=/c",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn with_the_api_server_inbox_and_report_are_in_the_run_folder() {
        let args = parsed("--kubernetes --run-dir=/r --trust-dir=/t").unwrap();
        assert_eq!(args.inbox(), PathBuf::from("/r/inbox"));
        assert_eq!(args.report(), PathBuf::from("/r/report.json"));
        assert_eq!(args.endpoint(), Some(Endpoint::of_node(None)));
        let words = "--intents=/i --report=/o --node-uid=u --trust-key=/k";
        let args = parsed(words).unwrap();
        assert_eq!((args.inbox(), args.endpoint()), (PathBuf::from("/i"), None));
    }

    #[test]
    fn decisions_are_sent_to_nobody_unless_a_collector_is_named() {
        let collector = |words: &str| {
            let args = parsed(&format!("--kubernetes --trust-dir=/t {words}")).unwrap();
            args.collector().map(ToOwned::to_owned)
        };
        assert_eq!(collector(""), None);
        assert_eq!(collector("--otlp-endpoint="), None);
        let named = collector("--otlp-endpoint=http://192.0.2.1:4317");
        assert_eq!(named.as_deref(), Some("http://192.0.2.1:4317"));
    }
}
