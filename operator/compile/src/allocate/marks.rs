//! Marks of one node: five, one for each exit that it uses or has the session of.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{ExitName, Mark, NodeDocument, TableId};

/// The routing table of mark 1 is 5210, of mark 5 is 5250.
const FIRST_TABLE: u32 = 5200;

pub(crate) struct Marks {
    by_exit: BTreeMap<ExitName, Mark>,
}

impl Marks {
    /// Gives marks to the exits that a node uses or has the session of. Who has one keeps it; the others follow by name.
    pub(crate) fn new(published: Option<&NodeDocument>, exits: &BTreeSet<ExitName>) -> Self {
        let routes = published.iter().flat_map(|document| &document.routes);
        let routes = routes.map(|route| (&route.exit, route.mark));
        let sessions = published.iter().flat_map(|document| &document.external);
        let sessions = sessions.map(|session| (&session.exit, session.mark));
        let known: BTreeMap<&ExitName, Mark> = routes.chain(sessions).collect();
        let mut taken: BTreeSet<Mark> = known.values().copied().collect();
        let mut by_exit: BTreeMap<ExitName, Mark> = exits
            .iter()
            .filter_map(|exit| known.get(exit).map(|mark| (exit.clone(), *mark)))
            .collect();
        for exit in exits.iter().filter(|exit| !known.contains_key(exit)) {
            if let Some(mark) = Mark::EXITS.into_iter().find(|mark| !taken.contains(mark)) {
                taken.insert(mark);
                by_exit.insert(exit.clone(), mark);
            }
        }
        Self { by_exit }
    }

    /// The mark of an exit; none: all are taken.
    pub(crate) fn get(&self, exit: &ExitName) -> Option<Mark> {
        self.by_exit.get(exit).copied()
    }
}

/// The routing table of a mark.
pub(crate) fn table(mark: Mark) -> Option<TableId> {
    TableId::try_from(FIRST_TABLE + 10 * u32::from(mark.number())).ok()
}
