use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use postern_plan::desired::LEASE;
use postern_plan::host::Family;
use postern_plan::observed::{ObservedFirewall, ObservedSet, ObservedTable};
use postern_plan::ruleset::{
    Atom, Base, BaseKind, Edit, Element, FirewallRule, Hook, KeyType, NftCommand, Opening,
    Otherwise, Ruleset, Set, TableFamily, Target, Transaction,
};

use super::sample::{pod, ruleset, to};
use super::{CaseResult, OtherProgram};
use postern_host::error::{HostError, Nature};
use postern_host::ports::Host;

async fn replace(host: &impl Host) -> Result<ObservedFirewall, HostError> {
    let arp = Transaction::replace_arp(&ruleset());
    host.change_firewall(&Transaction::replace(&ruleset()).then(arp))
        .await?;
    host.read_firewall().await
}

fn batch(commands: impl IntoIterator<Item = NftCommand>) -> Transaction {
    let edits = commands.into_iter().map(|command| Edit {
        family: TableFamily::Inet,
        command,
    });
    Transaction::of(edits.collect(), "a batch of the contract")
}

fn add_elements(set: &str, elements: impl Into<Vec<Element>>) -> NftCommand {
    NftCommand::AddElements {
        set: set.to_owned(),
        elements: elements.into(),
        timeout: None,
        opening: Opening::Nothing,
    }
}

fn delete_element(set: &str, key: Atom) -> NftCommand {
    NftCommand::DeleteElements {
        set: set.to_owned(),
        keys: vec![vec![key]],
    }
}

fn add_rule(chain: &str) -> NftCommand {
    NftCommand::AddRule {
        chain: chain.to_owned(),
        rule: FirewallRule::to(Target::Accept),
    }
}

fn flush_chain(name: &str) -> NftCommand {
    let name = name.to_owned();
    NftCommand::FlushChain { name }
}

fn delete_chain(name: &str) -> NftCommand {
    let name = name.to_owned();
    NftCommand::DeleteChain { name }
}

fn delete_set(name: &str) -> NftCommand {
    let name = name.to_owned();
    NftCommand::DeleteSet { name }
}

fn delete_counter(name: &str) -> NftCommand {
    let name = name.to_owned();
    NftCommand::DeleteCounter { name }
}

async fn inet_of(host: &impl Host) -> Result<ObservedTable, HostError> {
    Ok(host.read_firewall().await?.inet.unwrap_or_default())
}

async fn elements_of(host: &impl Host, set: &str) -> Result<BTreeSet<Element>, HostError> {
    let set = inet_of(host).await?.sets.remove(set);
    Ok(set.unwrap_or_default().elements)
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
) -> CaseResult {
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
) -> CaseResult {
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
            .map(|(name, set)| {
                let set = ObservedSet {
                    set_type: Some(set.set_type.clone()),
                    elements: set.elements.clone(),
                    ..ObservedSet::default()
                };
                (name.clone(), set)
            })
            .collect();
        assert_eq!(seen.sets, sets);
        assert_eq!(
            seen.counters,
            wanted
                .counter_names()
                .map(|name| (name.to_owned(), 0))
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
) -> CaseResult {
    let first = replace(host).await?;
    assert_eq!(replace(host).await?, first);
    Ok(())
}

/// The first command is good, the second is not.
pub async fn a_batch_is_taken_whole_or_not_at_all(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let before = replace(host).await?;
    let chain = NftCommand::AddChain {
        name: "new".to_owned(),
        base: None,
    };
    let half = batch([chain, add_rule("missing")]);
    refused(
        &host.change_firewall(&half).await,
        "a rule in a chain that is not there",
    );
    let half = batch([flush_chain("guard"), delete_element("from4", pod(99))]);
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
) -> CaseResult {
    let before = replace(host).await?;
    let add = |chain| batch([add_elements("from4", [Element::entry([pod(7)], to(chain))])]);
    host.change_firewall(&add("pol_eu")).await?;
    let other = host.change_firewall(&add("refuse")).await;
    refused(&other, "other data for a key");
    assert_eq!(host.read_firewall().await?, before);
    Ok(())
}

/// Declaring a set once more is idempotent for the same type only.
pub async fn a_set_of_another_type_is_refused(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let before = replace(host).await?;
    let declare = |set: Set| {
        batch([NftCommand::AddSet {
            name: "inside4".to_owned(),
            set_type: set.set_type,
        }])
    };
    host.change_firewall(&declare(Set::intervals(KeyType::Ipv4)))
        .await?;
    let other = host
        .change_firewall(&declare(Set::intervals(KeyType::Ipv6)))
        .await;
    refused(&other, "another type");
    assert_eq!(host.read_firewall().await?, before);
    Ok(())
}

/// Elements, chains, sets and counters.
pub async fn deleting_what_is_missing_is_refused(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    replace(host).await?;
    for command in [
        delete_element("from4", pod(99)),
        delete_chain("missing"),
        delete_set("missing"),
        delete_counter("missing"),
        flush_chain("missing"),
        add_elements("missing", [Element::key([pod(99)])]),
        add_elements("from4", [Element::entry([pod(99)], to("missing"))]),
    ] {
        let named = format!("{command:?}");
        refused(&host.change_firewall(&batch([command])).await, &named);
    }
    Ok(())
}

/// `EBUSY`: a chain that a rule or an element leads to, a set or a counter that a rule uses.
pub async fn what_is_in_use_cannot_be_deleted(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let before = replace(host).await?;
    for command in [
        delete_chain("refuse"),
        delete_chain("pol_eu"),
        delete_set("podlinks"),
        delete_set("from4"),
        delete_counter("hold"),
    ] {
        let named = format!("{command:?}");
        let outcome = host.change_firewall(&batch([command])).await;
        assert_eq!(
            outcome.as_ref().err().map(HostError::nature),
            Some(Nature::Transient),
            "{named}: {outcome:?}"
        );
    }
    assert_eq!(host.read_firewall().await?, before);
    let freed = [
        flush_chain("guard"),
        delete_set("from4"),
        delete_set("podlinks"),
    ];
    host.change_firewall(&batch(freed)).await?;
    assert!(!inet_of(host).await?.sets.contains_key("from4"));
    Ok(())
}

/// A pod moves from one class to another one without a moment between.
pub async fn a_key_changes_its_data_within_one_batch(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    replace(host).await?;
    let moved = Element::entry([pod(7)], to("refuse"));
    let commands = [
        delete_element("from4", pod(7)),
        add_elements("from4", [moved.clone()]),
    ];
    host.change_firewall(&batch(commands)).await?;
    let elements = elements_of(host, "from4").await?;
    assert!(
        elements.contains(&moved) && elements.len() == 3,
        "{elements:?}"
    );
    Ok(())
}

/// A policy is rewritten in place; everything else keeps its counters.
pub async fn a_chain_that_was_flushed_can_be_filled_again(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let before = replace(host).await?.inet.unwrap_or_default();
    let refilled = Set::intervals(KeyType::Ipv4);
    let flush = NftCommand::FlushSet {
        name: "inside4".to_owned(),
        set_type: refilled.set_type,
    };
    let commands = [
        flush_chain("pol_eu"),
        add_rule("pol_eu"),
        flush,
        add_elements("inside4", [Element::key([pod(7)])]),
    ];
    host.change_firewall(&batch(commands)).await?;
    let after = inet_of(host).await?;
    let rules = after
        .chains
        .get("pol_eu")
        .map(|chain| chain.rules.clone())
        .unwrap_or_default();
    let comments: Vec<_> = rules
        .iter()
        .filter_map(|rule| rule.comment.as_deref())
        .collect();
    assert_eq!(comments, [FirewallRule::to(Target::Accept).identity()]);
    let refilled = after.sets.get("inside4");
    assert_eq!(refilled.map(|set| set.elements.len()), Some(1));
    assert_eq!(after.chains.get("guard"), before.chains.get("guard"));
    Ok(())
}

/// Another program gave the guard a policy of `drop`; declaring the chain once more takes it back and leaves its rules.
pub async fn what_no_rule_judges_can_be_told_anew(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let before = replace(host).await?;
    let declare = |priority, otherwise| {
        let base = Base {
            kind: BaseKind::Filter,
            hook: Hook::Forward,
            priority,
            otherwise,
        };
        let name = "guard".to_owned();
        let base = Some(base);
        batch([NftCommand::AddChain { name, base }])
    };
    for otherwise in [Otherwise::Drop, Otherwise::Accept] {
        host.change_firewall(&declare(-5, otherwise)).await?;
        let guard = inet_of(host)
            .await?
            .chains
            .remove("guard")
            .unwrap_or_default();
        assert_eq!(guard.base.map(|base| base.otherwise), Some(otherwise));
    }
    assert_eq!(host.read_firewall().await?, before);
    let moved = host.change_firewall(&declare(-4, Otherwise::Accept)).await;
    // The kernel says that it cannot; from 1.1 on nft compares the declarations and refuses by itself.
    let nature = moved.as_ref().err().map(HostError::nature);
    let refused = [Some(Nature::Unsupported), Some(Nature::Refused)];
    assert!(refused.contains(&nature), "another place: {moved:?}");
    assert_eq!(host.read_firewall().await?, before);
    Ok(())
}

/// Add, delete, add: `delete` alone fails once the element is gone.
pub async fn a_lease_is_renewed_whether_it_is_there_or_not(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    replace(host).await?;
    let families =
        BTreeSet::from([Family::V4, Family::V6].map(|family| Element::key([Atom::Family(family)])));
    for seconds in [60, 90].into_iter().filter_map(NonZeroU64::new) {
        host.change_firewall(&Transaction::lease(seconds)).await?;
        assert_eq!(elements_of(host, LEASE).await?, families);
    }
    for _ in 0..2 {
        host.change_firewall(&Transaction::end_lease()).await?;
        assert_eq!(elements_of(host, LEASE).await?, BTreeSet::new());
    }
    Ok(())
}

/// What a reload of nftables.service does.
pub async fn a_flush_by_somebody_else_leaves_no_table(
    host: &impl Host,
    other_program: &impl OtherProgram,
) -> CaseResult {
    let before = replace(host).await?;
    other_program.flushes_the_firewall().await;
    assert_eq!(host.read_firewall().await?, ObservedFirewall::default());
    assert_eq!(replace(host).await?, before);
    Ok(())
}
