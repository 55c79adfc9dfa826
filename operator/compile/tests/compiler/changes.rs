//! Small changes of a small cluster, in any order.

use std::collections::{BTreeMap, BTreeSet};

use postern_compile::snapshot::{
    Lifecycle, PodNetwork, SnapshotNamespace, SnapshotNode, SnapshotPod,
};
use postern_intent::Address;
use proptest::prelude::{Just, Strategy, prop};
use proptest::prop_oneof;
use serde_json::{Value, json};

use super::world::World;

const NAMESPACES: [&str; 3] = ["red", "green", "blue"];
const EXITS: [&str; 7] = ["e1", "e2", "e3", "e4", "e5", "e6", "a-very-long-exit-name"];
const APPS: [&str; 3] = ["x", "y", "z"];

/// One change of the cluster, by small numbers that stand for names.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Exit {
        exit: usize,
        gateways: usize,
    },
    NoExit {
        exit: usize,
    },
    Policy {
        namespace: usize,
        name: usize,
        app: usize,
        exit: usize,
        priority: i32,
        accepted: Accepted,
    },
    NoPolicy {
        namespace: usize,
        name: usize,
    },
    Pod {
        namespace: usize,
        name: usize,
        node: usize,
        app: usize,
    },
    Relabel {
        namespace: usize,
        name: usize,
        app: usize,
    },
    NoPod {
        namespace: usize,
        name: usize,
    },
    Namespace {
        namespace: usize,
        denies: Denies,
        lifecycle: Lifecycle,
    },
    Node {
        node: usize,
        gateways: usize,
    },
    Key {
        node: usize,
        salt: u8,
    },
    /// Other terms for a policy that is there, and a second exit behind its first.
    Terms {
        namespace: usize,
        name: usize,
        terms: usize,
        second: usize,
    },
    /// What a pod that is there has for a network.
    Attach {
        namespace: usize,
        name: usize,
        network: Network,
    },
    /// The node has IPv6 from now on.
    Widen {
        node: usize,
    },
    /// The node is made again under its name: another UID, an empty ledger.
    Remake {
        node: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Network {
    Own,
    /// Its addresses are not known yet.
    Unknown,
    Node,
}

/// Terms that a policy may have; each field of them that is honoured stands in one.
fn terms(number: usize) -> Value {
    let deny = json!({"name": "mail", "action": "Deny", "to": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}], "ports": [{"protocol": "TCP", "port": 25}]});
    let apis = json!({"name": "apis", "action": "Allow", "to": [{"cidr": "198.51.100.0/24"}, {"cidr": "2001:db8:77::/48"}],
        "ports": [{"protocol": "TCP", "port": 443, "endPort": 445}, {"protocol": "UDP", "port": 443}]});
    match number {
        0 => json!({}),
        1 => json!({"rules": [deny]}),
        2 => json!({"rules": [deny, apis], "defaultAction": "Deny"}),
        3 => json!({"inbound": {"replies": "None"}, "lanAccess": "Allow"}),
        4 => {
            json!({"specialUse": {"exceptions": ["169.254.169.254/32"]}, "dns": {"mode": "Block"}})
        }
        5 => json!({"dns": {"mode": "Filter", "refusal": "REFUSED"}, "rules": [
            {"name": "names", "action": "Allow", "to": [{"fqdn": "Api.Example.org."}, {"fqdn": "*.example.net"}]}]}),
        _ => {
            json!({"dns": {"mode": "Forward", "upstreams": ["9.9.9.9", "2620:fe::9"], "refusal": "REFUSED"}})
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Accepted {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Denies {
    Yes,
    No,
}

fn change() -> impl Strategy<Value = Change> {
    let accepted = prop_oneof![4 => Just(Accepted::Yes), 1 => Just(Accepted::No)];
    let denies = prop_oneof![2 => Just(Denies::No), 1 => Just(Denies::Yes)];
    let lifecycle = prop_oneof![4 => Just(Lifecycle::Live), 1 => Just(Lifecycle::Deleting)];
    let network = prop_oneof![
        Just(Network::Own),
        Just(Network::Unknown),
        Just(Network::Node)
    ];
    prop_oneof![
        2 => (0..7usize, 0..3usize).prop_map(|(exit, gateways)| Change::Exit { exit, gateways }),
        1 => (0..7usize).prop_map(|exit| Change::NoExit { exit }),
        6 => (0..3usize, 0..3usize, 0..4usize, 0..7usize, 0..3i32, accepted).prop_map(
            |(namespace, name, app, exit, priority, accepted)| {
                Change::Policy { namespace, name, app, exit, priority, accepted }
            }
        ),
        2 => (0..3usize, 0..3usize).prop_map(|(namespace, name)| Change::NoPolicy { namespace, name }),
        8 => (0..3usize, 0..5usize, 0..4usize, 0..3usize)
            .prop_map(|(namespace, name, node, app)| Change::Pod { namespace, name, node, app }),
        2 => (0..3usize, 0..5usize, 0..3usize)
            .prop_map(|(namespace, name, app)| Change::Relabel { namespace, name, app }),
        2 => (0..3usize, 0..5usize).prop_map(|(namespace, name)| Change::NoPod { namespace, name }),
        1 => (0..3usize, denies, lifecycle)
            .prop_map(|(namespace, denies, lifecycle)| Change::Namespace { namespace, denies, lifecycle }),
        1 => (0..4usize, 0..3usize).prop_map(|(node, gateways)| Change::Node { node, gateways }),
        1 => (0..4usize, 0..2u8).prop_map(|(node, salt)| Change::Key { node, salt }),
        4 => (0..3usize, 0..3usize, 0..7usize, 0..7usize)
            .prop_map(|(namespace, name, terms, second)| Change::Terms { namespace, name, terms, second }),
        2 => (0..3usize, 0..5usize, network)
            .prop_map(|(namespace, name, network)| Change::Attach { namespace, name, network }),
        1 => (0..4usize).prop_map(|node| Change::Remake { node }),
        2 => (0..4usize).prop_map(|node| Change::Widen { node }),
    ]
}

/// Some changes before each of a few compiles.
pub(crate) fn history() -> impl Strategy<Value = Vec<Vec<Change>>> {
    prop::collection::vec(prop::collection::vec(change(), 0..8), 1..5)
}

/// A small cluster to start from: every node may be a gateway, every namespace exists.
pub(crate) fn start() -> World {
    let mut world = World::new();
    for node in 0..4 {
        make(
            &mut world,
            &Change::Node {
                node,
                gateways: node % 3,
            },
        );
    }
    for namespace in 0..3 {
        make(
            &mut world,
            &Change::Namespace {
                namespace,
                denies: Denies::No,
                lifecycle: Lifecycle::Live,
            },
        );
    }
    for exit in 0..3 {
        make(
            &mut world,
            &Change::Exit {
                exit,
                gateways: exit,
            },
        );
    }
    for namespace in 0..3 {
        for name in 0..4 {
            make(
                &mut world,
                &Change::Pod {
                    namespace,
                    name,
                    node: (namespace + name) % 4,
                    app: name % 3,
                },
            );
        }
    }
    world
}

pub(crate) fn make(world: &mut World, change: &Change) {
    match *change {
        Change::Exit { exit, gateways } => make_exit(world, exit, gateways),
        Change::NoExit { exit } => drop(world.exits.remove(EXITS[exit])),
        Change::Policy { .. } => make_policy(world, change),
        Change::NoPolicy { namespace, name } => {
            world
                .policies
                .remove(&format!("{}/p{name}", NAMESPACES[namespace]));
        }
        Change::Pod {
            namespace,
            name,
            node,
            app,
        } => pod(world, namespace, name, node, app),
        Change::Relabel {
            namespace,
            name,
            app,
        } => {
            if let Some(pod) = world
                .pods
                .get_mut(&format!("{}/pod{name}", NAMESPACES[namespace]))
            {
                pod.labels = BTreeMap::from([("app".to_owned(), APPS[app].to_owned())]);
            }
        }
        Change::NoPod { namespace, name } => {
            world
                .pods
                .remove(&format!("{}/pod{name}", NAMESPACES[namespace]));
        }
        Change::Namespace {
            namespace,
            denies,
            lifecycle,
        } => {
            make_namespace(world, NAMESPACES[namespace], denies, lifecycle);
        }
        Change::Node { node, gateways } => make_node(world, node, gateways),
        Change::Terms { .. } => set_terms(world, change),
        Change::Attach {
            namespace,
            name,
            network,
        } => attach(
            world,
            &format!("{}/pod{name}", NAMESPACES[namespace]),
            network,
        ),
        Change::Remake { node } => remake(world, node),
        Change::Widen { node } => widen(world, node),
        Change::Key { node, salt } => {
            world.keys.insert(
                format!("node{node}"),
                World::key(&format!("node{node}{salt}")),
            );
        }
    }
}

/// Pods of namespace red leave by e2, whose gateway is node1; there is one on every node.
pub(crate) fn with_a_policy() -> World {
    let mut world = start();
    make(&mut world, &red_policy(3));
    world.compile();
    world
}

/// The policy of namespace red, which selects pods by one of the apps, or by the fourth all of them.
pub(crate) fn red_policy(app: usize) -> Change {
    Change::Policy {
        namespace: 0,
        name: 0,
        app,
        exit: 1,
        priority: 0,
        accepted: Accepted::Yes,
    }
}

/// The policy of namespace red goes.
pub(crate) const NO_RED_POLICY: Change = Change::NoPolicy {
    namespace: 0,
    name: 0,
};

fn make_exit(world: &mut World, exit: usize, gateways: usize) {
    let object = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "ExitNode",
        "metadata": {"name": EXITS[exit]},
        "spec": {"gateway": {"nodeSelector": {"matchLabels": {"role": format!("gw-{gateways}")}}}}});
    world.apply_exit(serde_json::from_value(object).expect("an exit"));
}

fn make_policy(world: &mut World, change: &Change) {
    let Change::Policy {
        namespace,
        name,
        app,
        exit,
        priority,
        accepted,
    } = *change
    else {
        return;
    };
    // The fourth "app" selects every pod.
    let selector = APPS
        .get(app)
        .map_or(json!({}), |app| json!({"matchLabels": {"app": app}}));
    let mut object = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": NAMESPACES[namespace], "name": format!("p{name}")},
        "spec": {"podSelector": selector, "priority": priority, "defaultAction": "Allow",
            "route": {"type": "Exit", "exitNodes": [{"name": EXITS[exit]}]}}});
    if matches!(accepted, Accepted::No) {
        object["spec"]["limits"] = json!({"bytesPerSecond": "90T"});
    }
    world.apply_policy(serde_json::from_value(object).expect("a policy"));
}

fn set_terms(world: &mut World, change: &Change) {
    let Change::Terms {
        namespace,
        name,
        terms: number,
        second,
    } = *change
    else {
        return;
    };
    let key = format!("{}/p{name}", NAMESPACES[namespace]);
    let Some(policy) = world.policies.get(&key) else {
        return;
    };
    let mut object = serde_json::to_value(policy).expect("JSON");
    let own = terms(number);
    for (field, value) in own.as_object().expect("an object") {
        object["spec"][field] = value.clone();
    }
    let exits = object["spec"]["route"]["exitNodes"].as_array_mut();
    let exits = exits.expect("exits");
    exits.truncate(1);
    if exits[0]["name"] != EXITS[second] {
        exits.push(json!({"name": EXITS[second]}));
    }
    world.apply_policy(serde_json::from_value(object).expect("a policy"));
}

fn attach(world: &mut World, key: &str, network: Network) {
    let Some(pod) = world.pods.get_mut(key) else {
        return;
    };
    pod.attachment = match network {
        Network::Own | Network::Unknown => PodNetwork::Own,
        Network::Node => PodNetwork::Host,
    };
    match network {
        Network::Own => {}
        Network::Unknown => pod.addresses.clear(),
        Network::Node => {
            let node = world.nodes.get(pod.node.as_str());
            pod.addresses = node
                .iter()
                .flat_map(|node| node.addresses.iter().copied())
                .collect();
        }
    }
}

fn remake(world: &mut World, node: usize) {
    let name = format!("node{node}");
    if let Some(node) = world.nodes.get_mut(&name) {
        node.uid = format!("{}-again", node.uid).parse().expect("a UID");
        world.ledgers.remove(&name);
    }
}

fn make_namespace(world: &mut World, name: &str, denies: Denies, lifecycle: Lifecycle) {
    let labels = match denies {
        Denies::Yes => {
            BTreeMap::from([("postern.dev/egress-default".to_owned(), "deny".to_owned())])
        }
        Denies::No => BTreeMap::new(),
    };
    let namespace = SnapshotNamespace {
        name: name.parse().expect("a name"),
        labels,
        lifecycle,
    };
    world.namespaces.insert(name.to_owned(), namespace);
}

fn make_node(world: &mut World, node: usize, gateways: usize) {
    let name = format!("node{node}");
    let there = world.nodes.get(&name);
    world.add_node(SnapshotNode {
        name: name.parse().expect("a name"),
        uid: there.map_or_else(
            || format!("uid-{name}").parse().expect("a UID"),
            |there| there.uid.clone(),
        ),
        labels: BTreeMap::from([("role".to_owned(), format!("gw-{gateways}"))]),
        scheduling: Default::default(),
        addresses: vec![format!("192.0.2.{}", node + 1).parse().expect("an address")],
        pod_ranges: vec![format!("10.244.{node}.0/24").parse().expect("a prefix")],
    });
}

/// A pod's addresses, in the families that its node has.
fn addresses(world: &World, node: usize, last: usize) -> BTreeSet<Address> {
    let there = world.nodes.get(&format!("node{node}"));
    let both = there.is_some_and(|there| there.pod_ranges.len() > 1);
    let four = format!("10.244.{node}.{last}");
    let six = both.then(|| format!("fd00:10:244:{node}::{last}"));
    let all = [Some(four), six].into_iter().flatten();
    all.map(|address| address.parse().expect("an address"))
        .collect()
}

/// The node gets IPv6, and its pods with it.
fn widen(world: &mut World, node: usize) {
    let name = format!("node{node}");
    let Some(there) = world.nodes.get_mut(&name) else {
        return;
    };
    if there.pod_ranges.len() > 1 {
        return;
    }
    let own = format!("2001:db8:2::{}", node + 1);
    there.addresses.push(own.parse().expect("an address"));
    let range = format!("fd00:10:244:{node}::/64");
    there.pod_ranges.push(range.parse().expect("a prefix"));
    let own =
        |pod: &&mut SnapshotPod| pod.node.as_str() == name && pod.attachment == PodNetwork::Own;
    for pod in world.pods.values_mut().filter(own) {
        let six: Option<Address> = pod.addresses.iter().find_map(|address| {
            let last = address.to_string().rsplit('.').next()?.to_owned();
            format!("fd00:10:244:{node}::{last}").parse().ok()
        });
        pod.addresses.extend(six);
    }
}

/// A pod on another node is another pod.
pub(crate) fn pod(world: &mut World, namespace: usize, name: usize, node: usize, app: usize) {
    let key = format!("{}/pod{name}", NAMESPACES[namespace]);
    let addresses = addresses(world, node, 10 + namespace * 5 + name);
    world.pods.insert(
        key,
        SnapshotPod {
            namespace: NAMESPACES[namespace].parse().expect("a namespace"),
            name: format!("pod{name}").parse().expect("a name"),
            uid: format!("uid-{namespace}-{name}-{node}")
                .parse()
                .expect("a UID"),
            node: format!("node{node}").parse().expect("a node"),
            labels: BTreeMap::from([("app".to_owned(), APPS[app].to_owned())]),
            attachment: PodNetwork::Own,
            addresses,
            lifecycle: Lifecycle::Live,
        },
    );
}
