//! The agent is killed between any two of its changes, on the way to a state and on the way back: the next one ends where an
//! agent ends that was never killed.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use postern_agent::agent::Activation;
use postern_host::ports::{Firewall as _, Links as _, Locks as _, Routes as _, Rules as _};
use postern_host_testing::fake::{FakeHost, ProgramDied};
use postern_intent::body::{Access, Class};
use postern_intent::{Body, Serial};
use postern_plan::desired::names::GUARD_CHAIN;
use postern_plan::host::ObservedLink;
use postern_plan::observed::ObservedTable;

use crate::fixture::{client, gateway};
use crate::node::Node;

/// More changes than any transition makes.
const MOST_CHANGES: usize = 400;

/// What the node is on its way to.
#[derive(Debug, Clone)]
enum Goal {
    Body(Box<Body>),
    Released,
}

fn to(serial: u64, mut body: Body) -> Goal {
    body.serial = Serial(serial);
    body.cluster_serial = Serial(serial);
    Goal::Body(Box::new(body))
}

/// The client with other terms, another class of its pod, and a released pod less.
fn stricter() -> Body {
    let mut body = client();
    body.firewall[0].terms.default_action = Access::Deny;
    body.pods[1].class = body.pods[0].class.clone();
    body
}

/// The client without any pod under a policy.
fn idle() -> Body {
    let mut body = client();
    body.firewall.clear();
    body.routes.clear();
    body.tunnels.clear();
    for pod in &mut body.pods {
        pod.class = Class::Released;
    }
    body
}

/// Runs within which every change is complete, whatever was done before.
const RUNS: usize = 2;

/// Lets the agent of a node take its goal.
async fn pursue(node: &mut Node, goal: &Goal) {
    match goal {
        Goal::Body(body) => {
            node.puts_body((**body).clone());
            node.agent.take_documents();
        }
        Goal::Released if node.agent.is_released() => {}
        Goal::Released => node.agent.release_by_root("a case").unwrap(),
    }
    for _ in 0..RUNS {
        node.agent.reconcile(Activation::IntentChanged).await;
    }
}

/// Everything of ours on the host, without the numbers that the kernel gives.
async fn ours(host: &FakeHost) -> String {
    let links = host.list_links().await.unwrap();
    let mut links: Vec<_> = links
        .iter()
        .filter(|link| link.name.starts_with("pst-"))
        .map(|link| (&link.name, link.mtu, link.state, &link.addresses))
        .collect();
    links.sort();
    let firewall = host.read_firewall().await.unwrap();
    let tables = [&firewall.inet, &firewall.bridge, &firewall.arp];
    let tables = tables.map(|table| table.as_ref().map(rules_and_elements));
    let mut rules = host.list_rules().await.unwrap();
    rules.sort();
    format!(
        "{links:#?}\n{:#?}\n{rules:#?}\n{:#?}\n{tables:#?}",
        host.list_routes().await.unwrap(),
        host.list_locks().await.unwrap()
    )
}

/// A table in comparable form: its rules by chain, and the elements of its sets.
fn rules_and_elements(table: &ObservedTable) -> String {
    let chains = table.chains.iter().map(|(name, chain)| {
        let rules = chain.rules.iter().map(|rule| &rule.comment);
        format!("{name} {:?} {:?}", chain.base, rules.collect::<Vec<_>>())
    });
    let sets = table
        .sets
        .iter()
        .map(|(name, set)| format!("{name} {:?} {:?}", set.set_type, set.elements));
    chains.chain(sets).collect::<Vec<_>>().join("\n")
}

/// The guard is the first that comes and the last that goes: nothing of ours leads packets where it is not.
async fn assert_guarded_or_bare(host: &FakeHost, place: &str) {
    let firewall = host.read_firewall().await.unwrap();
    if let Some(table) = firewall.inet {
        let guard = table.chains.get(GUARD_CHAIN);
        let has_rules = guard.is_some_and(|chain| chain.base.is_some() && !chain.rules.is_empty());
        assert!(has_rules, "{place}: {guard:?}");
        return;
    }
    let links = host.list_links().await.unwrap();
    let is_ours = |link: &ObservedLink| link.name.starts_with("pst-");
    assert!(!links.iter().any(is_ours), "{place}: {links:?}");
    let routes = host.list_routes().await.unwrap();
    assert!(routes.is_empty(), "{place}: {routes:?}");
    let rules = host.list_rules().await.unwrap();
    assert!(rules.is_empty(), "{place}: {rules:?}");
}

/// A node that reached the first goals one by one.
async fn at(goals: &[Goal]) -> Node {
    let mut node = Node::new();
    node.starts().await;
    for goal in goals {
        pursue(&mut node, goal).await;
    }
    node
}

/// Kills the agent before each of its changes between the last two goals; returns how many changes there were.
async fn is_killed_everywhere(goals: &[Goal]) -> usize {
    let (last, before) = goals.split_last().unwrap();
    let wanted = ours(&at(goals).await.host).await;
    for change in 0..MOST_CHANGES {
        let place = format!("killed before change {change} to {last:?}");
        let mut node = at(before).await;
        node.host.lets_the_agent_die_before_change(Some(change));
        let end = AssertUnwindSafe(pursue(&mut node, last))
            .catch_unwind()
            .await;
        node.host.lets_the_agent_die_before_change(None);
        let Err(cause) = end else {
            return change;
        };
        assert!(cause.is::<ProgramDied>(), "{place}");
        assert_guarded_or_bare(&node.host, &place).await;
        let mut node = node.restarts();
        node.starts().await;
        assert_guarded_or_bare(&node.host, &place).await;
        pursue(&mut node, last).await;
        assert_eq!(node.agent.kernel.last.failures, Vec::new(), "{place}");
        assert_eq!(ours(&node.host).await, wanted, "{place}");
    }
    panic!("more than {MOST_CHANGES} changes");
}

/// Tries every change of every transition.
async fn are_survived(transitions: &[(&str, &[Goal])]) {
    for (name, goals) in transitions {
        let changes = is_killed_everywhere(goals).await;
        println!("{name}: killed before each of {changes} changes");
        assert!(changes > 1, "{name}: {changes}");
    }
}

#[tokio::test]
async fn an_agent_that_is_killed_on_the_way_to_its_first_body_loses_and_leaves_nothing() {
    let (client, gateway) = (to(1, client()), to(1, gateway(&[])));
    are_survived(&[
        ("a new client", std::slice::from_ref(&client)),
        ("a new gateway", std::slice::from_ref(&gateway)),
        (
            "the first policy",
            &[to(1, idle()), to(2, crate::fixture::client())],
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_agent_that_is_killed_on_the_way_to_another_body_loses_and_leaves_nothing() {
    are_survived(&[
        ("a stricter policy", &[to(1, client()), to(2, stricter())]),
        ("a milder policy", &[to(1, stricter()), to(2, client())]),
        (
            "a gateway for a client",
            &[to(1, client()), to(2, gateway(&[]))],
        ),
        (
            "a client for a gateway",
            &[to(1, gateway(&[])), to(2, client())],
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_agent_that_is_killed_on_the_way_back_loses_and_leaves_nothing() {
    are_survived(&[
        ("no policy any more", &[to(1, client()), to(2, idle())]),
        ("a released client", &[to(1, client()), Goal::Released]),
        ("a released gateway", &[to(1, gateway(&[])), Goal::Released]),
    ])
    .await;
}
