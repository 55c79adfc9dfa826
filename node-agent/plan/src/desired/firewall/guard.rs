//! The guard: per packet, and no `established accept` anywhere, so that a change of the maps is in force at the next
//! packet of every flow.

use crate::host::Family;
use crate::ruleset::literal::Value;
use crate::ruleset::rule::{goto, jump, tcp_syn, together};
use crate::ruleset::{Counter, FirewallRule, Hook, Match, MatchField, RuleMeaning, Target};

use super::context::{Chains, FirewallContext};
use super::names;
use super::names::{
    BLOCKED, ENCAPSULATED, ENDPOINT, EXIT_DROP, GUARD_CHAIN, GUARD_MAP, HOLD, INBOUND, INJECT,
    LOCAL_SET, NO_LEASE, NO_SERVICE, RELEASED_CHAIN, SERVICE, TUNNEL_RAW, halved,
};
use crate::desired::ranges::of_family;
use crate::desired::{LEASE, NodeClaim};

/// Bytes of IP and TCP header that the segment size does not count: 60 holds for IPv6, and is safe for IPv4.
const HEADERS: u16 = 60;

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    chains.filter(GUARD_CHAIN, Hook::Forward, -5, guard(context));
    chains.plain("into_tunnel", into_tunnel(context));
    chains.plain("from_tunnel", from_tunnel(context));
    chains.plain("inside", inside(context));
    chains.plain(
        "unclassified",
        vec![
            FirewallRule::to(jump("inside")),
            FirewallRule::to(Target::Drop).counted(HOLD),
        ],
    );
    chains.plain(
        "replies",
        reply_rules(&Target::Accept, Some(INBOUND)).collect(),
    );
    chains.plain("refuse", refuse());
    chains.plain(
        "refuse_lease",
        vec![FirewallRule::to(goto("refuse")).counted(NO_LEASE)],
    );
    chains.plain(
        "blocked_class",
        vec![
            FirewallRule::to(jump("inside")),
            FirewallRule::to(goto("refuse")).meaning(RuleMeaning::PodBlocked),
        ],
    );
    chains.releasing(RELEASED_CHAIN);
    chains.filter("no_service", Hook::Input, -5, no_service(context));
    chains.plain(
        "no_service_drop",
        vec![
            // An invalid packet has no direction: it goes on to the drop.
            FirewallRule::to(Target::Accept).when(MatchField::CtDirection.is("reply")),
            FirewallRule::to(Target::Drop).counted(NO_SERVICE),
        ],
    );
    chains.filter("local_out", Hook::Output, -5, local_out(context));
}

fn guard(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let mut rules: Vec<FirewallRule> = Family::BOTH
        .into_iter()
        .map(|family| {
            FirewallRule::to(Target::Drop)
                .counted(ENDPOINT)
                .when(MatchField::Saddr(family).outside(halved("released", family)))
                .when(together(
                    [MatchField::Daddr(family), MatchField::UdpDport],
                    halved("endpoint", family),
                ))
                .when(MatchField::Iif.within("podlinks"))
        })
        .collect();
    // Of local pods and of clients alike, before the chains of either decide.
    rules.extend(clamp(context, "pst-x-", &MatchField::Oif));
    rules.extend(clamp(context, "pst-x-", &MatchField::Iif));
    rules.extend([
        FirewallRule::to(goto("exit_forward")).when(MatchField::Iif.named("pst-s-*")),
        FirewallRule::to(goto("exit_return")).when(MatchField::Oif.named("pst-s-*")),
    ]);
    rules.extend(stray_returns(context));
    rules.extend([
        FirewallRule::to(jump("into_tunnel")).when(MatchField::Oif.named("pst-c-*")),
        FirewallRule::to(goto("from_tunnel")).when(MatchField::Iif.named("pst-c-*")),
        FirewallRule::to(goto("from_tunnel")).when(MatchField::Iif.named("pst-x-*")),
        // With br_netfilter = 1 neighbour discovery between pods passes here, and the guard would kill all IPv6
        // between them. A routed packet never has hop limit 255 in forward (RFC 4861, 7.1.1), and link-local
        // multicast is never routed.
        FirewallRule::to(Target::Accept)
            .meaning(RuleMeaning::Link)
            .when(MatchField::Icmp6Type.is(
                "{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }",
            ))
            .when(MatchField::HopLimit.is(255)),
        FirewallRule::to(Target::Accept)
            .meaning(RuleMeaning::Link)
            .when(MatchField::Daddr(Family::V6).is("ff02::/16")),
    ]);
    for family in Family::BOTH {
        rules.push(FirewallRule::to(Target::SaddrMap(
            family,
            halved(GUARD_MAP, family),
        )));
    }
    rules.extend(holds(context.inputs.claim()));
    rules
}

/// Who is held for want of a class. By pod link and not by pod range, which would drop replies of remote pods on a node that
/// serves a NodePort.
pub(crate) fn holds(claim: NodeClaim) -> Vec<FirewallRule> {
    let held = FirewallRule::to(goto("unclassified"));
    let on_pod_links = |rule: FirewallRule| rule.when(MatchField::Iif.within("podlinks"));
    match claim {
        NodeClaim::Claimed => vec![on_pod_links(held)],
        NodeClaim::Unclaimed => Family::BOTH
            .into_iter()
            .map(|family| {
                let bound = MatchField::Saddr(family).within(halved(LOCAL_SET, family));
                on_pod_links(held.clone().when(bound))
            })
            .collect(),
    }
}

/// The world's answer to a client whose served device is missing would follow the default route: back into the world, with
/// the client's tunnel address.
fn stray_returns(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    // No pod answers a client: what a pod link brings is somebody else's connection.
    let matches = [
        MatchField::CtDirection.is("reply"),
        MatchField::Iif.outside("podlinks"),
    ];
    drops_to_tunnels(context, &matches)
}

/// What the node itself answers a client whose served device is missing, an ICMP error, an echo or a reset, would leave by the
/// default route too. Only replies, and errors about a packet that conntrack does not know: connections of the node itself to
/// such a range, and neighbour discovery there, which conntrack calls untracked, go on.
fn stray_answers(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let outside = ["pst-s-*", "pst-c-*", "lo"].map(|device| MatchField::Oif.not_named(device));
    let replies = [MatchField::CtDirection.is("reply")];
    let errors = [
        MatchField::L4Proto.is("{ icmp, ipv6-icmp }"),
        MatchField::CtState.is("invalid"),
    ];
    let kinds = [&replies[..], &errors[..]];
    kinds
        .into_iter()
        .flat_map(|kind| drops_to_tunnels(context, &[kind, &outside[..]].concat()))
        .collect()
}

/// Drops what matches and has an address of the tunnel ranges as its destination.
fn drops_to_tunnels(context: &FirewallContext<'_>, matches: &[Match]) -> Vec<FirewallRule> {
    let ranges = Family::BOTH.map(|family| (family, of_family(&context.cluster.tunnels, family)));
    let known = ranges.into_iter().filter(|(_, ranges)| !ranges.is_empty());
    known
        .map(|(family, ranges)| {
            let mut rule = FirewallRule::to(Target::Drop).counted(EXIT_DROP);
            rule.matches.extend_from_slice(matches);
            rule.when(MatchField::Daddr(family).is(&ranges[..]))
        })
        .collect()
}

/// The segment size by number, both ways: `rt mtu` does not clamp the SYN-ACK direction.
pub(super) fn clamp(
    context: &FirewallContext<'_>,
    start: &str,
    side: &MatchField,
) -> Vec<FirewallRule> {
    let tunnels = context
        .body()
        .map(|body| &body.tunnels[..])
        .unwrap_or_default();
    tunnels
        .iter()
        .filter(|tunnel| tunnel.interface.as_str().starts_with(start))
        .map(|tunnel| {
            FirewallRule::to(Target::Mss(tunnel.mtu.saturating_sub(HEADERS)))
                .when(tcp_syn())
                .when(side.clone().named(&tunnel.interface))
        })
        .collect()
}

fn into_tunnel(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let mut rules = vec![
        // Replies of a connection that went straight to the pod would enter the tunnel with the raw pod source, and so
        // would what NAT leaves as it is.
        FirewallRule::to(Target::Drop)
            .counted(TUNNEL_RAW)
            .when(MatchField::CtState.is("{ invalid, untracked }")),
        FirewallRule::to(Target::Drop)
            .counted(TUNNEL_RAW)
            .when(MatchField::CtDirection.is("reply")),
    ];
    rules.extend(clamp(context, "pst-c-", &MatchField::Oif));
    rules
}

fn from_tunnel(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let mut rules = clamp(context, "pst-c-", &MatchField::Iif);
    rules.extend([
        FirewallRule::to(Target::Accept).when(MatchField::CtDirection.is("reply")),
        FirewallRule::to(Target::Accept).when(MatchField::CtState.is("related")),
        FirewallRule::to(Target::Drop).counted(INJECT),
    ]);
    rules
}

/// Pod ranges, node addresses, API servers with their port, and replies to API servers from any port: what is the
/// cluster's, after DNAT. An API server that is no Node calls webhooks and aggregated APIs from an ephemeral port.
pub(super) fn inside_rules(target: &Target) -> Vec<FirewallRule> {
    let inside = || FirewallRule::to(target.clone()).meaning(RuleMeaning::Inside);
    let mut rules: Vec<FirewallRule> = Family::BOTH
        .into_iter()
        .map(|family| inside().when(MatchField::Daddr(family).within(halved("inside", family))))
        .collect();
    rules.extend(Family::BOTH.into_iter().map(|family| {
        let fields = [
            MatchField::Daddr(family),
            MatchField::L4Proto,
            MatchField::Dport,
        ];
        inside().when(together(fields, halved("api", family)))
    }));
    rules.extend(Family::BOTH.into_iter().map(|family| {
        inside()
            .when(MatchField::CtDirection.is("reply"))
            .when(MatchField::Daddr(family).within(halved("api_host", family)))
    }));
    rules
}

/// Replies of a connection that came in by one of this node's own service addresses.
pub(super) fn reply_rules(
    target: &Target,
    counter: Option<Counter>,
) -> impl Iterator<Item = FirewallRule> {
    Family::BOTH.into_iter().map(move |family| {
        let rule = FirewallRule {
            counter,
            ..FirewallRule::to(target.clone())
        };
        rule.when(MatchField::CtOriginalDaddr(family).within(halved("inbound", family)))
            .when(MatchField::CtStatus.is("dnat"))
            .when(MatchField::CtDirection.is("reply"))
    })
}

/// Carriers of other packets. Another node's kernel takes them apart and sends what is inside with its own address.
///
/// UDP: VXLAN (RFC 7348: 4789, and Linux's 8472), Geneve (RFC 8926), the generic UDP encapsulation's 6080 and 4754
/// (RFC 8086). Protocols: IPv4 in IP (RFC 2003), IPv6 in IP (RFC 4213), GRE (RFC 2784), ESP and AH (RFC 4303, 4302).
fn carriers() -> [Match; 2] {
    [
        MatchField::UdpDport.is("{ 4754, 4789, 6080, 6081, 8472 }"),
        MatchField::L4Proto.is("{ 4, 41, 47, 50, 51 }"),
    ]
}

/// This node's own overlay takes packets apart too: they meet the input hook, not the forward hook.
fn encapsulated_to_this_node(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        for carrier in carriers() {
            let mut rule = FirewallRule::to(Target::Drop)
                .counted(ENCAPSULATED)
                .when(carrier)
                .when(MatchField::Saddr(family).outside(halved("released", family)))
                .when(MatchField::Iif.within("podlinks"));
            if context.inputs.claim() == NodeClaim::Unclaimed {
                rule = rule.when(MatchField::Saddr(family).within(halved(LOCAL_SET, family)));
            }
            rules.push(rule);
        }
    }
    rules
}

/// Jumped to; comes back when the destination is not inside.
fn inside(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        // A NodePort of another node would be translated there and leave with that node's address, and so would a
        // Service's external address that is that node's. Of any protocol that has ports: a Service may use a port with
        // one protocol today and with another one tomorrow. Node addresses may be ranges here, because before the first
        // body there are only the node's own settings.
        let refused = || {
            FirewallRule::to(goto("refuse"))
                .meaning(RuleMeaning::NodePort)
                .when(MatchField::CtDirection.is("original"))
                .when(MatchField::L4Proto.is("{ tcp, udp, sctp }"))
                .when(MatchField::Daddr(family).outside(halved("inbound", family)))
        };
        let ports = &context.cluster.node_ports[..];
        let is_node = MatchField::Daddr(family).within(halved("nodes", family));
        rules.push(refused().when(MatchField::Dport.is(ports)).when(is_node));
        let sockets = [MatchField::Daddr(family), MatchField::Dport];
        rules.push(refused().when(together(sockets, halved("node_service", family))));
        let is_node = || MatchField::Daddr(family).within(halved("nodes", family));
        let encapsulated = FirewallRule::to(goto("refuse")).counted(ENCAPSULATED);
        for carrier in carriers() {
            rules.push(encapsulated.clone().when(carrier).when(is_node()));
        }
    }
    rules.extend(inside_rules(&Target::Accept));
    for family in Family::BOTH {
        // A service address that kube-proxy has not translated, late or dead, would leave the node.
        rules.push(
            FirewallRule::to(goto("refuse"))
                .counted(SERVICE)
                .when(MatchField::Daddr(family).within(halved("service", family))),
        );
    }
    rules
}

/// An answer that fails at once: an unreachable route gives UDP only a soft error.
fn refuse() -> Vec<FirewallRule> {
    vec![
        FirewallRule::to(Target::RejectReset)
            .counted(BLOCKED)
            .when(MatchField::L4Proto.is("tcp")),
        FirewallRule::to(Target::RejectProhibited).counted(BLOCKED),
    ]
}

/// Refuses everything that would go out when the lease has run out.
pub(super) fn lease_rule() -> FirewallRule {
    FirewallRule::to(goto("refuse_lease")).when(MatchField::NfProto.outside(LEASE))
}

/// Egress and tunnel addresses are no services of the node. What arrives for them and is no reply to a local socket
/// belongs to a flow whose entry is gone or is at the other gateway: the node's own RST would cut the flow, and tell
/// the world a tunnel address.
fn no_service(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let port = context.inputs.settings.dns_port;
    let mut rules = encapsulated_to_this_node(context);
    rules.extend([FirewallRule::to(Target::Drop)
        .counted(names::DNS_FOREIGN)
        .when(MatchField::Iif.outside("podlinks"))
        .when(MatchField::Iif.not_named("lo"))
        .when(MatchField::Dport.is(port))
        .when(MatchField::L4Proto.is("{ tcp, udp }"))]);
    for family in Family::BOTH {
        // A tunnel leads to its own address and through this node, and to no other address of this node.
        for tunnels in ["pst-s-*", "pst-c-*", "pst-x-*"] {
            rules.push(
                FirewallRule::to(Target::Drop)
                    .counted(NO_SERVICE)
                    .when(MatchField::Daddr(family).outside(halved("tunaddr", family)))
                    .when(MatchField::Iif.named(tunnels)),
            );
        }
    }
    rules.push(FirewallRule::to(Target::Accept).when(MatchField::L4Proto.is_not("{ tcp, udp }")));
    for set in ["egress_own", "tunaddr"] {
        for family in Family::BOTH {
            rules.push(
                FirewallRule::to(goto("no_service_drop"))
                    .when(MatchField::Daddr(family).within(halved(set, family))),
            );
        }
    }
    rules
}

/// Tunnel endpoints are reached by our own sockets only; the DNS forwarder's own packets need the lease too.
fn local_out(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let own = context.inputs.settings.masked(postern_intent::Mark::OWN);
    let mut rules: Vec<FirewallRule> = Family::BOTH
        .into_iter()
        .map(|family| {
            FirewallRule::to(Target::Drop)
                .counted(ENDPOINT)
                .when(MatchField::Mark(own.mask).is_not(Value::Hex(own.value.into())))
                .when(together(
                    [MatchField::Daddr(family), MatchField::UdpDport],
                    halved("endpoint", family),
                ))
        })
        .collect();
    for tunnels in ["pst-c-*", "pst-x-*"] {
        rules.push(
            FirewallRule::to(Target::Drop)
                .counted(NO_LEASE)
                .when(MatchField::NfProto.outside(LEASE))
                .when(MatchField::Oif.named(tunnels)),
        );
    }
    rules.extend(stray_answers(context));
    rules
}
