//! What holds for every cluster, not only for those that somebody thought of.

use std::collections::{BTreeMap, BTreeSet};

use postern_compile::snapshot::{Lifecycle, PodNetwork, Snapshot};
use postern_compile::{NodeOutcome, compile};
use postern_intent::body::{BlockedReason, Class, EgressPath, TunnelRole};
use postern_intent::{NodeDocument, NodeName, Uid};
use proptest::prelude::{ProptestConfig, prop, proptest};
use serde_json::{Value, json};

use super::changes::{Accepted, Change, history, make, pod, start};
use super::world::World;

fn live(history: &[Vec<Change>], mut each: impl FnMut(&World, &Snapshot, &mut World)) {
    let mut world = start();
    world.compile();
    for changes in history {
        world.wait(jiff::SignedDuration::from_secs(7));
        let before = world.clone();
        for change in changes {
            make(&mut world, change);
        }
        let snapshot = world.snapshot();
        world.compile();
        each(&before, &snapshot, &mut world);
    }
}

fn classes(bodies: &BTreeMap<NodeName, NodeDocument>) -> BTreeMap<Uid, Class> {
    bodies
        .values()
        .flat_map(|body| &body.pods)
        .map(|pod| (pod.uid.clone(), pod.class.clone()))
        .collect()
}

/// The numbers that bodies give to exits and to the clients of exits.
fn numbers(world: &World) -> BTreeMap<String, Value> {
    let mut numbers = BTreeMap::new();
    for body in world.previous.values() {
        for one in &body.allocations {
            let exit = json!([one.port, one.network, one.stem]);
            numbers.insert(one.exit.to_string(), exit);
            let hosts = one.hosts.iter();
            let hosts = hosts.map(|(node, host)| (format!("{node} of {}", one.exit), json!(host)));
            numbers.extend(hosts);
        }
    }
    numbers
}

fn reversed(snapshot: &Snapshot) -> Snapshot {
    let mut other = snapshot.clone();
    other.exits.reverse();
    other.policies.reverse();
    other.cluster_policies.reverse();
    other.nodes.reverse();
    other.pods.reverse();
    other.namespaces.reverse();
    other.reports.reverse();
    other
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_the_input_never_matters(history in history(), turn in 0..20usize) {
        live(&history, |_, snapshot, _| {
            let mut turned = snapshot.clone();
            let by = |length: usize| turn.checked_rem(length).unwrap_or(0);
            let pods = by(turned.pods.len());
            turned.pods.rotate_left(pods);
            let policies = by(turned.policies.len());
            turned.policies.rotate_left(policies);
            assert_eq!(compile(snapshot), compile(&turned));
            assert_eq!(compile(snapshot), compile(&reversed(snapshot)));
        });
    }

    #[test]
    fn the_same_input_gives_the_same_bytes(history in history()) {
        live(&history, |_, snapshot, _| {
            let bytes = |outcome: &NodeOutcome| match outcome {
                NodeOutcome::Publish(body) => serde_json::to_vec(body).expect("JSON"),
                NodeOutcome::Keep | NodeOutcome::Restored | NodeOutcome::Awaited => Vec::new(),
            };
            let all = || -> Vec<Vec<u8>> { compile(snapshot).nodes.values().map(bytes).collect() };
            assert_eq!(all(), all());
        });
    }

    #[test]
    fn a_second_compile_of_the_same_cluster_settles(history in history()) {
        live(&history, |_, _, world| {
            // The first may free numbers for the second to give, and a key may have to wait for its time.
            for _ in 0..3 {
                world.wait(jiff::SignedDuration::from_mins(5));
                world.compile();
            }
            let last = world.compile();
            assert!(last.nodes.values().all(|outcome| *outcome == NodeOutcome::Keep));
        });
    }

    #[test]
    fn no_mark_table_port_or_address_is_given_twice(history in history()) {
        live(&history, |_, _, world| {
            let mut clients = BTreeSet::new();
            let mut ports = BTreeMap::new();
            for (node, body) in &world.previous {
                body.check().expect("a body that its node accepts");
                let names: BTreeSet<_> = body.tunnels.iter().map(|tunnel| &tunnel.interface).collect();
                assert_eq!(names.len(), body.tunnels.len(), "a device name twice on {node}");
                for tunnel in &body.tunnels {
                    for address in &tunnel.addresses {
                        assert!(clients.insert(address.addr()), "{} twice", address.addr());
                    }
                    if tunnel.role == TunnelRole::Served {
                        let exit = ports.entry(tunnel.listen_port).or_insert(&tunnel.exit);
                        assert_eq!(*exit, &tunnel.exit, "a port twice");
                    }
                }
            }
        });
    }

    #[test]
    fn an_exit_or_a_client_that_is_published_keeps_its_numbers(history in history()) {
        live(&history, |before, _, world| {
            let (old, new) = (numbers(before), numbers(world));
            for (whose, number) in &old {
                if let Some(now) = new.get(whose) {
                    assert_eq!(now, number, "{whose}");
                }
            }
        });
    }

    #[test]
    fn a_gateway_and_its_clients_speak_of_the_same_addresses_and_keys(history in history()) {
        live(&history, |_, _, world| {
            for (node, body) in &world.previous {
                let used = body.tunnels.iter().filter(|tunnel| tunnel.role == TunnelRole::Used);
                for (used, to) in used.flat_map(|used| used.peers.iter().map(move |peer| (used, peer))) {
                    let gateway = &world.previous[to.at.node().expect("a node")];
                    let served = gateway.tunnels.iter().find(|tunnel| tunnel.exit == used.exit && tunnel.role == TunnelRole::Served);
                    let served = served.expect("a served tunnel");
                    assert_eq!(to.endpoint.map(|endpoint| endpoint.port()), served.listen_port);
                    let peer = served.peers.iter().find(|peer| peer.at.node() == Some(node)).expect("a peer");
                    let own: BTreeSet<_> = used.addresses.iter().map(ipnet::IpNet::addr).collect();
                    let allowed: BTreeSet<_> = peer.allowed_ips.iter().map(|prefix| prefix.net().addr()).collect();
                    assert_eq!(own, allowed);
                }
            }
        });
    }

    #[test]
    fn no_tunnel_address_is_inside_a_cluster_range(history in history()) {
        live(&history, |_, _, world| {
            for body in world.previous.values() {
                let cluster = &world.cluster().cluster;
                let ranges: Vec<_> = cluster.pod_ranges.iter().chain(&cluster.service_ranges).map(|prefix| prefix.net()).collect();
                let overlaps = |net: ipnet::IpNet| ranges.iter().any(|range| range.contains(&net) || net.contains(range));
                assert!(!body.tunnels.iter().flat_map(|tunnel| &tunnel.addresses).any(|net| overlaps(net.trunc())));
            }
        });
    }

    #[test]
    fn guarded_namespaces_cover_every_policy_and_every_denial(history in history()) {
        live(&history, |_, snapshot, world| {
            let guarded = &world.cluster().guarded_namespaces;
            for policy in &snapshot.policies {
                assert!(guarded.contains(&policy.key.namespace));
            }
            for namespace in snapshot.namespaces.iter().filter(|namespace| namespace.denies()) {
                assert!(guarded.contains(&namespace.name));
            }
            let pods = world.previous.values().flat_map(|body| &body.pods);
            for pod in pods.filter(|pod| matches!(pod.class, Class::Policy { .. })) {
                assert!(guarded.contains(&pod.namespace));
            }
        });
    }

    #[test]
    fn a_pod_that_a_policy_selects_is_never_released(history in history()) {
        live(&history, |_, snapshot, world| {
            let classes = classes(&world.previous);
            for pod in &snapshot.pods {
                let selected = snapshot.policies.iter().any(|policy| {
                    policy.key.namespace == pod.namespace && policy.selector.matches(&pod.labels)
                });
                // A pod in the node's network cannot be told apart, and no body lists it.
                if selected && pod.attachment == PodNetwork::Own {
                    assert_ne!(classes[&pod.uid], Class::Released);
                }
            }
        });
    }

    #[test]
    fn nothing_loosens_without_a_cause_that_may(history in history()) {
        live(&history, |before, snapshot, world| {
            let (old, new) = (classes(&before.previous), classes(&world.previous));
            let gone = |uid: &Uid| old.get(uid).is_some_and(|class| *class != Class::Released) && new.get(uid) == Some(&Class::Released);
            for pod in snapshot.pods.iter().filter(|pod| gone(&pod.uid)) {
                let namespace = &world.namespaces[pod.namespace.as_str()];
                assert_eq!(namespace.lifecycle, Lifecycle::Live, "a namespace that is going loosened");
                assert!(!namespace.denies(), "a denying namespace released");
                let policies = |world: &World| -> BTreeMap<String, _> {
                    let own = world.policies.iter().filter(|(key, _)| key.starts_with(&format!("{}/", pod.namespace)));
                    own.map(|(key, policy)| (key.clone(), (policy.metadata.uid.clone(), policy.spec.clone()))).collect()
                };
                // It denied and does not any more: the memory keeps that it did until the bodies that let go are published.
                let denied = |world: &World| world.memory.deny.contains(&pod.namespace);
                let ended = |world: &World| world.namespaces[pod.namespace.as_str()].lifecycle == Lifecycle::Deleting;
                assert!(
                    policies(before) != policies(world) || denied(before) || ended(before),
                    "{} was released, and neither a policy nor the label changed", pod.name
                );
            }
        });
    }

    #[test]
    fn a_running_pods_own_labels_never_release_it(history in history(), pods in prop::collection::vec((0..3usize, 0..5usize, 0..3usize), 1..6)) {
        live(&history, |_, _, world| {
            let mut other = world.clone();
            // Whatever still had to settle is settled first.
            for _ in 0..3 {
                other.wait(jiff::SignedDuration::from_mins(5));
                other.compile();
            }
            let old = classes(&other.previous);
            for (namespace, name, app) in &pods {
                make(&mut other, &Change::Relabel { namespace: *namespace, name: *name, app: *app });
            }
            other.compile();
            let new = classes(&other.previous);
            for (uid, class) in old.iter().filter(|(_, class)| **class != Class::Released) {
                assert!(new.get(uid) != Some(&Class::Released), "{uid} was {class:?} and released itself");
            }
        });
    }

    #[test]
    fn a_refused_update_moves_no_pod_and_blocks_only_pods_that_no_policy_had(history in history(), update in (0..3usize, 0..3usize, 0..4usize, 0..3i32)) {
        live(&history, |_, _, world| {
            let mut other = world.clone();
            for _ in 0..3 {
                other.wait(jiff::SignedDuration::from_mins(5));
                other.compile();
            }
            let (namespace, name, app, priority) = update;
            // Only a policy that is in force has something to lose.
            let in_force = other.snapshot().policies.iter().any(|policy| {
                policy.key.to_string() == format!("{}/p{name}", ["red", "green", "blue"][namespace]) && policy.terms.is_ok()
            });
            if !in_force {
                return;
            }
            let old = classes(&other.previous);
            let mut refused = other.clone();
            make(&mut refused, &Change::Policy { namespace, name, app, exit: 0, priority, accepted: Accepted::No });
            for _ in 0..2 {
                refused.wait(jiff::SignedDuration::from_secs(1));
                refused.compile();
                for (uid, class) in classes(&refused.previous) {
                    let before = &old[&uid];
                    // A denied pod stays blocked, and is told the nearer reason.
                    let nobodys = matches!(before, Class::Released | Class::Blocked { reason: BlockedReason::NamespaceDeny });
                    let claimed = nobodys && class == Class::Blocked { reason: BlockedReason::PolicyRefused };
                    assert!(claimed || class == *before, "{uid} was {before:?} and is {class:?}");
                }
            }
        });
    }

    #[test]
    fn a_pod_that_comes_to_a_client_node_changes_that_node_and_no_other(history in history(), app in 0..3usize) {
        live(&history, |_, _, world| {
            let mut other = world.clone();
            for _ in 0..3 {
                other.wait(jiff::SignedDuration::from_mins(5));
                other.compile();
            }
            let scopes = |world: &World| world.previous[&"node1".parse::<NodeName>().expect("a name")].firewall.len();
            let before = scopes(&other);
            pod(&mut other, 0, 9, 1, app);
            let compilation = other.compile();
            let changed: Vec<_> = compilation.nodes.iter().filter(|(_, outcome)| **outcome != NodeOutcome::Keep).map(|(node, _)| node.as_str()).collect();
            // A scope that is new on the node may make it a new client, which its gateways have to learn.
            if scopes(&other) == before {
                assert_eq!(changed, ["node1"]);
            } else {
                let serves = |node: &&str| !other.previous[&node.parse::<NodeName>().expect("a name")].nat.is_empty();
                assert!(changed.contains(&"node1"), "{changed:?}");
                assert!(changed.iter().all(|node| *node == "node1" || serves(node)), "{changed:?}");
            }
        });
    }

    #[test]
    fn a_scope_without_both_keys_never_has_a_tunnel(history in history(), silent in 0..4usize) {
        let mut world = start();
        world.keys.remove(&format!("node{silent}"));
        world.keys.iter_mut().for_each(|(name, key)| *key = World::key(name));
        for change in history.iter().flatten().filter(|change| !matches!(change, Change::Key { .. } | Change::Node { .. })) {
            make(&mut world, change);
        }
        world.compile();
        let name: NodeName = format!("node{silent}").parse().expect("a name");
        for (node, body) in &world.previous {
            for tunnel in body.tunnels.iter().filter(|tunnel| tunnel.role == TunnelRole::Used) {
                assert!(*node != name && tunnel.peers[0].at.node() != Some(&name));
            }
            if *node == name {
                assert!(!body.firewall.iter().any(|scope| matches!(scope.way, EgressPath::Tunnel)));
            }
        }
    }
}
