//! A node explains a packet by the body that was read back, and not by one that it only accepted.

use std::num::NonZeroU64;

use postern_agent::agent::Activation;
use postern_control::ExplainRequest;
use postern_control::explained::{NodeExplanation, PacketTarget, PacketVerdict};
use postern_host::error::errno;
use postern_host::ports::Firewall as _;
use postern_host_testing::fake::Call;
use postern_intent::body::{Access, Rule, RulePortRange, RuleProtocol, TermsDnsMode};
use postern_intent::{Address, Body};
use postern_plan::desired::names::granted_set;
use postern_plan::host::Family;
use postern_plan::ruleset::{Grant, Transaction};

use crate::fixture::{client, scope_id, word};
use crate::node::Node;
use crate::{ALWAYS, next};

const ADDRESS: &str = "203.0.113.7";

/// A connection to an address, or to the answer for a name.
async fn asked(node: &Node, pod: &str, to: &str) -> Result<NodeExplanation, String> {
    asked_of(node, pod, to, 443).await
}

async fn asked_at(node: &Node, to: &str, port: u16) -> NodeExplanation {
    asked_of(node, "a", to, port).await.unwrap()
}

async fn asked_of(node: &Node, pod: &str, to: &str, port: u16) -> Result<NodeExplanation, String> {
    let address: Option<Address> = to.parse().ok();
    let request = ExplainRequest {
        namespace: word("crawlers"),
        pod: word(pod),
        target: PacketTarget {
            address,
            protocol: RuleProtocol::Tcp,
            port: Some(port),
            name: address.is_none().then(|| word(to)),
        },
    };
    let found = node.agent.explain(&request).await;
    found.map_err(|error| error.to_string())
}

async fn verdict(node: &Node, to: &str) -> PacketVerdict {
    asked(node, "a", to).await.unwrap().packet.verdict
}

fn rule() -> Rule {
    Rule {
        name: "apis".to_owned(),
        action: Access::Allow,
        to: Vec::new(),
        names: vec![word("*.example.org")],
        ports: Vec::new(),
    }
}

/// A policy that denies everything but names below `example.org`.
fn named(serial: u64) -> Body {
    let mut body = client();
    body.serial = postern_intent::Serial(serial);
    let terms = &mut body.firewall[0].terms;
    terms.default_action = Access::Deny;
    terms.dns.mode = TermsDnsMode::Filter;
    terms.rules = vec![rule()];
    body
}

#[tokio::test]
async fn a_node_answers_by_the_body_that_it_read_back_and_names_the_newer_one() {
    let mut node = Node::new();
    let error = asked(&node, "a", ADDRESS).await.unwrap_err();
    assert!(error.contains("not read back yet"), "{error}");
    node.takes(client()).await;
    assert_eq!(verdict(&node, ADDRESS).await, PacketVerdict::Allowed);
    let stricter = next(&client(), |body| {
        body.firewall[0].terms.default_action = Access::Deny;
    });

    // It was accepted, and no run wrote it.
    node.puts_body(stricter.clone());
    node.agent.take_documents();
    let found = asked(&node, "a", ADDRESS).await.unwrap();
    assert_eq!(found.packet.verdict, PacketVerdict::Allowed);
    let serials = (found.packet.nodes[0].serial, found.pending.unwrap().serial);
    assert_eq!(serials, (client().serial.0, stricter.serial.0));

    // The kernel refuses it.
    node.host
        .fails(Call::ChangeFirewall, 1, ALWAYS, errno::EINVAL);
    node.runs(Activation::IntentChanged).await;
    let found = asked(&node, "a", ADDRESS).await.unwrap();
    assert_eq!(found.packet.verdict, PacketVerdict::Allowed);
    assert!(found.pending.is_some());

    node.host.fails(Call::ChangeFirewall, 1, 0, errno::EINVAL);
    node.runs(Activation::Retry).await;
    let found = asked(&node, "a", ADDRESS).await.unwrap();
    assert_eq!(found.packet.verdict, PacketVerdict::Denied);
    assert_eq!(found.pending, None);
}

#[tokio::test]
async fn what_is_not_known_is_no_verdict() {
    let mut node = Node::new();
    node.takes(named(10)).await;
    let error = asked(&node, "nobody", ADDRESS).await.unwrap_err();
    assert!(error.contains("no pod crawlers/nobody"), "{error}");
    node.host
        .fails(Call::ReadFirewall, 1, ALWAYS, errno::EINVAL);
    let error = asked(&node, "a", ADDRESS).await.unwrap_err();
    assert!(error.contains("cannot be read"), "{error}");
    node.runs(Activation::Timer).await;
    let error = asked(&node, "a", ADDRESS).await.unwrap_err();
    assert!(error.contains("not read back whole"), "{error}");
    node.agent.release_by_root("a case").unwrap();
    let error = asked(&node, "a", ADDRESS).await.unwrap_err();
    assert!(error.contains("released"), "{error}");
}

#[tokio::test]
async fn an_address_is_open_by_the_set_of_a_rule_and_closed_when_the_kernel_lets_it_go() {
    let mut node = Node::new();
    node.takes(named(10)).await;
    assert_eq!(verdict(&node, ADDRESS).await, PacketVerdict::Denied);
    let grants = [Grant {
        set: granted_set(&scope_id(), &rule(), Family::V4),
        address: word(ADDRESS),
        seconds: NonZeroU64::new(300).unwrap(),
    }];
    let batch = Transaction::grant(&grants);
    node.host.change_firewall(&batch).await.unwrap();
    let found = asked(&node, "a", ADDRESS).await.unwrap();
    assert_eq!(found.packet.verdict, PacketVerdict::Allowed);
    assert!(found.grants[0].names.is_empty(), "of before the agent");

    node.agent.dns.names.note("api.example.org", &grants);
    let found = asked(&node, "a", "api.example.org").await.unwrap();
    assert_eq!(found.packet.packet.destination, grants[0].address);
    assert_eq!(found.grants[0].names, ["api.example.org"]);
    assert_eq!(found.packet.verdict, PacketVerdict::Allowed);
    // Another name of the rule was not asked for, and one of no rule is refused.
    let found = asked(&node, "a", "www.example.org").await.unwrap();
    assert!(found.grants.is_empty() && found.packet.verdict == PacketVerdict::Allowed);
    assert!(found.granted.unwrap().contains("remembers no answer"));
    let refused = verdict(&node, "api.example.net").await;
    assert_eq!(refused, PacketVerdict::Denied);

    // Of another rule, with another port: the kernel lets the address through by each set that has it.
    let other = Rule {
        name: "other".to_owned(),
        names: vec![word("other.test")],
        ports: vec![RulePortRange {
            protocol: RuleProtocol::Tcp,
            from: 8443,
            to: 8443,
        }],
        ..rule()
    };
    let both = next(&named(10), |body| {
        body.firewall[0].terms.rules[0].ports = vec![RulePortRange {
            protocol: RuleProtocol::Tcp,
            from: 80,
            to: 80,
        }];
        body.firewall[0].terms.rules.push(other.clone());
    });
    node.takes(both.clone()).await;
    assert_eq!(
        verdict(&node, "api.example.org").await,
        PacketVerdict::Denied
    );
    let rules = &both.firewall[0].terms.rules;
    let of_both = [&rules[0], &rules[1]].map(|rule| Grant {
        set: granted_set(&scope_id(), rule, Family::V4),
        ..grants[0].clone()
    });
    node.host
        .change_firewall(&Transaction::grant(&of_both))
        .await
        .unwrap();
    node.agent.dns.names.note("api.example.org", &of_both[..1]);
    let found = asked_at(&node, "api.example.org", 8443).await;
    assert_eq!(found.packet.verdict, PacketVerdict::Allowed);
    assert_eq!(found.grants.len(), 1, "what the name itself granted");

    node.takes(next(&both, |body| {
        body.firewall[0].terms.rules = vec![Rule {
            names: vec![word("*.example.net")],
            ..rule()
        }];
    }))
    .await;
    let found = asked(&node, "a", ADDRESS).await.unwrap();
    assert_eq!(found.packet.verdict, PacketVerdict::Denied);
    assert!(found.grants.is_empty());
    assert!(found.granted.unwrap().contains("no name grants"));
}
