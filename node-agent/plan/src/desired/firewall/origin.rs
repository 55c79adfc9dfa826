//! Where a packet may come from.

use crate::host::Family;
use crate::ruleset::rule::{apart, goto};
use crate::ruleset::{Field, Hook, Rule, Target};

use super::context::{Chains, Context};
use super::names::{INJECT, LOCAL_SET, SPOOF, SPOOF_IN, halved};

pub(super) fn chains(context: &Context<'_>, chains: &mut Chains) {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        // Linux answers for an address on every interface (the weak host model): without this rule an outsider on the
        // LAN injects into a pod's tunnel flow by sending to the tunnel address on the uplink.
        rules.push(
            Rule::to(Target::Drop)
                .counted(INJECT)
                .when(apart(
                    [Field::Iif, Field::Daddr(family)],
                    halved("tun", family),
                ))
                .when(Field::Daddr(family).within(halved("tunaddr", family)))
                .when(Field::Iif.not_named("lo")),
        );
    }
    rules.push(Rule::to(goto("from_pod")).when(Field::Iif.within("podlinks")));
    for family in Family::BOTH {
        // A local pod's address from anywhere but a pod link: forged by the LAN to use an exit, or a pod link that
        // the setting does not know, which then has no way out instead of an unguarded one.
        rules.push(
            Rule::to(Target::Drop)
                .counted(SPOOF_IN)
                .when(Field::Saddr(family).within(halved(LOCAL_SET, family)))
                .when(Field::Iif.not_named("lo")),
        );
    }
    chains.filter("origin", Hook::Prerouting, -310, rules);
    chains.plain("from_pod", from_pod(context));
}

/// A source that a pod link may not send with is dropped. What falls through is judged by its class.
fn from_pod(context: &Context<'_>) -> Vec<Rule> {
    let mut rules = vec![
        // Never forwarded by the kernel: duplicate address detection, link-local neighbours, a DHCP client's first packet.
        Rule::to(Target::Accept).when(Field::Saddr(Family::V6).is("{ ::, fe80::/10 }")),
        Rule::to(Target::Accept)
            .when(Field::UdpSport.is(68))
            .when(Field::Saddr(Family::V4).is("0.0.0.0")),
    ];
    let spoof = || Rule::to(Target::Drop).counted(SPOOF);
    for family in Family::BOTH {
        // A routed pod link (one veth a pod, no bridge) has one pod behind it. The bridge family never sees its frames.
        rules.push(
            spoof()
                .when(apart(
                    [Field::Iif, Field::Saddr(family)],
                    halved("routed", family),
                ))
                .when(Field::Iif.within("routed_links")),
        );
    }
    let claim = context.inputs.claim();
    for family in Family::BOTH {
        if context.cluster.refuses_sources_outside(family, claim) {
            rules.push(spoof().when(Field::Saddr(family).outside(halved(LOCAL_SET, family))));
        }
    }
    rules
}
