//! Source NAT at 90, before the CNI's and kube-proxy's 100 (at equal priority the chain that registered last comes
//! first, so never equal), and at 110 a check of the source address that really leaves.

use postern_intent::Prefix;
use postern_intent::body::ServedExit;

use crate::host::Family;
use crate::ruleset::rule::apart;
use crate::ruleset::{BaseKind, FirewallRule, Hook, MatchField, Target};

use super::context::{Chains, FirewallContext};
use super::guard::inside_rules;
use super::names::{
    BY_UPLINK, EGRESS_ABSENT, EGRESS_SET, LOCAL_SOURCE, TUNNEL_SOURCE, halved, local_exit_set,
};
use crate::desired::ranges::of_family;

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    let served = context.body().map(|body| &body.nat[..]).unwrap_or_default();
    // Masquerade and not `snat to`: the kernel drops a masquerade entry when its output device changes, so a pod's
    // flows move to another exit by themselves.
    let mut rules =
        vec![FirewallRule::to(Target::Masquerade).when(MatchField::Oif.named("pst-c-*"))];
    rules.extend(inside_rules(&Target::Accept));
    rules.extend(by_uplink(context));
    let mut source = from_tunnels();
    source.extend(Family::BOTH.into_iter().flat_map(absent_source));
    for exit in served {
        let Some(uplink) = context.inputs.facts.uplink(exit.uplink.as_ref()) else {
            continue;
        };
        for family in Family::BOTH {
            let target = snat(exit, family);
            let Some(target) = target else { continue };
            rules.push(
                FirewallRule::to(target.clone())
                    .when(MatchField::Oif.named(&uplink))
                    .when(MatchField::Saddr(family).within(local_exit_set(&exit.exit, family))),
            );
            rules.push(
                FirewallRule::to(target)
                    .when(MatchField::NfProto.is(family))
                    .when(MatchField::Oif.named(&uplink))
                    .when(MatchField::Iif.named(&exit.interface)),
            );
        }
        source.extend(from_served(context, exit));
    }
    source.extend(inside_rules(&Target::Accept));
    for exit in served {
        source.extend(from_local(exit));
    }
    source.extend(Family::BOTH.into_iter().flat_map(from_uplink));
    chains.base("translate", BaseKind::Nat, Hook::Postrouting, 90, rules);
    chains.filter("source", Hook::Postrouting, 110, source);
}

/// Pods that leave by the node's own uplink have the node's address there, whatever the CNI would do.
fn by_uplink(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let Some(uplink) = context.inputs.facts.uplink(None) else {
        return Vec::new();
    };
    let masquerade = |family| {
        FirewallRule::to(Target::Masquerade)
            .when(MatchField::Oif.named(&uplink))
            .when(MatchField::Saddr(family).within(halved(BY_UPLINK, family)))
    };
    Family::BOTH.map(masquerade).into()
}

/// Never with the pod's own address, nor with an exit's egress address by an older NAT entry from the time when the pod left
/// by that exit.
fn from_uplink(family: Family) -> [FirewallRule; 2] {
    let drop = || {
        FirewallRule::to(Target::Drop)
            .counted(LOCAL_SOURCE)
            .when(MatchField::Oif.outside("podlinks"))
            .when(MatchField::Oif.not_named("lo"))
    };
    let set = halved(BY_UPLINK, family);
    [
        drop().when(MatchField::Saddr(family).within(set.clone())),
        drop()
            .when(MatchField::Saddr(family).within(halved("egress_own", family)))
            .when(MatchField::CtOriginalSaddr(family).within(set))
            .when(MatchField::CtDirection.is("original")),
    ]
}

/// The exit's address of the family; masquerade where it has no address at all; nothing where it has one of the other
/// family only, because then this family is not offered.
fn snat(exit: &ServedExit, family: Family) -> Option<Target> {
    if exit.egress.is_empty() {
        return Some(Target::Masquerade);
    }
    exit.egress
        .iter()
        .copied()
        .find(|address| Family::of(address) == family)
        .map(Target::Snat)
}

/// Into a tunnel only with that tunnel's own address. A tunnel without an address of the family would get the node's
/// own address inside.
fn from_tunnels() -> Vec<FirewallRule> {
    let drop = |family: Family, tunnels| {
        FirewallRule::to(Target::Drop)
            .counted(TUNNEL_SOURCE)
            .when(apart(
                [MatchField::Oif, MatchField::Saddr(family)],
                halved("tun", family),
            ))
            .when(MatchField::NfProto.is(family))
            .when(MatchField::Oif.named(tunnels))
    };
    let of = |tunnels| Family::BOTH.map(|family| drop(family, tunnels));
    [of("pst-c-*"), of("pst-x-*")].concat()
}

/// Never with an egress address that is not on the node now. The kernel itself knows: it ends an address that no agent
/// prolongs, and the rule holds from that moment on, also where the agent hangs.
///
/// Only packets of clients and of pods of this node: a host of the LAN that has the address by now reaches whom it reaches.
fn absent_source(family: Family) -> [FirewallRule; 2] {
    let drop = || {
        FirewallRule::to(Target::Drop)
            .counted(EGRESS_ABSENT)
            .when(MatchField::FibSaddrType.is_not("local"))
            .when(MatchField::Saddr(family).within(halved(EGRESS_SET, family)))
    };
    [
        drop().when(MatchField::Iif.named("pst-s-*")),
        drop().when(MatchField::Iif.within("podlinks")),
    ]
}

/// Out of a served tunnel with the exit's address; never with a tunnel address.
fn from_served(context: &FirewallContext<'_>, exit: &ServedExit) -> Vec<FirewallRule> {
    let drop = || FirewallRule::to(Target::Drop).counted(TUNNEL_SOURCE);
    Family::BOTH
        .into_iter()
        .filter_map(|family| {
            let rule = match snat(exit, family)? {
                Target::Snat(address) => drop().when(MatchField::Saddr(family).is_not(address)),
                _ => {
                    let ranges: Vec<Prefix> = of_family(&context.cluster.tunnels, family);
                    if ranges.is_empty() {
                        return None;
                    }
                    drop().when(MatchField::Saddr(family).is(&ranges[..]))
                }
            };
            Some(rule.when(MatchField::Iif.named(&exit.interface)))
        })
        .collect()
}

/// A pod on its own gateway: never with the pod's own address, nor with the node's by an older NAT entry from the time
/// when it was released.
fn from_local(exit: &ServedExit) -> Vec<FirewallRule> {
    let drop = || FirewallRule::to(Target::Drop).counted(LOCAL_SOURCE);
    let mut rules = Vec::new();
    for family in Family::BOTH {
        let set = local_exit_set(&exit.exit, family);
        rules.push(
            drop()
                .when(MatchField::Saddr(family).within(set.clone()))
                .when(MatchField::Oif.outside("podlinks"))
                .when(MatchField::Oif.not_named("lo")),
        );
        if let Some(Target::Snat(address)) = snat(exit, family) {
            rules.push(
                drop()
                    .when(MatchField::Saddr(family).is_not(address))
                    .when(MatchField::CtOriginalSaddr(family).within(set))
                    .when(MatchField::CtDirection.is("original"))
                    .when(MatchField::Oif.outside("podlinks"))
                    .when(MatchField::Oif.not_named("lo")),
            );
        }
    }
    rules
}
