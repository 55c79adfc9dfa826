//! Exits whose server is outside of the cluster: one node has the session, with a credential that only it can read.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use postern_compile::snapshot::{NodeScheduling, SnapshotNode};
use postern_compile::{Compilation, NodeOutcome};
use postern_intent::body::{EgressPath, ExternalSession, TunnelRole};
use postern_intent::{NodeDocument, NodeName};
use serde_json::json;

use super::world::World;

fn node(name: &str, labels: &[(&str, &str)], number: u8) -> SnapshotNode {
    SnapshotNode {
        name: name.parse().expect("a name"),
        uid: format!("uid-{name}").parse().expect("a UID"),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        scheduling: NodeScheduling::Schedulable,
        addresses: vec![format!("192.0.2.{number}").parse().expect("an address")],
        pod_ranges: vec![format!("10.244.{number}.0/24").parse().expect("a prefix")],
    }
}

fn credential(world: &mut World, byte: u8) {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "vpn"}, "stringData": {"privateKey": key},
    }))
    .expect("a Secret");
    world.credentials.add("vpn".to_owned(), &secret);
}

/// Two nodes that may have the session, one client, a pod on each, and the Secret.
fn world() -> World {
    let mut world = World::new();
    let label = [("postern.dev/exit", "vpn")];
    world.add_node(node("gw-1", &label, 1));
    world.add_node(node("gw-2", &label, 2));
    world.add_node(node("n1", &[], 11));
    let exit = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ExitNode", "metadata": {"name": "vpn"},
        "spec": {"external": {
            "endpoint": "vpn.example.net:51820",
            "publicKey": "jNXHt1yfMCnLZ1rBCvPyQ2uGqvXkvNgVmFIpBTGTcGI=",
            "addresses": ["10.64.0.2/24", "fc00:bbbb::2/128"],
            "credentialsSecretRef": {"name": "vpn"},
            "gatewayNodeSelector": {"matchLabels": {"postern.dev/exit": "vpn"}},
        }},
    });
    world.apply_exit(serde_json::from_value(exit).expect("an exit"));
    let policy = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": "crawlers", "name": "crawler"},
        "spec": {"podSelector": {}, "route": {"type": "Exit", "exitNodes": [{"name": "vpn"}]}, "defaultAction": "Allow"},
    });
    world.apply_policy(serde_json::from_value(policy).expect("a policy"));
    for (number, node) in ["gw-1", "gw-2", "n1"].into_iter().enumerate() {
        world.add_pod("crawlers", &format!("pod-{node}"), node, number);
    }
    credential(&mut world, 7);
    world
}

fn published<'a>(world: &'a World, node: &str) -> &'a NodeDocument {
    let name: NodeName = node.parse().expect("a name");
    world.previous.get(&name).expect("a document")
}

fn session(world: &World, node: &str) -> Option<ExternalSession> {
    published(world, node).external.first().cloned()
}

fn says(compilation: &Compilation, kind: &str) -> String {
    let mut verdicts = compilation.verdicts.iter();
    let exit = verdicts
        .find(|one| one.kind == "ExitNode")
        .expect("an exit");
    let mut conditions = exit.conditions.iter();
    let found = conditions.find(|one| one.kind.as_str() == kind);
    let found = found.expect("a condition");
    format!("{} {}", found.state.as_str(), found.reason)
}

fn unlabel(world: &mut World, node: &str) {
    world.nodes.get_mut(node).expect("a node").labels.clear();
}

#[test]
fn one_node_has_the_session_and_the_others_reach_it_as_they_reach_a_gateway() {
    let mut world = world();
    world.compile();
    assert!(session(&world, "gw-2").is_none() && session(&world, "n1").is_none());
    let holder = published(&world, "gw-1");
    let session = holder.external.first().expect("a session");
    assert_eq!(session.endpoint.to_string(), "vpn.example.net:51820");
    assert!(!session.credential.sealed.is_empty());
    let served = holder.nat.first().expect("a served exit");
    assert_eq!(served.uplink.as_ref(), Some(&session.interface));
    // The network around an address would become a route of the main table.
    let mut tunnels = holder.tunnels.iter();
    let tunnel = tunnels.find(|one| one.role == TunnelRole::External);
    let addresses = &tunnel.expect("a tunnel").addresses;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.64.0.2/32", "fc00:bbbb::2/128"]);
    let ways = ["gw-1", "gw-2", "n1"].map(|node| published(&world, node).firewall[0].way);
    let tunnel = EgressPath::Tunnel;
    assert_eq!(ways, [EgressPath::LocalExit, tunnel, tunnel]);
}

#[test]
fn a_credential_is_encrypted_once_and_again_for_another_key_or_another_credential() {
    let mut world = world();
    world.compile();
    let first = session(&world, "gw-1").expect("a session").credential;
    world.now += SignedDuration::from_secs(60);
    let again = world.compile();
    let kept = again
        .nodes
        .values()
        .all(|outcome| *outcome == NodeOutcome::Keep);
    assert!(kept, "nothing is issued anew");
    let other = World::key("another-credentials-key");
    world
        .credentials_keys
        .insert("gw-1".to_owned(), Some(other));
    world.compile();
    let second = session(&world, "gw-1").expect("a session").credential;
    assert_eq!(second.recipient, other);
    assert_ne!(second.sealed, first.sealed);
    credential(&mut world, 8);
    world.compile();
    let third = session(&world, "gw-1").expect("a session").credential;
    assert_ne!(third.fingerprint, second.fingerprint);
}

#[test]
fn a_secret_that_was_not_read_yet_takes_no_session_away_and_begins_none() {
    let mut world = world();
    world.compile();
    let before = session(&world, "gw-1").expect("a session");
    // Another operator leads, and the API server does not answer for Secrets yet.
    world.credentials = Default::default();
    world.credentials.note_unread("vpn".to_owned());
    let mut exit = world.exits["vpn"].clone();
    let external = exit.spec.external.as_mut().expect("an external exit");
    external.endpoint = "other.example.net:51820".to_owned();
    world.apply_exit(exit);
    world.compile();
    let after = session(&world, "gw-1").expect("a session");
    assert_eq!(after.credential, before.credential);
    assert_eq!(after.endpoint.to_string(), "other.example.net:51820");

    let mut world = self::world();
    world.previous.clear();
    world.credentials = Default::default();
    world.credentials.note_unread("vpn".to_owned());
    let compilation = world.compile();
    assert_eq!(says(&compilation, "ResolvedRefs"), "False Pending");
    assert!(session(&world, "gw-1").is_none());
}

#[test]
fn the_session_moves_only_when_its_node_may_not_have_it_and_after_that_node_let_go() {
    let mut world = world();
    world.compile();
    // A node that sorts first does not take it.
    let label = [("postern.dev/exit", "vpn")];
    world.add_node(node("a-gw", &label, 3));
    world.compile();
    assert!(session(&world, "gw-1").is_some());
    world.nodes.remove("a-gw");

    unlabel(&mut world, "gw-1");
    // The document without the session is published, and its node is away.
    let now = world.now;
    world.away.insert("gw-1".to_owned(), now);
    let compilation = world.compile();
    assert_eq!(says(&compilation, "ResolvedRefs"), "False HolderHeld");
    assert!(session(&world, "gw-1").is_none() && session(&world, "gw-2").is_none());
    let compilation = world.compile();
    assert_eq!(says(&compilation, "Ready"), "False HolderHeld");
    assert!(session(&world, "gw-2").is_none());
    // Nothing ends a session of a node that hears nothing but the end of its document.
    world.now += SignedDuration::from_secs(120);
    world.compile();
    world.compile();
    assert!(session(&world, "gw-2").is_none());

    // The node is back and has applied it.
    world.away.clear();
    let applied = published(&world, "gw-1").serial;
    world.ledgers.insert("gw-1".to_owned(), applied);
    world.compile();
    assert!(session(&world, "gw-2").is_some());
}

#[test]
fn a_node_that_is_gone_holds_the_session_until_its_last_intent_has_run_out() {
    let mut world = world();
    world.compile();
    let until = published(&world, "gw-1").not_after;
    world.nodes.remove("gw-1");
    world.pods.retain(|_, pod| pod.node.as_str() != "gw-1");
    let compilation = world.compile();
    assert!(compilation.retired.is_empty());
    assert_eq!(says(&compilation, "ResolvedRefs"), "False HolderHeld");
    assert!(session(&world, "gw-2").is_none());
    world.now = until;
    world.compile();
    assert!(session(&world, "gw-2").is_some());
}

#[test]
fn what_keeps_every_node_from_the_session_is_said_and_blocks() {
    let mut world = world();
    world.credentials = Default::default();
    let compilation = world.compile();
    assert_eq!(
        says(&compilation, "ResolvedRefs"),
        "False CredentialMissing"
    );
    let way = published(&world, "n1").firewall[0].way;
    assert!(matches!(way, EgressPath::Blocked { .. }), "{way:?}");
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "vpn"}, "stringData": {"privateKey": "c2hvcnQ="},
    }))
    .expect("a Secret");
    world.credentials.add("vpn".to_owned(), &secret);
    let compilation = world.compile();
    assert_eq!(says(&compilation, "Ready"), "False CredentialMalformed");
    credential(&mut world, 7);
    for gateway in ["gw-1", "gw-2"] {
        world.credentials_keys.insert(gateway.to_owned(), None);
    }
    let compilation = world.compile();
    assert_eq!(says(&compilation, "Ready"), "False NoCredentialKey");
    for gateway in ["gw-1", "gw-2"] {
        unlabel(&mut world, gateway);
    }
    let compilation = world.compile();
    assert_eq!(says(&compilation, "Ready"), "False NoEligibleNode");
}
