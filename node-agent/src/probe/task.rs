//! When something is published: at once when a gateway's answer changes, and not for each answer that comes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_agent_core::{ProbeAnswer, ProbeResults};
use postern_plan::desired::ProbePlan;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::dns::ResolverCircuits;

use super::gateways::{GatewayProbes, ProbeEffect, ProbeEvent};
use super::resolvers::ResolverProbes;
use super::{PublishedProbes, Silence};

/// A round, by which resolvers are asked.
const ROUND: Duration = Duration::from_millis(250);
/// Rounds of silence after which the agent is told again.
const TELL_ROUNDS: u32 = 2;
/// A timer that comes so late means that this node was busy, and answers wait to be read.
const BUSY: Duration = Duration::from_millis(30);
/// Time to read the answers that wait.
const READ: Duration = Duration::from_millis(50);
/// Without a deadline.
const IDLE: Duration = Duration::from_secs(60);

/// Starts the probes in a task of their own. `own_resolvers` are asked where a policy names none. `circuits` are
/// told when a gateway answers again.
#[must_use]
pub fn start(
    plan: watch::Receiver<ProbePlan>,
    own_resolvers: Vec<SocketAddr>,
    circuits: ResolverCircuits,
) -> watch::Receiver<PublishedProbes> {
    let (published, receiver) = watch::channel(PublishedProbes::default());
    let (gateways, events) = GatewayProbes::new();
    let prober = Prober {
        plan,
        circuits,
        events,
        published,
        results: ProbeResults {
            own_resolvers: own_resolvers.clone(),
            ..ProbeResults::default()
        },
        asked: ProbePlan::default(),
        gateways,
        resolvers: ResolverProbes::new(own_resolvers),
        round: 0,
        due: Instant::now(),
    };
    tokio::spawn(prober.run());
    receiver
}

struct Prober {
    plan: watch::Receiver<ProbePlan>,
    circuits: ResolverCircuits,
    events: mpsc::Receiver<ProbeEvent>,
    published: watch::Sender<PublishedProbes>,
    results: ProbeResults,
    /// The plan that the answers are about.
    asked: ProbePlan,
    gateways: GatewayProbes,
    resolvers: ResolverProbes,
    round: u32,
    /// When an answer may change without an event.
    due: Instant,
}

impl Prober {
    async fn run(mut self) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                changed = self.plan.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let plan = self.plan.borrow_and_update().clone();
                    self.resolvers.take_plan(&self.asked, &plan);
                    self.gateways.take_plan(&plan);
                    self.asked = plan;
                }
                () = sleep_until(self.due.into()) => {
                    let late = self.due.elapsed();
                    if late > BUSY {
                        self.gateways.excuse(late + READ);
                    }
                }
                // Behind the timer: after a pause of this node one gateway's answer must not be judged before all are excused.
                Some(event) = self.events.recv() => {
                    if self.gateways.take(&event, Instant::now()) == ProbeEffect::AsBefore {
                        continue;
                    }
                }
                Some(outcome) = self.resolvers.next() => self.resolvers.take(outcome),
                _ = rounds.tick() => {
                    self.resolvers.ask(&self.asked, self.round);
                    self.round = self.round.wrapping_add(1);
                }
            }
            self.publish();
        }
    }

    /// Resolvers behind a gateway that was silent were silent because of it.
    fn tell_circuits(&self) {
        let before = &self.published.borrow().results;
        for (exit, used) in &self.asked.used {
            let was_lost = matches!(
                before.gateway(exit, &used.in_use),
                ProbeAnswer::Silent | ProbeAnswer::Unanswered
            );
            if was_lost && self.results.gateway(exit, &used.in_use) == ProbeAnswer::Answers {
                self.circuits.exit_is_back(exit);
            }
        }
    }

    fn publish(&mut self) {
        let now = Instant::now();
        self.due = self.gateways.deadline(now).unwrap_or(now + IDLE);
        self.gateways.tell(&self.asked, &mut self.results, now);
        self.results.resolvers = self.resolvers.answers();
        self.tell_circuits();
        let used = self.asked.used.iter();
        let lost = used
            .filter_map(|(exit, used)| {
                let silence = match self.results.gateway(exit, &used.in_use) {
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
