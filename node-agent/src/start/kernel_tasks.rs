//! Tasks beside the loop that change the kernel by themselves, and the kernel's events that wake them and the loop.

use futures::StreamExt as _;
use postern_agent::agent::NodeUpdate;
use postern_agent::agent::state::{StartDamage, note_damage};
use postern_agent::clock::Clock;
use postern_agent::egress::{self, Confirmations, EgressHandle};
use postern_agent::isolation::{self, IsolationHandle, IsolationOptions};
use postern_agent::metrics::AgentMetrics;
use postern_agent::options::RunArgs;
use postern_agent::records::{self, NameRecords, RecordHandle};
use postern_crds::conditions::{ConditionType, Reason};
use postern_linux::{KernelChange, LinuxHost, LinuxOptions};
use postern_plan::desired::PacketLog;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::export::export_records;

/// Without the kernel's events the timer looks, which takes seconds instead of milliseconds.
pub(super) fn kernel_events(damages: &mut Vec<StartDamage>) -> mpsc::Receiver<KernelChange> {
    postern_linux::watch().unwrap_or_else(|error| {
        let (kind, reason) = (ConditionType::Verified, Reason::ApplyFailed);
        damages.push(note_damage(kind, reason, &error));
        mpsc::channel(1).1
    })
}

/// The uplinks in a task of their own, with events of their own, so that a link that another program brings up waits for no
/// reading of the whole host. Where the kernel cannot be watched, the task looks by its timer.
pub(super) fn watch_uplinks(
    host: LinuxHost,
    args: &RunArgs,
    damages: &mut Vec<StartDamage>,
) -> IsolationHandle {
    let options = IsolationOptions {
        state_dir: args.state_dir.clone(),
        pod_links: args.settings().pod_links,
    };
    let events = kernel_events(damages);
    let events = crowd(events, is_of_links);
    isolation::start(host, options, events)
}

/// The egress addresses in a task of their own. Where the kernel cannot be watched, the task looks by its timer.
pub(super) fn keep_egress(
    options: LinuxOptions,
    clock: Clock,
    confirmations: Confirmations,
    damages: &mut Vec<StartDamage>,
) -> EgressHandle {
    let events = crowd(kernel_events(damages), is_of_links);
    egress::start(LinuxHost::new(options), clock, confirmations, events)
}

/// Records of decisions in a task of their own, and the task that sends them to a collector, if one is named. The ruleset logs no
/// packet before the log is read, and the guard does not wait for that.
pub(super) fn keep_records(
    args: &RunArgs,
    metrics: &AgentMetrics,
    updates: mpsc::Sender<NodeUpdate>,
    damages: &mut Vec<StartDamage>,
) -> (RecordHandle, NameRecords, Option<JoinHandle<()>>) {
    let metrics = metrics.records();
    let (collector, export) = export_records(args, &metrics, damages);
    let (handle, names, inputs) = records::ends(metrics, collector);
    let (states, mut changes) = watch::channel(PacketLog::default());
    let packets = postern_linux::read_packet_log();
    tokio::spawn(records::write_records(inputs, packets, states));
    tokio::spawn(async move {
        while changes.changed().await.is_ok() {
            let state = *changes.borrow_and_update();
            if updates.send(NodeUpdate::PacketLog(state)).await.is_err() {
                return;
            }
        }
    });
    (handle, names, export)
}

/// A crowd of events as one: everything that waits is taken together.
pub(super) fn crowd(
    events: mpsc::Receiver<KernelChange>,
    is_wanted: fn(&KernelChange) -> bool,
) -> impl futures::Stream<Item = ()> + Unpin + Send {
    let next = move |mut events: mpsc::Receiver<KernelChange>| async move {
        let mut some = Vec::new();
        while events.recv_many(&mut some, 1024).await > 0 {
            if some.iter().any(is_wanted) {
                return Some(((), events));
            }
            some.clear();
        }
        None
    };
    Box::pin(futures::stream::unfold(events, next)).fuse()
}

/// May links or addresses have changed?
fn is_of_links(change: &KernelChange) -> bool {
    matches!(
        change,
        KernelChange::Link | KernelChange::Address | KernelChange::Resync
    )
}
