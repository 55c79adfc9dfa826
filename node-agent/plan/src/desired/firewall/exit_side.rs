//! What a gateway lets its clients do: by its uplink only, to what the exit offers only.

use postern_intent::Prefix;
use postern_intent::body::{Access, ServedExit};

use crate::host::Family;
use crate::ruleset::rule::{goto, jump, together};
use crate::ruleset::{Field, Rule, RuleMeaning, Target};

use super::context::{Chains, Context};
use super::guard::clamp;
use super::names::{EXIT_DROP, EXIT_OUT, halved, offered_chain, serve_chain};
use crate::desired::ranges::{aggregate, of_family, special_ranges};

pub(super) fn chains(context: &Context<'_>, chains: &mut Chains) {
    let served = context.body().map(|body| &body.nat[..]).unwrap_or_default();
    let mut forward = clamp(context, "pst-s-", &Field::Iif);
    for exit in served {
        forward
            .push(Rule::to(goto(serve_chain(&exit.exit))).when(Field::Iif.named(&exit.interface)));
        chains.plain(serve_chain(&exit.exit), serve(context, exit));
        chains.plain(offered_chain(&exit.exit), offered(context, exit));
    }
    forward.push(Rule::to(Target::Drop).counted(EXIT_DROP));
    chains.plain("exit_forward", forward);
    let mut back = clamp(context, "pst-s-", &Field::Oif);
    back.extend([
        // What answers a client comes from the uplink: no pod of this node does.
        Rule::to(Target::Drop)
            .counted(EXIT_DROP)
            .when(Field::Iif.within("podlinks")),
        Rule::to(Target::Accept).when(Field::CtDirection.is("reply")),
        Rule::to(Target::Accept).when(Field::CtState.is("related")),
        Rule::to(Target::Drop).counted(EXIT_DROP),
    ]);
    chains.plain("exit_return", back);
}

fn serve(context: &Context<'_>, exit: &ServedExit) -> Vec<Rule> {
    let drop = || Rule::to(Target::Drop).counted(EXIT_DROP);
    let Some(uplink) = context.inputs.facts.uplink(exit.uplink.as_ref()) else {
        return vec![drop()];
    };
    vec![
        drop().when(Field::Oif.not_named(uplink)),
        // NAT leaves them as they are: they would leave with the client's tunnel address.
        drop().when(Field::CtState.is("{ invalid, untracked }")),
        Rule::to(jump(offered_chain(&exit.exit))),
        Rule::to(Target::Accept).counted(EXIT_OUT),
    ]
}

/// Jumped to; comes back when the exit offers the destination. A family whose source address is on no interface of the
/// node is not offered: the address is another host's, or nobody's.
fn offered(context: &Context<'_>, exit: &ServedExit) -> Vec<Rule> {
    let refuse = |meaning| Rule::to(goto("refuse")).meaning(meaning);
    let mut rules = Vec::new();
    for family in Family::BOTH {
        let clusters = || refuse(RuleMeaning::ClusterOffer);
        rules.push(clusters().when(Field::Daddr(family).within(halved("cluster", family))));
        let fields = [Field::Daddr(family), Field::L4Proto, Field::Dport];
        rules.push(clusters().when(together(fields, halved("api", family))));
    }
    for family in Family::BOTH {
        let routes = aggregate(&of_family(&exit.routes, family));
        let sourced = exit.egress.is_empty()
            || exit.egress.iter().any(|address| {
                Family::of(address) == family && context.inputs.facts.has_address(address)
            });
        if routes.is_empty() || !sourced {
            rules.push(refuse(RuleMeaning::FamilyOffer).when(Field::NfProto.is(family)));
            continue;
        }
        rules.extend(limits(exit, family));
        if !routes.contains(&family.everything()) {
            let unnamed = Field::Daddr(family).is_not(&routes[..]);
            rules.push(refuse(RuleMeaning::RouteOffer).when(unnamed));
        }
    }
    rules
}

/// Special-use ranges are offered only where the exit names a route inside one; private ranges with `lanAccess`.
fn limits(exit: &ServedExit, family: Family) -> Vec<Rule> {
    let special = special_ranges(family);
    let named: Vec<Prefix> = exit
        .routes
        .iter()
        .copied()
        .filter(|route| {
            special
                .iter()
                .any(|range| range.net().contains(&route.net()))
        })
        .collect();
    let refuse = |set: &str, meaning| {
        let refuse = Rule::to(goto("refuse")).meaning(meaning);
        refuse.when(Field::Daddr(family).within(halved(set, family)))
    };
    let special = refuse("special", RuleMeaning::SpecialOffer);
    let mut rules = vec![if named.is_empty() {
        special
    } else {
        special.when(Field::Daddr(family).is_not(&named[..]))
    }];
    if exit.lan == Access::Deny {
        rules.push(refuse("private", RuleMeaning::PrivateOffer));
    }
    rules
}
