//! What is asked, when, and what is made of the answers. A round takes a quarter of a second and costs one packet for each
//! exit and family; resolvers are asked every few seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_agent_core::{EchoTrack, ProbeAnswer, ProbeCount, ProbeResults};
use postern_intent::ExitName;
use postern_plan::desired::dns::DnsExit;
use postern_plan::desired::{ProbePlan, ResolverChoice};
use postern_plan::host::Family;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::echo::{Echo, echo};
use super::{PublishedProbes, Silence};
use crate::dns::ask_for_root;

/// Between two echoes to one gateway.
const ROUND: Duration = Duration::from_millis(250);
/// Rounds between two questions to one resolver, and questions in a row without an answer that are silence.
const RESOLVER_ROUNDS: u32 = 20;
const RESOLVER_MISSED: u32 = 3;
/// Rounds between two questions to a resolver of which nothing is known yet.
const FIRST_ROUNDS: u32 = 4;
/// Rounds of silence after which the agent is told again.
const TELL_ROUNDS: u32 = 2;
/// Resolvers asked through one exit.
const RESOLVERS: usize = 8;

/// Starts the probes in a task of their own. `own_resolvers` are asked where a policy names none.
#[must_use]
pub fn start(
    plan: watch::Receiver<ProbePlan>,
    own_resolvers: Vec<SocketAddr>,
) -> watch::Receiver<PublishedProbes> {
    let (published, receiver) = watch::channel(PublishedProbes::default());
    let results = ProbeResults {
        own_resolvers,
        ..ProbeResults::default()
    };
    let prober = Prober {
        plan,
        published,
        results,
        ..Prober::empty()
    };
    tokio::spawn(prober.run());
    receiver
}

type TunnelKey = (ExitName, Family);
type ResolverKey = (ExitName, SocketAddr);

struct Prober {
    plan: watch::Receiver<ProbePlan>,
    published: watch::Sender<PublishedProbes>,
    results: ProbeResults,
    /// The plan that the answers are about.
    asked: ProbePlan,
    /// Grows when answers of before are about something else.
    generation: u32,
    tunnels: BTreeMap<TunnelKey, EchoTrack>,
    echoes: JoinSet<(u32, TunnelKey, Echo)>,
    resolvers: BTreeMap<ResolverKey, ProbeCount>,
    /// Resolvers whose answer is awaited.
    waiting: BTreeSet<ResolverKey>,
    questions: JoinSet<(u32, ResolverKey, bool)>,
    round: u32,
    /// When the last round was.
    ticked: Instant,
}

impl Prober {
    fn empty() -> Self {
        Self {
            plan: watch::channel(ProbePlan::default()).1,
            published: watch::channel(PublishedProbes::default()).0,
            results: ProbeResults::default(),
            asked: ProbePlan::default(),
            generation: 0,
            tunnels: BTreeMap::new(),
            echoes: JoinSet::new(),
            resolvers: BTreeMap::new(),
            waiting: BTreeSet::new(),
            questions: JoinSet::new(),
            round: 0,
            ticked: Instant::now(),
        }
    }

    async fn run(mut self) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {
                    self.excuse_delay();
                    self.ask_gateways();
                    self.ask_resolvers();
                    self.round = self.round.wrapping_add(1);
                }
                changed = self.plan.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let plan = self.plan.borrow_and_update().clone();
                    self.take_plan(plan);
                }
                Some(joined) = self.echoes.join_next() => match joined {
                    Ok((generation, key, found)) if generation == self.generation => {
                        self.take_echo(key, found);
                    }
                    Ok(_) | Err(_) => continue,
                },
                Some(joined) = self.questions.join_next() => match joined {
                    Ok((generation, key, answered)) => {
                        self.waiting.remove(&key);
                        if generation == self.generation {
                            let count = self.resolvers.entry(key).or_default();
                            match answered {
                                true => count.answered(),
                                false => count.missed(RESOLVER_MISSED),
                            }
                        }
                    }
                    Err(_) => continue,
                },
            }
            self.tell();
        }
    }

    /// What an answer was about may be another gateway or another way now: everything that is known of such an exit is
    /// forgotten, with the answers that are under way.
    fn take_plan(&mut self, plan: ProbePlan) {
        let is_same = |exit: &ExitName| {
            let digest = |plan: &ProbePlan| plan.used.get(exit).map(|used| used.digest.clone());
            digest(&plan) == digest(&self.asked)
                && plan.served.get(exit) == self.asked.served.get(exit)
        };
        let known = self.asked.used.keys().chain(self.asked.served.keys());
        let changed: BTreeSet<ExitName> = known.filter(|exit| !is_same(exit)).cloned().collect();
        if !changed.is_empty() {
            self.generation = self.generation.wrapping_add(1);
        }
        self.tunnels.retain(|(exit, family), _| {
            let used = plan.used.get(exit);
            let is_asked = used.is_some_and(|used| used.gateways.contains_key(family));
            is_asked && !changed.contains(exit)
        });
        self.asked = plan;
        let asked: BTreeSet<ResolverKey> = self
            .resolver_sockets()
            .map(|(exit, _, resolver)| (exit.clone(), resolver))
            .collect();
        self.resolvers
            .retain(|key, _| asked.contains(key) && !changed.contains(&key.0));
    }

    /// A round that comes late was late for every gateway.
    fn excuse_delay(&mut self) {
        let now = Instant::now();
        let late = now
            .saturating_duration_since(self.ticked)
            .saturating_sub(ROUND * 2);
        self.ticked = now;
        for track in self.tunnels.values_mut() {
            track.excuse(late);
        }
    }

    fn ask_gateways(&mut self) {
        let number = u16::try_from(self.round & 0xffff).unwrap_or_default();
        let generation = self.generation;
        for (exit, used) in &self.asked.used {
            for (family, gateway) in &used.gateways {
                let key = (exit.clone(), *family);
                let (socket, gateway) = (used.socket.clone(), *gateway);
                self.echoes.spawn(async move {
                    let found = echo(&socket, gateway, number).await;
                    (generation, key, found)
                });
            }
        }
    }

    fn take_echo(&mut self, key: TunnelKey, found: Echo) {
        let now = Instant::now();
        match found {
            Echo::Answered(after) => self
                .tunnels
                .entry(key)
                .or_insert_with(|| EchoTrack::begun(now))
                .answered(now, after),
            Echo::Missed => {
                self.tunnels
                    .entry(key)
                    .or_insert_with(|| EchoTrack::begun(now));
            }
            // Without a socket nothing is known: handshakes are all that there is.
            Echo::Unknown => drop(self.tunnels.remove(&key)),
        }
    }

    /// Which resolver is asked through which exit.
    fn resolver_sockets(&self) -> impl Iterator<Item = (&ExitName, &DnsExit, SocketAddr)> {
        let own = &self.results.own_resolvers;
        let used = self.asked.used.iter().flat_map(move |(exit, used)| {
            let by_node = match used.choice {
                ResolverChoice::Named => &[][..],
                ResolverChoice::Node => &own[..],
            };
            // The node's own ones first: they are what an exit is judged by.
            let all = by_node.iter().chain(&used.resolvers).copied();
            let all = all.take(RESOLVERS);
            all.map(move |resolver| (exit, &used.socket, resolver))
        });
        let served = self.asked.served.iter().flat_map(move |(exit, socket)| {
            let all = own.iter().take(RESOLVERS);
            all.map(move |resolver| (exit, socket, *resolver))
        });
        used.chain(served)
            .filter(|(_, socket, resolver)| socket.may_ask(&resolver.ip()))
    }

    fn ask_resolvers(&mut self) {
        let is_due = self.round.is_multiple_of(RESOLVER_ROUNDS);
        let is_early = self.round.is_multiple_of(FIRST_ROUNDS);
        let due: Vec<(ResolverKey, DnsExit)> = self
            .resolver_sockets()
            .map(|(exit, socket, resolver)| ((exit.clone(), resolver), socket))
            .filter(|(key, _)| {
                let known = self.resolvers.get(key);
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

    fn tell(&mut self) {
        let now = Instant::now();
        let tunnels = self.tunnels.iter();
        self.results.tunnels = tunnels
            .map(|(key, track)| (key.clone(), track.answer(now)))
            .collect();
        let resolvers = self.resolvers.iter();
        self.results.resolvers = resolvers
            .map(|(key, count)| (key.clone(), count.answer))
            .collect();
        let used = self.asked.used.iter();
        let lost = used
            .filter_map(|(exit, used)| {
                let silence = match self.results.gateway(exit) {
                    ProbeAnswer::Silent => Silence::AfterAnswers,
                    ProbeAnswer::Unanswered => Silence::Always,
                    ProbeAnswer::Untested | ProbeAnswer::Answers => return None,
                };
                Some((used.socket.device.clone(), silence))
            })
            .collect();
        let round = self.round / TELL_ROUNDS;
        self.published.send_if_modified(|published| {
            let again = !published.lost.is_empty() && published.round != round;
            let changed = published.results != self.results || published.lost != lost || again;
            if changed {
                *published = PublishedProbes {
                    results: self.results.clone(),
                    lost,
                    round,
                };
            }
            changed
        });
    }
}
