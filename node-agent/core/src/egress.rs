//! Which egress addresses the node has, and for how long: an address is on one gateway at a time.
//!
//! Each address ends in the kernel by itself. It is prolonged while the intent is valid and, where another gateway waits for it,
//! while the API server confirms that the intent is the newest one. An agent that hangs prolongs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};
use postern_intent::body::{EGRESS_FENCE_SECONDS, EgressTerm};
use postern_intent::{Address, Body, ExitName, Serial};
use postern_plan::host::{EgressAddress, MacAddress};

/// Between two questions to the neighbours about an address that one of them has.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// How long a question without an answer counts.
const ANSWER_COUNTS: SignedDuration = SignedDuration::from_secs(2);
/// The first announcements: their number, and the time between two. A neighbour ignores a change within a second of the last
/// one (`locktime`).
const FIRST_ANNOUNCEMENTS: u32 = 4;
const ANNOUNCE_SOON: SignedDuration = SignedDuration::from_secs(1);
/// Later ones, for neighbours that were away.
const ANNOUNCE_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// An end that moves by less is left alone.
const SAME_END: SignedDuration = SignedDuration::from_secs(2);
/// How much later than wanted it may seem to end: the kernel gives whole seconds, rounded up.
const ROUNDED: SignedDuration = SignedDuration::from_secs(1);
/// How long an address lasts at first, and without a confirmation.
const FENCE: NonZeroU32 = match NonZeroU32::new(EGRESS_FENCE_SECONDS) {
    Some(seconds) => seconds,
    None => NonZeroU32::MIN,
};
/// The longest time that an address gets at once; the rest follows.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// An address that the intent gives to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedEgress {
    pub exit: ExitName,
    pub on: EgressAddress,
    pub term: EgressTerm,
}

/// The egress addresses that the intent in force gives to the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressOrder {
    pub wanted: Vec<WantedEgress>,
    /// The end of its validity.
    pub not_after: Timestamp,
    pub serial: Serial,
}

impl EgressOrder {
    /// Does an address depend on a confirmation of the intent?
    #[must_use]
    pub fn needs_confirmation(&self) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.any(|wanted| wanted.term == EgressTerm::Confirmed)
    }
}

/// One reading of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressReading {
    /// Addresses of ours, with the seconds after which the kernel ends them.
    pub there: BTreeMap<EgressAddress, u32>,
    /// Addresses of others on the node.
    pub foreign: BTreeSet<Address>,
    /// The end of what the API server confirmed, which may have passed; none: it confirmed nothing since the agent's start.
    pub confirmed_until: Option<Timestamp>,
}

/// The memory of one address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressMemory {
    /// When the neighbours were asked, and which one answered.
    pub asked: Option<(Timestamp, Option<MacAddress>)>,
    /// How often it was announced, and when last.
    pub announced: Option<(u32, Timestamp)>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EgressAct {
    Drop(EgressAddress),
    Ask(EgressAddress),
    /// Adds or prolongs it, for so many seconds.
    Keep(EgressAddress, NonZeroU32),
    Announce(EgressAddress),
}

/// How far an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressState {
    /// The node has it by this agent.
    Held,
    /// The node has it by another program, which this agent leaves alone.
    OfNode,
    /// A former gateway may still have it.
    Awaited,
    /// The API server did not confirm the intent in time.
    Unconfirmed,
    /// This neighbour has it.
    Taken(MacAddress),
    /// The neighbours are asked, or it is about to be added.
    Coming,
    /// The host refused an act, for this reason.
    Failed(String),
}

/// What the node has of egress addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressFindings {
    /// Of the intent that was followed, where there was something to do or something is there.
    pub serial: Serial,
    /// Addresses of ours; none: they were not read yet.
    pub there: Option<BTreeSet<EgressAddress>>,
    /// Of these, the ones that another gateway waits for and that the kernel would keep for longer than a confirmation counts.
    pub unfenced: BTreeSet<EgressAddress>,
    /// How far each wanted address is.
    pub states: Vec<(WantedEgress, EgressState)>,
}

impl EgressFindings {
    /// Is every egress address on the node one that the body gives it, with no later end than its term allows?
    #[must_use]
    pub fn follows(&self, body: &Body) -> bool {
        // Of two exits that name one address, the one that asks for less counts.
        let given = |address: &Address| {
            let served = body.nat.iter();
            let named = served.filter(|served| served.egress.contains(address));
            let term = named.map(|served| served.egress_term).max();
            term.is_some_and(|term| term != EgressTerm::Awaited)
        };
        let Some(there) = &self.there else {
            return false;
        };
        let is_idle = there.is_empty() && self.states.is_empty();
        (is_idle || self.serial == body.serial)
            && self.unfenced.is_empty()
            && there.iter().all(|ours| given(&ours.address))
    }

    /// How far an address of an exit is; none: it was not looked at yet.
    #[must_use]
    pub fn state(&self, exit: &ExitName, address: &Address) -> Option<&EgressState> {
        let mut states = self.states.iter();
        let found =
            states.find(|(wanted, _)| wanted.exit == *exit && wanted.on.address == *address);
        found.map(|(_, state)| state)
    }
}

/// What to do now, and how far each address is. O(addresses²), of which a gateway has a few.
#[must_use]
pub fn decide(
    order: &EgressOrder,
    reading: &EgressReading,
    memory: &BTreeMap<EgressAddress, EgressMemory>,
    now: Timestamp,
) -> (Vec<EgressAct>, Vec<(WantedEgress, EgressState)>) {
    let mut acts = Vec::new();
    let mut states = Vec::new();
    for wanted in &order.wanted {
        let forgotten = EgressMemory::default();
        // Two exits may name one address; the one that asks for less counts.
        let same = order.wanted.iter();
        let same = same.filter(|other| other.on.address == wanted.on.address);
        let term = same.map(|other| other.term).max().unwrap_or(wanted.term);
        let one = WantedNow {
            on: &wanted.on,
            end: end(order, reading, term),
            memory: memory.get(&wanted.on).unwrap_or(&forgotten),
            now,
        };
        let (state, act) = one.decide(term, reading);
        acts.extend(act.filter(|act| !acts.contains(act)));
        states.push((wanted.clone(), state));
    }
    let may_stay = |address: &&EgressAddress| {
        states.iter().any(|(wanted, state)| {
            wanted.on == **address && matches!(state, EgressState::Held | EgressState::Coming)
        })
    };
    let gone = reading.there.keys().filter(|address| !may_stay(address));
    let mut all: Vec<EgressAct> = gone.cloned().map(EgressAct::Drop).collect();
    // Questions take a second each, and no other address waits for them.
    let (asks, others): (Vec<_>, Vec<_>) = acts
        .into_iter()
        .partition(|act| matches!(act, EgressAct::Ask(_)));
    all.extend(others.into_iter().chain(asks));
    (all, states)
}

/// Would the kernel keep the address for longer than a confirmation counts?
#[must_use]
pub fn is_unfenced(reading: &EgressReading, address: &EgressAddress) -> bool {
    let seconds = reading.there.get(address);
    seconds.is_some_and(|seconds| *seconds > EGRESS_FENCE_SECONDS)
}

/// Until when the node may have an address of the term; none: not now.
fn end(order: &EgressOrder, reading: &EgressReading, term: EgressTerm) -> Option<Timestamp> {
    match term {
        EgressTerm::Intent => Some(order.not_after),
        EgressTerm::Confirmed => Some(reading.confirmed_until?.min(order.not_after)),
        EgressTerm::Awaited => None,
    }
}

struct WantedNow<'a> {
    on: &'a EgressAddress,
    end: Option<Timestamp>,
    memory: &'a EgressMemory,
    now: Timestamp,
}

impl WantedNow<'_> {
    fn decide(
        &self,
        term: EgressTerm,
        reading: &EgressReading,
    ) -> (EgressState, Option<EgressAct>) {
        let is_there = reading.there.contains_key(self.on);
        let lasts = reading.there.get(self.on).copied().unwrap_or_default();
        if term == EgressTerm::Awaited {
            return (EgressState::Awaited, None);
        }
        if !is_there && reading.foreign.contains(&self.on.address) {
            return (EgressState::OfNode, None);
        }
        // What an agent before this one added ends by itself. What the node had without a confirmation is cut to the time of one.
        if is_there && self.end.is_none() {
            let is_longer = is_unfenced(reading, self.on);
            let cut = Some(EgressAct::Keep(self.on.clone(), FENCE));
            return (EgressState::Coming, cut.filter(|_| is_longer));
        }
        let Some(seconds) = self.seconds() else {
            return (EgressState::Unconfirmed, None);
        };
        if is_there {
            let act = match self.is_prolonged(seconds, lasts) {
                false => Some(EgressAct::Keep(self.on.clone(), seconds)),
                true => self.announcement(),
            };
            return (EgressState::Held, act);
        }
        let ask = || Some(EgressAct::Ask(self.on.clone()));
        match self.memory.asked {
            Some((at, None)) if self.now.duration_since(at) <= ANSWER_COUNTS => {
                // A short time first: an agent that dies before it knows that the kernel recorded whose it is leaves nothing.
                let keep = EgressAct::Keep(self.on.clone(), seconds.min(FENCE));
                (EgressState::Coming, Some(keep))
            }
            Some((at, Some(mac))) => {
                let due = self.now.duration_since(at) >= ASK_AGAIN;
                (EgressState::Taken(mac), ask().filter(|_| due))
            }
            Some((_, None)) | None => (EgressState::Coming, ask()),
        }
    }

    /// Whole seconds until the end, cut off: the kernel ends it no later.
    fn seconds(&self) -> Option<NonZeroU32> {
        let left = self.end?.duration_since(self.now).min(LONGEST);
        NonZeroU32::new(u32::try_from(left.as_secs()).ok()?)
    }

    /// Does the kernel, which ends it in so many seconds, end it when it should? One that ends too late is shortened.
    fn is_prolonged(&self, wanted: NonZeroU32, lasts: u32) -> bool {
        let [wanted, lasts] =
            [wanted.get(), lasts].map(|seconds| SignedDuration::from_secs(i64::from(seconds)));
        // The longest time moves on with the clock.
        let moves = match self.end > Some(self.now + LONGEST) {
            true => LONGEST / 2,
            false => SAME_END,
        };
        lasts <= wanted + ROUNDED && wanted < lasts + moves
    }

    fn announcement(&self) -> Option<EgressAct> {
        let due = self.memory.announced.is_none_or(|(times, at)| {
            let apart = match times < FIRST_ANNOUNCEMENTS {
                true => ANNOUNCE_SOON,
                false => ANNOUNCE_AGAIN,
            };
            self.now.duration_since(at) >= apart
        });
        due.then(|| EgressAct::Announce(self.on.clone()))
    }
}

#[cfg(test)]
mod tests;
