//! `run` makes the parts of the agent and connects them.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use postern_agent::agent::run::Wakers;
use postern_agent::agent::sessions::ExternalSessions;
use postern_agent::agent::state::{
    Agent, AgentOptions, AgentOutput, DocumentState, DurableState, ExitWatch, KernelState,
    LedgerState, StartDamage, note_damage,
};
use postern_agent::agent::{NodeUpdate, RunError, run as run_agent, watch_sockets};
use postern_agent::apiserver::identity;
use postern_agent::audit::AuditTrail;
use postern_agent::bindings::BindingStore;
use postern_agent::clock::Clock;
use postern_agent::control::server::{self, Work};
use postern_agent::endpoints::{self, EndpointHandle};
use postern_agent::files;
use postern_agent::inbox::Inbox;
use postern_agent::ledger::Ledger;
use postern_agent::limits::watch_limits;
use postern_agent::metrics::AgentMetrics;
use postern_agent::options::RunArgs;
use postern_agent::preflight;
use postern_agent::probe::{self, ProbeHandle};
use postern_agent::report::ReportPublisher;
use postern_agent::trust;
use postern_agent::wireguard_key::{self, NodeKey, WireGuardKeyError};
use postern_crds::conditions::{ConditionType, Reason};
use postern_intent::body::NodeIdentity;
use postern_intent::newtypes::NewtypeError;
use postern_intent::possession::KeyPurpose;
use postern_intent::{TrustedKeys, Uid};
use postern_linux::{BackendPreference, LinuxHost, LinuxOptions, PrivateKey};
use postern_plan::desired::HostFacts;
use postern_plan::settings::NodeSettings;
use postern_telemetry::{Health, LogError, chain};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::channels::{ChannelInputs, LoopChannels};
use self::kernel_tasks::{crowd, keep_egress, keep_records, kernel_events, watch_uplinks};
use self::names::{own_resolvers, serve_names};

mod channels;
mod export;
mod kernel_tasks;
mod names;
#[cfg(test)]
mod tests;

/// Why the program ended with an error.
#[derive(Debug, Error)]
pub(crate) enum AgentError {
    #[error("the log cannot be started")]
    Log(#[source] LogError),
    #[error("this node has no UID")]
    Node(#[source] NewtypeError),
    #[error("the tunnel key cannot be used")]
    Key(#[source] WireGuardKeyError),
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error("the agent stopped")]
    Run(#[source] RunError),
    #[error("the agent cannot be asked")]
    Ask(#[source] postern_control::ControlError),
    #[error("the node was not cleaned up")]
    Cleanup(#[source] postern_agent::cleanup::CleanupError),
    #[error("the egress addresses were not removed")]
    Egress(#[source] postern_host::HostError),
}

/// How long a node that was away waits for the API server before it goes on with its ledger.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How long a stopped agent waits for the file of its last report and for a collector.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long it waits then for what cannot be cut off, such as the look-up of a name.
const LOOK_UP: Duration = Duration::from_secs(1);

/// Runs the agent until a signal comes.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, AgentError> {
    postern_telemetry::start_logs().map_err(AgentError::Log)?;
    // Keys are in memory, and a core file is on a disk.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "a crash of the agent may write a core file");
    }
    let names = runtime("names")?;
    let runtime = runtime("agent")?;
    let ended = runtime.block_on(serve(args, names.handle()));
    runtime.shutdown_timeout(LOOK_UP);
    names.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Two runtimes, so that no question of a pod waits while the agent reads and plans, which takes seconds with ten thousand policies. A
/// new address still waits while the agent changes the tables (`GrantBook`).
fn runtime(name: &str) -> Result<Runtime, AgentError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(AgentError::Runtime)
}

async fn serve(args: &RunArgs, names_runtime: &Handle) -> Result<(), AgentError> {
    let mut damages = make_folders(args);
    let (ledger, found) = Ledger::open(&args.state_dir);
    let NodeFiles {
        installed_keys,
        keys,
        key,
        credentials_key,
        bindings,
        audit,
    } = open_files(args, &ledger, &mut damages)?;
    let clock = Clock::new(ledger.entries().highest_time);
    let options = linux_options(args, &key);
    let place = (names_runtime, LinuxHost::new(options.clone()));
    // Two lists at a time over one connection are refused by the kernel (`EBUSY`), so that the task of the uplinks has its own.
    let uplinks = watch_uplinks(LinuxHost::new(options.clone()), args, &mut damages);
    let host = LinuxHost::new(options.clone());
    let events = kernel_events(&mut damages);
    let (metrics, registry) = AgentMetrics::registered();
    let health = serve_metrics(args, registry);
    let resolvers = own_resolvers(args);
    let (sender, updates) = mpsc::channel(4);
    let (records, names, export) = keep_records(args, &metrics, sender.clone(), &mut damages);
    let (dns, counters) = serve_names(args, place, &resolvers, &metrics, names);
    tokio::spawn(watch_limits(host.clone(), dns.plans(), metrics.clone()));
    let work = serve_socket(args, &mut damages);
    let uid = node_uid(args).await.map_err(AgentError::Node)?;
    watch_preflight(host.clone(), args.settings(), sender.clone());
    watch_tunnels(args, sender.clone());
    let endpoints = resolve_endpoints(sender.clone());
    let inputs = ChannelInputs {
        uid: &uid,
        installed: &installed_keys,
        metrics: metrics.apiserver(),
        updates: sender,
    };
    let channels = LoopChannels::start(args, inputs, &mut damages);
    let egress = keep_egress(options, clock.clone(), channels.confirmations, &mut damages);
    let (probes, plan) = ProbeHandle::pair();
    let agent = Agent {
        host,
        options: agent_options(args, uid),
        clock,
        documents: DocumentState::new(installed_keys, keys, Inbox::new(channels.documents)),
        memory: memory(ledger, bindings, key, credentials_key),
        kernel: first_kernel(),
        exits: ExitWatch::new(probes),
        sessions: ExternalSessions::new(endpoints),
        uplinks,
        egress,
        waiting: Vec::new(),
        dns,
        output: AgentOutput {
            audit,
            report: ReportPublisher::new(channels.reports),
            metrics,
            counters,
            damages,
            preflight: None,
            records,
        },
    };
    let wakers = Wakers {
        uplinks: agent.uplinks.changes(),
        egress: agent.egress.changes(),
        probes: probe::start(plan, resolvers.by_exit, agent.dns.circuits.clone()),
        first_look: args.endpoint().map_or(Duration::ZERO, |_| FIRST_LOOK),
        work,
        host: crowd(events, |_| true),
        updates,
        health,
        check: Duration::from_secs(args.check_seconds),
    };
    let ended = run_agent(agent, found, wakers).await;
    wait_for_last_words(channels.report_file, export).await;
    ended.map_err(AgentError::Run)
}

/// The agent is gone and with it the channels, so that the tasks end once the last report is in its file and the last records are with
/// the collector.
async fn wait_for_last_words(report_file: JoinHandle<()>, export: Option<JoinHandle<()>>) {
    let last = futures::future::join(report_file, OptionFuture::from(export));
    drop(tokio::time::timeout(LAST_WORDS, last).await);
}

fn linux_options(args: &RunArgs, key: &NodeKey) -> LinuxOptions {
    LinuxOptions {
        run_dir: args.run_dir.clone(),
        private_key: PrivateKey::from_bytes(key.private),
        backend: BackendPreference::KernelFirst,
    }
}

const fn memory(
    ledger: Ledger,
    bindings: BindingStore,
    key: NodeKey,
    credentials_key: NodeKey,
) -> DurableState {
    DurableState {
        ledger,
        ledger_lost: LedgerState::Kept,
        bindings,
        key,
        credentials_key,
    }
}

fn agent_options(args: &RunArgs, uid: Uid) -> AgentOptions {
    AgentOptions {
        node: NodeIdentity {
            name: args.node_name.clone(),
            uid,
        },
        settings: args.settings(),
        plugin: args.plugin,
        repair: args.repair,
    }
}

/// No address is known to be the node's own before the first reading.
fn first_kernel() -> KernelState {
    KernelState {
        facts: HostFacts {
            addresses: Some(BTreeSet::new()),
            ..HostFacts::default()
        },
        ..KernelState::default()
    }
}

fn make_folders(args: &RunArgs) -> Vec<StartDamage> {
    let mut damages = Vec::new();
    for folder in [&args.state_dir, &args.run_dir] {
        if let Err(error) = files::private_folder(folder) {
            let (kind, reason) = (ConditionType::Programmed, Reason::NotDurable);
            damages.push(note_damage(kind, reason, &error));
        }
    }
    damages
}

/// Metrics and health in a task of their own, where an address was given. Without them the node is guarded all the same.
fn serve_metrics(args: &RunArgs, registry: Arc<Registry>) -> Health {
    let health = Health::default();
    tokio::spawn(postern_telemetry::serve_scrapes(
        args.scrape,
        Arc::clone(&registry),
    ));
    let Some(address) = args.metrics_listen else {
        return health;
    };
    let served = health.clone();
    tokio::spawn(async move {
        let serving = async {
            let listener = postern_telemetry::listen(&[address]).await?;
            postern_telemetry::serve(listener, served, registry).await
        };
        if let Err(error) = serving.await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "metrics and health are not served"
            );
        }
    });
    health
}

/// Files of the node that the guard does not need.
struct NodeFiles {
    installed_keys: TrustedKeys,
    keys: TrustedKeys,
    key: NodeKey,
    credentials_key: NodeKey,
    bindings: BindingStore,
    audit: AuditTrail,
}

/// Opens everything but the ledger. None of it may keep the node from being sealed: a part that cannot be used becomes a
/// condition, and the agent runs without it.
fn open_files(
    args: &RunArgs,
    ledger: &Ledger,
    damages: &mut Vec<StartDamage>,
) -> Result<NodeFiles, AgentError> {
    let installed_keys = installed(args, ledger, damages);
    let keys = ledger.keys(&installed_keys).unwrap_or_else(|error| {
        damages.push(note_damage(
            ConditionType::Accepted,
            Reason::BadKeySet,
            &error,
        ));
        TrustedKeys::default()
    });
    let programmed = ConditionType::Programmed;
    let mut key_for = |purpose, reason| {
        let (key, damaged) =
            wireguard_key::load_or_make(&args.state_dir, purpose).map_err(AgentError::Key)?;
        damages.extend(damaged.map(|error| note_damage(programmed, reason, &error)));
        Ok(key)
    };
    let key = key_for(KeyPurpose::WireGuard, Reason::NoPeerKey)?;
    let credentials_key = key_for(KeyPurpose::Credentials, Reason::NoCredentialKey)?;
    let (bindings, damaged) = BindingStore::open(&args.state_dir, &args.run_dir);
    let source_binding = ConditionType::SourceBinding;
    damages.extend(damaged.map(|error| note_damage(source_binding, Reason::Unbound, &error)));
    let audit = AuditTrail::open(args.audit_log.as_deref()).unwrap_or_else(|error| {
        damages.push(note_damage(programmed, Reason::ApplyFailed, &error));
        AuditTrail::default()
    });
    Ok(NodeFiles {
        installed_keys,
        keys,
        key,
        credentials_key,
        bindings,
        audit,
    })
}

/// The socket in a task of its own. Without it no pod starts and nobody can release the node by hand, but the pods that run
/// stay guarded.
fn serve_socket(args: &RunArgs, damages: &mut Vec<StartDamage>) -> mpsc::Receiver<Work> {
    let (sender, work) = mpsc::channel(64);
    match server::bind(&args.run_dir.join("agent.sock")) {
        Ok(listener) => drop(tokio::spawn(server::serve(listener, sender))),
        Err(error) => damages.push(note_damage(
            ConditionType::SourceBinding,
            Reason::NoPlugin,
            &error,
        )),
    }
    work
}

/// The keys given at installation. Keys that cannot be read become a condition and no error: the node is sealed and uses the
/// pinned keys or, before the first pin, trusts no key.
fn installed(args: &RunArgs, ledger: &Ledger, damages: &mut Vec<StartDamage>) -> TrustedKeys {
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
            TrustedKeys::default()
        }
        Err(error) => {
            damages.push(note_damage(
                ConditionType::Accepted,
                Reason::EmptyKeySet,
                &error,
            ));
            TrustedKeys::default()
        }
        Ok(keys) => keys,
    }
}

/// Which Node object this is: the command line's word, or the token's.
async fn node_uid(args: &RunArgs) -> Result<Uid, NewtypeError> {
    match (&args.node_uid, args.endpoint()) {
        (None, Some(endpoint)) => {
            identity::at_start(&endpoint, &args.node_name, &args.state_dir).await
        }
        (given, _) => given.clone().map_or_else(|| "".parse(), Ok),
    }
}

/// Without the watch a device whose process comes back waits for the pause of its step.
fn watch_tunnels(args: &RunArgs, sender: mpsc::Sender<NodeUpdate>) {
    let folder = args.run_dir.join("wireguard");
    let watched = match files::private_folder(&folder) {
        Ok(()) => watch_sockets(&folder, sender)
            .err()
            .map(|error| chain(&error)),
        Err(error) => Some(chain(&error)),
    };
    if let Some(error) = watched {
        tracing::warn!(error, "the sockets of the tunnel process cannot be watched");
    }
}

/// Names of servers outside in a task of their own: the node's resolver may take its time.
fn resolve_endpoints(sender: mpsc::Sender<NodeUpdate>) -> EndpointHandle {
    let (handle, wanted) = EndpointHandle::pair();
    let (tell, mut found) = mpsc::channel(1);
    tokio::spawn(endpoints::resolve(wanted, tell));
    tokio::spawn(async move {
        while let Some(found) = found.recv().await {
            if sender.send(NodeUpdate::Endpoints(found)).await.is_err() {
                return;
            }
        }
    });
    handle
}

/// Between two looks at what only the whole host shows. Listing everybody's rules takes time where there are many.
const PREFLIGHT_PACE: Duration = Duration::from_secs(60);

/// The checks of `preflight` in a task of their own, because settings and foreign rules change after an installation.
fn watch_preflight(host: LinuxHost, settings: NodeSettings, sender: mpsc::Sender<NodeUpdate>) {
    let look = async move || {
        let checks = preflight::judge(&preflight::look(&host, &settings).await, &settings);
        preflight::check::concerns(&checks)
    };
    tokio::spawn(tell_findings(look, sender));
}

/// Looks every minute, and sends the findings when they have changed.
async fn tell_findings(
    mut look: impl AsyncFnMut() -> Vec<String>,
    sender: mpsc::Sender<NodeUpdate>,
) {
    let mut logged = None;
    while !sender.is_closed() {
        let found = look().await;
        if logged.as_ref() != Some(&found) {
            drop(sender.send(NodeUpdate::Preflight(found.clone())).await);
            logged = Some(found);
        }
        tokio::time::sleep(PREFLIGHT_PACE).await;
    }
}
