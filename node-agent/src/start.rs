//! `run`: everything is put together here, and nothing is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use postern_agent::agent::run::Wakers;
use postern_agent::agent::state::{Agent, LastRun, LedgerState};
use postern_agent::agent::{News, RunError, run as run_agent};
use postern_agent::audit::{Audit, AuditError};
use postern_agent::bindings::BindingStore;
use postern_agent::clock::Clock;
use postern_agent::control::server::{self, SocketError};
use postern_agent::courier::{self, Orders, identity};
use postern_agent::files::{self, FileError};
use postern_agent::inbox::Inbox;
use postern_agent::ledger::{Ledger, LedgerError};
use postern_agent::metrics::Metrics;
use postern_agent::options::RunArgs;
use postern_agent::report::ReportWriter;
use postern_agent::resolver::DnsHandle;
use postern_agent::trust::{self, TrustError};
use postern_agent::wireguard_key::{self, KeyFileError};
use postern_host::HostError;
use postern_intent::body::NodeIdentity;
use postern_intent::words::WordError;
use postern_intent::{KeySet, Uid};
use postern_linux::{BackendPreference, LinuxHost, LinuxOptions, PrivateKey};
use postern_plan::Desired;
use postern_telemetry::{Health, LogError};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::sync::mpsc;

/// Why the program ended with an error.
#[derive(Debug, Error)]
pub(crate) enum ProgramError {
    #[error("the log cannot be started")]
    Log(#[source] LogError),
    #[error("a file cannot be kept")]
    File(#[source] FileError),
    #[error("nobody is trusted to sign")]
    Trust(#[source] TrustError),
    #[error("this node has no UID")]
    Node(#[source] WordError),
    #[error("the ledger cannot be used")]
    Ledger(#[source] LedgerError),
    #[error("the tunnel key cannot be used")]
    Key(#[source] KeyFileError),
    #[error("the audit log cannot be kept")]
    Audit(#[source] AuditError),
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error("the kernel cannot be reached")]
    Host(#[source] HostError),
    #[error("the socket cannot be served")]
    Socket(#[source] SocketError),
    #[error("the agent stopped")]
    Run(#[source] RunError),
    #[error("the agent cannot be asked")]
    Ask(#[source] postern_agent::control::client::AskError),
    #[error("the node was not cleaned up")]
    Cleanup(#[source] postern_agent::cleanup::CleanupError),
}

/// Runs the agent until a signal comes.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, ProgramError> {
    postern_telemetry::start_logs().map_err(ProgramError::Log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ProgramError::Runtime)?;
    runtime.block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &RunArgs) -> Result<(), ProgramError> {
    for folder in [&args.state_dir, &args.run_dir] {
        files::private_folder(folder).map_err(ProgramError::File)?;
    }
    let (ledger, found) = Ledger::open(&args.state_dir).map_err(ProgramError::Ledger)?;
    let installed_keys = installed(args, &ledger)?;
    let keys = ledger.keys(&installed_keys).map_err(ProgramError::Ledger)?;
    let key = wireguard_key::load_or_make(&args.state_dir).map_err(ProgramError::Key)?;
    let options = LinuxOptions {
        run_dir: args.run_dir.clone(),
        private_key: PrivateKey::from_bytes(key.private),
        backend: BackendPreference::KernelFirst,
    };
    let host = LinuxHost::new(options.clone())
        .await
        .map_err(ProgramError::Host)?;
    let events = postern_linux::watch().map_err(ProgramError::Host)?;
    let (metrics, registry) = Metrics::registered();
    let health = Health::default();
    serve_metrics(args, health.clone(), registry);
    let (dns, counters) = serve_names(args, options).await?;
    let listener = server::bind(&args.run_dir.join("agent.sock")).map_err(ProgramError::Socket)?;
    let (sender, work) = mpsc::channel(64);
    tokio::spawn(server::serve(listener, sender));
    let uid = node_uid(args).await.map_err(ProgramError::Node)?;
    let news = fetch(args, &uid, &installed_keys, &metrics)?;
    let agent = Agent {
        host,
        node: NodeIdentity {
            name: args.node_name.clone(),
            uid,
        },
        settings: args.settings(),
        plugin: args.plugin,
        repair: args.repair,
        clock: Clock::new(ledger.entries().highest_time),
        ledger,
        installed_keys,
        keys,
        bindings: BindingStore::open(&args.state_dir, &args.run_dir).map_err(ProgramError::File)?,
        inbox: Inbox::new(&args.inbox()),
        key,
        verified: None,
        facts: postern_plan::desired::Facts::default(),
        desired: Arc::new(Desired::default()),
        carried: None,
        learned: postern_plan::diff::learned::Learned::default(),
        owed_cuts: BTreeSet::new(),
        last: LastRun::default(),
        scopes: BTreeMap::new(),
        refusals: std::collections::VecDeque::new(),
        counters,
        waiting: Vec::new(),
        dns,
        audit: Audit::open(args.audit_log.as_deref()).map_err(ProgramError::Audit)?,
        report: ReportWriter::new(&args.report()),
        metrics,
        ledger_lost: LedgerState::Kept,
    };
    let wakers = Wakers {
        work,
        host: crowd(events),
        news,
        health,
        check: Duration::from_secs(args.check_seconds),
    };
    run_agent(agent, found, wakers)
        .await
        .map_err(ProgramError::Run)
}

/// Metrics and health in a task of their own, where an address was given. Without them the node is guarded all the same.
fn serve_metrics(args: &RunArgs, health: Health, registry: Arc<Registry>) {
    let Some(address) = args.metrics_listen else {
        return;
    };
    tokio::spawn(async move {
        if let Err(error) = postern_telemetry::serve(address, health, registry).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "metrics and health are not served"
            );
        }
    });
}

/// The DNS forwarder in tasks of its own. A port that is taken means that names do not resolve, and nothing else: the
/// guard must not wait for it. The report then counts it.
async fn serve_names(
    args: &RunArgs,
    options: LinuxOptions,
) -> Result<(DnsHandle, BTreeMap<String, u64>), ProgramError> {
    let (handle, tables) = DnsHandle::pair();
    let host = LinuxHost::new(options).await.map_err(ProgramError::Host)?;
    let options = postern_agent::dns::Options {
        port: args.dns_port,
        upstreams: args.dns_upstreams.clone(),
    };
    let mut counters = BTreeMap::new();
    if let Err(error) = postern_agent::resolver::start(options, tables, host) {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "names are not served"
        );
        counters.insert("dns_unserved".to_owned(), 1);
    }
    Ok((handle, counters))
}

/// A crowd of events as one: everything that waits is taken together.
fn crowd(events: mpsc::Receiver<postern_linux::Change>) -> impl futures::Stream<Item = ()> + Unpin {
    Box::pin(futures::stream::unfold(events, |mut events| async move {
        let mut some = Vec::new();
        (events.recv_many(&mut some, 1024).await > 0).then_some(((), events))
    }))
    .fuse()
}

/// The keys given at installation. Once the ledger has pinned some, keys that cannot be read are told and no more: the
/// node is to be sealed and to go on.
fn installed(args: &RunArgs, ledger: &Ledger) -> Result<KeySet, ProgramError> {
    let found = match &args.trust.folder {
        Some(folder) => trust::in_folder(folder),
        None => trust::in_files(&args.trust.keys),
    };
    match found {
        Err(error) if ledger.entries().keys.is_some() => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the keys given at installation cannot be used; the pinned ones are"
            );
            Ok(KeySet::default())
        }
        other => other.map_err(ProgramError::Trust),
    }
}

/// Which Node object this is: the command line's word, or the token's.
async fn node_uid(args: &RunArgs) -> Result<Uid, WordError> {
    match (&args.node_uid, args.way()) {
        (None, Some(way)) => identity::at_start(&way, &args.node_name, &args.state_dir).await,
        (given, _) => given.clone().map_or_else(|| "".parse(), Ok),
    }
}

/// Starts the courier where documents come from the API server. Nothing waits for it.
fn fetch(
    args: &RunArgs,
    uid: &Uid,
    installed: &KeySet,
    metrics: &Metrics,
) -> Result<mpsc::Receiver<News>, ProgramError> {
    let (sender, news) = mpsc::channel(4);
    if let Some(way) = args.way() {
        files::private_folder(&args.inbox()).map_err(ProgramError::File)?;
        let orders = Orders {
            way,
            node: args.node_name.clone(),
            inbox: args.inbox(),
            report: args.report(),
            state_dir: args.state_dir.clone(),
            uid: args.node_uid.is_none().then(|| uid.clone()),
            trust_dir: args.trust.folder.clone(),
            installed: installed.clone(),
            numbers: metrics.courier(),
        };
        courier::start(orders, sender);
    }
    Ok(news)
}
