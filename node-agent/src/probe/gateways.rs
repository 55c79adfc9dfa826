//! Tracks of gateways, and the tasks that ask them: one for each gateway and family, and one for the targets behind the
//! gateway in use.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_agent_core::{AnswerTrack, GatewayReach, ProbeAnswer, ProbeResults, SilenceLimit};
use postern_intent::body::ExitProbe;
use postern_intent::{Address, ExitName, NodeName, WgKey};
use postern_plan::desired::dns::DnsExit;
use postern_plan::desired::{GatewayWarmth, ProbePlan, UsedProbe};
use postern_plan::host::Family;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Outcome;
use super::connect::keep_connecting;
use super::echo::keep_asking;

/// What a gateway gets that came into use: a process of userspace WireGuard begins a new session with it.
const NEW_SESSION: Duration = Duration::from_millis(500);
/// How much slower cold gateways are asked.
const COLD_FACTOR: u32 = 10;

/// The subject of a probe task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    Gateway(ExitName, NodeName, Family),
    /// The targets behind the gateway in use.
    Targets(ExitName),
}

/// With another one of these, answers of before are about something else.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Question {
    Echo {
        socket: DnsExit,
        address: Address,
        key: WgKey,
        endpoint: Option<SocketAddr>,
        probe: ExitProbe,
    },
    Connect {
        socket: DnsExit,
        in_use: NodeName,
        probe: ExitProbe,
    },
}

impl Question {
    /// Is it the same gateway, by the same way, and perhaps at another pace?
    fn is_about_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Echo {
                    socket,
                    address,
                    key,
                    endpoint,
                    probe: _,
                },
                Self::Echo {
                    socket: other_socket,
                    address: other_address,
                    key: other_key,
                    endpoint: other_endpoint,
                    probe: _,
                },
            ) => {
                (socket, address, key, endpoint)
                    == (other_socket, other_address, other_key, other_endpoint)
            }
            _ => false,
        }
    }
}

/// An outcome, and the task that it comes from.
pub(super) struct ProbeEvent {
    asked: Asked,
    task: u64,
    outcome: Outcome,
}

struct ProbeTask {
    number: u64,
    question: Question,
    handle: AbortHandle,
    track: Option<AnswerTrack>,
}

impl Drop for ProbeTask {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl ProbeTask {
    fn limit(&self) -> SilenceLimit {
        match &self.question {
            Question::Echo { probe, .. } | Question::Connect { probe, .. } => {
                SilenceLimit::of(probe)
            }
        }
    }

    fn reach(&self, now: Instant) -> GatewayReach {
        let track = self.track.as_ref();
        track.map_or(GatewayReach::Untested, |track| {
            track.reach(now, self.limit())
        })
    }

    fn answer(&self, now: Instant) -> ProbeAnswer {
        let track = self.track.as_ref();
        track.map_or(ProbeAnswer::Untested, |track| {
            track.answer(now, self.limit())
        })
    }
}

/// Whether something follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeEffect {
    Changed,
    AsBefore,
}

/// All gateways.
pub(super) struct GatewayProbes {
    tasks: BTreeMap<Asked, ProbeTask>,
    /// Exits behind which something answered once, by whichever gateway: an exit whose targets never answered may have the
    /// wrong ones, and no gateway is left for that.
    proved: BTreeSet<ExitName>,
    /// The gateway in use of each exit.
    in_use: BTreeMap<ExitName, NodeName>,
    /// Numbers of tasks.
    next: u64,
    events: mpsc::Sender<ProbeEvent>,
}

impl GatewayProbes {
    /// Nothing is asked; events come on the channel.
    pub(super) fn new() -> (Self, mpsc::Receiver<ProbeEvent>) {
        let (events, receiver) = mpsc::channel(1024);
        let probes = Self {
            tasks: BTreeMap::new(),
            proved: BTreeSet::new(),
            in_use: BTreeMap::new(),
            next: 0,
            events,
        };
        (probes, receiver)
    }

    /// Ends the tasks that ask something else than the plan, and starts those that it needs.
    pub(super) fn take_plan(&mut self, plan: &ProbePlan) {
        let mut wanted = BTreeMap::new();
        for (exit, used) in &plan.used {
            wanted.extend(questions(exit, used));
        }
        self.proved.retain(|exit| plan.used.contains_key(exit));
        let in_use = plan.used.iter();
        let in_use = in_use.map(|(exit, used)| (exit.clone(), used.in_use.clone()));
        let former_gateway = std::mem::replace(&mut self.in_use, in_use.collect());
        let mut former = std::mem::take(&mut self.tasks);
        for (asked, question) in wanted {
            let former = former.remove(&asked);
            let task = match former {
                Some(former) if former.question == question => former,
                Some(former) if former.question.is_about_the_same(&question) => {
                    let mut task = self.start(asked.clone(), question);
                    task.track = former.track;
                    task
                }
                Some(_) | None => self.start(asked.clone(), question),
            };
            self.tasks.insert(asked, task);
        }
        for (exit, gateway) in &self.in_use {
            if former_gateway
                .get(exit)
                .is_some_and(|former| former != gateway)
            {
                for family in Family::BOTH {
                    let asked = Asked::Gateway(exit.clone(), gateway.clone(), family);
                    let task = self.tasks.get_mut(&asked);
                    if let Some(track) = task.and_then(|task| task.track.as_mut()) {
                        track.excuse(NEW_SESSION);
                    }
                }
            }
        }
    }

    fn start(&mut self, asked: Asked, question: Question) -> ProbeTask {
        let number = self.next;
        self.next += 1;
        let events = self.events.clone();
        let tell = async move |outcome| {
            let event = ProbeEvent {
                asked: asked.clone(),
                task: number,
                outcome,
            };
            // The receiver is gone when the agent stops.
            drop(events.send(event).await);
        };
        let task = match question.clone() {
            Question::Echo {
                socket,
                address,
                probe,
                ..
            } => {
                let pace = pace(&probe);
                tokio::spawn(async move { keep_asking(socket, address, pace, tell).await })
            }
            Question::Connect { socket, probe, .. } => {
                let pace = pace(&probe);
                let targets = probe.targets;
                tokio::spawn(async move { keep_connecting(socket, targets, pace, tell).await })
            }
        };
        ProbeTask {
            number,
            question,
            handle: task.abort_handle(),
            track: None,
        }
    }

    /// Takes an outcome.
    pub(super) fn take(&mut self, event: &ProbeEvent, now: Instant) -> ProbeEffect {
        let Some(task) = self.tasks.get_mut(&event.asked) else {
            return ProbeEffect::AsBefore;
        };
        if task.number != event.task {
            return ProbeEffect::AsBefore;
        }
        let before = (discriminant(&task.reach(now)), task.answer(now));
        let limit = task.limit();
        match event.outcome {
            Outcome::Answered(took) => {
                let track = task.track.get_or_insert_with(|| AnswerTrack::begun(now));
                track.answered(now, took, limit);
                if let Asked::Targets(exit) = &event.asked {
                    self.proved.insert(exit.clone());
                }
            }
            Outcome::Missed => {
                task.track.get_or_insert_with(|| AnswerTrack::begun(now));
            }
            // Without a socket nothing is known: handshakes are all that there is.
            Outcome::Unknown => task.track = None,
            Outcome::Late(by) => {
                if let Some(track) = &mut task.track {
                    track.excuse(by);
                }
            }
        }
        let is_same = before == (discriminant(&task.reach(now)), task.answer(now));
        // While the gateway in use or its targets are silent, each answer is published: the choice compares their times.
        let is_telling = match &event.asked {
            Asked::Gateway(exit, ..) => {
                self.is_dead_end(exit, now) || self.in_use_is_silent(exit, now)
            }
            Asked::Targets(_) => false,
        };
        match is_same && !is_telling {
            true => ProbeEffect::AsBefore,
            false => ProbeEffect::Changed,
        }
    }

    /// This node was too busy to look at its answers for so long.
    pub(super) fn excuse(&mut self, by: Duration) {
        for track in self
            .tasks
            .values_mut()
            .filter_map(|task| task.track.as_mut())
        {
            track.excuse(by);
        }
    }

    /// When an answer changes next if nothing comes.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let tasks = self.tasks.values();
        let ends = tasks.filter_map(|task| task.track.as_ref()?.deadline(now, task.limit()));
        ends.min()
    }

    /// Writes the current state of each gateway into `results`.
    pub(super) fn tell(&self, plan: &ProbePlan, results: &mut ProbeResults, now: Instant) {
        results.gateways.clear();
        for (asked, task) in &self.tasks {
            let Asked::Gateway(exit, node, family) = asked else {
                continue;
            };
            let found = results
                .gateways
                .entry((exit.clone(), node.clone()))
                .or_default();
            found.families.insert(*family, task.answer(now));
            found.reach = best(found.reach, task.reach(now));
        }
        let silent: BTreeSet<&ExitName> = plan
            .used
            .keys()
            .filter(|exit| self.in_use_is_silent(exit, now))
            .collect();
        for ((exit, node), found) in &mut results.gateways {
            if !matches!(found.reach, GatewayReach::Answers { .. }) {
                continue;
            }
            if self.in_use.get(exit) == Some(node) && self.is_dead_end(exit, now) {
                found.reach = GatewayReach::DeadEnd;
            } else if silent.contains(exit) && !self.outlives_in_use(exit, node) {
                found.reach = GatewayReach::Late;
            }
        }
    }

    fn in_use_is_silent(&self, exit: &ExitName, now: Instant) -> bool {
        let Some(gateway) = self.in_use.get(exit) else {
            return false;
        };
        let reaches = self.tracks(exit, gateway);
        let reaches = reaches.map(|(track, limit)| track.reach(now, limit));
        reaches.reduce(best) == Some(GatewayReach::Silent)
    }

    /// Did the gateway answer after the one in use should have? The pace is that of the one in use.
    fn outlives_in_use(&self, exit: &ExitName, gateway: &NodeName) -> bool {
        let Some(in_use) = self.in_use.get(exit) else {
            return true;
        };
        self.tracks(exit, gateway).any(|(track, _)| {
            let mut lost = self.tracks(exit, in_use);
            lost.all(|(lost, limit)| track.outlives(lost, limit))
        })
    }

    /// The tracks of a gateway, one for each family that was asked.
    fn tracks<'a>(
        &'a self,
        exit: &'a ExitName,
        gateway: &'a NodeName,
    ) -> impl Iterator<Item = (&'a AnswerTrack, SilenceLimit)> + 'a {
        let of = |family| Asked::Gateway(exit.clone(), gateway.clone(), family);
        let tasks = Family::BOTH.into_iter();
        let tasks = tasks.filter_map(move |family| self.tasks.get(&of(family)));
        tasks.filter_map(|task| Some((task.track.as_ref()?, task.limit())))
    }

    fn is_dead_end(&self, exit: &ExitName, now: Instant) -> bool {
        let task = self.tasks.get(&Asked::Targets(exit.clone()));
        let is_silent = task.is_some_and(|task| task.reach(now) == GatewayReach::Silent);
        is_silent && self.proved.contains(exit)
    }
}

/// The best of a gateway's families: one that answers is enough.
fn best(one: GatewayReach, other: GatewayReach) -> GatewayReach {
    match (one, other) {
        (GatewayReach::Answers { since }, GatewayReach::Answers { since: other }) => {
            GatewayReach::Answers {
                since: since.min(other),
            }
        }
        (answers @ GatewayReach::Answers { .. }, _)
        | (_, answers @ GatewayReach::Answers { .. }) => answers,
        (GatewayReach::Late, _) | (_, GatewayReach::Late) => GatewayReach::Late,
        (GatewayReach::Silent, _) | (_, GatewayReach::Silent) => GatewayReach::Silent,
        (one, _) => one,
    }
}

fn questions<'a>(
    exit: &'a ExitName,
    used: &'a UsedProbe,
) -> impl Iterator<Item = (Asked, Question)> + 'a {
    let echoes = used.gateways.iter().flat_map(move |gateway| {
        let interval = used.probe.interval_milliseconds;
        let probe = ExitProbe {
            interval_milliseconds: match gateway.warmth {
                GatewayWarmth::Warm => interval,
                GatewayWarmth::Cold => interval.saturating_mul(COLD_FACTOR),
            },
            ..used.probe.clone()
        };
        gateway.addresses.iter().map(move |(family, address)| {
            let asked = Asked::Gateway(exit.clone(), gateway.node.clone(), *family);
            let question = Question::Echo {
                socket: used.socket.clone(),
                address: *address,
                key: gateway.key,
                endpoint: gateway.endpoint,
                probe: probe.clone(),
            };
            (asked, question)
        })
    });
    let is_gateway = |node: &NodeName| used.gateways.iter().any(|one| one.node == *node);
    let connects = !used.probe.targets.is_empty() && is_gateway(&used.in_use);
    let connect = connects.then(|| {
        let question = Question::Connect {
            socket: used.socket.clone(),
            in_use: used.in_use.clone(),
            probe: used.probe.clone(),
        };
        (Asked::Targets(exit.clone()), question)
    });
    echoes.chain(connect)
}

fn pace(probe: &ExitProbe) -> Duration {
    Duration::from_millis(probe.interval_milliseconds.max(1).into())
}
