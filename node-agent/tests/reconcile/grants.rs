//! Addresses that answers were granted stay through every run of the agent, and through an agent.

use std::num::NonZeroU64;

use postern_agent::agent::Activation;
use postern_host::error::errno;
use postern_host::ports::Firewall as _;
use postern_host_testing::fake::Call;
use postern_intent::Body;
use postern_intent::body::{Access, Rule, TermsDnsMode};
use postern_plan::desired::names::{granted_set, kept_set};
use postern_plan::host::Family;
use postern_plan::ruleset::{Grant, Transaction};

use crate::fixture::{client, scope_id, word};
use crate::node::Node;

fn rule() -> Rule {
    Rule {
        name: "apis".to_owned(),
        action: Access::Allow,
        to: Vec::new(),
        names: vec![word("*.example.org")],
        ports: Vec::new(),
    }
}

fn body(serial: u64, rule: Rule) -> Body {
    let mut body = client();
    body.serial = postern_intent::Serial(serial);
    let terms = &mut body.firewall[0].terms;
    terms.dns.mode = TermsDnsMode::Filter;
    terms.rules = vec![rule];
    body
}

/// A node with an address in each of the rule's sets of IPv4.
async fn granted() -> Node {
    let mut node = Node::new();
    node.starts().await;
    node.takes(body(10, rule())).await;
    let grants = [granted_set, kept_set].map(|set| Grant {
        set: set(&scope_id(), &rule(), Family::V4),
        address: word("203.0.113.7"),
        seconds: NonZeroU64::new(300).unwrap(),
    });
    let batch = Transaction::grant(&grants);
    node.host.change_firewall(&batch).await.unwrap();
    node
}

/// How many addresses the sets of the rule hold.
async fn held(node: &Node, rule: &Rule) -> Vec<Option<usize>> {
    let table = node.host.read_firewall().await.unwrap().inet.unwrap();
    let sets = [granted_set, kept_set].map(|set| set(&scope_id(), rule, Family::V4));
    let sets = sets.iter().map(|name| table.sets.get(name));
    sets.map(|set| set.map(|set| set.expires.len())).collect()
}

#[tokio::test]
async fn a_run_takes_no_grant_for_drift() {
    let mut node = granted().await;
    let before = node.agent.output.counters.get("repairs").copied();
    for activation in [
        Activation::Timer,
        Activation::HostChanged,
        Activation::IntentChanged,
    ] {
        node.runs(activation).await;
    }
    assert_eq!(held(&node, &rule()).await, [Some(1), Some(1)]);
    assert_eq!(node.agent.output.counters.get("repairs").copied(), before);
    assert!(node.agent.kernel.last.read_back.as_ref().unwrap().agrees());
}

#[tokio::test]
async fn a_table_that_is_made_anew_keeps_the_grants_of_rules_that_are_still_there() {
    let mut node = granted().await;
    // The kernel refuses an edit, so that the next run replaces the tables.
    node.host.fails(Call::ChangeFirewall, 1, 1, errno::EINVAL);
    let mut changed = body(11, rule());
    changed.firewall[0].terms.default_action = Access::Deny;
    node.takes(changed).await;
    assert!(node.agent.kernel.last.read_back.as_ref().unwrap().agrees());
    assert_eq!(held(&node, &rule()).await, [Some(1), Some(1)]);
}

#[tokio::test]
async fn an_agent_that_starts_again_keeps_them() {
    let mut node = granted().await.restarts();
    node.starts().await;
    node.runs(Activation::Timer).await;
    assert_eq!(held(&node, &rule()).await, [Some(1), Some(1)]);
}

#[tokio::test]
async fn a_rule_that_allows_other_names_has_no_grant_of_the_former_ones() {
    let mut node = granted().await;
    let other = Rule {
        names: vec![word("*.example.net")],
        ..rule()
    };
    node.takes(body(11, other.clone())).await;
    assert_eq!(held(&node, &rule()).await, [None, None]);
    assert_eq!(held(&node, &other).await, [Some(0), Some(0)]);
}
