//! Traces by OTLP over gRPC. The asynchronous HTTP exporter panics on the batch thread and the blocking one brings three
//! times the crates.

use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::logs::{LogError, filter, lines};
use crate::origin::TraceOrigin;

/// How long the last spans may take to leave when the program ends.
const LAST: Duration = Duration::from_secs(2);

/// Spans of the exporter itself would make spans for ever.
const SPANS: &str = "info,h2=off,hyper=off,hyper_util=off,tonic=off,tower=off,kube_client=off";

/// Why there are no traces.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The exporter cannot be made.
    #[error("traces cannot be sent to {endpoint:?}")]
    Exporter {
        endpoint: String,
        #[source]
        source: ExporterBuildError,
    },
    /// There are no logs either.
    #[error("the logs do not start")]
    Log(#[source] LogError),
}

/// The traces of this process.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends what is left, for at most two seconds.
    pub async fn end(self) {
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST));
        // Spans that cannot be sent are lost; the program ends all the same.
        let _ = ended.await;
    }
}

/// Starts the process log, and traces that go to an endpoint such as `http://collector:4317`. To be called inside the
/// runtime.
///
/// # Errors
/// [`TraceError`].
pub fn start_logs_and_traces(service: &'static str, endpoint: &str) -> Result<Traces, TraceError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TraceError::Exporter {
            endpoint: endpoint.to_owned(),
            source,
        })?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(service).build())
        .build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(service))
        .with_filter(EnvFilter::new(SPANS));
    tracing_subscriber::registry()
        .with(spans)
        .with(lines().with_filter(filter()))
        .try_init()
        .map_err(|error| TraceError::Log(LogError::Twice(error)))?;
    // For spans that are made after the fact.
    global::set_tracer_provider(provider.clone());
    Ok(Traces(provider))
}

/// The W3C trace id of the span that runs now: 32 hex digits; none while no traces are made.
#[must_use]
pub fn trace_id() -> Option<String> {
    TraceOrigin::here().map(|origin| origin.trace_id())
}
