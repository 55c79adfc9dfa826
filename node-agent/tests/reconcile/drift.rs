//! What somebody else changes under our names is seen, whenever it happens, and mended.

use postern_agent::agent::Activation;
use postern_host::ports::{Firewall as _, Locks as _};
use postern_host_testing::fake::Call;
use postern_intent::body::Access;
use postern_plan::check::Seal;
use postern_plan::host::{LockAction, LockPolicy};
use postern_plan::observed::{ObservedFirewall, ObservedRule};
use postern_plan::ruleset::Otherwise;
use postern_plan::settings::{LOCK_BLOCK_PRIORITY, LOCK_INSIDE_PRIORITY};
use serde_json::json;

use crate::count;
use crate::fixture::client;
use crate::next;
use crate::node::Node;

/// The guard's last rule: it holds whoever has no class.
fn hold(firewall: &mut ObservedFirewall) -> &mut ObservedRule {
    let table = firewall.inet.as_mut().expect("the table");
    let guard = table.chains.get_mut("guard").expect("the guard");
    guard.rules.last_mut().expect("a rule")
}

/// Another rule under the comment of ours.
fn exchange(firewall: &mut ObservedFirewall) {
    hold(firewall).expressions["text"] = json!("iifname @podlinks accept");
}

async fn held(node: &Node) -> bool {
    let mut firewall = node.host.read_firewall().await.unwrap();
    hold(&mut firewall).expressions["text"] == json!("iifname @podlinks goto unclassified")
}

#[tokio::test]
async fn a_rule_that_is_exchanged_while_another_chain_is_written_is_not_taken_for_ours() {
    let mut node = Node::new();
    node.takes(client()).await;
    assert!(held(&node).await);
    node.host.edits_the_firewall_before_the_next_batch(exchange);
    let other = next(&client(), |body| {
        body.firewall[0].terms.default_action = Access::Deny;
    });
    node.takes(other).await;
    assert!(held(&node).await, "it was seen and written again");
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
}

#[tokio::test]
async fn a_rule_that_looks_otherwise_after_it_was_written_again_is_believed_at_neither_look() {
    let mut node = Node::new();
    node.takes(client()).await;
    // Somebody is faster than our reading after the next write of the guard.
    let filled =
        postern_plan::ruleset::Transaction::replace(&node.agent.kernel.desired.ruleset).fills();
    let mut listed = node.host.read_firewall().await.unwrap();
    exchange(&mut listed);
    node.agent.kernel.learned.learn(&filled, &listed);
    node.host.edits_the_firewall(exchange);
    node.runs(Activation::HostChanged).await;
    assert!(held(&node).await);
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
}

#[tokio::test]
async fn an_adopted_table_is_written_once_and_read_back_before_it_is_believed() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.edits_the_firewall(exchange);
    let mut node = node.restarts();
    node.starts().await;
    assert!(
        held(&node).await,
        "a comment of ours is no proof of the rule"
    );
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
    node.host.takes_the_calls();
    node.runs(Activation::Timer).await;
    let calls = node.host.takes_the_calls();
    assert_eq!(count(&calls, Call::ChangeFirewall), 0, "{calls:?}");
}

#[tokio::test]
async fn a_chain_that_somebody_lets_drop_what_no_rule_judges_is_told_anew() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.edits_the_firewall(|firewall| {
        let table = firewall.inet.as_mut().expect("the table");
        let guard = table.chains.get_mut("guard").expect("the guard");
        guard.base.as_mut().expect("a base chain").otherwise = Otherwise::Drop;
    });
    node.runs(Activation::HostChanged).await;
    let firewall = node.host.read_firewall().await.unwrap().inet.unwrap();
    let otherwise = |chain: &str| firewall.chains[chain].base.unwrap().otherwise;
    assert_eq!(otherwise("guard"), Otherwise::Accept);
    assert_eq!(node.agent.output.counters.get("repairs"), Some(&1));
    assert_eq!(
        firewall.sets["lease"].elements.len(),
        2,
        "it was done in place"
    );
}

#[tokio::test]
async fn a_chain_that_somebody_moves_is_put_back() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.edits_the_firewall(|firewall| {
        let table = firewall.inet.as_mut().expect("the table");
        let guard = table.chains.get_mut("guard").expect("the guard");
        guard.base.as_mut().expect("a base chain").priority = 300;
    });
    node.runs(Activation::HostChanged).await;
    let firewall = node.host.read_firewall().await.unwrap().inet.unwrap();
    assert_eq!(firewall.chains["guard"].base.unwrap().priority, -5);
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
}

#[tokio::test]
async fn a_lock_that_somebody_gives_another_priority_or_action_is_replaced_in_one_run() {
    let mut node = Node::new();
    node.takes(client()).await;
    let all = node.host.list_locks().await.unwrap();
    let block = all
        .iter()
        .find(|lock| lock.priority == LOCK_BLOCK_PRIORITY)
        .unwrap();
    for changed in [
        LockPolicy {
            action: LockAction::Allow,
            ..block.clone()
        },
        LockPolicy {
            priority: LOCK_INSIDE_PRIORITY,
            ..block.clone()
        },
    ] {
        node.host.edits_a_lock(changed);
        node.host.takes_the_calls();
        node.agent.reconcile(Activation::HostChanged).await;
        assert_eq!(node.host.list_locks().await.unwrap(), all);
        assert_eq!(node.agent.kernel.last.lock(), Some(Seal::Sealed));
        let calls = node.host.takes_the_calls();
        assert_eq!(count(&calls, Call::ReplaceLock), 1, "{calls:?}");
        assert_eq!(count(&calls, Call::RemoveLock), 0, "never without a block");
    }
}

#[tokio::test]
async fn what_somebody_does_between_two_readings_of_a_quiet_run_is_counted_by_the_next_one() {
    let mut node = Node::new();
    node.takes(client()).await;
    assert_eq!(node.agent.output.counters.get("repairs"), None);
    // The first reading of the run agrees, the second one does not.
    node.host
        .edits_the_firewall_after_the_next_reading(exchange);
    node.agent.reconcile(Activation::Timer).await;
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::NotSealed));
    // The event comes later than the retry of the run that saw it.
    node.runs(Activation::Retry).await;
    assert!(held(&node).await);
    assert_eq!(node.agent.output.counters.get("repairs"), Some(&1));
}

#[tokio::test]
async fn the_arp_table_that_somebody_deletes_is_put_back_by_a_batch_that_leaves_the_guard_alone() {
    let mut node = Node::new();
    node.takes(client()).await;
    let before = node.host.read_firewall().await.unwrap();
    assert!(before.arp.is_some());
    node.host.edits_the_firewall(|firewall| firewall.arp = None);
    node.runs(Activation::HostChanged).await;
    assert_eq!(node.host.read_firewall().await.unwrap(), before);
    assert_eq!(node.agent.output.counters.get("repairs"), Some(&1));
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
}
