//! A change of the ruleset that was made leaves nothing to change: from any body to any other one, on the tables in
//! memory.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

use postern_host::Firewall as _;
use postern_host_testing::fake::FakeHost;
use postern_host_testing::generate::{Dice, Scene, seed};
use postern_plan::diff::firewall::{Change, change};
use postern_plan::diff::learned::Learned;
use postern_plan::diff::table_state::FirewallState;
use postern_plan::ruleset::Ruleset;

const ROUNDS: usize = 300;

/// The tables, and what is known of how they print our rules.
struct Tables {
    host: FakeHost,
    learned: Learned,
}

impl Tables {
    async fn planned(&self, desired: &Ruleset) -> Change {
        let observed = self.host.read_firewall().await.unwrap();
        change(&FirewallState::read(&observed, &self.learned), desired)
    }

    /// Makes the change in its two batches.
    async fn goes_to(&mut self, desired: &Ruleset) -> Change {
        let made = self.planned(desired).await;
        for batch in [&made.guard, &made.release] {
            self.host.change_firewall(batch).await.unwrap();
        }
        let filled = made.guard.fills().into_iter().chain(made.release.fills());
        let observed = self.host.read_firewall().await.unwrap();
        self.learned.learn(&filled.collect(), &observed);
        made
    }
}

#[tokio::test]
async fn a_change_that_was_made_leaves_no_change() {
    let mut dice = Dice::new(seed());
    let mut tables = Tables {
        host: FakeHost::new(),
        learned: Learned::default(),
    };
    let mut before = None;
    for _ in 0..ROUNDS {
        let desired = Scene::new(&mut dice).desired.ruleset;
        let made = tables.goes_to(&desired).await;
        for (set, element) in made.guard.releases() {
            // Nobody is held before the first batch.
            let there = before.as_ref().is_none_or(|before: &Ruleset| {
                let set = before.inet.sets.get(set);
                set.is_some_and(|set| set.elements.contains(element))
            });
            assert!(there, "the guard's batch releases {element} anew");
        }
        let left = tables.planned(&desired).await;
        assert!(left == Change::default(), "{left:?} after {made:?}");
        // A change that is always empty would leave none either.
        let differs = before.replace(desired.clone()).as_ref() != Some(&desired);
        assert_eq!(made != Change::default(), differs);
    }
}
