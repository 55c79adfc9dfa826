//! What the DNS forwarder is told: the plan's table, replaced whole.

use postern_plan::desired::DnsPlan;
use tokio::sync::watch;

/// The agent's end.
#[derive(Debug)]
pub struct DnsHandle {
    table: watch::Sender<DnsPlan>,
}

impl DnsHandle {
    /// An agent's end and a forwarder's end.
    #[must_use]
    pub fn pair() -> (Self, watch::Receiver<DnsPlan>) {
        let (table, reader) = watch::channel(DnsPlan::default());
        (Self { table }, reader)
    }

    /// Tells the forwarder, if anything changed.
    pub fn update(&self, plan: &DnsPlan) {
        self.table.send_if_modified(|current| {
            let changed = current != plan;
            if changed {
                current.clone_from(plan);
            }
            changed
        });
    }
}

/// Starts the forwarder of this node.
pub fn start(_args: &crate::options::RunArgs, _table: watch::Receiver<DnsPlan>) {}
