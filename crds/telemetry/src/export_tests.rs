#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use crate::export::{EntryValue, ExportLabel, ExportMetrics, LogEntry, log_export};

/// A collector that answers as it is bidden, and takes everything after that.
struct BiddenCollector {
    requests: UnboundedSender<ExportLogsServiceRequest>,
    /// So many records are refused, or the request is.
    answers: Mutex<VecDeque<Result<i64, Code>>>,
}

#[tonic::async_trait]
impl LogsService for BiddenCollector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.requests.send(request.into_inner()).unwrap();
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(0));
        let rejected_log_records = answer.map_err(|code| Status::new(code, "it is bidden to"))?;
        let partial_success = Some(ExportLogsPartialSuccess {
            rejected_log_records,
            ..ExportLogsPartialSuccess::default()
        });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

/// The address of a collector, and the requests that it gets.
async fn collector(
    answers: &[Result<i64, Code>],
) -> (String, UnboundedReceiver<ExportLogsServiceRequest>) {
    let (sender, requests) = unbounded_channel();
    let collector = BiddenCollector {
        requests: sender,
        answers: Mutex::new(answers.iter().copied().collect()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = LogsServiceServer::new(collector);
    let served = Server::builder().serve_with_incoming(service, TcpIncoming::from(listener));
    tokio::spawn(served);
    (address, requests)
}

fn entry(number: i64) -> LogEntry {
    LogEntry {
        at: UNIX_EPOCH + Duration::from_nanos(7),
        event: "postern.decision",
        body: "Denied".to_owned(),
        attributes: vec![
            ("k8s.pod.name", EntryValue::Text("web".to_owned())),
            ("destination.port", EntryValue::Number(number)),
        ],
    }
}

/// Exports these records, all of them in one request, until each is delivered or given up.
async fn export(address: &str, metrics: &ExportMetrics, records: i64) {
    let resource = vec![("service.name", "postern-agent".to_owned())];
    let (queue, export) = log_export(address, resource, metrics.clone()).unwrap();
    (0..records).for_each(|number| queue.push(entry(number)));
    drop(queue);
    export.run().await;
}

/// Records that were exported, found the queue full, reached no collector, were refused.
fn counts(metrics: &ExportMetrics) -> [u64; 4] {
    let lost = |reason| {
        let label = ExportLabel { reason };
        metrics.lost.get_or_create_owned(&label).get()
    };
    let [full, unreachable, refused] = ["full", "unreachable", "refused"].map(lost);
    [metrics.exported.get(), full, unreachable, refused]
}

fn text(attributes: &[KeyValue], key: &str) -> Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.unwrap().value.clone().unwrap().value.unwrap()
}

#[tokio::test]
async fn records_reach_the_collector_with_their_attributes_and_with_the_program_that_sends_them() {
    let (address, mut requests) = collector(&[]).await;
    let metrics = ExportMetrics::default();
    export(&address, &metrics, 2).await;
    let request = requests.recv().await.unwrap();
    let [of_program] = &request.resource_logs[..] else {
        panic!("{request:?}");
    };
    let attributes = &of_program.resource.as_ref().unwrap().attributes;
    let program = Value::StringValue("postern-agent".to_owned());
    assert_eq!(text(attributes, "service.name"), program);
    let records = &of_program.scope_logs[0].log_records;
    assert_eq!(records.len(), 2);
    for (number, record) in (0..).zip(records) {
        assert_eq!((record.time_unix_nano, record.severity_number), (7, 9));
        assert_eq!(record.event_name, "postern.decision");
        let body = record.body.clone().unwrap().value.unwrap();
        assert_eq!(body, Value::StringValue("Denied".to_owned()));
        let pod = Value::StringValue("web".to_owned());
        assert_eq!(text(&record.attributes, "k8s.pod.name"), pod);
        let port = text(&record.attributes, "destination.port");
        assert_eq!(port, Value::IntValue(number));
    }
    assert_eq!(counts(&metrics), [2, 0, 0, 0]);
}

#[tokio::test]
async fn a_request_that_may_be_taken_later_is_sent_three_times_and_one_that_is_refused_once() {
    const LATER: Result<i64, Code> = Err(Code::Unavailable);
    for (answers, sent, counted) in [
        (&[LATER, Ok(0)][..], 2, [5, 0, 0, 0]),
        (&[LATER, LATER, LATER], 3, [0, 0, 5, 0]),
        (&[Err(Code::ResourceExhausted)], 1, [0, 0, 0, 5]),
        (&[Err(Code::Unimplemented)], 1, [0, 0, 0, 5]),
        (&[Ok(2)], 1, [3, 0, 0, 2]),
        // More than it was sent.
        (&[Ok(9)], 1, [0, 0, 0, 5]),
    ] {
        let (address, mut requests) = collector(answers).await;
        let metrics = ExportMetrics::default();
        export(&address, &metrics, 5).await;
        let mut found = Vec::new();
        while let Ok(request) = requests.try_recv() {
            found.push(request);
        }
        assert_eq!(found.len(), sent, "{answers:?}");
        assert!(
            found.windows(2).all(|two| two[0] == two[1]),
            "the same records"
        );
        assert_eq!(counts(&metrics), counted, "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_costs_a_bounded_time_and_memory_and_each_record_is_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let metrics = ExportMetrics::default();
    let begun = tokio::time::Instant::now();
    // The queue is full before anything is sent, and no record waits for a place.
    export(&address, &metrics, 5_000).await;
    assert_eq!(counts(&metrics), [0, 904, 4_096, 0]);
    let (batches, attempts, pauses) = (4, 3 * 3, 1 + 2);
    let longest = Duration::from_secs(batches * (attempts + pauses) + 1);
    assert!(begun.elapsed() <= longest, "{:?}", begun.elapsed());
}

/// The connection breaks in the middle of each request, which the collector did not refuse.
#[tokio::test]
async fn a_connection_that_breaks_counts_as_a_collector_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let taken = tokio::spawn(async move {
        for taken in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let read = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(read > 0);
            stream.set_zero_linger().unwrap();
            drop(stream);
            if taken == 3 {
                break;
            }
        }
    });
    let metrics = ExportMetrics::default();
    export(&address, &metrics, 5).await;
    assert_eq!(counts(&metrics), [0, 0, 5, 0]);
    let limit = Duration::from_secs(1);
    tokio::time::timeout(limit, taken).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_address_of_a_collector_without_encryption_is_refused() {
    let refusal = |address: &str| {
        let made = log_export(address, Vec::new(), ExportMetrics::default());
        made.err().map(|error| error.to_string())
    };
    assert_eq!(refusal("http://[2001:db8::1]:4317"), None);
    for bad in [
        "",
        "collector:4317",
        "https://collector:4317",
        "http//collector",
        "unix:/socket",
        "http://",
    ] {
        let refused = refusal(bad).unwrap_or_else(|| panic!("{bad} is taken"));
        assert!(refused.contains(bad), "{refused}");
    }
    let named = refusal("http://user:secret@collector:4317").unwrap();
    assert!(!named.contains("secret"), "{named}");
}
