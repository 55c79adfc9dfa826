//! The same judgement once more before any SNAT, so that it still sees the pod's source: for what never passes
//! forward, such as local output with a pod's source, or IPVS.

use postern_intent::body::{EgressPath, Scope};

use crate::desired::used_interface;
use crate::host::Family;
use crate::ruleset::rule::jump;
use crate::ruleset::{FirewallRule, Hook, MatchField, Target};

use super::context::{Chains, FirewallContext};
use super::guard::{inside_rules, reply_rules};
use super::names::{LAST, LAST_MAP, LAST_RELEASED_CHAIN, LOCAL_SET, halved, last_chain};
use super::scope::served;

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    let mut rules = vec![
        FirewallRule::to(Target::Accept).when(MatchField::Oif.named("lo")),
        FirewallRule::to(Target::Accept).when(MatchField::Oif.within("podlinks")),
    ];
    rules.extend(inside_rules(&Target::Accept));
    for family in Family::BOTH {
        rules.push(FirewallRule::to(Target::SaddrMap(
            family,
            halved(LAST_MAP, family),
        )));
    }
    for family in Family::BOTH {
        // No class: pod addresses only. The bridge's own address is in the range and is the node's.
        rules.push(
            FirewallRule::to(Target::Drop)
                .counted(LAST)
                .when(MatchField::FibSaddrType.is_not("local"))
                .when(MatchField::Saddr(family).within(halved(LOCAL_SET, family))),
        );
    }
    chains.filter("last", Hook::Postrouting, 80, rules);
    chains.plain("last_replies", reply_rules(&Target::Accept, None).collect());
    chains.plain(
        "last_blocked",
        vec![FirewallRule::to(Target::Drop).counted(LAST)],
    );
    chains.releasing(LAST_RELEASED_CHAIN);
    for scope in context.body().iter().flat_map(|body| &body.firewall) {
        chains.plain(last_chain(&scope.id), way(context, scope));
    }
}

fn way(context: &FirewallContext<'_>, scope: &Scope) -> Vec<FirewallRule> {
    let drop = FirewallRule::to(Target::Drop).counted(LAST);
    let facts = context.inputs.facts;
    let device = if facts.leaves_by_uplink(scope) {
        facts.uplink(None)
    } else {
        match &scope.way {
            EgressPath::Tunnel => {
                let exit = scope.tunnel_exit();
                exit.zip(context.body())
                    .and_then(|(exit, body)| used_interface(body, exit))
                    .cloned()
            }
            EgressPath::LocalExit => {
                let served = scope.local_exit().and_then(|exit| served(context, exit));
                served.and_then(|served| facts.uplink(served.uplink.as_ref()))
            }
            EgressPath::NodeUplink | EgressPath::Blocked { .. } => None,
        }
    };
    match device {
        Some(device) => vec![
            FirewallRule::to(jump("last_replies")),
            drop.when(MatchField::Oif.not_named(device)),
        ],
        None => vec![drop],
    }
}
