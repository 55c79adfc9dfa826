//! Events (`events.k8s.io`) are written beside the runs: a queue and one task that writes. An API server that does not take
//! Events keeps no intent waiting.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

use super::events::EventNotice;
use super::series::Series;
use crate::error::chain;
use crate::metrics::{OperatorMetrics, WriteLabel};
use crate::pipeline::publish::Writer;

/// How long an Event may take: it is not worth more.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many notices may wait. A thousand policies at once fit; what comes while the API server takes no Events does not,
/// and conditions and metrics say the same.
pub const QUEUE: usize = 1024;

/// Takes notices for people; clones share one queue.
#[derive(Debug, Clone)]
pub struct EventQueue {
    queue: mpsc::Sender<EventNotice>,
    metrics: OperatorMetrics,
}

/// Writes the notices as Events, one after the other, until every [`EventQueue`] is gone.
pub struct EventWriter {
    queue: mpsc::Receiver<EventNotice>,
    writer: Writer,
    series: Series,
}

/// A pair, as this process.
#[must_use]
pub fn event_queue(writer: Writer, instance: &str) -> (EventQueue, EventWriter) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let events = EventQueue {
        queue: sender,
        metrics: writer.metrics.clone(),
    };
    let event_writer = EventWriter {
        queue,
        writer,
        series: Series::new(instance.to_owned()),
    };
    (events, event_writer)
}

impl EventQueue {
    /// Takes a notice, without waiting. Where the queue is full, the notice is lost and counted.
    pub fn push(&self, notice: EventNotice) {
        if let Err(error) = self.queue.try_send(notice) {
            self.metrics.events_lost.inc();
            debug!(%error, "an Event is lost");
        }
    }
}

/// Writes one Event as a process that does not lead and is about to end.
///
/// # Errors
/// What the API server answers.
pub async fn write_once(
    client: &Client,
    instance: &str,
    notice: &EventNotice,
) -> Result<(), kube::Error> {
    let event = Series::new(instance.to_owned()).next(notice, Timestamp::now());
    let api = events_beside(client, &event);
    api.create(&Writer::params(), &event).await.map(|_| ())
}

fn events_beside(client: &Client, event: &Event) -> Api<Event> {
    let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
    Api::namespaced(client.clone(), namespace)
}

impl EventWriter {
    /// Goes on until every [`EventQueue`] is gone and the queue is empty.
    pub async fn write_events(mut self) {
        while let Some(notice) = self.queue.recv().await {
            self.write(&notice).await;
        }
    }

    /// Writes one. What cannot be written, or not any more as the leader, is lost and counted.
    async fn write(&mut self, notice: &EventNotice) {
        if !self.writer.may_write() {
            self.lose(notice, "this process does not lead");
            return;
        }
        let event = self.series.next(notice, Timestamp::now());
        match tokio::time::timeout(PATIENCE, self.send(&event)).await {
            Ok(Ok(())) => self.writer.metrics.wrote(WriteLabel::Event),
            Ok(Err(error)) => self.lose(notice, &chain(&error)),
            Err(_) => self.lose(notice, "it took too long"),
        }
    }

    async fn send(&self, event: &Event) -> Result<(), kube::Error> {
        let api = events_beside(&self.writer.client, event);
        let sent = match &event.series {
            None => api.create(&Writer::params(), event).await,
            Some(series) => {
                let patch = json!({ "series": series });
                let patch = Patch::Merge(&patch);
                api.patch(&event.name_any(), &PatchParams::default(), &patch)
                    .await
            }
        };
        sent.map(|_| ())
    }

    fn lose(&mut self, notice: &EventNotice, why: &str) {
        self.series.forget(notice);
        self.writer.metrics.events_lost.inc();
        debug!(reason = notice.reason, why, "an Event is lost");
    }
}
