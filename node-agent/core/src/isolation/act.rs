//! What is done to links, and the way back.

use postern_intent::IfName;
use postern_plan::host::{AdminState, ObservedLink};

use super::memory::IsolationMemory;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkAct {
    SetDown(IfName),
    SetUp(IfName),
    /// It is asked whether what must answer does.
    Ask,
}

/// The way back once no isolation is asked for: links as they were when they were first seen. None where there is nothing to
/// do any more, and the memory can go.
#[must_use]
pub fn restore(memory: &IsolationMemory, links: &[ObservedLink]) -> Option<Vec<UplinkAct>> {
    let differs = |link: &&ObservedLink| {
        let before = memory.baseline.get(&link.name);
        before.is_some_and(|before| *before != link.state)
    };
    let acts: Vec<UplinkAct> = links
        .iter()
        .filter(differs)
        .filter_map(|link| {
            let name = link.name.parse().ok()?;
            Some(match link.state {
                AdminState::Down => UplinkAct::SetUp(name),
                AdminState::Up => UplinkAct::SetDown(name),
            })
        })
        .collect();
    (!acts.is_empty()).then_some(acts)
}
