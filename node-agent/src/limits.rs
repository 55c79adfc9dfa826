//! What pods have left of their limits, looked at in a task of its own. It changes nothing and delays nothing.

use std::time::{Duration, Instant};

use postern_agent_core::limit_use::{LimitLooks, SourceCounts, limit_sets};
use postern_host::error::HostError;
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
        let plan = plans.borrow().clone();
        let sets = limit_sets(&plan);
        match count(&host, sets).await {
            Ok(counts) => metrics.limits(&looks.take(&plan, Instant::now(), counts)),
            // What was found before stays: a set that could not be read is no silent one.
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the sources of limits cannot be read"
            ),
        }
    }
}

async fn count(host: &LinuxHost, sets: Vec<String>) -> Result<SourceCounts, HostError> {
    let mut counts = SourceCounts::new();
    for set in sets {
        let sources = host.source_counts(&set).await?;
        counts.insert(set, sources);
    }
    Ok(counts)
}
