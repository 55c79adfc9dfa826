//! What exits and policies say of the ways out: by hop, by family, and of a whole cluster with one family.

use postern_compile::Compilation;
use postern_compile::snapshot::{COUNTS_FOR, PathFault, ReportedScope};
use postern_compile::verdict::Detail;
use postern_crds::node_report::{AddressFamily, PathHop, ResolverState};

use super::reported::{enforced, node_of_a_pod, said};
use super::world::World;

fn fault(world: &mut World, node: &str, family: AddressFamily, hop: PathHop) {
    let fault = PathFault {
        hop,
        message: "nothing came back".to_owned(),
    };
    let of_node = world.faults.entry(node.to_owned()).or_default();
    of_node.insert(family, fault);
}

fn exit_says(compilation: &Compilation) -> String {
    let mut exits = compilation
        .verdicts
        .iter()
        .filter(|one| one.kind == "ExitNode");
    let used = exits.find(
        |one| matches!(&one.detail, Detail::Exit { clients, .. } if clients.nodes.desired > 0),
    );
    let ready = used.expect("an exit").conditions.iter();
    let mut ready = ready.filter(|one| one.kind.as_str() == "Ready");
    let ready = ready.next().expect("a condition");
    format!(
        "{} {}: {}",
        ready.state.as_str(),
        ready.reason,
        ready.message
    )
}

#[test]
fn an_exit_shows_the_mtu_that_its_gateway_read_back_and_none_while_the_gateway_is_silent() {
    let (mut world, _) = enforced();
    let shown = |world: &mut World| {
        let compilation = world.compile();
        let mut exits = compilation.verdicts.iter();
        let exit = exits.find(|one| one.kind == "ExitNode").expect("an exit");
        match &exit.detail {
            Detail::Exit { gateways, .. } => (gateways[0].node.clone(), gateways[0].mtu),
            _ => panic!("an exit"),
        }
    };
    let (gateway, mtu) = shown(&mut world);
    assert_eq!(mtu, Some(1420));
    world.mtus.insert(gateway.clone(), 1300);
    assert_eq!(shown(&mut world).1, Some(1300));
    world.away.insert(gateway, world.now - COUNTS_FOR * 2);
    assert_eq!(shown(&mut world).1, None);
}

#[test]
fn an_exit_whose_client_gets_no_answer_is_not_ready_and_neither_is_the_policy() {
    for (hop, reason) in [
        (PathHop::Tunnel, "False ExitLost"),
        (PathHop::Forward, "False NotForwarded"),
    ] {
        let (mut world, _) = enforced();
        let clients = world.previous.iter();
        let clients: Vec<String> = clients
            .filter(|(_, body)| !body.routes.is_empty())
            .map(|(node, _)| node.to_string())
            .collect();
        for client in &clients {
            fault(&mut world, client, AddressFamily::IPv4, hop);
        }
        let client = &clients[0];
        let compilation = world.compile();
        for said in [exit_says(&compilation), said(&compilation, "p0", "Ready")] {
            assert!(said.starts_with(reason) && said.contains(client), "{said}");
        }
    }
}

#[test]
fn what_a_gateway_finds_behind_itself_explains_what_its_clients_miss() {
    let (mut world, _) = enforced();
    let mut gateways = world.previous.iter().filter(|(_, body)| {
        body.nat.iter().any(|served| {
            world
                .previous
                .values()
                .flat_map(|body| &body.routes)
                .any(|route| route.exit == served.exit)
        })
    });
    let gateway = gateways.next().expect("a gateway").0.to_string();
    let mut clients = world
        .previous
        .iter()
        .filter(|(_, body)| !body.routes.is_empty());
    let client = clients.next().expect("a client").0.to_string();
    fault(&mut world, &client, AddressFamily::IPv4, PathHop::Forward);
    fault(&mut world, &gateway, AddressFamily::IPv4, PathHop::Source);
    let found = exit_says(&world.compile());
    assert!(
        found.starts_with("False EgressIPMissing") && found.contains(&gateway),
        "{found}"
    );
}

#[test]
fn a_policy_whose_resolvers_are_silent_is_not_ready_and_one_without_a_resolver_says_so() {
    for (state, reason) in [
        (ResolverState::Silent, "False ResolverSilent"),
        (ResolverState::Unknown, "True Ready"),
    ] {
        let (mut world, uid) = enforced();
        let node = node_of_a_pod(&world);
        let scope = ReportedScope {
            resolvers: state,
            ..ReportedScope::default()
        };
        let of_node = world.scopes.entry(node.clone()).or_default();
        of_node.insert(uid, scope);
        let found = said(&world.compile(), "p0", "Ready");
        assert!(
            found.starts_with(reason) && found.contains(&node),
            "{found}"
        );
    }
}

#[test]
fn a_policy_names_the_resolver_that_does_not_answer_and_is_ready_while_another_one_does() {
    for (state, reason) in [
        (ResolverState::Answers, "True Ready"),
        (ResolverState::Silent, "False ResolverSilent"),
    ] {
        let (mut world, uid) = enforced();
        let node = node_of_a_pod(&world);
        let scope = ReportedScope {
            resolvers: state,
            silent_resolvers: ["192.0.2.53".parse().unwrap()].into(),
            ..ReportedScope::default()
        };
        let of_node = world.scopes.entry(node.clone()).or_default();
        of_node.insert(uid, scope);
        let found = said(&world.compile(), "p0", "Ready");
        let named = format!("resolver 192.0.2.53 does not answer {node}");
        assert!(
            found.starts_with(reason) && found.contains(&named),
            "{found}"
        );
    }
}

#[test]
fn what_one_client_of_several_misses_makes_its_policy_not_ready_and_leaves_the_exit_ready() {
    let (mut world, _) = enforced();
    let clients: Vec<String> = world
        .previous
        .iter()
        .filter(|(_, body)| !body.routes.is_empty())
        .map(|(node, _)| node.to_string())
        .collect();
    assert!(clients.len() > 1, "{clients:?}");
    fault(
        &mut world,
        &clients[0],
        AddressFamily::IPv4,
        PathHop::Tunnel,
    );
    let compilation = world.compile();
    let exit = exit_says(&compilation);
    assert!(
        exit.starts_with("True") && exit.contains(&clients[0]),
        "{exit}"
    );
    let policy = said(&compilation, "p0", "Ready");
    assert!(
        policy.starts_with("False ExitLost") && policy.contains(&clients[0]),
        "{policy}"
    );
    // All of them miss it, though not at the same place.
    for client in &clients[1..] {
        fault(&mut world, client, AddressFamily::IPv4, PathHop::Forward);
    }
    let exit = exit_says(&world.compile());
    assert!(exit.starts_with("False"), "{exit}");
}

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
