//! What is said where one address family has no way out: of a gateway, and of a whole cluster.

use postern_crds::node_report::{AddressFamily, PathHop};

use super::reported::{enforced, exit_says, fault, said};

#[test]
fn a_family_without_an_uplink_is_blocked_and_leaves_an_exit_ready_that_has_the_other_one() {
    let (mut world, _) = enforced();
    let nodes: Vec<String> = world.previous.keys().map(ToString::to_string).collect();
    for node in &nodes {
        fault(&mut world, node, AddressFamily::IPv6, PathHop::Uplink);
    }
    let found = exit_says(&world.compile());
    assert!(
        found.starts_with("True FamilyBlocked") && found.contains("IPv6"),
        "{found}"
    );
    for node in &nodes {
        fault(&mut world, node, AddressFamily::IPv4, PathHop::Uplink);
    }
    let found = exit_says(&world.compile());
    assert!(found.starts_with("False NoUplink"), "{found}");
}

#[test]
fn in_a_cluster_of_ipv4_alone_the_policy_is_ready_and_says_with_its_exit_that_ipv6_is_blocked() {
    let (mut world, _) = enforced();
    let nodes = world.nodes.values().flat_map(|node| &node.addresses);
    let pods = world.pods.values().flat_map(|pod| &pod.addresses);
    assert!(nodes.chain(pods).all(|address| address.is_ipv4()));
    let tunnels = world.previous.values().flat_map(|body| &body.tunnels);
    let peers = tunnels.flat_map(|tunnel| &tunnel.peers);
    let ends: Vec<_> = peers.filter_map(|peer| peer.endpoint).collect();
    assert!(
        !ends.is_empty() && ends.iter().all(|end| end.is_ipv4()),
        "{ends:?}"
    );
    // The gateways of such a cluster have no default route of IPv6, and its agents find that.
    let served = world
        .previous
        .iter()
        .filter(|(_, body)| !body.nat.is_empty());
    let gateways: Vec<String> = served.map(|(name, _)| name.to_string()).collect();
    assert!(!gateways.is_empty());
    for gateway in &gateways {
        fault(&mut world, gateway, AddressFamily::IPv6, PathHop::Uplink);
    }
    let compilation = world.compile();
    let of_exit = exit_says(&compilation);
    assert!(
        of_exit.starts_with("True FamilyBlocked") && of_exit.contains("IPv6 is blocked"),
        "{of_exit}"
    );
    let of_policy = said(&compilation, "p0", "Ready");
    assert!(
        of_policy.starts_with("True Ready") && of_policy.contains("IPv6 is blocked"),
        "{of_policy}"
    );
    for kind in ["Programmed", "FullyEnforced"] {
        let found = said(&compilation, "p0", kind);
        assert!(found.starts_with("True"), "{kind}: {found}");
    }
}
