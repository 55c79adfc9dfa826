//! The same judgement once more before any SNAT, so that it still sees the pod's source: for what never passes
//! forward, such as local output with a pod's source, or IPVS.

use postern_intent::body::{Scope, Way};

use crate::desired::used_interface;
use crate::host::Family;
use crate::ruleset::rule::jump;
use crate::ruleset::{Field, Hook, Rule, RuleMeaning, Target};

use super::context::{Chains, Context};
use super::guard::{inside_rules, reply_rules};
use super::names::{LAST, halved, last_chain};
use super::scope::served;

pub(super) fn chains(context: &Context<'_>, chains: &mut Chains) {
    let mut rules = vec![
        Rule::to(Target::Accept).when(Field::Oif.named("lo")),
        Rule::to(Target::Accept).when(Field::Oif.within("podlinks")),
    ];
    rules.extend(inside_rules(&Target::Accept));
    for family in Family::BOTH {
        rules.push(Rule::to(Target::SaddrMap(family, halved("last", family))));
    }
    for family in Family::BOTH {
        // No class: pod addresses only. The bridge's own address is in the range and is the node's.
        rules.push(
            Rule::to(Target::Drop)
                .counted(LAST)
                .when(Field::FibSaddrType.is_not("local"))
                .when(Field::Saddr(family).within(halved("local", family))),
        );
    }
    chains.filter("last", Hook::Postrouting, 80, rules);
    chains.plain("last_replies", reply_rules(&Target::Accept, None).collect());
    chains.plain("last_blocked", vec![Rule::to(Target::Drop).counted(LAST)]);
    let released = Rule::to(Target::Accept).meaning(RuleMeaning::Released);
    chains.plain("last_released", vec![released]);
    for scope in context.body().iter().flat_map(|body| &body.firewall) {
        chains.plain(last_chain(&scope.id), way(context, scope));
    }
}

fn way(context: &Context<'_>, scope: &Scope) -> Vec<Rule> {
    let drop = Rule::to(Target::Drop).counted(LAST);
    let facts = context.inputs.facts;
    let device = if facts.failed_open.contains(&scope.id) {
        facts.uplink(None)
    } else {
        match &scope.way {
            Way::Tunnel => {
                let exit = scope.tunnel_exit();
                exit.zip(context.body())
                    .and_then(|(exit, body)| used_interface(body, exit))
                    .cloned()
            }
            Way::LocalExit => {
                let served = scope.local_exit().and_then(|exit| served(context, exit));
                served.and_then(|served| facts.uplink(served.uplink.as_ref()))
            }
            Way::NodeUplink => facts.uplink(None),
            Way::Blocked { .. } => None,
        }
    };
    match device {
        Some(device) => vec![
            Rule::to(jump("last_replies")),
            drop.when(Field::Oif.not_named(device)),
        ],
        None => vec![drop],
    }
}
