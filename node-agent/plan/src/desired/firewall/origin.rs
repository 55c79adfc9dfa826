//! Where a packet may come from.

use crate::host::Family;
use crate::ruleset::rule::{apart, goto};
use crate::ruleset::{FirewallRule, Hook, MatchField, Target};

use super::context::{Chains, FirewallContext};
use super::names::{INJECT, LOCAL_SET, SPOOF, SPOOF_IN, halved};

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        // Linux answers for an address on every interface (the weak host model): without this rule an outsider on the
        // LAN injects into a pod's tunnel flow by sending to the tunnel address on the uplink.
        rules.push(
            FirewallRule::to(Target::Drop)
                .counted(INJECT)
                .when(apart(
                    [MatchField::Iif, MatchField::Daddr(family)],
                    halved("tun", family),
                ))
                .when(MatchField::Daddr(family).within(halved("tunaddr", family)))
                .when(MatchField::Iif.not_named("lo")),
        );
    }
    rules.push(FirewallRule::to(goto("from_pod")).when(MatchField::Iif.within("podlinks")));
    for family in Family::BOTH {
        // A local pod's address from anywhere but a pod link: forged by the LAN to use an exit, or a pod link that
        // the setting does not know, which then has no way out instead of an unguarded one.
        rules.push(
            FirewallRule::to(Target::Drop)
                .counted(SPOOF_IN)
                .when(MatchField::Saddr(family).within(halved(LOCAL_SET, family)))
                .when(MatchField::Iif.not_named("lo")),
        );
    }
    chains.filter("origin", Hook::Prerouting, -310, rules);
    chains.plain("from_pod", from_pod(context));
}

/// A source that a pod link may not send with is dropped. What falls through is judged by its class.
fn from_pod(context: &FirewallContext<'_>) -> Vec<FirewallRule> {
    let mut rules = vec![
        // Never forwarded by the kernel: duplicate address detection, link-local neighbours, a DHCP client's first packet.
        FirewallRule::to(Target::Accept)
            .when(MatchField::Saddr(Family::V6).is("{ ::, fe80::/10 }")),
        FirewallRule::to(Target::Accept)
            .when(MatchField::UdpSport.is(68))
            .when(MatchField::Saddr(Family::V4).is("0.0.0.0")),
    ];
    let spoof = || FirewallRule::to(Target::Drop).counted(SPOOF);
    for family in Family::BOTH {
        // A routed pod link (one veth a pod, no bridge) has one pod behind it. The bridge family never sees its frames.
        rules.push(
            spoof()
                .when(apart(
                    [MatchField::Iif, MatchField::Saddr(family)],
                    halved("routed", family),
                ))
                .when(MatchField::Iif.within("routed_links")),
        );
    }
    let claim = context.inputs.claim();
    for family in Family::BOTH {
        if context.cluster.refuses_sources_outside(family, claim) {
            rules.push(spoof().when(MatchField::Saddr(family).outside(halved(LOCAL_SET, family))));
        }
    }
    rules
}
