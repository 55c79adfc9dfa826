//! Which resolvers that policies and settings name are not asked at the moment, because they did not answer.
//!
//! Each scope has its own circuit for a resolver: where the pods of one policy ask for names that get no answer, the pods of other
//! policies still ask that resolver. A resolver that a pod chose itself has no circuit, because no other pod waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postern_agent_core::circuit::{CircuitBreaker, CircuitPass, CircuitState};
use postern_intent::{ExitName, ScopeId};
use postern_plan::desired::dns::{DnsEntry, DnsExit, DnsPlan};
use tokio::sync::watch;

use super::counters::DnsCounters;
use crate::latest::send_other;

/// Resolvers that are not asked, by scope.
pub type OpenResolvers = BTreeMap<ScopeId, BTreeSet<SocketAddr>>;

/// All circuits. A copy has the same ones.
#[derive(Debug, Clone)]
pub struct ResolverCircuits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    circuits: Mutex<BTreeMap<(ScopeId, SocketAddr), Circuit>>,
    open: watch::Sender<OpenResolvers>,
    counters: DnsCounters,
}

#[derive(Debug)]
struct Circuit {
    /// The exit and the device that the questions leave by. A resolver may answer by one exit and not by another one.
    way: DnsExit,
    breaker: CircuitBreaker,
}

impl Circuit {
    fn closed(way: &DnsExit) -> Self {
        Self {
            way: way.clone(),
            breaker: CircuitBreaker::default(),
        }
    }
}

/// One resolver of one scope, as a question meets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedCircuit<'a> {
    pub(super) circuits: &'a ResolverCircuits,
    pub(super) scope: &'a ScopeId,
    pub(super) way: &'a DnsExit,
}

impl ResolverCircuits {
    #[must_use]
    pub fn new(counters: DnsCounters) -> Self {
        Self(Arc::new(Shared {
            circuits: Mutex::default(),
            open: watch::channel(OpenResolvers::default()).0,
            counters,
        }))
    }

    /// Which resolvers are not asked, whenever that changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<OpenResolvers> {
        self.0.open.subscribe()
    }

    /// Forgets what the plan asks no more, or by another way.
    pub fn keep(&self, plan: &DnsPlan) {
        let entries: BTreeMap<&ScopeId, &DnsEntry> = plan
            .entries
            .values()
            .filter_map(|entry| Some((entry.scope.as_ref()?, entry)))
            .collect();
        self.retain(|(scope, resolver), circuit| {
            entries.get(scope).is_some_and(|entry| {
                let named = entry.upstreams.is_empty() || entry.upstreams.contains(resolver);
                named && entry.exit.as_ref() == Some(&circuit.way)
            })
        });
    }

    /// Forgets what was found while the exit was lost: its resolvers were not reached.
    pub fn exit_is_back(&self, exit: &ExitName) {
        self.retain(|_, circuit| circuit.way.exit.as_ref() != Some(exit));
    }

    fn retain(&self, mut stays: impl FnMut(&(ScopeId, SocketAddr), &Circuit) -> bool) {
        let mut circuits = self.lock();
        let before = circuits.len();
        circuits.retain(|key, circuit| stays(key, circuit));
        if circuits.len() != before {
            self.publish(&circuits);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ScopeId, SocketAddr), Circuit>> {
        let circuits = self.0.circuits.lock();
        circuits.unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, circuits: &BTreeMap<(ScopeId, SocketAddr), Circuit>) {
        let mut open = OpenResolvers::new();
        let mut worst: BTreeMap<(Option<ExitName>, SocketAddr), i64> = BTreeMap::new();
        for ((scope, resolver), circuit) in circuits {
            if circuit.breaker.is_open() {
                open.entry(scope.clone()).or_default().insert(*resolver);
            }
            let key = (circuit.way.exit.clone(), *resolver);
            let state = worst.entry(key).or_default();
            *state = (*state).max(number(circuit.breaker.state()));
        }
        self.0.counters.resolvers(&worst);
        send_other(&self.0.open, open);
    }
}

/// The state as a number, for the metric.
const fn number(state: CircuitState) -> i64 {
    match state {
        CircuitState::Closed | CircuitState::Doubted { .. } => 0,
        CircuitState::HalfOpen { .. } => 1,
        CircuitState::Open { .. } => 2,
    }
}

impl AskedCircuit<'_> {
    /// Asks for a question that is given up after `patience`.
    pub(super) fn pass(self, resolver: SocketAddr, patience: Duration) -> CircuitPass {
        let mut circuits = self.circuits.lock();
        let mut is_new = false;
        let key = (self.scope.clone(), resolver);
        let circuit = circuits.entry(key).or_insert_with(|| {
            is_new = true;
            Circuit::closed(self.way)
        });
        if circuit.way != *self.way {
            is_new = true;
            *circuit = Circuit::closed(self.way);
        }
        let before = number(circuit.breaker.state());
        let passed = circuit.breaker.pass(Instant::now(), patience);
        if is_new || before != number(circuit.breaker.state()) {
            self.circuits.publish(&circuits);
        }
        passed
    }

    /// An answer to a question that [passed](Self::pass).
    pub(super) fn answered(self, resolver: SocketAddr) {
        self.tell(resolver, |breaker| breaker.answered(Instant::now()));
    }

    /// A question that passed and was given up.
    pub(super) fn missed(self, resolver: SocketAddr, sent: Instant) {
        // A number that the kernel does not give leaves the time as long as it is.
        let mut random = [0];
        let _ = getrandom::fill(&mut random);
        self.tell(resolver, |breaker| {
            breaker.missed(sent, Instant::now(), random[0]);
        });
    }

    /// The result is ignored where the circuit was removed, or has another way, since the question passed.
    fn tell(self, resolver: SocketAddr, act: impl FnOnce(&mut CircuitBreaker)) {
        let mut circuits = self.circuits.lock();
        let found = circuits.get_mut(&(self.scope.clone(), resolver));
        let Some(circuit) = found.filter(|circuit| circuit.way == *self.way) else {
            return;
        };
        let before = number(circuit.breaker.state());
        act(&mut circuit.breaker);
        let after = number(circuit.breaker.state());
        if before != after {
            tracing::debug!(%resolver, scope = %self.scope, state = after, "circuit of a resolver");
            self.circuits.publish(&circuits);
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_intent::body::{TermsDnsMode, TermsDnsRefusal};

    use super::*;

    fn way(exit: &str) -> DnsExit {
        DnsExit {
            exit: Some(exit.parse().unwrap()),
            mark: 0x10,
            device: "pst-c-eu".parse().unwrap(),
            sources: BTreeMap::new(),
            offered: None,
        }
    }

    fn resolver() -> SocketAddr {
        "203.0.113.53:53".parse().unwrap()
    }

    fn scope(name: &str) -> ScopeId {
        format!("crawlers/{name}@eu").parse().unwrap()
    }

    /// Two scopes that ask one resolver by an exit, of which the first one has opened its circuit.
    fn opened() -> ResolverCircuits {
        let circuits = ResolverCircuits::new(DnsCounters::default());
        let long_ago = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        for (name, missed) in [("a", 3), ("b", 2)] {
            let (scope, way) = (scope(name), way("eu"));
            let asked = AskedCircuit {
                circuits: &circuits,
                scope: &scope,
                way: &way,
            };
            (0..missed).for_each(|_| {
                asked.pass(resolver(), Duration::from_secs(2));
                asked.missed(resolver(), long_ago);
            });
        }
        circuits
    }

    fn open(circuits: &ResolverCircuits) -> OpenResolvers {
        circuits.changes().borrow().clone()
    }

    fn plan(exit: &DnsExit, upstream: SocketAddr) -> DnsPlan {
        let entry = DnsEntry {
            scope: Some(scope("a")),
            mode: TermsDnsMode::Forward,
            refusal: TermsDnsRefusal::NxDomain,
            names: Arc::default(),
            upstreams: vec![upstream],
            terms: None,
            exit: Some(exit.clone()),
        };
        DnsPlan {
            entries: [("10.244.1.2".parse().unwrap(), entry)].into(),
            ..DnsPlan::default()
        }
    }

    #[test]
    fn what_one_policy_asks_opens_no_circuit_of_another_one() {
        let of_first = OpenResolvers::from([(scope("a"), [resolver()].into())]);
        assert_eq!(open(&opened()), of_first);
    }

    #[test]
    fn a_circuit_is_forgotten_with_its_way_its_resolver_and_when_its_exit_is_back() {
        let other = "203.0.113.54:53".parse().unwrap();
        let circuits = opened();
        circuits.keep(&plan(&way("eu"), resolver()));
        circuits.exit_is_back(&"us".parse().unwrap());
        assert_eq!(open(&circuits).len(), 1, "nothing changed for it");
        for forget in [
            |circuits: &ResolverCircuits, _| circuits.exit_is_back(&"eu".parse().unwrap()),
            |circuits: &ResolverCircuits, _| circuits.keep(&plan(&way("us"), resolver())),
            |circuits: &ResolverCircuits, other| circuits.keep(&plan(&way("eu"), other)),
            |circuits: &ResolverCircuits, _| circuits.keep(&DnsPlan::default()),
        ] {
            let circuits = opened();
            forget(&circuits, other);
            assert_eq!(open(&circuits), OpenResolvers::new());
            let (scope, way) = (scope("a"), way("eu"));
            let late = AskedCircuit {
                circuits: &circuits,
                scope: &scope,
                way: &way,
            };
            (0..3).for_each(|_| late.missed(resolver(), Instant::now()));
            assert_eq!(open(&circuits), OpenResolvers::new(), "a late miss");
        }
    }
}
