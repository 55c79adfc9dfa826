//! Counts of resolvers' answers. The agent asks each resolver every few seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_agent_core::{ProbeAnswer, ProbeCount};
use postern_intent::ExitName;
use postern_plan::desired::dns::DnsExit;
use postern_plan::desired::{ProbePlan, ResolverChoice};
use tokio::task::JoinSet;

use crate::dns::ask_for_root;

/// Rounds between two questions to one resolver, and questions in a row without an answer that are silence.
const ROUNDS: u32 = 20;
const MISSED: u32 = 3;
/// Rounds between two questions to a resolver of which nothing is known yet.
const FIRST_ROUNDS: u32 = 4;
/// Resolvers asked through one exit.
const RESOLVERS: usize = 8;

type ResolverKey = (ExitName, SocketAddr);

/// An answer, or that none came in time, with the number of the plan by which it was asked.
pub(super) type ResolverOutcome = (u32, ResolverKey, bool);

/// All resolvers.
pub(super) struct ResolverProbes {
    /// The node's own ones, which are asked where a policy names none.
    own: Vec<SocketAddr>,
    counts: BTreeMap<ResolverKey, ProbeCount>,
    /// Resolvers whose answer is awaited.
    waiting: BTreeSet<ResolverKey>,
    questions: JoinSet<ResolverOutcome>,
    /// Grows when answers of before are about something else.
    generation: u32,
}

impl ResolverProbes {
    pub(super) fn new(own: Vec<SocketAddr>) -> Self {
        Self {
            own,
            counts: BTreeMap::new(),
            waiting: BTreeSet::new(),
            questions: JoinSet::new(),
            generation: 0,
        }
    }

    /// When an exit uses another gateway or socket, its counts are dropped, and answers to questions that are under way are
    /// ignored.
    pub(super) fn take_plan(&mut self, before: &ProbePlan, plan: &ProbePlan) {
        let is_same = |exit: &ExitName| {
            let way = |plan: &ProbePlan| {
                let used = plan.used.get(exit);
                used.map(|used| (used.socket.clone(), used.in_use.clone()))
            };
            way(plan) == way(before) && plan.served.get(exit) == before.served.get(exit)
        };
        let known = before.used.keys().chain(before.served.keys());
        let changed: BTreeSet<ExitName> = known.filter(|exit| !is_same(exit)).cloned().collect();
        if !changed.is_empty() {
            self.generation = self.generation.wrapping_add(1);
        }
        let asked: BTreeSet<ResolverKey> = self
            .sockets(plan)
            .map(|(exit, _, resolver)| (exit.clone(), resolver))
            .collect();
        self.counts
            .retain(|key, _| asked.contains(key) && !changed.contains(&key.0));
    }

    /// Asks those whose turn it is.
    pub(super) fn ask(&mut self, plan: &ProbePlan, round: u32) {
        let is_due = round.is_multiple_of(ROUNDS);
        let is_early = round.is_multiple_of(FIRST_ROUNDS);
        let due: Vec<(ResolverKey, DnsExit)> = self
            .sockets(plan)
            .map(|(exit, socket, resolver)| ((exit.clone(), resolver), socket))
            .filter(|(key, _)| {
                let known = self.counts.get(key);
                let untested = known.is_none_or(|one| one.answer == ProbeAnswer::Untested);
                !self.waiting.contains(key) && (is_due || is_early && untested)
            })
            .map(|(key, socket)| (key, socket.clone()))
            .collect();
        let generation = self.generation;
        for (key, socket) in due {
            self.waiting.insert(key.clone());
            self.questions.spawn(async move {
                let answered = ask_for_root(&socket, key.1).await;
                (generation, key, answered)
            });
        }
    }

    /// The next outcome; none while nothing is asked.
    pub(super) async fn next(&mut self) -> Option<ResolverOutcome> {
        self.questions.join_next().await?.ok()
    }

    /// Takes an outcome.
    pub(super) fn take(&mut self, (generation, key, answered): ResolverOutcome) {
        self.waiting.remove(&key);
        if generation == self.generation {
            let count = self.counts.entry(key).or_default();
            match answered {
                true => count.answered(),
                false => count.missed(MISSED),
            }
        }
    }

    /// The answer of each resolver.
    pub(super) fn answers(&self) -> BTreeMap<ResolverKey, ProbeAnswer> {
        let counts = self.counts.iter();
        counts
            .map(|(key, count)| (key.clone(), count.answer))
            .collect()
    }

    /// Which resolver is asked through which exit.
    fn sockets<'a>(
        &'a self,
        plan: &'a ProbePlan,
    ) -> impl Iterator<Item = (&'a ExitName, &'a DnsExit, SocketAddr)> {
        let used = plan.used.iter().flat_map(|(exit, used)| {
            let by_node = match used.choice {
                ResolverChoice::Named => &[][..],
                ResolverChoice::Node => &self.own[..],
            };
            // The node's own ones first: they are what an exit is judged by.
            let all = by_node.iter().chain(&used.resolvers).copied();
            let all = all.take(RESOLVERS);
            all.map(move |resolver| (exit, &used.socket, resolver))
        });
        let served = plan.served.iter().flat_map(|(exit, socket)| {
            let all = self.own.iter().take(RESOLVERS);
            all.map(move |resolver| (exit, socket, *resolver))
        });
        used.chain(served)
            .filter(|(_, socket, resolver)| socket.may_ask(&resolver.ip()))
    }
}
