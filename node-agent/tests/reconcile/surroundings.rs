//! What else is on the node: other programs' policies, pods with more than one network, checks of the host.

use std::time::{Duration, Instant};

use postern_agent::agent::{Activation, NodeUpdate};
use postern_agent::cleanup::{CleanupError, cleanup};
use postern_agent::inbox::SourceDocuments;
use postern_agent::ledger::{Ledger, ReleasedBy};
use postern_cni::protocol::CniResponse;
use postern_crds::conditions::ConditionType;
use postern_host::bypass::{Bypass, Direction};
use postern_host::error::errno;
use postern_host::ports::{Firewall as _, Locks as _};
use postern_host_testing::contract::OtherProgram as _;
use postern_host_testing::fake::Call;
use postern_intent::body::{Class, TermsAudit};
use postern_plan::check::Seal;
use postern_plan::desired::PacketLog;
use postern_plan::desired::names::RECORDED;
use postern_plan::host::{LockAction, LockPolicy};
use postern_plan::settings::{LOCK_INSIDE_PRIORITY, SecondLock};
use tokio::sync::oneshot;

use crate::fixture::{client, scope_id, word};
use crate::node::{Node, add};
use crate::{message, next};

/// Of our direction and with one of our priorities.
fn foreign(source: &str) -> LockPolicy {
    LockPolicy {
        source: word(source),
        destination: word("0.0.0.0/0"),
        priority: LOCK_INSIDE_PRIORITY,
        action: LockAction::Allow,
        mark: None,
    }
}

#[tokio::test]
async fn another_programs_policy_that_comes_before_the_lock_is_told_and_never_touched() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.reports("SecondLock", "True", "Locked");
    // About nobody's packets that the lock is about.
    node.host.adds_lock(&foreign("10.9.0.0/24")).await;
    node.runs(Activation::HostChanged).await;
    node.reports("SecondLock", "True", "Locked");
    node.host.adds_lock(&foreign("0.0.0.0/0")).await;
    node.runs(Activation::HostChanged).await;
    let report = node.reports("SecondLock", "False", "NoSecondLock");
    let said = message(&report, "SecondLock");
    assert!(
        said.contains("0.0.0.0/0 -> 0.0.0.0/0 at priority 1000"),
        "{said}"
    );
    node.agent.options.settings.second_lock = SecondLock::Off;
    node.runs(Activation::HostChanged).await;
    assert!(node.host.list_locks().await.unwrap().is_empty(), "ours");
    assert_eq!(node.host.lists_locks().await, 2);
}

#[tokio::test]
async fn a_pod_on_a_bridge_whose_mac_the_cni_does_not_name_is_not_called_bound() {
    let mut node = Node::new();
    let body = next(&client(), |body| body.pods.truncate(1));
    node.takes(body).await;
    let (sender, _answer) = oneshot::channel();
    let mut request = add("crawlers", "a", "veth1");
    request.addresses.push(word("fd00:10:244:1::2"));
    request.mac = None;
    node.agent.cni_add(&request, sender).await;
    node.runs(Activation::Timer).await;
    // The report from before the ADD says Unbound too, of the pod's address; reports are a second apart.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let report = node.reports("SourceBinding", "False", "Unbound");
        let said = message(&report, "SourceBinding");
        if said.contains("named no MAC address of crawlers/a") {
            break;
        }
        assert!(Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn a_selected_pod_gets_no_second_network_and_a_free_one_keeps_its_first_binding() {
    let mut node = Node::new();
    node.takes(client()).await;
    assert_eq!(node.adds("web", "w", "veth1").await, CniResponse::Done);
    let second = |name: &str| {
        let mut request = add("crawlers", name, "veth3");
        request.container_id = format!("c-{name}");
        request
    };
    let (sender, mut answer) = oneshot::channel();
    let mut request = second("w");
    request.namespace = "web".to_owned();
    node.agent.cni_add(&request, sender).await;
    assert_eq!(answer.try_recv(), Ok(CniResponse::Done));
    let bound = |node: &Node| {
        node.agent.memory.bindings.get().by_container["c-w"]
            .host_interface
            .clone()
    };
    assert_eq!(bound(&node).as_str(), "veth1");
    // The second network is unplugged while the pod lives.
    assert_eq!(node.agent.cni_del("c-w", "net1").await, CniResponse::Done);
    assert_eq!(bound(&node).as_str(), "veth1");

    assert_eq!(node.adds("crawlers", "a", "veth2").await, CniResponse::Done);
    let (sender, mut answer) = oneshot::channel();
    node.agent.cni_add(&second("a"), sender).await;
    let refused = answer.try_recv().unwrap();
    assert!(
        matches!(&refused, CniResponse::Refused(why) if why.reason == "DataplaneBypassed"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_selected_pod_that_gets_another_interface_is_unenforceable_and_never_enforced() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.adds("crawlers", "a", "veth1").await;
    let second = Bypass::SecondInterface {
        name: "net1".to_owned(),
    };
    node.host.has_bypass(word("veth1"), second);
    node.runs(Activation::HostChanged).await;
    let report = node.reports("Verified", "False", "DataplaneBypassed");
    let said = message(&report, "Verified");
    assert!(
        said.contains("the pod has another interface, net1"),
        "{said}"
    );
    let pods = node.scope().pods.unwrap();
    assert_eq!((pods.enforced, pods.unenforceable), (0, 1));
}

#[tokio::test]
async fn a_selected_pod_with_a_program_of_tcx_at_its_link_is_unenforceable_until_the_program_goes()
{
    let mut node = Node::new();
    node.takes(client()).await;
    node.adds("crawlers", "a", "veth1").await;
    let program = Bypass::Tcx {
        direction: Direction::Ingress,
        name: "cil_from_container".to_owned(),
    };
    node.host.has_bypass(word("veth1"), program);
    node.runs(Activation::Timer).await;
    let report = node.reports("Verified", "False", "DataplaneBypassed");
    let said = message(&report, "Verified");
    let what = "the BPF program cil_from_container is at its tcx ingress";
    assert!(said.contains(what), "{said}");
    assert_eq!(node.scope().pods.unwrap().unenforceable, 1);
    node.host.has_no_bypass(&word("veth1"));
    node.runs(Activation::Timer).await;
    assert_eq!(node.scope().pods.unwrap().unenforceable, 0);
}

#[tokio::test]
async fn the_report_says_what_the_checks_of_the_host_find() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.reports("Preflight", "Unknown", "Converging");
    for (found, status, reason) in [
        (vec![], "True", "Checked"),
        (vec!["br_netfilter: off".to_owned()], "False", "CheckFailed"),
    ] {
        let activation = node.agent.take_update(NodeUpdate::Preflight(found));
        node.runs(activation).await;
        node.reports("Preflight", status, reason);
    }
}

#[tokio::test]
async fn the_ruleset_logs_packets_while_the_agent_reads_them_and_the_report_says_when_it_does_not()
{
    let mut node = Node::new();
    let body = next(&client(), |body| {
        body.firewall[0].terms.audit = TermsAudit::Denied;
    });
    node.takes(body).await;
    let names_only = |node: &Node| {
        let findings = node.agent.report_inputs().findings();
        let mut findings = findings.into_iter();
        let programmed = findings.find(|one| one.kind == ConditionType::Programmed);
        programmed.unwrap().message.contains("records names only")
    };
    assert!(!names_only(&node), "it was not tried yet");
    for (log, logs) in [
        (PacketLog::Missing, false),
        (PacketLog::Read, true),
        (PacketLog::Missing, false),
    ] {
        let activation = node.agent.take_update(NodeUpdate::PacketLog(log));
        node.runs(activation).await;
        let read = node.host.read_firewall().await.unwrap();
        let chains = &read.inet.as_ref().unwrap().chains;
        let records = chains.keys().any(|name| name.starts_with(RECORDED));
        assert_eq!(records, logs, "{log:?}");
        assert_eq!(names_only(&node), !logs, "{log:?}");
    }
    assert_eq!(node.agent.output.counters["packet_log_ended"], 1);
}

/// As where a set has another type in another version: nft refuses each edit, and takes the tables made anew.
#[tokio::test]
async fn an_edit_that_the_kernel_refuses_is_followed_by_tables_made_anew() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.fails(Call::ChangeFirewall, 1, 1, errno::EINVAL);
    node.host.edits_the_firewall(|firewall| {
        let table = firewall.inet.as_mut().expect("the table");
        table.counters.insert("hold".to_owned(), 7);
    });
    let selected = next(&client(), |body| {
        body.pods[1].class = Class::Policy { scope: scope_id() };
    });
    node.puts_body(selected);
    node.agent.take_documents();
    node.agent.reconcile(Activation::IntentChanged).await;
    assert_eq!(node.agent.kernel.last.failures.len(), 1);
    let held = async |node: &Node| {
        let firewall = node.host.read_firewall().await.unwrap();
        firewall.inet.unwrap().counters["hold"]
    };
    assert_eq!(held(&node).await, 7);
    node.agent.reconcile(Activation::Timer).await;
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
    assert_eq!(held(&node).await, 0, "a new table counts from 0");
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_told_after_the_seal() {
    let mut node = Node::new();
    node.takes(client()).await;
    let ledger = node.file("ledger.json");
    std::fs::remove_file(&ledger).unwrap();
    std::fs::create_dir(&ledger).unwrap();
    node.documents.send_replace(SourceDocuments::new());
    let mut node = node.restarts();
    node.starts().await;
    node.reports("Accepted", "False", "LedgerLost");
    node.reports("FailClosed", "True", "Sealed");
}

#[tokio::test]
async fn root_cleans_a_node_up_whose_agent_is_gone_and_nobody_does_without_a_release() {
    let mut node = Node::new();
    node.takes(client()).await;
    let (state, run) = (node.file(""), node.file("run"));
    let refused = cleanup(&node.host, &state, &run, None).await;
    assert!(matches!(refused, Err(CleanupError::NotReleased)));
    assert!(node.host.read_firewall().await.unwrap().inet.is_some());
    cleanup(&node.host, &state, &run, Some("the cluster is gone"))
        .await
        .unwrap();
    assert!(node.host.read_firewall().await.unwrap().inet.is_none());
    let (ledger, _) = Ledger::open(&state);
    let release = ledger.entries().release.as_ref().unwrap();
    assert_eq!(release.by, ReleasedBy::RootWithoutAgent);
    assert_eq!(release.reason, "the cluster is gone");
}
