//! One state of the model, and what becomes of it.

use std::collections::{BTreeSet, VecDeque};

use postern_intent::body::{Hotspot, Isolation};
use postern_plan::host::{AdminState, LinkConfig};

use super::super::super::finding::IsolationFinding;
use super::super::super::{
    ConfirmAnswer, IsolationMemory, RemoteUse, Restoration, SwitchPhase, UplinkAct, restore,
};
use super::super::{Node, section};
use super::time::{NOW, WAIT, aged};
use super::{Alteration, Disturbance};

/// The links; a hotspot is the last one with the one before it.
pub(super) const UPLINKS: [&str; 3] = ["eth0", "eth1", "wlan0"];
/// How many waits a hotspot lasts.
const PAIR_LASTS: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ModelOrder {
    First,
    Second,
    Pair,
    /// The isolation ends.
    LetGo,
}

impl ModelOrder {
    pub(super) const ALL: [Self; 4] = [Self::First, Self::Second, Self::Pair, Self::LetGo];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ModelLink {
    pub(super) up: bool,
    pub(super) plugged: bool,
    /// It is up because another program or the boot raised it, and the agent has not settled on it since.
    pub(super) raised_by_other: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ModelNode {
    /// On disk.
    pub(super) memory: IsolationMemory,
    kept_guard: Option<[bool; 3]>,
    /// Links that packets may leave by, as the agent published it; none while nothing is enforced.
    pub(super) guard: Option<[bool; 3]>,
    pub(super) pending: VecDeque<UplinkAct>,
    /// The answer that the agent has.
    answer: ConfirmAnswer,
    pub(super) links: [ModelLink; 3],
    /// Does what is asked answer?
    answers: bool,
    pub(super) order: ModelOrder,
    pair_left: u8,
    /// The link of a session.
    pub(super) session: Option<usize>,
    pub(super) disturbances: u8,
    /// Did the last turn raise a link, and saw another one up that its rule does not allow?
    pub(super) raised_unseen: bool,
    /// Did the last turn begin a switch that cuts the session?
    pub(super) cut_session: bool,
}

fn at(name: &str) -> Option<usize> {
    UPLINKS.iter().position(|one| *one == name)
}

impl ModelNode {
    /// A node with all links up and no memory.
    pub(super) fn booted(order: ModelOrder, disturbances: u8) -> Self {
        let link = ModelLink {
            up: true,
            plugged: true,
            raised_by_other: true,
        };
        let node = Self {
            memory: IsolationMemory::default(),
            kept_guard: None,
            guard: None,
            pending: VecDeque::new(),
            answer: ConfirmAnswer::Awaited,
            links: [link; 3],
            answers: true,
            order: ModelOrder::LetGo,
            pair_left: 0,
            session: None,
            disturbances,
            raised_unseen: false,
            cut_session: false,
        };
        node.ordered(order)
    }

    /// This node with another order.
    pub(super) fn ordered(mut self, order: ModelOrder) -> Self {
        self.order = order;
        self.pair_left = match order {
            ModelOrder::Pair => PAIR_LASTS,
            ModelOrder::First | ModelOrder::Second | ModelOrder::LetGo => 0,
        };
        self
    }

    /// The same node with nothing left to happen to it.
    pub(super) fn calm(&self) -> Self {
        Self {
            disturbances: 0,
            raised_unseen: false,
            cut_session: false,
            ..self.clone()
        }
    }

    fn isolation(&self) -> Isolation {
        let (digest, preferred) = match self.order {
            ModelOrder::First | ModelOrder::LetGo => (1, "eth0"),
            ModelOrder::Second => (2, "eth1"),
            ModelOrder::Pair => (3, "eth0"),
        };
        let pair = (self.order == ModelOrder::Pair).then(|| Hotspot {
            access_point: UPLINKS[2].parse().unwrap(),
            upstream: UPLINKS[1].parse().unwrap(),
            not_after: NOW + WAIT * i32::from(self.pair_left),
        });
        Isolation {
            hotspot: pair,
            confirm_within_seconds: 10,
            ..section(digest, &[preferred])
        }
    }

    /// The node of the other tests that is like this one.
    fn harness(&self) -> Node {
        let mut node = Node::with(&UPLINKS, &[]);
        node.isolation = self.isolation();
        node.memory = self.memory.clone();
        node.answer = self.answer;
        node.now = NOW;
        for (name, link) in UPLINKS.into_iter().zip(self.links) {
            if !link.plugged {
                node.unplugged.insert(name.to_owned());
            }
            node.set(
                name,
                if link.up {
                    AdminState::Up
                } else {
                    AdminState::Down
                },
            );
        }
        // As the agent does: it reads sessions where a link may be cut.
        if let Some(link) = self.session
            && !self.memory.is_settled_under(&node.isolation.digest)
        {
            node.remote.insert(UPLINKS[link].to_owned(), RemoteUse::Ssh);
        }
        node
    }

    pub(super) fn finding(&self) -> IsolationFinding {
        self.harness().turn().finding
    }

    /// How far the end of the isolation is.
    pub(super) fn way_back(&self) -> Restoration {
        restore(&self.memory, &self.harness().links)
    }

    pub(super) fn turn(&self, alters: Alteration) -> Self {
        let mut next = self.clone();
        (next.raised_unseen, next.cut_session) = (false, false);
        if self.order == ModelOrder::LetGo {
            return next.let_go();
        }
        let turned = alters(&self.memory.phase, self.harness().turn());
        let same_phase = std::mem::discriminant(&turned.memory.phase)
            == std::mem::discriminant(&self.memory.phase);
        if !same_phase {
            next.answer = ConfirmAnswer::Awaited;
        }
        next.raised_unseen = self.raises_unseen(&turned.memory.phase, &turned.acts);
        next.cut_session = self.cuts_session(&turned.memory);
        if let SwitchPhase::Settled { allowed } = &turned.memory.phase {
            for name in allowed.names().filter_map(at) {
                next.links[name].raised_by_other = false;
            }
        }
        let passes = |passes: &BTreeSet<String>| UPLINKS.map(|name| passes.contains(name));
        next.guard = turned.finding.guard.map(|guard| passes(&guard.passes));
        next.kept_guard = next.guard;
        next.memory = turned.memory;
        next.pending = turned.acts.into();
        next
    }

    fn raises_unseen(&self, phase: &SwitchPhase, acts: &[UplinkAct]) -> bool {
        let allows = |name: &str| {
            let rule = phase.allowed();
            rule.is_some_and(|rule| rule.names().any(|one| one == name))
        };
        let mut up = UPLINKS.iter().zip(self.links).filter(|(_, link)| link.up);
        let raises = acts.iter().any(|act| matches!(act, UplinkAct::SetUp(_)));
        raises && up.any(|(name, _)| !allows(name))
    }

    /// Does a switch begin that no failure asks for, and that cuts the link of the session? One that began before the session did
    /// goes on.
    fn cuts_session(&self, next: &IsolationMemory) -> bool {
        let SwitchPhase::Isolating { switch } = &next.phase else {
            return false;
        };
        let is_prepared = matches!(self.memory.phase, SwitchPhase::Preparing { .. });
        let is_other = self.memory.phase.allowed() != Some(&switch.goal)
            && self.memory.digest.as_ref() != Some(&self.isolation().digest);
        let has_failed = next.failed.len() > self.memory.failed.len();
        let Some(session) = self.session else {
            return false;
        };
        let link = self.links[session];
        let is_allowed = switch.goal.names().any(|name| name == UPLINKS[session]);
        (is_prepared || is_other) && !has_failed && link.up && link.plugged && !is_allowed
    }

    /// The agent's way back, once no isolation is asked for. Links are others' then.
    fn let_go(mut self) -> Self {
        self.guard = None;
        for link in &mut self.links {
            link.raised_by_other = true;
        }
        if self.memory == IsolationMemory::default() {
            return self;
        }
        match self.way_back() {
            Restoration::Acts(acts) => self.pending = acts.into(),
            Restoration::AwaitsCarrier => {}
            Restoration::Done => {
                self.memory = IsolationMemory::default();
                self.kept_guard = None;
            }
        }
        self
    }

    /// Is the other state this one with a question again to which the agent has the answer?
    pub(super) fn only_asks_again(&self, other: &Self) -> bool {
        let acts = other.pending.iter();
        let has_answer = match self.answers {
            true => ConfirmAnswer::Answered,
            false => ConfirmAnswer::Silent,
        };
        let asks = acts.clone().count() > 0 && acts.clone().all(|act| *act == UplinkAct::Ask);
        asks && self.answer == has_answer
            && other.memory == self.memory
            && other.answer == self.answer
    }

    pub(super) fn act(&self) -> Self {
        let mut next = self.clone();
        match next.pending.pop_front() {
            None => {}
            Some(UplinkAct::Ask) => {
                next.answer = match self.answers {
                    true => ConfirmAnswer::Answered,
                    false => ConfirmAnswer::Silent,
                };
            }
            Some(UplinkAct::SetDown(name)) => {
                // The note is on disk before the link is down.
                let taken = next.memory.taken.entry(name.to_string());
                taken.or_insert_with(|| LinkConfig {
                    device: name.clone(),
                    addresses: Vec::new(),
                    routes: Vec::new(),
                });
                if let Some(link) = at(name.as_str()) {
                    next.lower(link);
                }
            }
            Some(UplinkAct::Restore(name)) => {
                next.memory.taken.remove(name.as_str());
            }
            Some(UplinkAct::SetUp(name)) => {
                if let Some(link) = at(name.as_str()) {
                    next.links[link].up = true;
                }
            }
        }
        next
    }

    fn lower(&mut self, link: usize) {
        self.links[link].up = false;
        self.links[link].raised_by_other = false;
    }

    pub(super) fn wait(&self) -> Self {
        let mut next = self.clone();
        next.memory = aged(next.memory);
        next.pair_left = next.pair_left.saturating_sub(1);
        next
    }

    pub(super) fn disturbed(&self, disturbance: &Disturbance) -> Self {
        let mut next = self.clone();
        next.disturbances -= 1;
        match disturbance {
            Disturbance::ActFails => {
                next.pending.pop_front();
            }
            Disturbance::AgentDies => next.die(),
            Disturbance::AgentStalls => {
                return Self {
                    disturbances: next.disturbances,
                    ..self.wait()
                };
            }
            Disturbance::NodeBoots => {
                next.die();
                for link in &mut next.links {
                    (link.up, link.raised_by_other) = (true, true);
                }
            }
            Disturbance::Raised(link) => {
                next.links[*link].up = true;
                next.links[*link].raised_by_other = true;
            }
            Disturbance::Lowered(link) => next.lower(*link),
            Disturbance::CarrierChanges(link) => next.links[*link].plugged ^= true,
            Disturbance::AnswerChanges => next.answers ^= true,
            Disturbance::Ordered(order) => next = next.ordered(*order),
            Disturbance::Session(session) => next.session = *session,
        }
        next
    }

    /// What is not on disk is lost.
    fn die(&mut self) {
        self.pending.clear();
        self.answer = ConfirmAnswer::Awaited;
        self.guard = self.kept_guard;
    }
}
