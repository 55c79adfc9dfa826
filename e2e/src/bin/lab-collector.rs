//! The lab's collector of traces and log records: reads OTLP over gRPC without TLS, and writes one JSON line for each span into one
//! file, and for each log record into another.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Parser;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Given;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use postern_e2e::lab::error::chain;
use serde_json::{Map, Value, json};
use thiserror::Error;
use tonic::{Request, Response, Status};

/// Takes traces and log records in and writes each span and each record as one line of JSON.
#[derive(Debug, Parser)]
struct Args {
    /// Where programs send them.
    #[arg(long)]
    listen: SocketAddr,
    /// The file that gets a line for each span.
    #[arg(long)]
    out: PathBuf,
    /// The file that gets a line for each log record.
    #[arg(long)]
    records: PathBuf,
}

/// Why nothing is collected.
#[derive(Debug, Error)]
enum CollectorError {
    /// The file cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no runtime.
    #[error("the runtime does not start")]
    Runtime(#[source] std::io::Error),
    /// The address cannot be served.
    #[error("cannot serve {address}")]
    Serve {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-collector: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), CollectorError> {
    let traces = TraceServiceServer::new(Collector::open(&args.out)?);
    let logs = LogsServiceServer::new(Collector::open(&args.records)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CollectorError::Runtime)?;
    let mut server = tonic::transport::Server::builder();
    let served = server.add_service(traces).add_service(logs);
    runtime
        .block_on(served.serve(args.listen))
        .map_err(|source| CollectorError::Serve {
            address: args.listen,
            source,
        })
}

struct Collector(Mutex<File>);

impl Collector {
    fn open(path: &Path) -> Result<Self, CollectorError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| CollectorError::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(Mutex::new(file)))
    }

    /// Whole lines at once: a reader sees half a line at the end at most.
    fn write(&self, text: &str) -> Result<(), Status> {
        let Ok(mut file) = self.0.lock() else {
            return Err(Status::internal("another request has failed half-way"));
        };
        file.write_all(text.as_bytes())
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.write(&lines(request.into_inner()))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.write(&record_lines(request.into_inner()))?;
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

fn record_lines(request: ExportLogsServiceRequest) -> String {
    let mut text = String::new();
    for resource in request.resource_logs {
        let attributes = resource.resource.map(|resource| resource.attributes);
        let sender = Value::Object(object(attributes.unwrap_or_default()));
        let scopes = resource.scope_logs.into_iter();
        for record in scopes.flat_map(|of| of.log_records) {
            text.push_str(&record_line(record, &sender).to_string());
            text.push('\n');
        }
    }
    text
}

/// A log record of OTLP; its time is in nanoseconds since 1970.
fn record_line(record: LogRecord, sender: &Value) -> Value {
    let body = record.body.and_then(|body| body.value);
    json!({
        "resource": sender,
        "timeUnixNano": record.time_unix_nano,
        "severityText": record.severity_text,
        "eventName": record.event_name,
        "body": body.map_or(Value::Null, value),
        "attributes": object(record.attributes),
    })
}

fn lines(request: ExportTraceServiceRequest) -> String {
    let mut text = String::new();
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes);
        let service = object(attributes.unwrap_or_default())
            .remove("service.name")
            .unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|of| of.spans) {
            text.push_str(&line(span, &service).to_string());
            text.push('\n');
        }
    }
    text
}

/// A span in OTLP's own words; its times are nanoseconds since 1970.
fn line(span: Span, service: &Value) -> Value {
    json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "parentSpanId": hex(&span.parent_span_id),
        "name": span.name,
        "service": service,
        "startTimeUnixNano": span.start_time_unix_nano,
        "endTimeUnixNano": span.end_time_unix_nano,
        "attributes": object(span.attributes),
    })
}

fn object(attributes: Vec<KeyValue>) -> Map<String, Value> {
    let pairs = attributes.into_iter().map(|pair| {
        let given = pair.value.and_then(|value| value.value);
        (pair.key, given.map_or(Value::Null, value))
    });
    pairs.collect()
}

fn value(given: Given) -> Value {
    match given {
        Given::StringValue(text) => text.into(),
        Given::BoolValue(answer) => answer.into(),
        Given::IntValue(number) => number.into(),
        Given::DoubleValue(number) => number.into(),
        other => format!("{other:?}").into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use serde_json::{Value, json};

    use super::{Given, lines, record_lines};

    fn pair(key: &str, given: Given) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(given) }),
            ..KeyValue::default()
        }
    }

    #[test]
    fn a_span_is_one_line_with_its_ids_in_hex_and_the_service_that_sent_it() {
        let span = Span {
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            name: "run".to_owned(),
            start_time_unix_nano: 5,
            end_time_unix_nano: 7,
            attributes: vec![
                pair("node", Given::StringValue("n1".to_owned())),
                pair("serial", Given::IntValue(3)),
            ],
            ..Span::default()
        };
        let service = pair("service.name", Given::StringValue("operator".to_owned()));
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![service],
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    spans: vec![span.clone(), span],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let text = lines(request);
        let found: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let wanted = json!({
            "traceId": "ab".repeat(16), "spanId": "01".repeat(8), "parentSpanId": "", "name": "run",
            "service": "operator", "startTimeUnixNano": 5, "endTimeUnixNano": 7,
            "attributes": {"node": "n1", "serial": 3},
        });
        assert_eq!(found, [wanted.clone(), wanted]);
    }
    #[test]
    fn a_log_record_is_one_line_with_the_program_that_sent_it() {
        let text = |text: &str| Given::StringValue(text.to_owned());
        let record = LogRecord {
            time_unix_nano: 5,
            severity_text: "INFO".to_owned(),
            event_name: "decision".to_owned(),
            body: Some(AnyValue {
                value: Some(text("Denied")),
            }),
            attributes: vec![pair("port", Given::IntValue(443))],
            ..LogRecord::default()
        };
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(Resource {
                    attributes: vec![pair("service.name", text("agent"))],
                    ..Resource::default()
                }),
                scope_logs: vec![ScopeLogs {
                    log_records: vec![record],
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        let found: Value = serde_json::from_str(record_lines(request).trim()).unwrap();
        let wanted = json!({
            "resource": {"service.name": "agent"}, "timeUnixNano": 5, "severityText": "INFO",
            "eventName": "decision", "body": "Denied", "attributes": {"port": 443},
        });
        assert_eq!(found, wanted);
    }
}
