//! What a gateway lets its clients do: by its uplink only, to what the exit offers only.

use postern_intent::Prefix;
use postern_intent::body::{Access, ServedExit};

use crate::host::Family;
use crate::ruleset::rule::{goto, jump, tcp_syn, together};
use crate::ruleset::{FirewallRule, MatchField, RuleMeaning, Target};

use super::context::{Chains, FirewallContext};
use super::guard::clamp;
use super::names::{EXIT_DROP, EXIT_OUT, halved, offered_chain, serve_chain};
use crate::desired::ranges::{aggregate, of_family, special_ranges};

/// Refuses TCP that does not begin a connection.
const TCP_START: &str = "tcp_start";

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    let served = context.body().map(|body| &body.nat[..]).unwrap_or_default();
    let mut forward = clamp(context, "pst-s-", &MatchField::Iif);
    for exit in served {
        forward.push(
            FirewallRule::to(goto(serve_chain(&exit.exit)))
                .when(MatchField::Iif.named(&exit.interface)),
        );
        chains.plain(serve_chain(&exit.exit), serve(context, exit));
        chains.plain(offered_chain(&exit.exit), offered(context, exit));
    }
    chains.plain(
        TCP_START,
        vec![
            FirewallRule::to(Target::Return).when(tcp_syn()),
            FirewallRule::to(goto("refuse")).meaning(RuleMeaning::ConnectionOffer),
        ],
    );
    forward.push(FirewallRule::to(Target::Drop).counted(EXIT_DROP));
    chains.plain("exit_forward", forward);
    let mut back = clamp(context, "pst-s-", &MatchField::Oif);
    back.extend([
        // What answers a client comes from the uplink: no pod of this node does.
        FirewallRule::to(Target::Drop)
            .counted(EXIT_DROP)
            .when(MatchField::Iif.within("podlinks")),
        FirewallRule::to(Target::Accept).when(MatchField::CtDirection.is("reply")),
        FirewallRule::to(Target::Accept).when(MatchField::CtState.is("related")),
        FirewallRule::to(Target::Drop).counted(EXIT_DROP),
    ]);
    chains.plain("exit_return", back);
}

fn serve(context: &FirewallContext<'_>, exit: &ServedExit) -> Vec<FirewallRule> {
    let drop = || FirewallRule::to(Target::Drop).counted(EXIT_DROP);
    let Some(uplink) = context.inputs.facts.uplink(exit.uplink.as_ref()) else {
        return vec![drop()];
    };
    vec![
        drop().when(MatchField::Oif.not_named(uplink)),
        // NAT leaves them as they are: they would leave with the client's tunnel address.
        drop().when(MatchField::CtState.is("{ invalid, untracked }")),
        FirewallRule::to(jump(offered_chain(&exit.exit))),
        FirewallRule::to(Target::Accept).counted(EXIT_OUT),
    ]
}

/// Jumped to; comes back when the exit offers the destination. A family whose source address is on no interface of the
/// node is not offered: the address is another host's, or nobody's.
fn offered(context: &FirewallContext<'_>, exit: &ServedExit) -> Vec<FirewallRule> {
    let refuse = |meaning| FirewallRule::to(goto("refuse")).meaning(meaning);
    let mut rules = Vec::new();
    // A connection that began at another gateway would go on from this one's address: its server would see two sources. A
    // gateway with the exit's own address may carry it on. Connection tracking takes a connection from its middle on
    // (`nf_conntrack_tcp_loose`), and calls that new.
    if exit.egress.is_empty() {
        rules.push(
            FirewallRule::to(jump(TCP_START))
                .when(MatchField::CtState.is("new"))
                .when(MatchField::L4Proto.is("tcp")),
        );
    }
    for family in Family::BOTH {
        let clusters = || refuse(RuleMeaning::ClusterOffer);
        rules.push(clusters().when(MatchField::Daddr(family).within(halved("cluster", family))));
        let fields = [
            MatchField::Daddr(family),
            MatchField::L4Proto,
            MatchField::Dport,
        ];
        rules.push(clusters().when(together(fields, halved("api", family))));
    }
    for family in Family::BOTH {
        let routes = aggregate(&of_family(&exit.routes, family));
        let sourced = exit.egress.is_empty()
            || exit
                .egress
                .iter()
                .any(|address| Family::of(address) == family && context.inputs.has_source(address));
        if routes.is_empty() || !sourced {
            rules.push(refuse(RuleMeaning::FamilyOffer).when(MatchField::NfProto.is(family)));
            continue;
        }
        rules.extend(limits(exit, family));
        if !routes.contains(&family.everything()) {
            let unnamed = MatchField::Daddr(family).is_not(&routes[..]);
            rules.push(refuse(RuleMeaning::RouteOffer).when(unnamed));
        }
    }
    rules
}

/// Special-use ranges are offered only where the exit names a route inside one; private ranges with `lanAccess`.
fn limits(exit: &ServedExit, family: Family) -> Vec<FirewallRule> {
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
        let refuse = FirewallRule::to(goto("refuse")).meaning(meaning);
        refuse.when(MatchField::Daddr(family).within(halved(set, family)))
    };
    let special = refuse("special", RuleMeaning::SpecialOffer);
    let mut rules = vec![if named.is_empty() {
        special
    } else {
        special.when(MatchField::Daddr(family).is_not(&named[..]))
    }];
    if exit.lan == Access::Deny {
        rules.push(refuse("private", RuleMeaning::PrivateOffer));
    }
    rules
}
