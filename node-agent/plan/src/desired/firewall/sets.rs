//! Sets and maps: facts of the cluster and the node, and what is keyed by pod address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnet::IpNet;
use postern_intent::body::{Body, EgressPath, Scope, TermsEstablishedFlows};
use postern_intent::special_use::embedding;
use postern_intent::{Address, Prefix, ScopeId};

use crate::binding::Binding;
use crate::desired::dns::is_redirected;
use crate::desired::{AddressClass, LEASE};
use crate::host::Family;
use crate::ruleset::rule::goto;
use crate::ruleset::{Atom, Data, Element, KeyType, Set, ValueType};

use super::context::FirewallContext;
use super::limits;
use super::names::{
    BY_UPLINK, EGRESS_SET, GUARD_MAP, LAST_MAP, LAST_RELEASED_CHAIN, LOCAL_SET, RELEASED_CHAIN,
    STEER_MAP, flows_set, granted_set, halved, kept_set, last_chain, local_exit_set, mark_chain,
    scope_chain,
};
use super::steer::TO_MAIN;
use crate::desired::ranges::{aggregate, lan_ranges, special_ranges};

type Sets = BTreeMap<String, Set>;

const fn key(family: Family) -> KeyType {
    match family {
        Family::V4 => KeyType::Ipv4,
        Family::V6 => KeyType::Ipv6,
    }
}

/// Facts of the cluster and the node.
pub(super) fn fixed(context: &FirewallContext<'_>) -> Sets {
    let mut sets = Sets::new();
    let links = context
        .inputs
        .settings
        .pod_links
        .iter()
        .map(|name| Element::key([Atom::Name(name.clone())]));
    sets.insert(
        "podlinks".to_owned(),
        Set::intervals(KeyType::IfName).with(links),
    );
    let routed_links = routed_bindings(context)
        .map(|binding| Element::key([Atom::Name(binding.pod_link.to_string())]));
    sets.insert(
        "routed_links".to_owned(),
        Set::of([KeyType::IfName]).with(routed_links),
    );
    sets.insert(LEASE.to_owned(), Set::expiring(KeyType::Family));
    sets.extend(granted(context));
    sets.extend(limited(context));
    for family in Family::BOTH {
        let cluster = context.cluster;
        let resolvers = cluster.encrypted_resolvers.addresses.iter();
        let resolvers: Vec<Prefix> = resolvers.copied().map(Prefix::host).collect();
        let encrypted = [embedding(&resolvers), resolvers].concat();
        for (name, ranges) in [
            (LOCAL_SET, in_family(&cluster.local, family)),
            ("inside", cluster.inside(family)),
            ("service", in_family(&cluster.services, family)),
            ("nodes", cluster.other_nodes(family)),
            ("cluster", cluster.never_offered(family)),
            ("special", special_ranges(family)),
            ("private", lan_ranges(family)),
            ("encrypted", aggregate(&in_family(&encrypted, family))),
        ] {
            let elements = ranges
                .into_iter()
                .map(|prefix| Element::key([Atom::prefix(prefix)]));
            sets.insert(
                halved(name, family),
                Set::intervals(key(family)).with(elements),
            );
        }
        sets.insert(halved("routed", family), routed(context, family));
        sets.insert(halved("inbound", family), hosts(&cluster.inbound, family));
        sets.insert(
            halved("api", family),
            sockets(cluster.api_servers.iter(), family, Port::WithProtocol),
        );
        let servers: BTreeSet<Address> = cluster.api_servers.iter().map(SocketAddr::ip).collect();
        sets.insert(halved("api_host", family), hosts(&servers, family));
        let resolvers = hosts(&cluster.dns.addresses, family);
        sets.insert(halved("resolver", family), resolvers);
        sets.insert(
            halved("node_service", family),
            sockets(cluster.node_services.iter(), family, Port::Alone),
        );
        sets.insert(
            halved("endpoint", family),
            sockets(cluster.endpoints.iter(), family, Port::Alone),
        );
    }
    sets.extend(tunnel_sets(context.body()));
    sets
}

/// Sets for each rule with names, and for the connections of each scope that keeps them: two scopes never share one.
fn granted(context: &FirewallContext<'_>) -> Sets {
    let mut sets = Sets::new();
    for scope in context.body().iter().flat_map(|body| &body.firewall) {
        if scope.terms.established_flows == TermsEstablishedFlows::Keep {
            sets.insert(flows_set(&scope.id), Set::connections());
        }
        let rules = scope.terms.rules.iter();
        for rule in rules.filter(|rule| !rule.names.is_empty()) {
            for family in Family::BOTH {
                for name in [granted_set, kept_set].map(|name| name(&scope.id, rule, family)) {
                    sets.insert(name, Set::granted(key(family)));
                }
            }
        }
    }
    sets
}

/// A set for each limit that a scope has.
fn limited(context: &FirewallContext<'_>) -> Sets {
    let scopes = context.body().into_iter().flat_map(|body| &body.firewall);
    let limits = scopes.flat_map(|scope| limits::of(&scope.terms.limits));
    limits
        .map(|limit| {
            let set = Set::limiting(key(limit.family), limit.measure);
            (limit.set, set)
        })
        .collect()
}

/// Bindings whose pod link is the pod's own, and no bridge that other pods share.
fn routed_bindings<'a>(context: &FirewallContext<'a>) -> impl Iterator<Item = &'a Binding> {
    let bindings = context.inputs.bindings.by_container.values();
    bindings.filter(|binding| binding.pod_link == binding.host_interface)
}

/// Which source belongs to which routed pod link.
fn routed(context: &FirewallContext<'_>, family: Family) -> Set {
    let elements = routed_bindings(context).flat_map(|binding| {
        let addresses = binding.addresses.iter();
        addresses
            .filter(move |address| Family::of(address) == family)
            .map(|address| {
                Element::key([
                    Atom::Name(binding.pod_link.to_string()),
                    Atom::Address(*address),
                ])
            })
    });
    Set::of([KeyType::IfName, key(family)]).with(elements)
}

fn in_family(ranges: &[Prefix], family: Family) -> Vec<Prefix> {
    crate::desired::ranges::of_family(ranges, family)
}

/// The addresses of a family.
fn hosts<'a>(addresses: impl IntoIterator<Item = &'a Address>, family: Family) -> Set {
    let own = addresses
        .into_iter()
        .filter(|address| Family::of(address) == family);
    Set::of([key(family)]).with(own.map(|address| Element::key([Atom::Address(*address)])))
}

#[derive(Clone, Copy)]
enum Port {
    Alone,
    WithProtocol,
}

fn sockets<'a>(sockets: impl Iterator<Item = &'a SocketAddr>, family: Family, port: Port) -> Set {
    let parts = match port {
        Port::Alone => vec![key(family), KeyType::Port],
        Port::WithProtocol => vec![key(family), KeyType::Protocol, KeyType::Port],
    };
    let elements = sockets
        .filter(|socket| Family::of(&socket.ip()) == family)
        .map(|socket| {
            let address = Atom::Address(socket.ip());
            match port {
                Port::Alone => Element::key([address, Atom::Port(socket.port())]),
                Port::WithProtocol => Element::key([
                    address,
                    Atom::Protocol("tcp".to_owned()),
                    Atom::Port(socket.port()),
                ]),
            }
        });
    Set::of(parts).with(elements)
}

/// The node's tunnel addresses of a family.
pub(super) fn tunnel_addresses(body: Option<&Body>, family: Family) -> Set {
    let tunnels = body.iter().flat_map(|body| &body.tunnels);
    let addresses = tunnels.flat_map(|tunnel| tunnel.addresses.iter().map(IpNet::addr));
    let own = addresses.filter(|address| Family::of(address) == family);
    Set::of([key(family)]).with(own.map(|address| Element::key([Atom::Address(address)])))
}

/// Tunnel addresses alone and with their device, and egress addresses that are nobody's service.
fn tunnel_sets(body: Option<&Body>) -> Sets {
    let mut sets = Sets::new();
    for family in Family::BOTH {
        let mut with_device = Set::of([KeyType::IfName, key(family)]);
        for tunnel in body.iter().flat_map(|body| &body.tunnels) {
            for address in tunnel
                .addresses
                .iter()
                .map(IpNet::addr)
                .filter(|a| Family::of(a) == family)
            {
                let device = Atom::Name(tunnel.interface.to_string());
                with_device
                    .elements
                    .insert(Element::key([device, Atom::Address(address)]));
            }
        }
        let (mut egress, mut own) = (Set::of([key(family)]), Set::of([key(family)]));
        if let Some(body) = body {
            let addresses = body.nat.iter().flat_map(|exit| &exit.egress);
            for address in addresses.filter(|address| Family::of(address) == family) {
                let element = Element::key([Atom::Address(*address)]);
                egress.elements.insert(element.clone());
                // An egress address that is also the node's own has services behind it: the kubelet, SSH.
                if !body.cluster.node_addresses.contains(address) {
                    own.elements.insert(element);
                }
            }
        }
        sets.insert(halved("tunaddr", family), tunnel_addresses(body, family));
        sets.insert(halved("tun", family), with_device);
        sets.insert(halved(EGRESS_SET, family), egress);
        sets.insert(halved("egress_own", family), own);
    }
    sets
}

/// Keyed by pod address: class for the guard, mark, second look, DNS, local exit.
pub(super) fn keyed(context: &FirewallContext<'_>) -> Sets {
    let mut sets = Sets::new();
    for family in Family::BOTH {
        for name in [GUARD_MAP, STEER_MAP, LAST_MAP] {
            sets.insert(
                halved(name, family),
                Set::map([key(family)], ValueType::Verdict),
            );
        }
        for name in ["dns", "released", BY_UPLINK] {
            sets.insert(halved(name, family), Set::of([key(family)]));
        }
        for exit in context.body().iter().flat_map(|body| &body.nat) {
            sets.insert(local_exit_set(&exit.exit, family), Set::of([key(family)]));
        }
    }
    let scopes: BTreeMap<&ScopeId, &Scope> = context
        .body()
        .iter()
        .flat_map(|body| &body.firewall)
        .map(|scope| (&scope.id, scope))
        .collect();
    for (address, classified) in context.classes {
        let family = Family::of(address);
        for (name, data) in entries(context, &classified.class, &scopes) {
            let key = [Atom::Address(*address)];
            let element = match data {
                Some(chain) => Element::entry(key, Data::Verdict(goto(chain))),
                None => Element::key(key),
            };
            let name = match name {
                Keyed::Halved(name) => halved(name, family),
                Keyed::LocalExit(exit) => local_exit_set(exit, family),
            };
            if let Some(set) = sets.get_mut(&name) {
                set.elements.insert(element);
            }
        }
    }
    sets
}

/// Steering, and the source with which the packets leave.
fn scope_entries<'a>(
    context: &FirewallContext<'_>,
    scope: &'a Scope,
) -> Vec<(Keyed<'a>, Option<String>)> {
    let steered = |chain| (Keyed::Halved(STEER_MAP), Some(chain));
    let to_main = || steered(TO_MAIN.to_owned());
    if context.inputs.facts.leaves_by_uplink(scope) {
        return vec![to_main(), (Keyed::Halved(BY_UPLINK), None)];
    }
    match scope.way {
        EgressPath::Tunnel => {
            let mark = scope.tunnel_exit().map(mark_chain);
            mark.into_iter().map(steered).collect()
        }
        EgressPath::LocalExit => {
            let served = scope.local_exit();
            let served = served.map(|exit| (Keyed::LocalExit(exit), None));
            let local = steered(local_chain(context, scope));
            [local].into_iter().chain(served).collect()
        }
        EgressPath::NodeUplink | EgressPath::Blocked { .. } => Vec::new(),
    }
}

enum Keyed<'a> {
    Halved(&'static str),
    LocalExit(&'a postern_intent::ExitName),
}

/// The elements of one class. A blocked pod gets no steering element, so that the lock holds it too.
fn entries<'a>(
    context: &FirewallContext<'_>,
    class: &AddressClass,
    scopes: &BTreeMap<&ScopeId, &'a Scope>,
) -> Vec<(Keyed<'a>, Option<String>)> {
    let halved = Keyed::Halved;
    let mut out = Vec::new();
    match class {
        AddressClass::Released => {
            out.push((halved(GUARD_MAP), Some(RELEASED_CHAIN.to_owned())));
            out.push((halved("released"), None));
            out.push((halved(LAST_MAP), Some(LAST_RELEASED_CHAIN.to_owned())));
            out.push((halved(STEER_MAP), Some(TO_MAIN.to_owned())));
        }
        AddressClass::Blocked(_) => {
            out.push((halved(GUARD_MAP), Some("blocked_class".to_owned())));
            out.push((halved(LAST_MAP), Some("last_blocked".to_owned())));
        }
        AddressClass::Scope(scope) => {
            out.push((halved(GUARD_MAP), Some(scope_chain(scope))));
            out.push((halved(LAST_MAP), Some(last_chain(scope))));
            if let Some(scope) = scopes.get(scope) {
                out.extend(scope_entries(context, scope));
            }
        }
    }
    if is_redirected(class) {
        out.push((halved("dns"), None));
    }
    out
}

/// The chain that gives the mark of a pod on its own gateway: the main one, or that of the session with a server outside.
fn local_chain(context: &FirewallContext<'_>, scope: &Scope) -> String {
    let session = scope.local_exit().zip(context.body());
    let session = session.and_then(|(exit, body)| body.external_session(exit));
    session.map_or_else(|| TO_MAIN.to_owned(), |session| mark_chain(&session.exit))
}
