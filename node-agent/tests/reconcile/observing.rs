//! A policy that only observes: what its node reports, counts and cuts.

use postern_agent::agent::Activation;
use postern_agent_core::ScopeStatus;
use postern_crds::node_report::{Posture, RuleCount, ScopePods, ScopeState};
use postern_intent::body::{Access, Body, Rule, TermsEnforcement};
use postern_plan::desired::names;

use crate::fixture::{client, scope_id, word};
use crate::letting_go::flow_of;
use crate::next;
use crate::node::Node;

fn rule() -> Rule {
    Rule {
        name: "mail".to_owned(),
        action: Access::Deny,
        to: vec![word("203.0.113.0/24")],
        names: Vec::new(),
        ports: Vec::new(),
    }
}

fn observing(before: &Body) -> Body {
    next(before, |body| {
        let terms = &mut body.firewall[0].terms;
        terms.enforcement = TermsEnforcement::Observe;
        terms.default_action = Access::Deny;
        terms.rules = vec![rule()];
    })
}

fn enforcing(before: &Body) -> Body {
    next(before, |body| {
        body.firewall[0].terms.enforcement = TermsEnforcement::Enforce;
    })
}

fn counts(node: &Node, packets: [u64; 2]) {
    let rules = [Some(rule()), None];
    let counters = rules.map(|rule| names::observed(&scope_id(), rule.as_ref()));
    node.host.edits_the_firewall(|firewall| {
        let table = firewall.inet.as_mut().expect("the table");
        for (counter, packets) in counters.into_iter().zip(packets) {
            let found = table.counters.insert(counter, packets);
            assert!(found.is_some(), "the counter was there");
        }
    });
}

#[tokio::test]
async fn a_scope_that_only_observes_is_never_called_enforcing_and_its_rules_are_counted() {
    let mut node = Node::new();
    let body = observing(&client());
    node.takes(body.clone()).await;
    assert_eq!(node.track().status, ScopeStatus::Observing);
    let scope = node.scope();
    assert_eq!(
        (scope.state, scope.posture),
        (ScopeState::Observing, Posture::TunnelOnly)
    );
    let pods = ScopePods {
        observed: 1,
        ..ScopePods::default()
    };
    assert_eq!((scope.pods, scope.observed), (Some(pods), Vec::new()));

    counts(&node, [7, 0]);
    node.runs(Activation::Timer).await;
    let mail = RuleCount {
        rule: Some("mail".to_owned()),
        packets: 7,
    };
    assert_eq!(node.scope().observed, [mail]);
    let report = node.agent.status();
    let mut names = report.counters.keys();
    assert!(!names.any(|name| name.contains("observed")), "{report:?}");

    let flow = flow_of("10.244.1.2");
    node.host.has_flow(flow.clone());
    let edited = next(&body, |body| body.firewall[0].terms.rules.clear());
    node.takes(edited.clone()).await;
    assert_eq!(node.host.flows(), [flow], "an edit of rules cuts nothing");
    node.takes(enforcing(&edited)).await;
    assert_eq!(node.host.flows(), []);
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    assert_eq!(node.scope().observed, []);
    assert_eq!(
        node.scope().pods.map(|pods| (pods.enforced, pods.observed)),
        Some((1, 0))
    );
}
