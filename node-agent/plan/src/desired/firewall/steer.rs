//! Marks, after DNAT, on every packet that the guard may let pass: the XFRM lock passes only marks.

use postern_intent::Mark;

use crate::host::Family;
use crate::ruleset::rule::goto;
use crate::ruleset::{BaseKind, FirewallRule, Hook, MatchField, RuleMeaning, Target};

use super::context::{Chains, FirewallContext};
use super::guard::{inside_rules, reply_rules};
use super::names::{DNS_UNTRACKED, halved, mark_chain};

/// Before kube-proxy translates, at -100, and not at its -110: of two chains at one priority the kernel runs the one that
/// registered last first, so that a restart would change the order.
const DNS_PRIORITY: i32 = -115;

/// The chain that gives the mark of inside traffic, replies, released pods and local exits.
pub(super) const TO_MAIN: &str = "to_main";

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    let settings = context.inputs.settings;
    // What clients send through this gateway to a server outside.
    let held = context.body().into_iter().flat_map(|body| {
        let served = body.nat.iter();
        served.filter(|served| body.external_session(&served.exit).is_some())
    });
    let mut rules: Vec<FirewallRule> = held
        .map(|served| {
            FirewallRule::to(goto(mark_chain(&served.exit)))
                .when(MatchField::Iif.named(&served.interface))
        })
        .collect();
    rules.extend([
        // What clients send through this gateway: its lock knows the tunnel ranges too.
        FirewallRule::to(goto(TO_MAIN)).when(MatchField::Iif.named("pst-s-*")),
        FirewallRule::to(Target::Accept).when(MatchField::Iif.outside("podlinks")),
        // Nobody else's value under our mask.
        FirewallRule::to(Target::ClearMark(settings.mark_mask)),
    ]);
    for family in Family::BOTH {
        // NodeLocal DNSCache keeps questions to its address out of connection tracking, and so out of the redirect: the cache
        // would ask for the pod by the node.
        rules.push(
            FirewallRule::to(Target::Drop)
                .counted(DNS_UNTRACKED)
                .when(MatchField::CtState.is("untracked"))
                .when(MatchField::Dport.is(53))
                .when(MatchField::L4Proto.is("{ tcp, udp }"))
                .when(MatchField::Saddr(family).within(halved("dns", family))),
        );
    }
    rules.extend(inside_rules(&goto(TO_MAIN)));
    rules.extend(reply_rules(&goto(TO_MAIN), None));
    for family in Family::BOTH {
        rules.push(FirewallRule::to(Target::SaddrMap(
            family,
            halved("steer", family),
        )));
    }
    chains.filter("steer", Hook::Prerouting, -90, rules);
    chains.plain(
        TO_MAIN,
        vec![FirewallRule::to(Target::SetMark(
            settings.masked(Mark::MAIN),
        ))],
    );
    let used = context.body().into_iter().flat_map(|body| &body.routes);
    let used = used.map(|route| (&route.exit, route.mark));
    let held = context.body().into_iter().flat_map(|body| &body.external);
    let held = held.map(|session| (&session.exit, session.mark));
    for (exit, mark) in used.chain(held) {
        // One chain an exit and not `mark set map`: a map cannot keep foreign bits.
        let set = Target::SetMark(settings.masked(mark));
        chains.plain(mark_chain(exit), vec![FirewallRule::to(set)]);
    }
    dns(context, chains);
}

fn dns(context: &FirewallContext<'_>, chains: &mut Chains) {
    let port = context.inputs.settings.dns_port;
    let mut rules = Vec::new();
    for family in Family::BOTH {
        let question = |target| {
            FirewallRule::to(target)
                .when(MatchField::Dport.is(53))
                .when(MatchField::L4Proto.is("{ tcp, udp }"))
                .when(MatchField::Saddr(family).within(halved("dns", family)))
        };
        // A DNS server behind a Service of the cluster is a server like any other: what it is asked stays inside. The
        // cluster's own resolver is not, because it asks the world by its own node.
        rules.push(
            question(Target::Accept)
                .when(MatchField::Daddr(family).outside(halved("resolver", family)))
                .when(MatchField::Daddr(family).within(halved("service", family))),
        );
        rules.push(question(Target::Redirect(port)).meaning(RuleMeaning::Forwarder));
    }
    chains.base("dns", BaseKind::Nat, Hook::Prerouting, DNS_PRIORITY, rules);
}
