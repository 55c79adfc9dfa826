//! A change of the ruleset that was made leaves nothing to change: from any body to any other one, on the tables in
//! memory.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

use postern_host::Firewall as _;
use postern_host_testing::fake::FakeHost;
use postern_host_testing::generate::{Dice, Scene, seed};
use postern_plan::diff::firewall::{FirewallChange, change};
use postern_plan::diff::learned::Learned;
use postern_plan::diff::table_state::FirewallState;
use postern_plan::ruleset::{Edit, KeyType, NftCommand, Ruleset, Set};

const ROUNDS: usize = 300;

/// The tables, and what is known of how they print our rules.
struct Tables {
    host: FakeHost,
    learned: Learned,
}

impl Tables {
    async fn planned(&self, desired: &Ruleset) -> FirewallChange {
        let observed = self.host.read_firewall().await.unwrap();
        change(
            &FirewallState::read(&observed, desired, &self.learned),
            desired,
        )
    }

    /// Makes the change in its two batches.
    async fn goes_to(&mut self, desired: &Ruleset) -> FirewallChange {
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
        for element in made.guard.edits().iter().flat_map(Edit::releases) {
            // Nobody is held before the first batch.
            let there = before.as_ref().is_none_or(|before: &Ruleset| {
                let mut sets = before.inet.sets.values();
                sets.any(|set| set.elements.contains(element))
            });
            assert!(there, "the guard's batch releases {element} anew");
        }
        let left = tables.planned(&desired).await;
        assert!(left == FirewallChange::default(), "{left:?} after {made:?}");
        // A change that is always empty would leave none either.
        let differs = before.replace(desired.clone()).as_ref() != Some(&desired);
        assert_eq!(made != FirewallChange::default(), differs);
    }
}

/// Another version of nft may say a declaration in words that this agent does not know. The tables must not be replaced in every
/// run for it.
#[tokio::test]
async fn a_declaration_that_is_not_understood_changes_nothing_and_another_type_makes_the_tables_anew()
 {
    let mut dice = Dice::new(seed());
    let mut tables = Tables {
        host: FakeHost::new(),
        learned: Learned::default(),
    };
    let desired = Scene::new(&mut dice).desired.ruleset;
    tables.goes_to(&desired).await;
    let declare = |set_type: Option<Set>| {
        tables.host.edits_the_firewall(|firewall| {
            let sets = firewall.inet.as_mut().unwrap().sets.values_mut();
            for set in sets {
                set.set_type = set_type.clone().map(|set| set.set_type);
            }
        });
    };
    declare(None);
    assert_eq!(tables.planned(&desired).await, FirewallChange::default());
    declare(Some(Set::of([KeyType::Port])));
    let change = tables.planned(&desired).await;
    let mut edits = change.guard.edits().iter();
    assert!(edits.any(|edit| edit.command == NftCommand::DeleteTable));
}
