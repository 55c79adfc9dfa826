use std::collections::BTreeSet;

use ipnet::IpNet;
use postern_intent::Prefix;
use postern_plan::host::{Family, LockAction, LockPolicy, MaskedMark};
use postern_plan::ruleset::{Ruleset, Transaction};
use postern_plan::settings::{LOCK_BLOCK_PRIORITY, LOCK_INSIDE_PRIORITY, LOCK_MARK_PRIORITY};

use super::{CaseResult, OtherProgram, refused};
use postern_host::error::errno;
use postern_host::ports::Host;

fn pods(family: Family) -> Prefix {
    match family {
        Family::V4 => IpNet::new_assert([10, 244, 1, 0].into(), 24).into(),
        Family::V6 => IpNet::new_assert(
            std::net::Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, 0).into(),
            64,
        )
        .into(),
    }
}

fn block(family: Family) -> LockPolicy {
    LockPolicy {
        source: pods(family),
        destination: family.everything(),
        priority: LOCK_BLOCK_PRIORITY,
        action: LockAction::Block,
        mark: None,
    }
}

fn inside(family: Family) -> LockPolicy {
    LockPolicy {
        source: family.everything(),
        destination: pods(family),
        priority: LOCK_INSIDE_PRIORITY,
        action: LockAction::Allow,
        mark: None,
    }
}

fn marked(family: Family, value: u32) -> LockPolicy {
    LockPolicy {
        source: family.everything(),
        destination: family.everything(),
        priority: LOCK_MARK_PRIORITY,
        action: LockAction::Allow,
        mark: Some(MaskedMark { value, mask: 0x70 }),
    }
}

fn all() -> BTreeSet<LockPolicy> {
    let of = |family| {
        [
            block(family),
            inside(family),
            marked(family, 0x10),
            marked(family, 0x60),
        ]
    };
    Family::BOTH.into_iter().flat_map(of).collect()
}

async fn add_all(host: &impl Host) -> CaseResult {
    for policy in all() {
        host.add_lock(&policy).await?;
    }
    Ok(())
}

/// `ip xfrm policy`.
pub async fn a_lock_reads_back(host: &impl Host, _: &impl OtherProgram) -> CaseResult {
    add_all(host).await?;
    assert_eq!(host.list_locks().await?, all());
    for policy in all() {
        host.remove_lock(&policy).await?;
    }
    assert_eq!(host.list_locks().await?, BTreeSet::new());
    Ok(())
}

/// `EEXIST`: the kernel identifies policies by selector and mark, not by priority.
pub async fn a_lock_cannot_be_added_twice_at_whatever_priority(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    for policy in all() {
        refused(
            &host.add_lock(&policy).await,
            errno::EEXIST,
            "the same once more",
        );
        let other = LockPolicy {
            priority: LOCK_MARK_PRIORITY,
            ..policy
        };
        refused(
            &host.add_lock(&other).await,
            errno::EEXIST,
            "the same at another priority",
        );
    }
    assert_eq!(host.list_locks().await?, all());
    Ok(())
}

/// `XFRM_MSG_UPDPOLICY`: one policy for each selector and mark, before and after.
pub async fn a_lock_is_replaced_by_another_priority_and_action(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    let mut wanted = all();
    for policy in all() {
        let other = LockPolicy {
            priority: LOCK_INSIDE_PRIORITY,
            action: LockAction::Block,
            ..policy.clone()
        };
        host.replace_lock(&other).await?;
        wanted.remove(&policy);
        wanted.insert(other);
        assert_eq!(host.list_locks().await?, wanted);
    }
    Ok(())
}

/// One policy for each mark, all with the same selector.
pub async fn the_same_selector_with_another_mark_is_another_lock(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    host.remove_lock(&marked(Family::V4, 0x10)).await?;
    let left = host.list_locks().await?;
    assert!(
        left.contains(&marked(Family::V4, 0x60)) && !left.contains(&marked(Family::V4, 0x10)),
        "{left:?}"
    );
    Ok(())
}

/// `ENOENT`.
pub async fn removing_a_lock_that_is_not_there_is_refused(
    host: &impl Host,
    _: &impl OtherProgram,
) -> CaseResult {
    for policy in all() {
        refused(
            &host.remove_lock(&policy).await,
            errno::ENOENT,
            "no such policy",
        );
    }
    Ok(())
}

/// That is what it is for.
pub async fn a_lock_holds_when_somebody_flushes_the_firewall(
    host: &impl Host,
    other_program: &impl OtherProgram,
) -> CaseResult {
    add_all(host).await?;
    host.change_firewall(&Transaction::replace(&Ruleset::default()))
        .await?;
    other_program.flushes_the_firewall().await;
    assert_eq!(host.list_locks().await?, all());
    Ok(())
}

/// Priorities and marks are anybody's. Its policy is neither listed as ours nor in the way of ours, and it is told where it
/// lets packets pass that a lock would block.
pub async fn a_policy_of_another_program_with_our_numbers_is_not_ours_and_is_told_where_it_overrules(
    host: &impl Host,
    other: &impl OtherProgram,
) -> CaseResult {
    let foreign = LockPolicy {
        source: Family::V4.everything(),
        ..inside(Family::V4)
    };
    other.adds_lock(&foreign).await;
    host.add_lock(&block(Family::V4)).await?;
    assert_eq!(host.list_locks().await?, [block(Family::V4)].into());
    assert_eq!(host.overruling_locks().await?, [foreign].into());
    host.remove_lock(&block(Family::V4)).await?;
    assert_eq!(host.list_locks().await?, BTreeSet::new());
    assert_eq!(other.lists_locks().await, 1);
    Ok(())
}
