//! What is counted. `docs/operator-metrics.md` lists the names; a test compares the two.

use postern_apiserver::Requests;
use postern_crds::conditions::{ConditionStatus, ConditionType};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::watches::WatchedKind;

/// How a run of the pipeline ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum RunResult {
    /// Everything that was to be written is written.
    Done,
    /// What was read was old, or is not complete yet: another run follows.
    Again,
    Failed,
}

/// What was written to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum WriteLabel {
    Intent,
    /// An envelope that had gone, byte for byte.
    Republished,
    /// A report without a status, for an agent to fill.
    Report,
    /// A status of a user's object.
    Status,
    /// A taint that is removed.
    Taint,
    Memory,
    /// The stamp of a new leader.
    Stamp,
    Event,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    result: RunResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WrittenLabels {
    object: WriteLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    kind: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabels {
    condition: &'static str,
    status: &'static str,
}

/// A step of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum PipelineStep {
    Gather,
    Compile,
    Sign,
    Publish,
    /// Handing on what became of a run.
    Report,
    /// Writing statuses, beside the runs.
    Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: PipelineStep,
}

type Durations = Family<StepLabels, Histogram, fn() -> Histogram>;

/// The operator's metrics; clones share their values.
#[derive(Debug, Clone)]
pub struct OperatorMetrics {
    runs: Family<RunLabels, Counter>,
    steps: Durations,
    written: Family<WrittenLabels, Counter>,
    /// Events that nobody will read.
    pub events_lost: Counter,
    watch_failures: Family<WatchLabels, Counter>,
    objects: Family<KindLabels, Gauge>,
    poison: Family<KindLabels, Gauge>,
    nodes: Family<NodeLabels, Gauge>,
    /// 1 while this process leads.
    pub leader: Gauge,
    /// 1 while the signing key is there.
    pub signing_key: Gauge,
    /// Nodes that get nothing until a person approves.
    pub restored: Gauge,
    /// Nodes that get nothing new until they have reported.
    pub awaited: Gauge,
    /// Nodes whose published envelope does not verify.
    pub tampered: Gauge,
    /// Nodes that a retiring key waits for.
    pub keys_waiting: Gauge,
    /// Nodes that trust none of the signing keys.
    pub other_keys: Gauge,
    /// What waits for an approval.
    pub held: Gauge,
    /// 1 while the settings file is refused.
    pub refused_settings: Gauge,
    /// Pages of the memory that the API server refuses.
    pub unwritten_pages: Gauge,
    /// How many seconds the API server's clock is ahead of the own one.
    pub clock_difference: Gauge,
    /// Objects whose last write failed.
    pub backing_off: Gauge,
    /// When the pipeline last ended well, in seconds since 1970.
    pub last_success: Gauge,
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
}

impl Default for OperatorMetrics {
    fn default() -> Self {
        Self {
            runs: Family::default(),
            steps: Family::new_with_constructor(seconds),
            written: Family::default(),
            events_lost: Counter::default(),
            watch_failures: Family::default(),
            objects: Family::default(),
            poison: Family::default(),
            nodes: Family::default(),
            leader: Gauge::default(),
            signing_key: Gauge::default(),
            restored: Gauge::default(),
            awaited: Gauge::default(),
            tampered: Gauge::default(),
            keys_waiting: Gauge::default(),
            other_keys: Gauge::default(),
            held: Gauge::default(),
            refused_settings: Gauge::default(),
            unwritten_pages: Gauge::default(),
            clock_difference: Gauge::default(),
            backing_off: Gauge::default(),
            last_success: Gauge::default(),
        }
    }
}

impl OperatorMetrics {
    /// Registers everything under `postern_operator_`.
    pub fn register(&self, registry: &mut Registry, requests: &Requests) {
        let own = registry.sub_registry_with_prefix("postern_operator");
        own.register("pipeline_runs", "Runs of the pipeline", self.runs.clone());
        own.register(
            "pipeline_step_duration_seconds",
            "Time that a step of the pipeline took",
            self.steps.clone(),
        );
        own.register(
            "writes",
            "Objects written to the API server",
            self.written.clone(),
        );
        own.register(
            "events_lost",
            "Events that were not written",
            self.events_lost.clone(),
        );
        own.register(
            "api_requests",
            "Requests to the API server",
            requests.total(),
        );
        own.register(
            "watch_failures",
            "Failures of watches",
            self.watch_failures.clone(),
        );
        own.register("objects", "Objects in the stores", self.objects.clone());
        own.register(
            "poison_objects",
            "Objects that cannot be read and count as refused",
            self.poison.clone(),
        );
        own.register(
            "nodes",
            "Nodes by condition and its status",
            self.nodes.clone(),
        );
        for (name, help, gauge) in self.gauges() {
            own.register(name, help, gauge.clone());
        }
    }

    /// Name, help and value of each gauge without a label.
    const fn gauges(&self) -> [(&'static str, &'static str, &Gauge); 13] {
        [
            ("leader", "1 while this process leads", &self.leader),
            (
                "signing_key_present",
                "1 while the signing key is there",
                &self.signing_key,
            ),
            (
                "nodes_restored",
                "Nodes that get nothing until a person approves",
                &self.restored,
            ),
            (
                "nodes_awaited",
                "Nodes that get nothing new until they have reported",
                &self.awaited,
            ),
            (
                "nodes_tampered",
                "Nodes whose published envelope does not verify",
                &self.tampered,
            ),
            (
                "key_rotation_waiting_nodes",
                "Nodes that a retiring signing key waits for",
                &self.keys_waiting,
            ),
            (
                "nodes_with_other_keys",
                "Nodes that trust none of the signing keys",
                &self.other_keys,
            ),
            (
                "releases_held",
                "Releases that wait for an approval",
                &self.held,
            ),
            (
                "settings_refused",
                "1 while the settings file is refused and those of before are in force",
                &self.refused_settings,
            ),
            (
                "memory_unwritten_pages",
                "Pages of the memory that the API server refuses",
                &self.unwritten_pages,
            ),
            (
                "clock_difference_seconds",
                "How many seconds the API server's clock is ahead of the operator's",
                &self.clock_difference,
            ),
            (
                "writes_backing_off",
                "Objects whose last write failed and that are tried again later",
                &self.backing_off,
            ),
            (
                "last_success_timestamp_seconds",
                "When the pipeline last ended well, in seconds since 1970",
                &self.last_success,
            ),
        ]
    }

    pub fn ran(&self, result: RunResult) {
        self.runs.get_or_create(&RunLabels { result }).inc();
    }

    /// A step took so long.
    pub fn took(&self, step: PipelineStep, time: std::time::Duration) {
        self.steps
            .get_or_create(&StepLabels { step })
            .observe(time.as_secs_f64());
    }

    pub fn wrote(&self, object: WriteLabel) {
        self.written.get_or_create(&WrittenLabels { object }).inc();
    }

    pub fn watch_failed(&self, kind: WatchedKind, code: Option<u16>) {
        let labels = WatchLabels {
            kind: kind.as_str(),
            code: code.map_or_else(|| "none".to_owned(), |code| code.to_string()),
        };
        self.watch_failures.get_or_create(&labels).inc();
    }

    /// How many objects a store has, and how many of them cannot be read.
    pub fn counted(&self, kind: WatchedKind, objects: usize, poison: usize) {
        let labels = KindLabels {
            kind: kind.as_str(),
        };
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.objects.get_or_create(&labels).set(number(objects));
        self.poison.get_or_create(&labels).set(number(poison));
    }
}

impl OperatorMetrics {
    /// How many nodes have a condition with that status.
    pub fn counted_nodes(&self, kind: ConditionType, state: ConditionStatus, count: usize) {
        let labels = NodeLabels {
            condition: kind.as_str(),
            status: state.as_str(),
        };
        self.nodes.get_or_create(&labels).set(gauge(count));
    }
}

/// A count as a gauge takes it.
#[must_use]
pub fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::{OperatorMetrics, PipelineStep, RunResult, WriteLabel};
    use crate::watches::WatchedKind;
    use postern_apiserver::Requests;
    use postern_crds::conditions::{ConditionStatus, ConditionType};

    const DOCUMENT: &str = include_str!("../../docs/operator-metrics.md");

    #[test]
    fn the_document_lists_every_metric_and_no_other() {
        let mut registry = Registry::default();
        let (metrics, requests) = (OperatorMetrics::default(), Requests::default());
        metrics.register(&mut registry, &requests);
        // A family without a value is not served.
        metrics.ran(RunResult::Done);
        metrics.took(PipelineStep::Gather, std::time::Duration::ZERO);
        metrics.wrote(WriteLabel::Intent);
        metrics.watch_failed(WatchedKind::Pod, None);
        metrics.counted(WatchedKind::Pod, 1, 0);
        metrics.counted_nodes(ConditionType::Ready, ConditionStatus::True, 1);
        requests.count("GET", "200");
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        let served: std::collections::BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let listed: std::collections::BTreeSet<&str> = DOCUMENT
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split('`').next())
            .filter(|name| name.starts_with("postern_operator_"))
            .map(|name| name.strip_suffix("_total").unwrap_or(name))
            .collect();
        assert_eq!(served, listed);
        assert!(served.len() > 10);
    }
}
