use std::num::NonZeroU64;

use postern_host::error::errno;
use postern_host_testing::fake::{Call, FakeHost};
use postern_plan::ruleset::{KeyType, Ruleset, Set};

use super::*;

const ONE: &str = "granted_one_4";
const OTHER: &str = "granted_other_4";

fn ruleset(sets: &[&str]) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for name in sets {
        let set = Set::granted(KeyType::Ipv4);
        ruleset.inet.sets.insert((*name).to_owned(), set);
    }
    ruleset
}

fn grant(set: &str, address: &str, seconds: u64) -> Grant {
    Grant {
        set: set.to_owned(),
        address: address.parse().unwrap(),
        seconds: NonZeroU64::new(seconds).unwrap(),
    }
}

/// A host with these sets, and the task that writes into them.
async fn served(sets: &[&str]) -> (FakeHost, GrantBook, GrantSender) {
    let host = FakeHost::new();
    host.change_firewall(&Transaction::replace(&ruleset(sets)))
        .await
        .unwrap();
    let book = GrantBook::default();
    let (sender, requests) = GrantSender::pair();
    tokio::spawn(write_grants(host.clone(), book.clone(), requests));
    (host, book, sender)
}

/// What a set holds, with the seconds that are left.
async fn held(host: &FakeHost, set: &str) -> Vec<(String, u64)> {
    let table = host.read_firewall().await.unwrap().inet.unwrap();
    let elements = table.sets[set].expires.iter();
    elements
        .map(|(key, seconds)| (key[0].to_string(), *seconds))
        .collect()
}

#[test]
fn a_grant_lasts_as_long_as_the_answer_and_a_minute_at_least() {
    let times = [0, 59, 60, 300, u32::MAX].map(|lasts| grant_time(lasts).get());
    assert_eq!(times, [60, 60, 60, 300, 604_800]);
}

#[tokio::test]
async fn addresses_are_in_the_kernel_when_they_count_as_granted_and_a_shorter_answer_ends_no_longer_one()
 {
    let (host, _, sender) = served(&[ONE]).await;
    sender
        .grant(vec![grant(ONE, "192.0.2.1", 300)])
        .await
        .unwrap();
    assert_eq!(held(&host, ONE).await, [("192.0.2.1".to_owned(), 360)]);
    sender
        .grant(vec![grant(ONE, "192.0.2.1", 60)])
        .await
        .unwrap();
    assert_eq!(held(&host, ONE).await, [("192.0.2.1".to_owned(), 360)]);
    sender
        .grant(vec![grant(ONE, "192.0.2.1", 900)])
        .await
        .unwrap();
    assert_eq!(held(&host, ONE).await, [("192.0.2.1".to_owned(), 960)]);
}

#[tokio::test]
async fn a_set_that_is_gone_fails_its_own_answer_and_no_other_one() {
    let (host, book, sender) = served(&[ONE]).await;
    // Both wait while the agent changes the tables, so that they are one batch.
    let memory = book.hold().await;
    let (good, bad) = (sender.clone(), sender.clone());
    let good = tokio::spawn(async move { good.grant(vec![grant(ONE, "192.0.2.1", 60)]).await });
    let bad = tokio::spawn(async move { bad.grant(vec![grant(OTHER, "192.0.2.2", 60)]).await });
    tokio::task::yield_now().await;
    drop(memory);
    assert!(good.await.unwrap().is_ok());
    let failed = bad.await.unwrap();
    assert!(matches!(failed, Err(GrantError::Write(_))), "{failed:?}");
    assert_eq!(held(&host, ONE).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_back_is_not_granted() {
    let (host, _, sender) = served(&[ONE]).await;
    host.fails(Call::ReadFirewall, 1, 1, errno::EINVAL);
    let failed = sender.grant(vec![grant(ONE, "192.0.2.1", 60)]).await;
    assert!(matches!(failed, Err(GrantError::Read(_))), "{failed:?}");
}

#[tokio::test]
async fn what_another_program_took_away_is_written_again_before_it_counts() {
    let (host, _, sender) = served(&[ONE]).await;
    sender
        .grant(vec![grant(ONE, "192.0.2.1", 60)])
        .await
        .unwrap();
    host.change_firewall(&Transaction::replace(&ruleset(&[ONE])))
        .await
        .unwrap();
    assert_eq!(held(&host, ONE).await, []);
    // Beside an address that is new.
    sender
        .grant(vec![
            grant(ONE, "192.0.2.1", 60),
            grant(ONE, "192.0.2.2", 60),
        ])
        .await
        .unwrap();
    assert_eq!(held(&host, ONE).await.len(), 2);
    host.change_firewall(&Transaction::replace(&ruleset(&[ONE])))
        .await
        .unwrap();
    sender
        .grant(vec![grant(ONE, "192.0.2.1", 60)])
        .await
        .unwrap();
    assert_eq!(held(&host, ONE).await.len(), 1);
}

#[tokio::test]
async fn a_later_agent_does_not_end_what_an_earlier_one_granted_for_longer() {
    let (host, book, sender) = served(&[ONE]).await;
    let earlier = Transaction::grant(&[grant(ONE, "192.0.2.1", 3600)]);
    host.change_firewall(&earlier).await.unwrap();
    let table = host.read_firewall().await.unwrap().inet;
    book.hold().await.see(table.as_ref());
    sender
        .grant(vec![grant(ONE, "192.0.2.1", 60)])
        .await
        .unwrap();
    assert_eq!(held(&host, ONE).await, [("192.0.2.1".to_owned(), 3600)]);
}

#[tokio::test]
async fn a_full_set_grants_nothing() {
    let (host, _, sender) = served(&[]).await;
    let mut small = ruleset(&[ONE]);
    let set = small.inet.sets.get_mut(ONE).unwrap();
    set.set_type.size = Some(1);
    host.change_firewall(&Transaction::replace(&small))
        .await
        .unwrap();
    sender
        .grant(vec![grant(ONE, "192.0.2.1", 60)])
        .await
        .unwrap();
    let failed = sender.grant(vec![grant(ONE, "192.0.2.2", 60)]).await;
    assert!(matches!(failed, Err(GrantError::Write(_))), "{failed:?}");
}
