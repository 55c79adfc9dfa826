//! Sets of granted addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use postern_host::error::HostError;
use postern_host::ports::Host;
use postern_intent::Address;
use postern_plan::ruleset::{Grant, KeyType, Ruleset, Set, Transaction};

use super::{CaseResult, OtherProgram};

const FOUR: &str = "granted_contract_4";
const SIX: &str = "granted_contract_6";

/// Two sets, of which the one of IPv4 has room for so many addresses.
fn ruleset(room: u32) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut four = Set::granted(KeyType::Ipv4);
    four.set_type.size = Some(room);
    ruleset.inet.sets.insert(FOUR.to_owned(), four);
    let six = Set::granted(KeyType::Ipv6);
    ruleset.inet.sets.insert(SIX.to_owned(), six);
    ruleset
}

fn grant(set: &str, address: &str, seconds: u64) -> Grant {
    Grant {
        set: set.to_owned(),
        address: crate::fixture::word(address),
        seconds: NonZeroU64::new(seconds).unwrap_or(NonZeroU64::MIN),
    }
}

async fn granted(host: &impl Host, room: u32) -> Result<Vec<Grant>, HostError> {
    host.change_firewall(&Transaction::replace(&ruleset(room)))
        .await?;
    let grants = vec![
        grant(FOUR, "192.0.2.1", 300),
        grant(FOUR, "192.0.2.2", 60),
        grant(SIX, "2001:db8::1", 300),
    ];
    host.change_firewall(&Transaction::grant(&grants)).await?;
    Ok(grants)
}

fn sets(grants: &[Grant]) -> BTreeMap<String, BTreeSet<Address>> {
    let mut sets: BTreeMap<String, BTreeSet<Address>> = BTreeMap::new();
    for grant in grants {
        sets.entry(grant.set.clone())
            .or_default()
            .insert(grant.address);
    }
    sets
}

/// The seconds that are left of the elements of a set, in the order of the addresses; a second may have passed.
async fn left(host: &impl Host, set: &str) -> Result<Vec<u64>, HostError> {
    let table = host.read_firewall().await?.inet.unwrap_or_default();
    let set = table.sets.get(set).cloned().unwrap_or_default();
    Ok(set.expires.values().copied().collect())
}

fn about(left: &[u64], wanted: &[u64]) {
    let near = |(left, wanted): (&u64, &u64)| left <= wanted && left + 5 >= *wanted;
    assert!(
        left.len() == wanted.len() && left.iter().zip(wanted).all(near),
        "{left:?}, not {wanted:?}"
    );
}

pub async fn addresses_are_granted_for_a_time_that_a_later_grant_replaces(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let grants = granted(host, 100).await?;
    assert!(host.has_addresses(&sets(&grants)).await?);
    about(&left(host, FOUR).await?, &[300, 60]);
    let later = [grant(FOUR, "192.0.2.2", 900), grant(FOUR, "192.0.2.3", 60)];
    host.change_firewall(&Transaction::grant(&later)).await?;
    about(&left(host, FOUR).await?, &[300, 900, 60]);
    about(&left(host, SIX).await?, &[300]);
    Ok(())
}

pub async fn what_is_missing_in_one_set_is_not_there(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let mut grants = granted(host, 100).await?;
    for missing in [
        grant(FOUR, "192.0.2.9", 60),
        grant(SIX, "2001:db8::9", 60),
        grant("granted_other_4", "192.0.2.1", 60),
    ] {
        grants.push(missing);
        assert!(!host.has_addresses(&sets(&grants)).await?, "{grants:?}");
        grants.pop();
    }
    assert!(host.has_addresses(&sets(&grants)).await?);
    Ok(())
}

pub async fn a_full_set_takes_nothing_more(host: &impl Host, _: &impl OtherProgram) -> CaseResult {
    let grants = granted(host, 2).await?;
    let more = [grant(FOUR, "192.0.2.3", 60)];
    let refused = host.change_firewall(&Transaction::grant(&more)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(!host.has_addresses(&sets(&more)).await?);
    // A grant that the set already has gets the new time.
    host.change_firewall(&Transaction::grant(&grants)).await?;
    assert!(host.has_addresses(&sets(&grants)).await?);
    Ok(())
}

pub async fn grants_are_carried_into_a_table_that_is_made_anew(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    let grants = granted(host, 100).await?;
    let table = host.read_firewall().await?.inet.unwrap_or_default();
    let mut other = ruleset(100);
    other.inet.sets.remove(SIX);
    let anew = Transaction::replace(&other);
    let carried = Transaction::carry_grants(&table, &anew);
    host.change_firewall(&anew.then(carried)).await?;
    let four: Vec<Grant> = grants.into_iter().filter(|one| one.set == FOUR).collect();
    assert!(host.has_addresses(&sets(&four)).await?);
    about(&left(host, FOUR).await?, &[300, 60]);
    Ok(())
}
