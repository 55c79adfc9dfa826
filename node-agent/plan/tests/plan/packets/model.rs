//! What a policy means, as slowly and plainly as it can be said. Nothing here knows of nft.

use std::net::IpAddr;

use ipnet::IpNet;
use postern_intent::Address;
use postern_intent::body::{
    Access, AdminAction, AdminPolicy, AdminRule, Body, Rule, RulePortRange, RuleProtocol, Scope,
    ServedExit, TermsDnsMode, TermsEnforcement, TermsReplies,
};
use postern_plan::desired::names::{granted_set, kept_set};
use postern_plan::evaluate::{CtDirection, CtState, Grants, Packet, Transport};
use postern_plan::ruleset::LimitMeasure;

const SPECIAL: [&str; 15] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "::/96",
    "::ffff:0:0:0/96",
    "fe80::/10",
    "ff00::/8",
    "fd00:ec2::254/128",
    "::ffff:0:0/96",
    "2001::/32",
    "64:ff9b:1::/48",
];
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

fn within(address: Address, ranges: &[&str]) -> bool {
    ranges
        .iter()
        .any(|range| range.parse::<IpNet>().unwrap().contains(&address))
}

/// The IPv4 address that an IPv6 one stands for, by NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded(address: Address) -> Option<Address> {
    let IpAddr::V6(six) = address else {
        return None;
    };
    let [a, b, c, ..] = six.segments();
    let join = |high: u16, low: u16| IpAddr::V4((u32::from(high) << 16 | u32::from(low)).into());
    if within(address, &["64:ff9b::/96"]) {
        let [.., high, low] = six.segments();
        return Some(join(high, low));
    }
    (a == 0x2002).then(|| join(b, c))
}

pub(crate) fn is_special(address: Address) -> bool {
    within(address, &SPECIAL) || embedded(address).is_some_and(|four| within(four, &SPECIAL))
}

pub(crate) fn is_private(address: Address) -> bool {
    within(address, &PRIVATE) || embedded(address).is_some_and(|four| within(four, &PRIVATE))
}

/// Is the whole range private?
fn is_private_range(range: IpNet) -> bool {
    is_private(range.network()) && is_private(range.broadcast()) && range.prefix_len() >= 7
}

fn protocol(packet: &Packet) -> Option<RuleProtocol> {
    match packet.transport {
        Transport::Tcp { .. } => Some(RuleProtocol::Tcp),
        Transport::Udp { .. } => Some(RuleProtocol::Udp),
        Transport::Sctp { .. } => Some(RuleProtocol::Sctp),
        Transport::Icmp(_) => Some(RuleProtocol::Icmp),
        Transport::Other(_) => None,
    }
}

fn names_port(ports: &[RulePortRange], packet: &Packet) -> bool {
    ports.is_empty()
        || ports.iter().any(|range| {
            let in_range = packet
                .dport()
                .is_none_or(|port| (range.from..=range.to).contains(&port));
            protocol(packet) == Some(range.protocol) && in_range
        })
}

/// What of a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    SpecialUse,
    OtherResolver,
    Private,
    Admin(usize, usize),
    Rule(usize),
    Default,
}

/// May the packet go to its exit, by the policy alone?
pub(crate) fn policy_allows(scope: &Scope, grants: &Grants, packet: &Packet) -> bool {
    policy_decides(scope, grants, packet).0
}

/// What a policy that only observes counts of a packet that leaves: the rule that denies it, none for the default action.
pub(crate) fn would_refuse<'a>(
    scope: &'a Scope,
    grants: &Grants,
    packet: &Packet,
) -> Option<Option<&'a Rule>> {
    let rule = match policy_decides(scope, grants, packet).1 {
        Ground::Rule(position) => Some(&scope.terms.rules[position]),
        Ground::Default => None,
        Ground::SpecialUse | Ground::OtherResolver | Ground::Private | Ground::Admin(..) => {
            return None;
        }
    };
    let action = rule.map_or(scope.terms.default_action, |rule| rule.action);
    (action == Access::Deny && scope.terms.enforcement == TermsEnforcement::Observe).then_some(rule)
}

/// The rule of an administrator that decides, with its places, if it does not pass the packet on.
fn administrators_decide<'a>(
    scope: &'a Scope,
    packet: &Packet,
) -> Option<((usize, usize), &'a AdminPolicy, &'a AdminRule)> {
    for (place, policy) in scope.terms.admin.iter().enumerate() {
        for (position, rule) in policy.rules.iter().enumerate() {
            let is_named = rule.to.is_empty()
                || rule
                    .to
                    .iter()
                    .any(|range| range.contains(&packet.destination));
            if is_named && names_port(&rule.ports, packet) {
                let decides = rule.action != AdminAction::Pass;
                return decides.then_some(((place, position), policy, rule));
            }
        }
    }
    None
}

/// The rule of an administrator that refuses the packet, whatever the policy says or keeps.
pub(crate) fn administrators_refuse<'a>(
    scope: &'a Scope,
    packet: &Packet,
) -> Option<(&'a AdminPolicy, &'a AdminRule)> {
    let (_, policy, rule) = administrators_decide(scope, packet)?;
    let refuses = rule.action == AdminAction::Deny && !is_refused_resolver(scope, packet);
    refuses.then_some((policy, rule))
}

/// The same with what decides. First match wins.
pub(crate) fn policy_decides(scope: &Scope, grants: &Grants, packet: &Packet) -> (bool, Ground) {
    let to = packet.destination;
    let excepted = scope
        .terms
        .special_use_exceptions
        .iter()
        .any(|range| range.contains(&to));
    if is_refused_resolver(scope, packet) {
        return (false, Ground::OtherResolver);
    }
    let admin = administrators_decide(scope, packet);
    if let Some(((place, position), _, rule)) = admin
        && rule.action == AdminAction::Deny
    {
        return (false, Ground::Admin(place, position));
    }
    if is_special(to) && !excepted {
        return (false, Ground::SpecialUse);
    }
    let lan = !is_private(to) || scope.terms.lan == Access::Allow;
    let observes = scope.terms.enforcement == TermsEnforcement::Observe;
    let judged = |action, lan: bool, ground| match (action, lan) {
        (Access::Deny, _) if !observes => (false, ground),
        (_, false) => (false, Ground::Private),
        (_, true) => (true, ground),
    };
    if let Some(((place, position), _, rule)) = admin {
        let mut named = rule.to.iter().filter(|range| range.contains(&to));
        let lan = lan || named.any(|range| is_private_range(range.net()));
        return judged(Access::Allow, lan, Ground::Admin(place, position));
    }
    for (position, rule) in scope.terms.rules.iter().enumerate() {
        let names: Vec<_> = rule.to.iter().filter(|range| range.contains(&to)).collect();
        let everywhere = rule.to.is_empty() && rule.names.is_empty();
        let named = is_granted(scope, rule, grants, packet);
        if (!names.is_empty() || everywhere || named) && names_port(&rule.ports, packet) {
            // A range that a rule denies is no permission to reach it.
            let names_private = rule.action == Access::Allow
                && names.iter().any(|range| is_private_range(range.net()));
            return judged(rule.action, lan || names_private, Ground::Rule(position));
        }
    }
    judged(scope.terms.default_action, lan, Ground::Default)
}

/// A resolver that the policy's mode refuses, also to connections that are kept.
pub(crate) fn is_refused_resolver(scope: &Scope, packet: &Packet) -> bool {
    scope.terms.dns.mode != TermsDnsMode::Forward && is_other_resolver(packet)
}

/// Port 853, and port 443 of the resolvers of the fixture's cluster document, in each form.
fn is_other_resolver(packet: &Packet) -> bool {
    let known = ["8.8.8.8/32", "2620:fe::9/128"];
    match packet.transport {
        Transport::Tcp { dport, .. } | Transport::Udp { dport, .. } => {
            let to = packet.destination;
            let is_known = |address| within(address, &known);
            dport == 853 || dport == 443 && (is_known(to) || embedded(to).is_some_and(is_known))
        }
        Transport::Sctp { .. } | Transport::Icmp(_) | Transport::Other(_) => false,
    }
}

/// Does an answer for a name of the rule let the packet out? While it is valid, every packet; later, those of connections that
/// were opened and answered meanwhile.
fn is_granted(scope: &Scope, rule: &Rule, grants: &Grants, packet: &Packet) -> bool {
    let holds = |set: String| {
        let held = grants.get(&set);
        held.is_some_and(|held| held.contains(&packet.destination))
    };
    let family = packet.family();
    let goes_on = packet.conntrack.state == CtState::Established
        && packet.conntrack.direction == CtDirection::Original;
    holds(granted_set(&scope.id, rule, family))
        || goes_on && holds(kept_set(&scope.id, rule, family))
}

/// The counter of the limit that drops a packet which the policy lets out. What goes on uses up packets and bytes alone.
pub(crate) fn over_limit(scope: &Scope, packet: &Packet) -> Option<&'static str> {
    let limits = &scope.terms.limits;
    let begins = tracked(packet) && !packet.conntrack.confirmed;
    let each = [
        (
            LimitMeasure::Connections,
            limits.connections.is_some() && begins,
            "over_connections",
        ),
        (
            LimitMeasure::NewConnections,
            limits.new_connections_per_second.is_some() && begins,
            "over_new_connections",
        ),
        (
            LimitMeasure::Packets,
            limits.packets_per_second.is_some(),
            "over_packets",
        ),
        (
            LimitMeasure::Bytes,
            limits.bytes_per_second.is_some(),
            "over_bytes",
        ),
    ];
    let mut over = each.into_iter();
    let found = over.find(|(measure, counts, _)| *counts && packet.over.contains(measure));
    found.map(|(_, _, counter)| counter)
}

/// Does the exit offer the destination?
pub(crate) fn exit_offers(body: &Body, exit: &ServedExit, packet: &Packet) -> bool {
    let to = packet.destination;
    if is_clusters(body, to) || is_api(body, packet) {
        return false;
    }
    let named = exit.routes.iter().any(|route| {
        let whole = [route.net().network(), route.net().broadcast()];
        route.contains(&to)
            && whole.iter().all(|end| is_special(*end))
            && route.net().prefix_len() > 0
    });
    // TCP that does not begin a connection: the connection began at another gateway, with another source.
    let begun_elsewhere = exit.egress.is_empty()
        && packet.conntrack.state == CtState::New
        && matches!(packet.transport, Transport::Tcp { syn: false, .. });
    !begun_elsewhere
        && exit.routes.iter().any(|route| route.contains(&to))
        && (exit.egress.is_empty() || exit.egress.iter().any(|one| one.is_ipv4() == to.is_ipv4()))
        && (!is_special(to) || named)
        && (!is_private(to) || exit.lan == Access::Allow)
}

fn is_api(body: &Body, packet: &Packet) -> bool {
    matches!(packet.transport, Transport::Tcp { dport, .. }
        if body.cluster.api_servers.iter().any(|api| api.ip() == packet.destination && api.port() == dport))
}

/// Pod, service, node and tunnel ranges.
pub(crate) fn is_clusters(body: &Body, address: Address) -> bool {
    let cluster = &body.cluster;
    let ranges = [
        &cluster.pod_ranges,
        &cluster.service_ranges,
        &cluster.tunnel_ranges,
    ];
    ranges
        .into_iter()
        .flatten()
        .any(|range| range.contains(&address))
        || cluster.node_addresses.contains(&address)
}

/// Is it traffic inside the cluster, by its destination after translation?
pub(crate) fn is_inside(body: &Body, packet: &Packet) -> bool {
    let cluster = &body.cluster;
    let to = packet.destination;
    let is_reply = tracked(packet) && packet.conntrack.direction == CtDirection::Reply;
    cluster.pod_ranges.iter().any(|range| range.contains(&to))
        || cluster.node_addresses.contains(&to)
        || is_api(body, packet)
        || is_reply && cluster.api_servers.iter().any(|api| api.ip() == to)
}

pub(crate) const fn tracked(packet: &Packet) -> bool {
    !matches!(
        packet.conntrack.state,
        CtState::Invalid | CtState::Untracked
    )
}

/// Is it the answer to a client that connected to one of the node's own or load-balancer addresses?
pub(crate) fn is_service_reply(body: &Body, packet: &Packet) -> bool {
    let conntrack = &packet.conntrack;
    tracked(packet)
        && conntrack.direction == CtDirection::Reply
        && conntrack.dnat
        && body
            .inbound_addresses()
            .contains(&conntrack.original_destination)
}

/// The same where the policy allows it.
pub(crate) fn is_allowed_reply(body: &Body, scope: &Scope, packet: &Packet) -> bool {
    scope.terms.replies == TermsReplies::Services && is_service_reply(body, packet)
}

/// Neighbour discovery and link-local multicast, which the kernel never forwards from one network to another.
pub(crate) fn stays_on_the_link(packet: &Packet) -> bool {
    let discovery = matches!(packet.transport, Transport::Icmp("nd-neighbor-solicit"))
        && packet.destination.is_ipv6()
        && packet.hop_limit == 255;
    discovery || within(packet.destination, &["ff02::/16"])
}
