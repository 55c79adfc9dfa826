//! The tier `Admin` on a node: what it reports and counts.

use postern_agent::agent::Activation;
use postern_crds::node_report::{DeniedCount, Posture, ScopeState};
use postern_intent::body::{Access, AdminAction, AdminPolicy, Body};
use postern_plan::desired::names;

use crate::fixture::{administrator, client, scope_id};
use crate::next;
use crate::node::Node;

fn under(before: &Body, action: AdminAction) -> Body {
    next(before, |body| {
        let terms = &mut body.firewall[0].terms;
        terms.default_action = Access::Deny;
        terms.admin = vec![administrator("mail", action, &["203.0.113.0/24"])];
    })
}

fn counts(node: &Node, policy: &AdminPolicy, packets: u64) {
    let counter = names::denied(&scope_id(), policy, &policy.rules[0]);
    node.host.edits_the_firewall(|firewall| {
        let table = firewall.inet.as_mut().expect("the table");
        let found = table.counters.insert(counter, packets);
        assert!(found.is_some(), "the counter was there");
    });
}

#[tokio::test]
async fn what_an_administrator_allows_may_leave_and_what_one_denies_is_counted_by_rule() {
    let mut node = Node::new();
    let body = under(&client(), AdminAction::Pass);
    node.takes(body.clone()).await;
    let posture = |node: &Node| (node.scope().state, node.scope().posture);
    assert_eq!(posture(&node), (ScopeState::Enforcing, Posture::Sealed));
    let body = under(&body, AdminAction::Allow);
    node.takes(body.clone()).await;
    assert_eq!(posture(&node), (ScopeState::Enforcing, Posture::TunnelOnly));

    let body = under(&body, AdminAction::Deny);
    node.takes(body.clone()).await;
    assert_eq!(node.scope().denied, []);
    counts(&node, &body.firewall[0].terms.admin[0], 7);
    node.runs(Activation::Timer).await;
    let mail = DeniedCount {
        policy: "company".to_owned(),
        rule: "mail".to_owned(),
        packets: 7,
    };
    assert_eq!(node.scope().denied, [mail]);
    let report = node.agent.status();
    let mut names = report.counters.keys();
    assert!(!names.any(|name| name.contains("denied")), "{report:?}");
}
