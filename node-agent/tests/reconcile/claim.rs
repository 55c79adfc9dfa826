//! A node on which no intent was ever in force, and one that lost its ledger.

use postern_agent::agent::Activation;
use postern_cni::protocol::CniResponse;
use postern_host::ports::Locks as _;
use postern_plan::desired::NodeClaim;
use postern_plan::observed::ObservedFirewall;

use crate::fixture::client;
use crate::next;
use crate::node::Node;

fn claim(node: &Node) -> NodeClaim {
    node.agent.inputs().claim()
}

#[tokio::test]
async fn a_new_node_is_not_claimed_until_its_first_intent_also_over_a_restart() {
    let mut node = Node::new();
    node.starts().await;
    assert_eq!(claim(&node), NodeClaim::Unclaimed);
    node.reports("FailClosed", "False", "NoIntent");
    let _waits = node.asks("default", "b", "veth2").await;
    let mut node = node.restarts();
    node.starts().await;
    assert_eq!(
        claim(&node),
        NodeClaim::Unclaimed,
        "a table of ours is in the kernel"
    );
    node.takes(client()).await;
    assert_eq!(claim(&node), NodeClaim::Claimed);
    node.reports("FailClosed", "True", "Sealed");
    let mut node = node.restarts();
    node.starts().await;
    node.agent.documents.verified = None;
    assert_eq!(claim(&node), NodeClaim::Claimed, "the ledger says so");
}

#[tokio::test]
async fn a_node_that_lost_its_ledger_is_claimed_while_anything_says_that_it_had_one() {
    let mut node = Node::new();
    node.takes(client()).await;
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    std::fs::remove_file(node.file("ledger.json")).unwrap();
    let mut node = node.restarts();
    node.starts().await;
    assert_eq!(
        claim(&node),
        NodeClaim::Claimed,
        "a table of ours is in the kernel"
    );
    node.host
        .edits_the_firewall(|firewall| *firewall = ObservedFirewall::default());
    std::fs::remove_file(node.file("ledger.json")).unwrap();
    let mut node = node.restarts();
    node.starts().await;
    assert_eq!(claim(&node), NodeClaim::Claimed, "a binding was guarded");
}

#[tokio::test]
async fn a_corrupt_ledger_is_one_that_was_there() {
    let mut node = Node::new();
    std::fs::write(node.file("ledger.json"), "{").unwrap();
    let folder = node.restarts();
    node = folder;
    node.starts().await;
    assert_eq!(claim(&node), NodeClaim::Claimed);
    node.reports("Accepted", "False", "LedgerLost");
    let mut node = node.restarts();
    node.starts().await;
    assert_eq!(
        claim(&node),
        NodeClaim::Claimed,
        "and stays one over a restart"
    );
}

#[tokio::test]
async fn the_binding_that_proves_the_pod_range_brings_the_second_lock_with_it() {
    let mut node = Node::new();
    node.takes(next(&client(), |body| {
        body.local_pod_ranges = vec!["10.244.1.0/24".parse().unwrap()];
        body.pods.iter_mut().for_each(|pod| pod.addresses.clear());
    }))
    .await;
    let ranges = |node: &Node| {
        let locks = &node.agent.kernel.desired.locks;
        locks
            .iter()
            .any(|lock| lock.source == "10.244.1.0/24".parse().unwrap())
    };
    assert!(!ranges(&node), "no pod has proved it");
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    assert!(ranges(&node));
    let kept = node.host.list_locks().await.unwrap();
    assert_eq!(kept, node.agent.kernel.desired.locks);
    node.runs(Activation::Timer).await;
    assert_eq!(
        node.agent.output.counters.get("repairs"),
        None,
        "nobody's hand"
    );
}
