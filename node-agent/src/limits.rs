//! What pods have left of their limits, looked at in a task of its own. It changes nothing and delays nothing.

use std::time::{Duration, Instant};

use postern_agent_core::limit_use::{LimitLooks, SourceCounts, limit_sets};
use postern_linux::LinuxHost;
use postern_plan::desired::DnsPlan;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::AgentMetrics;

/// Between two looks, over which a rate is measured.
const PACE: Duration = Duration::from_secs(5);

/// Looks until the agent ends. Which pods have which policy is what the forwarder of names goes by too.
pub async fn watch_limits(host: LinuxHost, plans: watch::Receiver<DnsPlan>, metrics: AgentMetrics) {
    let mut looks = LimitLooks::default();
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while plans.has_changed().is_ok() {
        pace.tick().await;
        let sets = limit_sets(&plans.borrow());
        let counts = count(&host, sets).await;
        let shares = looks.take(&plans.borrow(), Instant::now(), counts);
        metrics.limits(&shares);
    }
}

/// The sets that can be read.
async fn count(host: &LinuxHost, sets: Vec<String>) -> SourceCounts {
    let mut counts = SourceCounts::new();
    for set in sets {
        match host.source_counts(&set).await {
            Ok(sources) => drop(counts.insert(set, sources)),
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                set,
                "the sources of a limit cannot be read"
            ),
        }
    }
    counts
}
