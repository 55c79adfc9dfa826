//! Log records to a collector: OTLP's logs service by gRPC, without TLS. A task sends what waits in a queue of bounded length, one request
//! a second unless a whole batch waits, so that what puts a record into the queue waits for nothing, and a collector that is away is
//! asked seldom.
//!
//! The client is the generated one and not that of `opentelemetry-otlp`, which does not return how many records a collector refused.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tracing::{info, warn};

use crate::chain;

/// Records that may wait: some 4 MB.
const WAITING: usize = 4096;
/// Records of one request: a collector takes 4 MB unless it is set otherwise.
const BATCH: usize = 1024;
/// How long records are gathered for one request.
const PACE: Duration = Duration::from_secs(1);
/// How long a collector may take, with the look-up of its name and the connection.
const ANSWER: Duration = Duration::from_secs(3);
/// How often a request is sent, and the pause after the first attempt; each later pause is longer by the same time.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no export.
#[derive(Debug, Error)]
pub enum ExportError {
    #[error("{address:?} is no address of a collector")]
    Address {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
    /// The address is written into logs and conditions, which must hold no password.
    #[error("the address of a collector may name no user")]
    User,
    /// Such as HTTPS, which is not spoken to collectors.
    #[error("the address of a collector begins with http://, and {address:?} does not")]
    Scheme { address: String },
}

/// A record on its way to a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub at: SystemTime,
    /// Which kind of event it is.
    pub event: &'static str,
    /// A sentence for people.
    pub body: String,
    pub attributes: Vec<(&'static str, EntryValue)>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryValue {
    Text(String),
    Number(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExportLabel {
    pub(crate) reason: &'static str,
}

/// Why a record did not reach the collector.
#[derive(Debug, Clone, Copy)]
enum ExportLoss {
    /// Too many waited.
    Full,
    /// No attempt was answered.
    Unreachable,
    /// The collector answered that it does not take it.
    Refused,
}

impl ExportLoss {
    const EACH: [Self; 3] = [Self::Full, Self::Unreachable, Self::Refused];
}

/// Records that a collector took, and those that none got. A copy counts with the same numbers.
#[derive(Debug, Clone)]
pub struct ExportMetrics {
    pub exported: Counter,
    pub lost: Family<ExportLabel, Counter>,
}

impl Default for ExportMetrics {
    /// Every reason is served from the start on, with 0.
    fn default() -> Self {
        let metrics = Self {
            exported: Counter::default(),
            lost: Family::default(),
        };
        for loss in ExportLoss::EACH {
            metrics.lost(loss, 0);
        }
        metrics
    }
}

impl ExportMetrics {
    fn lost(&self, loss: ExportLoss, count: u64) {
        let reason = match loss {
            ExportLoss::Full => "full",
            ExportLoss::Unreachable => "unreachable",
            ExportLoss::Refused => "refused",
        };
        let counter = self.lost.get_or_create_owned(&ExportLabel { reason });
        counter.inc_by(count);
    }
}

/// The end that records are put into. A copy puts them into the same queue.
#[derive(Debug, Clone)]
pub struct LogQueue {
    entries: mpsc::Sender<LogEntry>,
    metrics: ExportMetrics,
}

impl LogQueue {
    /// Waits for nothing: an entry for which there is no place is counted.
    pub fn push(&self, entry: LogEntry) {
        if self.entries.try_send(entry).is_err() {
            self.metrics.lost(ExportLoss::Full, 1);
        }
    }
}

/// The end that sends.
#[derive(Debug)]
pub struct LogExport {
    endpoint: Endpoint,
    resource: Resource,
    entries: mpsc::Receiver<LogEntry>,
    metrics: ExportMetrics,
    is_failing: bool,
}

/// Both ends of an export to an address such as `http://192.0.2.1:4317`; the resource names the sender.
///
/// # Errors
/// [`ExportError`].
pub fn log_export(
    address: &str,
    resource: Vec<(&'static str, String)>,
    metrics: ExportMetrics,
) -> Result<(LogQueue, LogExport), ExportError> {
    let owned = address.to_owned();
    if !address.starts_with("http://") {
        return Err(ExportError::Scheme { address: owned });
    }
    if address.contains('@') {
        return Err(ExportError::User);
    }
    let endpoint = match Endpoint::from_shared(address.to_owned()) {
        Ok(endpoint) => endpoint.connect_timeout(ANSWER),
        Err(source) => {
            return Err(ExportError::Address {
                address: owned,
                source,
            });
        }
    };
    let (sender, entries) = mpsc::channel(WAITING);
    let queue = LogQueue {
        entries: sender,
        metrics: metrics.clone(),
    };
    let pairs = resource.into_iter();
    let attributes = pairs.map(|(key, text)| attribute(key, EntryValue::Text(text)));
    let export = LogExport {
        endpoint,
        resource: Resource {
            attributes: attributes.collect(),
            ..Resource::default()
        },
        entries,
        metrics,
        is_failing: false,
    };
    Ok((queue, export))
}

impl LogExport {
    /// Sends until the queue has no other end, and what waits then.
    pub async fn run(mut self) {
        let mut client = self.client();
        let mut batch = Vec::new();
        while self.entries.recv_many(&mut batch, BATCH).await > 0 {
            self.gather(&mut batch).await;
            self.deliver(&mut client, std::mem::take(&mut batch)).await;
        }
    }

    /// With a connection of its own, which is made when it is used.
    fn client(&self) -> LogsServiceClient<Channel> {
        LogsServiceClient::new(self.endpoint.connect_lazy())
    }

    async fn gather(&mut self, batch: &mut Vec<LogEntry>) {
        let end = Instant::now() + PACE;
        while batch.len() < BATCH {
            let more = self.entries.recv_many(batch, BATCH - batch.len());
            if let Ok(0) | Err(_) = timeout_at(end, more).await {
                return;
            }
        }
    }

    async fn deliver(&mut self, client: &mut LogsServiceClient<Channel>, batch: Vec<LogEntry>) {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let request = self.request(batch);
        for attempt in 1.. {
            let status = match send(client, request.clone()).await {
                Ok(partial) => {
                    let refused = u64::try_from(partial.rejected_log_records).unwrap_or(0);
                    let refused = refused.min(count);
                    self.metrics.exported.inc_by(count - refused);
                    self.metrics.lost(ExportLoss::Refused, refused);
                    match refused {
                        0 => self.goes_on(),
                        _ => self.fails(&Status::invalid_argument(partial.error_message)),
                    }
                    return;
                }
                Err(status) => status,
            };
            // A connection to a collector that moved elsewhere may look open for a quarter of an hour.
            *client = self.client();
            self.fails(&status);
            let loss = match may_pass(&status) {
                false => ExportLoss::Refused,
                true if attempt == ATTEMPTS => ExportLoss::Unreachable,
                true => {
                    sleep(PAUSE * attempt).await;
                    continue;
                }
            };
            return self.metrics.lost(loss, count);
        }
    }

    fn request(&self, batch: Vec<LogEntry>) -> ExportLogsServiceRequest {
        let scope = InstrumentationScope {
            name: "postern".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let logs = ScopeLogs {
            scope: Some(scope),
            log_records: batch.into_iter().map(log_record).collect(),
            ..ScopeLogs::default()
        };
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![logs],
                ..ResourceLogs::default()
            }],
        }
    }

    /// One line when it begins to fail: the metric has the rest.
    fn fails(&mut self, status: &Status) {
        if !std::mem::replace(&mut self.is_failing, true) {
            warn!(
                error = chain(status),
                collector = %self.endpoint.uri(),
                "the collector does not take records; each that it does not get is counted"
            );
        }
    }

    fn goes_on(&mut self) {
        if std::mem::replace(&mut self.is_failing, false) {
            info!(collector = %self.endpoint.uri(), "the collector takes records again");
        }
    }
}

/// What the collector refused of what it was sent.
async fn send(
    client: &mut LogsServiceClient<Channel>,
    request: ExportLogsServiceRequest,
) -> Result<ExportLogsPartialSuccess, Status> {
    let answer = timeout(ANSWER, client.export(request))
        .await
        .map_err(|_| Status::deadline_exceeded("the collector did not answer in time"))??;
    Ok(answer.into_inner().partial_success.unwrap_or_default())
}

/// Whether the same request may be taken later, by the list of OTLP. `RESOURCE_EXHAUSTED` is there only with a time, which is not read. A
/// status with a source comes from a connection that broke, and not from the collector.
fn may_pass(status: &Status) -> bool {
    let is_broken = std::error::Error::source(status).is_some();
    let is_listed = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    );
    is_broken || is_listed
}

fn log_record(entry: LogEntry) -> LogRecord {
    let pairs = entry.attributes.into_iter();
    let attributes = pairs.map(|(key, value)| attribute(key, value));
    LogRecord {
        time_unix_nano: nanoseconds(entry.at),
        observed_time_unix_nano: nanoseconds(entry.at),
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        event_name: entry.event.to_owned(),
        body: Some(any_value(EntryValue::Text(entry.body))),
        attributes: attributes.collect(),
        ..LogRecord::default()
    }
}

fn attribute(key: &str, value: EntryValue) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any_value(value)),
        ..KeyValue::default()
    }
}

fn any_value(value: EntryValue) -> AnyValue {
    let value = match value {
        EntryValue::Text(text) => Value::StringValue(text),
        EntryValue::Number(number) => Value::IntValue(number),
    };
    AnyValue { value: Some(value) }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
