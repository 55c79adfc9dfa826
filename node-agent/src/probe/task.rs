//! What is asked, when, and what is made of the answers. A round takes a quarter of a second and costs one packet for each
//! exit and family; resolvers are asked every few seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use postern_agent_core::{ProbeAnswer, ProbeCount, ProbeResults};
use postern_intent::{Address, ExitName};
use postern_plan::desired::dns::DnsExit;
use postern_plan::desired::{ProbePlan, ResolverChoice};
use postern_plan::host::Family;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::ProbeNews;
use super::echo::echo;
use crate::dns::ask_for_root;

/// Between two echoes to one gateway.
const ROUND: Duration = Duration::from_millis(250);
/// How long an answer may take. A way around the earth and back takes less.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Echoes in a row without an answer that are silence: 0.75 s after the first one was sent.
const MISSED: u32 = 3;
/// Rounds between two questions to one resolver, and questions in a row without an answer that are silence.
const RESOLVER_ROUNDS: u32 = 20;
const RESOLVER_MISSED: u32 = 3;
/// Rounds of silence after which the agent is told again.
const TELL_ROUNDS: u32 = 2;
/// Resolvers asked through one exit.
const RESOLVERS: usize = 8;

/// Starts the probes in a task of their own. `own_resolvers` are asked where a policy names none.
#[must_use]
pub fn start(
    plan: watch::Receiver<ProbePlan>,
    own_resolvers: Vec<SocketAddr>,
) -> mpsc::Receiver<ProbeNews> {
    let (news, receiver) = mpsc::channel(16);
    let results = ProbeResults {
        own_resolvers,
        ..ProbeResults::default()
    };
    let prober = Prober {
        plan,
        news,
        told: ProbeResults::default(),
        results,
        tunnels: BTreeMap::new(),
        resolvers: BTreeMap::new(),
        asked: JoinSet::new(),
        round: 0,
    };
    tokio::spawn(prober.run());
    receiver
}

type ResolverKey = (ExitName, SocketAddr);

struct Prober {
    plan: watch::Receiver<ProbePlan>,
    news: mpsc::Sender<ProbeNews>,
    told: ProbeResults,
    results: ProbeResults,
    tunnels: BTreeMap<(ExitName, Family), (Address, ProbeCount)>,
    resolvers: BTreeMap<ResolverKey, ProbeCount>,
    asked: JoinSet<(ResolverKey, bool)>,
    round: u32,
}

impl Prober {
    async fn run(mut self) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                changed = self.plan.changed() => if changed.is_err() { return },
            }
            let plan = self.plan.borrow_and_update().clone();
            self.forget_others(&plan);
            self.ask_gateways(&plan).await;
            self.ask_resolvers(&plan);
            self.tell(&plan).await;
            self.round = self.round.wrapping_add(1);
        }
    }

    /// What is no longer asked is no longer known.
    fn forget_others(&mut self, plan: &ProbePlan) {
        self.tunnels.retain(|(exit, family), (gateway, _)| {
            let used = plan.used.get(exit);
            used.and_then(|used| used.gateways.get(family)) == Some(gateway)
        });
        let asked: BTreeSet<ResolverKey> = self
            .resolver_sockets(plan)
            .map(|(exit, _, resolver)| (exit.clone(), resolver))
            .collect();
        self.resolvers.retain(|key, _| asked.contains(key));
    }

    async fn ask_gateways(&mut self, plan: &ProbePlan) {
        let number = u16::try_from(self.round & 0xffff).unwrap_or_default();
        let questions = plan.used.iter().flat_map(|(exit, used)| {
            used.gateways
                .iter()
                .map(move |(family, gateway)| async move {
                    let answered = echo(&used.socket, *gateway, number, ROUND.min(PATIENCE)).await;
                    ((exit.clone(), *family), *gateway, answered)
                })
        });
        for (key, gateway, answered) in join_all(questions).await {
            let (_, count) = self
                .tunnels
                .entry(key)
                .or_insert((gateway, ProbeCount::default()));
            match answered {
                Ok(true) => count.answered(),
                Ok(false) => count.missed(MISSED),
                // Without a socket nothing is known: handshakes are all that there is.
                Err(error) => tracing::debug!(%error, "a gateway cannot be asked"),
            }
        }
    }

    /// Which resolver is asked through which exit.
    fn resolver_sockets<'a>(
        &'a self,
        plan: &'a ProbePlan,
    ) -> impl Iterator<Item = (&'a ExitName, &'a DnsExit, SocketAddr)> + 'a {
        let own = &self.results.own_resolvers;
        let used = plan.used.iter().flat_map(move |(exit, used)| {
            let by_node = match used.choice {
                ResolverChoice::Named => &[][..],
                ResolverChoice::Node => &own[..],
            };
            let all: BTreeSet<SocketAddr> = used.resolvers.iter().chain(by_node).copied().collect();
            let all = all.into_iter().take(RESOLVERS);
            all.map(move |resolver| (exit, &used.socket, resolver))
        });
        let served = plan.served.iter().flat_map(move |(exit, socket)| {
            let all = own.iter().take(RESOLVERS);
            all.map(move |resolver| (exit, socket, *resolver))
        });
        used.chain(served).filter(|(_, socket, resolver)| {
            socket.sources.contains_key(&Family::of(&resolver.ip()))
        })
    }

    fn ask_resolvers(&mut self, plan: &ProbePlan) {
        while let Some(Ok((key, answered))) = self.asked.try_join_next() {
            let count = self.resolvers.entry(key).or_default();
            match answered {
                true => count.answered(),
                false => count.missed(RESOLVER_MISSED),
            }
        }
        let is_due = self.round.is_multiple_of(RESOLVER_ROUNDS);
        // One that was never asked is asked at once, and one that is not known yet more often.
        let due: Vec<(ResolverKey, DnsExit)> = self
            .resolver_sockets(plan)
            .filter(|(exit, _, resolver)| {
                let known = self.resolvers.get(&((*exit).clone(), *resolver));
                let untested = known.is_none_or(|one| one.answer == ProbeAnswer::Untested);
                is_due || untested && self.round.is_multiple_of(4)
            })
            .map(|(exit, socket, resolver)| ((exit.clone(), resolver), socket.clone()))
            .collect();
        for (key, socket) in due {
            self.asked.spawn(async move {
                let answered = ask_for_root(&socket, key.1).await;
                (key, answered)
            });
        }
    }

    async fn tell(&mut self, plan: &ProbePlan) {
        let tunnels = self.tunnels.iter();
        self.results.tunnels = tunnels
            .map(|(key, (_, count))| (key.clone(), count.answer))
            .collect();
        let resolvers = self.resolvers.iter();
        self.results.resolvers = resolvers
            .map(|(key, count)| (key.clone(), count.answer))
            .collect();
        if self.results != self.told {
            self.told = self.results.clone();
            drop(
                self.news
                    .send(ProbeNews::Results(self.results.clone()))
                    .await,
            );
        }
        if !self.round.is_multiple_of(TELL_ROUNDS) {
            return;
        }
        for (exit, used) in &plan.used {
            if self.results.is_lost(exit) {
                // An agent that is busy hears of it in the next round.
                drop(
                    self.news
                        .try_send(ProbeNews::Silent(used.socket.device.clone())),
                );
            }
        }
    }
}
