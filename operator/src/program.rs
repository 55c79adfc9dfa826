//! How the program is put together, and how it ends: it stops writing, then it gives the lease back. Whoever loses the
//! lease ends at once, and what starts it again starts it with empty hands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use postern_apiserver::{ConnectError, Endpoint, NewestRevision, Requests, client, config};
use postern_telemetry::{LogError, ScrapeArguments, ServeError, TraceError, serve_scrapes};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use crate::error::chain;
use crate::health::Readiness;
use crate::lease::{LeaseEnd, LeaseSession, LeaseTerm, keep, term};
use crate::metrics::OperatorMetrics;
use crate::options::RunArguments;
use crate::pipeline::publish::Writer;
use crate::pipeline::statuses::{event_queue, refused_at_start, status_writer, write_once};
use crate::pipeline::{Pipeline, PipelineError, PipelineParts, keep_running};
use crate::settings::{KnownSettings, SettingsError, follow, read};
use crate::watches::{WatchSignals, start};

/// How long a run that is under way may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How long Events that wait may take then.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the program ends.
#[derive(Debug, Error)]
pub enum ProgramError {
    #[error("there are no logs")]
    Log(#[source] LogError),
    #[error("there are no traces")]
    Trace(#[source] TraceError),
    #[error("the runtime does not start")]
    Runtime(#[source] std::io::Error),
    #[error("the settings are refused, and there are none of before")]
    Settings(#[source] SettingsError),
    #[error("the API server cannot be reached")]
    Connect(#[source] ConnectError),
    /// The signal cannot be waited for.
    #[error("signals cannot be waited for")]
    Signal(#[source] std::io::Error),
    /// The times of the lease contradict each other.
    #[error("the lease's times do not fit: retry period < renew deadline < lease duration")]
    LeaseTimes,
    /// The lease was lost.
    #[error("the lease was lost")]
    Lost,
    /// The API server's store was restored to an older state.
    #[error("the API server's store went back to an older state")]
    WentBack,
    /// A part of the program ended that never ends.
    #[error("a part of the program ended")]
    Part,
}

/// Runs until it receives a signal to stop.
///
/// # Errors
/// [`ProgramError`].
pub fn run(arguments: &RunArguments) -> Result<(), ProgramError> {
    // Before any TLS: with two providers in the tree the client could not choose.
    let installed = rustls::crypto::ring::default_provider().install_default();
    if installed.is_err() {
        warn!("another TLS provider is installed");
    }
    let times = arguments.lease;
    if times.retry_period >= times.renew_deadline || times.renew_deadline >= times.lease_duration {
        return Err(ProgramError::LeaseTimes);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ProgramError::Runtime)?;
    let ended = runtime.block_on(async {
        // The exporter of traces lives in the runtime.
        let traces = match &arguments.otlp_endpoint {
            Some(endpoint) => Some(
                postern_telemetry::start_logs_and_traces("postern-operator", endpoint)
                    .map_err(ProgramError::Trace)?,
            ),
            None => {
                postern_telemetry::start_logs().map_err(ProgramError::Log)?;
                None
            }
        };
        let ended = serve(arguments).await;
        if let Some(traces) = traces {
            traces.end().await;
        }
        ended
    });
    // A request that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(arguments: &RunArguments) -> Result<(), ProgramError> {
    let (requests, metrics) = (Requests::default(), OperatorMetrics::default());
    let mut registry = Registry::default();
    metrics.register(&mut registry, &requests);
    let client = connect(arguments, &requests)
        .await
        .map_err(ProgramError::Connect)?;
    let settings = first_settings(arguments, &client).await?;
    let (known, settings) = watch::channel(settings);
    let readiness = Readiness::default();
    readiness.show(["the operator starts"]);
    let mut tasks: JoinSet<()> = JoinSet::new();
    let registry = Arc::new(registry);
    listen(arguments, &readiness, Arc::clone(&registry), &mut tasks);
    tasks.spawn(follow(arguments.settings.clone(), known));
    let signals = WatchSignals::default();
    let (stores, watches) = start(&client, &arguments.namespace, &signals, &metrics);
    for watch in watches {
        tasks.spawn(watch);
    }
    let (term_writer, reader) = term();
    tasks.spawn(show_lease_state(reader.clone(), metrics.clone()));
    tasks.spawn(serve_leader_scrapes(
        arguments.scrape,
        registry,
        reader.clone(),
    ));
    let lease_revision = NewestRevision::default();
    let session = session(arguments, &client, &lease_revision);
    info!(
        name = session.name(),
        namespace = arguments.namespace,
        "the operator started"
    );
    let writer = Writer::new(client, reader, metrics);
    let (events, event_writer) = event_queue(writer.clone(), session.name());
    let (verdicts, status_writer) = status_writer(writer.clone(), events.clone(), stores.clone());
    let parts = PipelineParts {
        writer,
        namespace: arguments.namespace.clone(),
        events,
        verdicts,
        stores,
        signals,
        settings,
        lease_revision,
        requests,
    };
    let (stop_pipeline, stopped) = watch::channel(false);
    let pipeline = tokio::spawn(keep_running(Pipeline::new(parts), readiness, stopped));
    let event_writer = tokio::spawn(event_writer.write_events());
    let status_writer = tokio::spawn(status_writer.write_statuses());
    let (stop_lease, lease_stopped) = oneshot::channel();
    let lease = tokio::spawn(keep(session, term_writer, arguments.lease, lease_stopped));
    let parts = ProgramTasks {
        pipeline,
        event_writer,
        status_writer,
        lease,
        tasks,
    };
    parts.until_the_end(&stop_pipeline, stop_lease).await
}

/// The settings to start with. Where they are refused, none of before are in force: an Event says so, and the program ends.
async fn first_settings(
    arguments: &RunArguments,
    client: &Client,
) -> Result<KnownSettings, ProgramError> {
    let problem = match read(&arguments.settings) {
        Ok(settings) => return Ok(settings.into()),
        Err(problem) => problem,
    };
    let notice = refused_at_start(&arguments.namespace, &chain(&problem));
    let writing = write_once(client, &arguments.identity, &notice);
    match tokio::time::timeout(LAST_WORDS, writing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(
            error = chain(&error),
            "no Event says that the settings are refused"
        ),
        Err(_) => warn!("no Event says that the settings are refused: it took too long"),
    }
    Err(ProgramError::Settings(problem))
}

/// Who asks, in the API server's audit log and in its counts.
const USER_AGENT: &str = concat!("postern-operator/", env!("CARGO_PKG_VERSION"));

async fn connect(arguments: &RunArguments, requests: &Requests) -> Result<Client, ConnectError> {
    let endpoint = Endpoint::of_program(arguments.kubeconfig.clone());
    let config = config(&endpoint, USER_AGENT).await?;
    client(config, requests.clone())
}

fn session(arguments: &RunArguments, client: &Client, revision: &NewestRevision) -> LeaseSession {
    LeaseSession::new(
        client.clone(),
        revision.clone(),
        &arguments.namespace,
        &arguments.identity,
        arguments.lease,
    )
}

fn listen(
    arguments: &RunArguments,
    readiness: &Readiness,
    registry: Arc<Registry>,
    tasks: &mut JoinSet<()>,
) {
    if arguments.listen.is_empty() {
        return;
    }
    let (addresses, file) = (arguments.listen.clone(), arguments.listen_file.clone());
    let health = readiness.health();
    tasks.spawn(async move {
        let serving = async {
            // A former process of this pod may have left its address, where another replica may listen now.
            if let Some(file) = &file {
                drop(std::fs::remove_file(file));
            }
            let listener = postern_telemetry::listen(&addresses).await?;
            if let Some(file) = &file {
                write_address(&listener, file);
            }
            postern_telemetry::serve(listener, health, registry).await
        };
        let served: Result<(), ServeError> = serving.await;
        if let Err(problem) = served {
            error!(
                error = chain(&problem),
                "the operator serves neither health nor metrics"
            );
        }
    });
}

/// Without the file no probe finds the operator, and the kubelet starts it again.
fn write_address(listener: &TcpListener, file: &Path) {
    let written = listener
        .local_addr()
        .and_then(|address| std::fs::write(file, address.to_string()));
    match written {
        Ok(()) => {}
        Err(problem) => error!(
            error = chain(&problem),
            file = %file.display(),
            "the operator cannot write where it listens"
        ),
    }
}

/// Shows in a metric whether this process leads.
async fn show_lease_state(mut term: LeaseTerm, metrics: OperatorMetrics) {
    loop {
        metrics.leader.set(0);
        term.begun().await;
        metrics.leader.set(1);
        term.ended().await;
    }
}

/// Serves the metrics to others while this process leads. Replicas on one host share the port, and the alerts are about the
/// leader.
async fn serve_leader_scrapes(
    arguments: ScrapeArguments,
    registry: Arc<Registry>,
    mut term: LeaseTerm,
) {
    loop {
        term.begun().await;
        tokio::select! {
            () = serve_scrapes(arguments, Arc::clone(&registry)) => {}
            () = term.ended() => {}
        }
    }
}

/// What runs at the same time.
struct ProgramTasks {
    pipeline: JoinHandle<Result<(), PipelineError>>,
    /// Ends by itself after the pipeline.
    event_writer: JoinHandle<()>,
    /// Ends by itself after the pipeline.
    status_writer: JoinHandle<()>,
    lease: JoinHandle<LeaseEnd>,
    tasks: JoinSet<()>,
}

impl ProgramTasks {
    async fn until_the_end(
        mut self,
        stop_pipeline: &watch::Sender<bool>,
        stop_lease: oneshot::Sender<()>,
    ) -> Result<(), ProgramError> {
        let mut terminated = signal(SignalKind::terminate()).map_err(ProgramError::Signal)?;
        let mut interrupted = signal(SignalKind::interrupt()).map_err(ProgramError::Signal)?;
        let ended = tokio::select! {
            _ = terminated.recv() => None,
            _ = interrupted.recv() => None,
            ended = &mut self.lease => Some(match ended {
                Ok(LeaseEnd::WentBack) => ProgramError::WentBack,
                Ok(LeaseEnd::Lost | LeaseEnd::Released) | Err(_) => ProgramError::Lost,
            }),
            ended = &mut self.pipeline => Some(match ended {
                Ok(Err(PipelineError::WentBack { .. })) => ProgramError::WentBack,
                _ => ProgramError::Part,
            }),
            // Watches start again by themselves.
            _ = self.tasks.join_next() => Some(ProgramError::Part),
        };
        if let Some(problem) = ended {
            self.pipeline.abort();
            self.event_writer.abort();
            self.status_writer.abort();
            error!(error = chain(&problem), "ending");
            return Err(problem);
        }
        info!("the operator stops");
        stop_pipeline.send_replace(true);
        let run = tokio::time::timeout(GRACE, &mut self.pipeline).await;
        if run.is_err() {
            warn!("the last run of the pipeline was cut off");
            self.pipeline.abort();
        }
        // What is not written of statuses is what the next leader compiles first.
        self.status_writer.abort();
        // What the last run announced; Events are not worth more.
        if tokio::time::timeout(LAST_WORDS, &mut self.event_writer)
            .await
            .is_err()
        {
            self.event_writer.abort();
        }
        // Only when nothing is written any more may another process take over.
        if stop_lease.send(()).is_ok() {
            let _ = tokio::time::timeout(GRACE, &mut self.lease).await;
        }
        Ok(())
    }
}
