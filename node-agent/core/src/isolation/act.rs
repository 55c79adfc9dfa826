//! Acts on links, and the way back.

use postern_intent::IfName;
use postern_plan::host::{AdminState, Carrier, ObservedLink};

use super::memory::IsolationMemory;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UplinkAct {
    SetDown(IfName),
    SetUp(IfName),
    /// What a link lost when it was brought down is put back. It is asked for again until it is done.
    Restore(IfName),
    /// It is asked whether what must answer does.
    Ask,
}

/// How far the way back is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restoration {
    /// Every link is as it was, and the memory can go.
    Done,
    Acts(Vec<UplinkAct>),
    /// A link that was down is up, and none of those that were up has a carrier: it stays up, because it may be the node's only
    /// way out.
    AwaitsCarrier,
}

/// The way back once no isolation is asked for: links as they were when the isolation began.
#[must_use]
pub fn restore(memory: &IsolationMemory, links: &[ObservedLink]) -> Restoration {
    let was = |link: &ObservedLink, state| memory.baseline.get(&link.name) == Some(&state);
    let named = |to: AdminState| {
        let differ = links
            .iter()
            .filter(move |link| was(link, to) && link.state != to);
        differ.filter_map(|link| link.name.parse().ok())
    };
    let up = named(AdminState::Up).map(UplinkAct::SetUp);
    let down = named(AdminState::Down).map(UplinkAct::SetDown);
    let carries = links.iter().any(|link| {
        was(link, AdminState::Up)
            && link.state == AdminState::Up
            && link.carrier == Carrier::Present
    });
    let awaited = !carries && down.clone().next().is_some();
    let lacks = |link: &&ObservedLink| {
        let is_wanted = was(link, AdminState::Up) && link.state == AdminState::Up;
        is_wanted && memory.taken.contains_key(&link.name)
    };
    let lacking = links.iter().filter(lacks);
    let lacking = lacking.filter_map(|link| link.name.parse().ok());
    let up = lacking.map(UplinkAct::Restore).chain(up);
    let acts: Vec<UplinkAct> = match carries {
        true => up.chain(down).collect(),
        false => up.collect(),
    };
    match (acts.is_empty(), awaited) {
        (false, _) => Restoration::Acts(acts),
        (true, true) => Restoration::AwaitsCarrier,
        (true, false) => Restoration::Done,
    }
}
