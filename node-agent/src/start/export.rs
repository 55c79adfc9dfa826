//! The export of decisions in a task of its own.

use postern_agent::agent::state::{StartDamage, note_damage};
use postern_agent::options::RunArgs;
use postern_agent::records::RecordMetrics;
use postern_crds::conditions::{ConditionType, Reason};
use postern_telemetry::{LogQueue, log_export};
use tokio::task::JoinHandle;

/// The queue of the collector, if one is named, and the task that empties it, which ends after everything that puts records into it.
/// An invalid address becomes a condition: the guard needs no collector.
pub(super) fn export_records(
    args: &RunArgs,
    metrics: &RecordMetrics,
    damages: &mut Vec<StartDamage>,
) -> (Option<LogQueue>, Option<JoinHandle<()>>) {
    let Some(address) = args.collector() else {
        return (None, None);
    };
    let sender = vec![
        ("service.name", "postern-agent".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("k8s.node.name", args.node_name.to_string()),
    ];
    match log_export(address, sender, metrics.export.clone()) {
        Ok((queue, export)) => (Some(queue), Some(tokio::spawn(export.run()))),
        Err(error) => {
            let (kind, reason) = (ConditionType::Programmed, Reason::ApplyFailed);
            damages.push(note_damage(kind, reason, &error));
            (None, None)
        }
    }
}
