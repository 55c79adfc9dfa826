//! Numbers for machines: `postern_agent_*`, OpenMetrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use postern_agent_core::limit_use::LimitShare;
use postern_agent_core::report::ScopeRuleCounts;
use postern_agent_core::{GatewayReach, ProbeResults, ScopeStatus};
use postern_intent::ScopeId;
use postern_plan::ruleset::LimitMeasure;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::apiserver::metrics::ApiMetrics;
use crate::dns::DnsCounters;
use crate::records::RecordMetrics;

use self::series::GaugeSeries;

pub(crate) mod series;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    reason: String,
}

/// A rule of a policy that only observes, or of an administrator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct RuleLabels {
    namespace: String,
    policy: String,
    rule: String,
}

/// A limit of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct LimitLabels {
    namespace: String,
    policy: String,
    limit: &'static str,
}

/// A gateway of an exit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct GatewayLabels {
    exit: String,
    gateway: String,
}

type LabelCounters = Family<Word, Counter>;
type LabelGauges = Family<Word, Gauge>;
type RuleGauges = GaugeSeries<RuleLabels, i64, AtomicI64>;

#[derive(Debug, Clone, Default)]
pub struct AgentMetrics {
    events: LabelCounters,
    refusals: LabelCounters,
    steps_failed: LabelCounters,
    transitions: LabelCounters,
    reconciles: LabelCounters,
    sealed: Gauge,
    serial: Gauge,
    other_keys: Gauge,
    packets: LabelGauges,
    would_refuse: RuleGauges,
    denied: RuleGauges,
    limit_left: GaugeSeries<LimitLabels, f64, AtomicU64>,
    limit_used_up: GaugeSeries<LimitLabels, i64, AtomicI64>,
    gateways: GaugeSeries<GatewayLabels, i64, AtomicI64>,
    apiserver: ApiMetrics,
    dns: DnsCounters,
    records: RecordMetrics,
}

impl AgentMetrics {
    /// The metrics with a registry that prints them.
    #[must_use]
    pub fn registered() -> (Self, Arc<Registry>) {
        let metrics = Self::default();
        let mut registry = Registry::with_prefix("postern_agent");
        registry.register(
            "events",
            "Things that happened, by name",
            metrics.events.clone(),
        );
        registry.register(
            "refused_documents",
            "Documents refused, by reason",
            metrics.refusals.clone(),
        );
        registry.register(
            "failed_steps",
            "Steps that failed, by kind",
            metrics.steps_failed.clone(),
        );
        registry.register(
            "transitions",
            "Transitions of scopes, by state entered",
            metrics.transitions.clone(),
        );
        // An alert asks for the first one too: a series that begins at 1 has no increase.
        let opened = Word {
            reason: ScopeStatus::FAILED_OPEN.to_owned(),
        };
        drop(metrics.transitions.get_or_create(&opened));
        registry.register(
            "reconciles",
            "Runs, by why they ran",
            metrics.reconciles.clone(),
        );
        registry.register(
            "sealed",
            "1 when the guard was read back whole",
            metrics.sealed.clone(),
        );
        registry.register(
            "applied_serial",
            "Serial of the body in force",
            metrics.serial.clone(),
        );
        registry.register(
            "installed_keys_differ",
            "1 when the keys given at installation are not the pinned ones, which alone count",
            metrics.other_keys.clone(),
        );
        registry.register(
            "counted_packets",
            "Packets that the tables counted, by counter, since they were made anew",
            metrics.packets.clone(),
        );
        registry.register(
            "would_refuse_packets",
            "Packets that policies which only observe would have refused, by rule, since the tables were made anew",
            metrics.would_refuse.family(),
        );
        registry.register(
            "denied_packets",
            "Packets that rules of administrators refused, by rule, since the tables were made anew",
            metrics.denied.family(),
        );
        registry.register(
            "limit_remaining_ratio",
            "What the pod that has the least has left of a limit of its policy, from 0 to 1, over the last seconds",
            metrics.limit_left.family(),
        );
        registry.register(
            "limit_exhausted_sources",
            "Addresses of pods that have nothing left of a limit of their policy",
            metrics.limit_used_up.family(),
        );
        registry.register(
            "exit_gateway_state",
            "State of each gateway that the node may use: 0 answers, 1 neither left nor chosen, 2 left",
            metrics.gateways.family(),
        );
        metrics.apiserver.register(&mut registry);
        metrics.dns.register(&mut registry);
        metrics.records.register(&mut registry);
        (metrics, Arc::new(registry))
    }

    fn one_more(counters: &LabelCounters, reason: &str) {
        counters
            .get_or_create(&Word {
                reason: reason.to_owned(),
            })
            .inc();
    }

    pub fn count(&self, what: &str) {
        Self::one_more(&self.events, what);
    }

    /// A document was refused.
    pub fn refused(&self, reason: &str) {
        Self::one_more(&self.refusals, reason);
    }

    pub fn step_failed(&self, kind: &str) {
        Self::one_more(&self.steps_failed, kind);
    }

    /// A scope entered a state.
    pub fn transition(&self, state: &str) {
        Self::one_more(&self.transitions, state);
    }

    pub fn reconciled(&self, why: &str) {
        Self::one_more(&self.reconciles, why);
    }

    /// What the kernel's counter of this name counted.
    pub fn counted_packets(&self, counter: &str, packets: u64) {
        let word = Word {
            reason: counter.to_owned(),
        };
        self.packets.get_or_create(&word).set(signed(packets));
    }

    /// What rules of policies that only observe would have refused, and what rules of administrators refused to pods of a namespace,
    /// whose policies may be several.
    pub fn rules(&self, scopes: &[ScopeRuleCounts<'_>]) {
        let (mut would_refuse, mut denied) = (BTreeMap::new(), BTreeMap::new());
        for scope in scopes {
            let labels = |policy: &str, rule: &str| RuleLabels {
                namespace: scope.policy.namespace.to_string(),
                policy: policy.to_owned(),
                rule: rule.to_owned(),
            };
            for rule in &scope.observed {
                let name = rule.rule.as_deref().unwrap_or("defaultAction");
                would_refuse.insert(labels(&scope.policy.name, name), signed(rule.packets));
            }
            for rule in &scope.denied {
                let packets: &mut i64 = denied.entry(labels(&rule.policy, &rule.rule)).or_default();
                *packets = packets.saturating_add(signed(rule.packets));
            }
        }
        self.would_refuse.show(would_refuse);
        self.denied.show(denied);
    }

    /// What pods have left of their limits, by policy; policies that are not there have none.
    pub fn limits(&self, shares: &BTreeMap<(ScopeId, LimitMeasure), LimitShare>) {
        let (mut left, mut used_up) = (BTreeMap::new(), BTreeMap::new());
        for ((scope, measure), share) in shares {
            let (namespace, policy) = scope.policy();
            let labels = LimitLabels {
                namespace: namespace.to_owned(),
                policy: policy.to_owned(),
                limit: measure.word(),
            };
            left.insert(labels.clone(), share.least);
            used_up.insert(labels, share.used_up);
        }
        self.limit_left.show(left);
        self.limit_used_up.show(used_up);
    }

    /// What probes say of the gateways of each exit, as the state of a circuit: closed, half open, open.
    pub fn gateways(&self, probes: &ProbeResults) {
        let states = probes.gateways.iter().map(|((exit, gateway), found)| {
            let labels = GatewayLabels {
                exit: exit.to_string(),
                gateway: gateway.to_string(),
            };
            let state = match found.reach {
                GatewayReach::Answers { .. } => 0,
                GatewayReach::Untested | GatewayReach::Late => 1,
                GatewayReach::DeadEnd | GatewayReach::Silent => 2,
            };
            (labels, state)
        });
        self.gateways.show(states.collect());
    }

    /// Metrics of the exchange with the API server.
    #[must_use]
    pub fn apiserver(&self) -> ApiMetrics {
        self.apiserver.clone()
    }

    /// How questions of pods for names end.
    #[must_use]
    pub fn dns(&self) -> DnsCounters {
        self.dns.clone()
    }

    /// Decisions of policies that are recorded.
    #[must_use]
    pub fn records(&self) -> RecordMetrics {
        self.records.clone()
    }

    /// How many keys are installed and not pinned, or pinned and not installed.
    pub fn key_differences(&self, keys: usize) {
        self.other_keys.set(i64::from(keys > 0));
    }

    /// What the last run found.
    pub fn found(&self, seal: postern_plan::check::Seal, serial: Option<u64>) {
        self.sealed
            .set(i64::from(seal == postern_plan::check::Seal::Sealed));
        self.serial.set(
            serial
                .and_then(|serial| i64::try_from(serial).ok())
                .unwrap_or(0),
        );
    }
}

fn signed(packets: u64) -> i64 {
    i64::try_from(packets).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus_client::encoding::text::encode;

    use postern_host_testing::fixture::client;

    use postern_agent_core::{GatewayAnswer, ProbeResults};
    use postern_crds::node_report::{DeniedCount, RuleCount};

    use super::{AgentMetrics, LimitMeasure, LimitShare, ScopeRuleCounts};

    const DOCUMENT: &str = include_str!("../../docs/agent-metrics.md");

    #[test]
    fn the_document_lists_every_metric_and_no_other() {
        let (metrics, registry) = AgentMetrics::registered();
        // A family without a value is not served.
        metrics.count("repairs");
        metrics.refused("Expired");
        metrics.step_failed("firewall");
        metrics.transition("Enforced");
        metrics.reconciled("Timer");
        metrics.counted_packets("blocked", 1);
        metrics.rules(&[ScopeRuleCounts {
            policy: &client().firewall[0].policy,
            observed: vec![RuleCount::default()],
            denied: vec![DeniedCount::default()],
        }]);
        let share = LimitShare {
            least: 0.5,
            used_up: 0,
        };
        let scope = "crawlers/crawler@eu".parse().unwrap();
        metrics.limits(&[((scope, LimitMeasure::Packets), share)].into());
        let gateway = ("eu".parse().unwrap(), "gw-1".parse().unwrap());
        metrics.gateways(&ProbeResults {
            gateways: [(gateway, GatewayAnswer::default())].into(),
            ..ProbeResults::default()
        });
        let resolver = "203.0.113.53:53".parse().unwrap();
        metrics.dns().resolvers(&[((None, resolver), 2)].into());
        metrics.apiserver().is_used();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let served: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
        let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
        let names = rows.filter_map(|row| row.split('`').next());
        let listed: BTreeSet<&str> = names
            .filter(|name| name.starts_with("postern_agent_"))
            .map(|name| name.strip_suffix("_total").unwrap_or(name))
            .collect();
        assert_eq!(served, listed);
        assert!(served.len() > 10);
    }
}
