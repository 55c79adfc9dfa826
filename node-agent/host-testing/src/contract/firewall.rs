//! The nft tables.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use postern_plan::host::Family;
use postern_plan::observed::{ObservedFirewall, ObservedTable};
use postern_plan::ruleset::{Atom, Element, Otherwise, Ruleset, Transaction};

use super::sample::{pod, ruleset, to};
use super::{OtherProgram, Outcome};
use postern_host::error::{HostError, Nature};
use postern_host::ports::Host;

async fn replace(host: &impl Host) -> Result<ObservedFirewall, HostError> {
    let arp = Transaction::replace_arp(&ruleset());
    host.change_firewall(&Transaction::replace(&ruleset()).then(&arp))
        .await?;
    host.read_firewall().await
}

fn batch(text: &str) -> Transaction {
    Transaction::of(text.to_owned(), "a batch of the contract")
}

async fn inet_of(host: &impl Host) -> Result<ObservedTable, HostError> {
    Ok(host.read_firewall().await?.inet.unwrap_or_default())
}

#[track_caller]
fn refused(outcome: &Result<(), HostError>, rule: &str) {
    assert_eq!(
        outcome.as_ref().err().map(HostError::nature),
        Some(Nature::Refused),
        "{rule}: {outcome:?}"
    );
}

/// Not as an empty table: a table that is there and empty guards nothing either, but it was made.
pub async fn a_table_that_is_not_there_reads_as_none(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    assert_eq!(host.read_firewall().await?, ObservedFirewall::default());
    host.change_firewall(&Transaction::replace(&Ruleset::default()))
        .await?;
    let there = host.read_firewall().await?;
    assert_eq!(there.inet, Some(ObservedTable::default()));
    assert_eq!(there.arp, None);
    host.change_firewall(&Transaction::replace_arp(&Ruleset::default()))
        .await?;
    let there = host.read_firewall().await?;
    assert_eq!(there.arp, Some(ObservedTable::default()));
    host.change_firewall(&Transaction::remove()).await?;
    host.change_firewall(&Transaction::remove_arp()).await?;
    assert_eq!(host.read_firewall().await?, ObservedFirewall::default());
    Ok(())
}

/// Elements in normal form, chains with hook and priority, rules in order with their identity.
pub async fn a_ruleset_reads_back_as_it_was_written(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    let seen = replace(host).await?;
    let wanted = ruleset();
    for (seen, wanted) in [
        (seen.inet, &wanted.inet),
        (seen.bridge, &wanted.bridge),
        (seen.arp, &wanted.arp),
    ] {
        let seen = seen.unwrap_or_default();
        let sets: BTreeMap<_, _> = wanted
            .sets
            .iter()
            .map(|(name, set)| (name.clone(), set.elements.clone()))
            .collect();
        assert_eq!(seen.sets, sets);
        assert_eq!(
            seen.counters,
            wanted
                .counters
                .iter()
                .map(|counter| (counter.0.to_owned(), 0))
                .collect()
        );
        let names: Vec<_> = seen.chains.keys().collect();
        assert_eq!(names, wanted.chains.keys().collect::<Vec<_>>());
        for (name, chain) in &wanted.chains {
            let there = seen.chains.get(name);
            assert_eq!(there.and_then(|there| there.base), chain.base, "{name}");
            let comments: Vec<_> = there
                .iter()
                .flat_map(|there| &there.rules)
                .map(|rule| &rule.comment)
                .collect();
            let identities: Vec<_> = chain
                .rules
                .iter()
                .map(|rule| Some(rule.identity()))
                .collect();
            assert_eq!(comments, identities.iter().collect::<Vec<_>>(), "{name}");
        }
    }
    Ok(())
}

/// Expressions too, although they are another table's now.
pub async fn replacing_a_ruleset_with_itself_changes_nothing(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    let first = replace(host).await?;
    assert_eq!(replace(host).await?, first);
    Ok(())
}

/// The first line is good, the second is not.
pub async fn a_batch_is_taken_whole_or_not_at_all(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    let before = replace(host).await?;
    let half = batch("add chain inet postern new\nadd rule inet postern missing accept\n");
    refused(
        &host.change_firewall(&half).await,
        "a rule in a chain that is not there",
    );
    let half = batch(
        "flush chain inet postern guard\ndelete element inet postern from4 { 10.244.1.99 }\n",
    );
    refused(
        &host.change_firewall(&half).await,
        "an element that is not there",
    );
    assert_eq!(host.read_firewall().await?, before);
    Ok(())
}

/// Adding is idempotent for the same data only.
pub async fn an_element_may_be_added_twice_but_not_with_other_data(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    let before = replace(host).await?;
    host.change_firewall(&batch(
        "add element inet postern from4 { 10.244.1.7 : goto pol_eu }\n",
    ))
    .await?;
    let other = batch("add element inet postern from4 { 10.244.1.7 : goto refuse }\n");
    refused(&host.change_firewall(&other).await, "other data for a key");
    assert_eq!(host.read_firewall().await?, before);
    Ok(())
}

/// Elements, chains, sets and counters.
pub async fn deleting_what_is_missing_is_refused(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    replace(host).await?;
    for line in [
        "delete element inet postern from4 { 10.244.1.99 }",
        "delete chain inet postern missing",
        "delete set inet postern missing",
        "delete counter inet postern missing",
        "flush chain inet postern missing",
        "add element inet postern missing { 10.244.1.99 }",
        "add element inet postern from4 { 10.244.1.99 : goto missing }",
    ] {
        refused(
            &host.change_firewall(&batch(&format!("{line}\n"))).await,
            line,
        );
    }
    Ok(())
}

/// `EBUSY`: a chain that a rule or an element leads to, a set or a counter that a rule uses.
pub async fn what_is_in_use_cannot_be_deleted(host: &impl Host, _: &impl OtherProgram) -> Outcome {
    let before = replace(host).await?;
    for line in [
        "delete chain inet postern refuse",
        "delete chain inet postern pol_eu",
        "delete set inet postern podlinks",
        "delete set inet postern from4",
        "delete counter inet postern hold",
    ] {
        let outcome = host.change_firewall(&batch(&format!("{line}\n"))).await;
        assert_eq!(
            outcome.as_ref().err().map(HostError::nature),
            Some(Nature::Transient),
            "{line}: {outcome:?}"
        );
    }
    assert_eq!(host.read_firewall().await?, before);
    let freed = "flush chain inet postern guard\ndelete set inet postern from4\ndelete set inet postern podlinks\n";
    host.change_firewall(&batch(freed)).await?;
    assert!(!inet_of(host).await?.sets.contains_key("from4"));
    Ok(())
}

/// A pod moves from one class to another one without a moment between.
pub async fn a_key_changes_its_data_within_one_batch(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    replace(host).await?;
    let key = [Element::key([pod(7)])];
    let moved = [Element::entry([pod(7)], to("refuse"))];
    let batch = Transaction::elements("delete", "from4", &key)
        .then(&Transaction::elements("add", "from4", &moved));
    host.change_firewall(&batch).await?;
    let elements = inet_of(host)
        .await?
        .sets
        .remove("from4")
        .unwrap_or_default();
    assert!(
        elements.contains(&moved[0]) && elements.len() == 3,
        "{elements:?}"
    );
    Ok(())
}

/// A policy is rewritten in place; everything else keeps its counters.
pub async fn a_chain_that_was_flushed_can_be_filled_again(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    let before = replace(host).await?.inet.unwrap_or_default();
    let text = "flush chain inet postern pol_eu\nadd rule inet postern pol_eu accept comment \"new\"\n\
        flush set inet postern inside4\nadd element inet postern inside4 { 10.0.0.0/8 }\n";
    host.change_firewall(&batch(text)).await?;
    let mut after = inet_of(host).await?;
    let rules = after
        .chains
        .get("pol_eu")
        .map(|chain| chain.rules.clone())
        .unwrap_or_default();
    let comments: Vec<_> = rules
        .iter()
        .filter_map(|rule| rule.comment.as_deref())
        .collect();
    assert_eq!(comments, ["new"]);
    assert_eq!(after.sets.remove("inside4").map(|set| set.len()), Some(1));
    assert_eq!(after.chains.get("guard"), before.chains.get("guard"));
    Ok(())
}

/// Another program gave the guard a policy of `drop`; declaring the chain once more takes it back and leaves its rules.
pub async fn what_no_rule_judges_can_be_told_anew(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    let before = replace(host).await?;
    for (otherwise, word) in [(Otherwise::Drop, "drop"), (Otherwise::Accept, "accept")] {
        let line = format!(
            "add chain inet postern guard {{ type filter hook forward priority -5; policy {word}; }}\n"
        );
        host.change_firewall(&batch(&line)).await?;
        let guard = inet_of(host)
            .await?
            .chains
            .remove("guard")
            .unwrap_or_default();
        assert_eq!(guard.base.map(|base| base.otherwise), Some(otherwise));
    }
    assert_eq!(host.read_firewall().await?, before);
    let moved = batch(
        "add chain inet postern guard { type filter hook forward priority -4; policy accept; }\n",
    );
    let moved = host.change_firewall(&moved).await;
    let nature = moved.as_ref().err().map(HostError::nature);
    assert_eq!(
        nature,
        Some(Nature::Unsupported),
        "another place: {moved:?}"
    );
    assert_eq!(host.read_firewall().await?, before);
    Ok(())
}

/// Add, delete, add: `delete` alone fails once the element is gone.
pub async fn a_lease_is_renewed_whether_it_is_there_or_not(
    host: &impl Host,
    _: &impl OtherProgram,
) -> Outcome {
    replace(host).await?;
    let families =
        BTreeSet::from([Family::V4, Family::V6].map(|family| Element::key([Atom::Family(family)])));
    for seconds in [60, 90].into_iter().filter_map(NonZeroU64::new) {
        host.change_firewall(&Transaction::lease(seconds)).await?;
        assert_eq!(
            inet_of(host).await?.sets.remove("lease"),
            Some(families.clone())
        );
    }
    for _ in 0..2 {
        host.change_firewall(&Transaction::end_lease()).await?;
        assert_eq!(
            inet_of(host).await?.sets.remove("lease"),
            Some(BTreeSet::new())
        );
    }
    Ok(())
}

/// What a reload of nftables.service does.
pub async fn a_flush_by_somebody_else_leaves_no_table(
    host: &impl Host,
    other_program: &impl OtherProgram,
) -> Outcome {
    let before = replace(host).await?;
    other_program.flushes_the_firewall().await;
    assert_eq!(host.read_firewall().await?, ObservedFirewall::default());
    assert_eq!(replace(host).await?, before);
    Ok(())
}
