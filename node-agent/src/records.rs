//! Decisions of policies with `audit`, written to the process log as one JSON object each, with the target `postern::decision`, and
//! put into the queue of a collector where one is named.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::SystemTime;

use jiff::Timestamp;
use postern_agent_core::records::{
    DecisionRecord, NameDecision, RecordOutcome, RecordSubject, RecordTable, RecordVerdict,
    Recorder,
};
use postern_linux::PacketLogEvent;
use postern_plan::desired::PacketLog;
use postern_telemetry::{ExportMetrics, LogQueue};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::latest::send_other;

use self::entry::log_entry;

mod entry;

/// Decisions about names that may wait for their turn.
const WAITING: usize = 1024;

/// The agent's end: what may be recorded.
#[derive(Debug)]
pub struct RecordHandle(watch::Sender<RecordTable>);

/// The forwarder's end.
#[derive(Debug, Clone)]
pub struct NameRecords {
    decisions: mpsc::Sender<NameDecision>,
    metrics: RecordMetrics,
}

/// What the task reads.
#[derive(Debug)]
pub struct RecordInputs {
    table: watch::Receiver<RecordTable>,
    names: mpsc::Receiver<NameDecision>,
    metrics: RecordMetrics,
    collector: Option<LogQueue>,
}

/// The three ends. A collector gets each record that is written.
#[must_use]
pub fn ends(
    metrics: RecordMetrics,
    collector: Option<LogQueue>,
) -> (RecordHandle, NameRecords, RecordInputs) {
    let (table, table_reader) = watch::channel(RecordTable::default());
    let (decisions, names) = mpsc::channel(WAITING);
    let sender = NameRecords {
        decisions,
        metrics: metrics.clone(),
    };
    let inputs = RecordInputs {
        table: table_reader,
        names,
        metrics,
        collector,
    };
    (RecordHandle(table), sender, inputs)
}

impl RecordHandle {
    pub fn update(&self, table: RecordTable) {
        send_other(&self.0, table);
    }
}

impl NameRecords {
    /// Waits for nothing: an answer is not held up by its record.
    pub fn record(&self, decision: NameDecision) {
        if self.decisions.try_send(decision).is_err() {
            self.metrics.lost(RecordLoss::Crowded, 1);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RecordLabel {
    reason: &'static str,
}

/// Why a decision has no record, apart from the rate in the kernel.
#[derive(Debug, Clone, Copy)]
enum RecordLoss {
    /// The agent did not read the kernel's log in time.
    Unread,
    /// Too many decisions waited.
    Crowded,
    /// More of a policy, or of the node, in a second than are recorded.
    Rate,
    /// Of a place or a pod that the agent does not know, such as right after its start.
    Unknown,
    /// The filter of the log leaves them out.
    Filtered,
}

impl RecordLoss {
    const EACH: [Self; 5] = [
        Self::Unread,
        Self::Crowded,
        Self::Rate,
        Self::Unknown,
        Self::Filtered,
    ];
}

/// Records that were written and those that were lost. A copy counts with the same numbers.
#[derive(Debug, Clone)]
pub struct RecordMetrics {
    written: Family<RecordLabel, Counter>,
    lost: Family<RecordLabel, Counter>,
    pub export: ExportMetrics,
}

impl Default for RecordMetrics {
    /// Every reason is served from the start on, with 0.
    fn default() -> Self {
        let metrics = Self {
            written: Family::default(),
            lost: Family::default(),
            export: ExportMetrics::default(),
        };
        for verdict in [
            RecordVerdict::Allowed,
            RecordVerdict::Denied,
            RecordVerdict::WouldDeny,
        ] {
            drop(metrics.written.get_or_create_owned(&label(verdict)));
        }
        for loss in RecordLoss::EACH {
            metrics.lost(loss, 0);
        }
        metrics
    }
}

impl RecordMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "decision_records",
            "Decisions of policies with audit that were recorded, by verdict",
            self.written.clone(),
        );
        registry.register(
            "lost_decision_records",
            "Decisions of policies with audit that were not recorded, by reason",
            self.lost.clone(),
        );
        registry.register(
            "exported_decision_records",
            "Records that the collector of --otlp-endpoint took",
            self.export.exported.clone(),
        );
        registry.register(
            "unexported_decision_records",
            "Records that are in the log and that the collector did not get, by reason",
            self.export.lost.clone(),
        );
    }

    fn lost(&self, loss: RecordLoss, count: u32) {
        let reason = match loss {
            RecordLoss::Unread => "unread",
            RecordLoss::Crowded => "crowded",
            RecordLoss::Rate => "rate",
            RecordLoss::Unknown => "unknown",
            RecordLoss::Filtered => "filtered",
        };
        let counter = self.lost.get_or_create_owned(&RecordLabel { reason });
        counter.inc_by(u64::from(count));
    }
}

const fn label(verdict: RecordVerdict) -> RecordLabel {
    let reason = match verdict {
        RecordVerdict::Allowed => "allowed",
        RecordVerdict::Denied => "denied",
        RecordVerdict::WouldDeny => "would-deny",
    };
    RecordLabel { reason }
}

/// Makes records until the agent is gone. While no packets come, of names alone. Whether the log of packets is read is sent on, for
/// the ruleset and the report. A thread of its own writes records: a blocked standard output holds up no task of the agent.
pub async fn write_records(
    inputs: RecordInputs,
    mut packets: mpsc::Receiver<PacketLogEvent>,
    states: watch::Sender<PacketLog>,
) {
    let RecordInputs {
        mut table,
        mut names,
        metrics,
        collector,
    } = inputs;
    let (records, written) = sync_channel::<Box<DecisionRecord>>(WAITING);
    let counts = metrics.clone();
    std::thread::spawn(move || {
        for record in written {
            write(&record, &counts, collector.as_ref());
        }
    });
    let mut recorder = Recorder::default();
    loop {
        tokio::select! {
            // What a packet means has to be known before it is read.
            biased;
            changed = table.changed() => match changed {
                Ok(()) => recorder.change(table.borrow_and_update().clone()),
                Err(_) => return,
            },
            Some(event) = packets.recv() => match event {
                PacketLogEvent::Begun => send_other(&states, PacketLog::Read),
                PacketLogEvent::Packet(packet) => {
                    let outcome = recorder.packet(packet, Timestamp::now());
                    hand_over(outcome, &records, &metrics);
                }
                PacketLogEvent::Lost(count) => metrics.lost(RecordLoss::Unread, count),
                PacketLogEvent::Missing => send_other(&states, PacketLog::Missing),
            },
            Some(decision) = names.recv() => {
                let outcome = recorder.name(decision, Timestamp::now());
                hand_over(outcome, &records, &metrics);
            }
        }
    }
}

fn hand_over(
    outcome: RecordOutcome,
    records: &SyncSender<Box<DecisionRecord>>,
    metrics: &RecordMetrics,
) {
    let loss = match outcome {
        RecordOutcome::Step => return,
        RecordOutcome::Record(record) => match records.try_send(record) {
            Ok(()) => return,
            Err(_) => RecordLoss::Crowded,
        },
        RecordOutcome::Unknown => RecordLoss::Unknown,
        RecordOutcome::Rate => RecordLoss::Rate,
    };
    metrics.lost(loss, 1);
}

/// Fields without a value are left out.
fn write(record: &DecisionRecord, metrics: &RecordMetrics, collector: Option<&LogQueue>) {
    if !tracing::enabled!(target: "postern::decision", tracing::Level::INFO) {
        return metrics.lost(RecordLoss::Filtered, 1);
    }
    let verdict = label(record.verdict);
    metrics.written.get_or_create_owned(&verdict).inc();
    let pod = &record.pod;
    let policy = &pod.policy;
    let (packet, name) = match &record.about {
        RecordSubject::Connection(packet) => (Some(packet), None),
        RecordSubject::Name(name) => (None, Some(name.as_str())),
    };
    tracing::info!(
        target: "postern::decision",
        verdict = ?record.verdict,
        reason = record.reason,
        rule = record.rule.as_deref(),
        namespace = pod.namespace.as_str(),
        pod = pod.name.as_str(),
        pod_uid = pod.uid.as_str(),
        policy = policy.name.as_str(),
        name,
        source = packet.map(|packet| packet.source.to_string()),
        destination = packet.map(|packet| packet.destination.to_string()),
        protocol = packet.map(|packet| packet.protocol),
        port = packet.and_then(|packet| Some(packet.ports?.1)),
        bytes = packet.and_then(|packet| packet.length),
    );
    if let Some(collector) = collector {
        collector.push(log_entry(record, SystemTime::now()));
    }
}
