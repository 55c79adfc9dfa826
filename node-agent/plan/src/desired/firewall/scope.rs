//! One chain a scope, the same order in each: inside, lease, replies, other resolvers, rules of administrators, kept connections,
//! special use, LAN, rules, limits, the one way out.

use postern_intent::body::{
    Access, EgressPath, PortSpan, Rule, RuleProtocol, Scope, ServedExit, TermsDnsMode,
    TermsEnforcement, TermsEstablishedFlows, TermsReplies,
};
use postern_intent::{IfName, Prefix};

use crate::desired::used_interface;
use crate::host::Family;
use crate::ruleset::rule::{alone, goto, jump};
use crate::ruleset::{FirewallRule, FlowLifetime, Match, MatchField, RuleMeaning, Target};

use super::context::{Chains, FirewallContext};
use super::guard::lease_rule;
use super::limits;
use super::names::{
    self, KEEP_FULL, OTHER_RESOLVER, flows_set, granted_set, halved, kept_set, named_chain,
    offered_chain, public_chain, scope_chain, way_chain,
};
use super::records;
use crate::desired::ranges::{aggregate, lan_ranges, of_family};

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    for scope in context.body().iter().flat_map(|body| &body.firewall) {
        let mut add = |name, rules| records::add(context, scope, chains, name, rules);
        add(scope_chain(&scope.id), policy(context, scope));
        let way = limits::before_accept(way(context, scope), &scope.terms.limits);
        add(way_chain(&scope.id), remembering(scope, way));
        for counter in counters_of(scope) {
            let count = FirewallRule::to(Target::Count(counter.clone()));
            add(counter, vec![count, FirewallRule::to(out(scope))]);
        }
        for (position, rule) in scope.terms.rules.iter().enumerate() {
            if !rule.names.is_empty() {
                add(named_chain(&scope.id, rule), named(scope, position, rule));
            }
        }
        if scope.terms.lan == Access::Deny {
            let refused = refuse_within("private");
            let refused = refused.map(|rule| rule.meaning(RuleMeaning::Private));
            let mut rules: Vec<FirewallRule> = refused.collect();
            rules.push(FirewallRule::to(goto(way_chain(&scope.id))));
            add(public_chain(&scope.id), rules);
        }
    }
}

fn policy(context: &FirewallContext<'_>, scope: &Scope) -> Vec<FirewallRule> {
    let mut rules = vec![FirewallRule::to(jump("inside"))];
    if matches!(scope.way, EgressPath::Blocked { .. }) {
        rules.push(FirewallRule::to(goto("refuse")).meaning(RuleMeaning::ScopeBlocked));
        return rules;
    }
    rules.push(lease_rule());
    if scope.terms.replies == TermsReplies::Services {
        rules.push(FirewallRule::to(jump("replies")));
    }
    // Before kept connections: a filter of names has no hole, also where a connection to another resolver is older.
    rules.extend(other_resolvers(scope));
    // Before kept connections too: no tenant keeps what an administrator denies.
    if !scope.terms.admin.is_empty() {
        rules.push(FirewallRule::to(jump(names::admin_chain(&scope.id))));
    }
    rules.extend(admitting(context, scope));
    let out = out(scope);
    for (position, rule) in scope.terms.rules.iter().enumerate() {
        let mut lowered = Vec::new();
        match rule.action {
            Access::Allow => {
                let (private, public) = by_privacy(rule);
                let private = private.iter();
                lowered.extend(private.flat_map(|rule| lower(rule, &goto(way_chain(&scope.id)))));
                lowered.extend(public.iter().flat_map(|rule| lower(rule, &out)));
                lowered.extend(lower_names(scope, rule));
            }
            Access::Deny => lowered.extend(lower(rule, &denied(scope, Some(rule)))),
        }
        let meaning = RuleMeaning::PolicyRule(position);
        rules.extend(lowered.into_iter().map(|rule| rule.meaning(meaning)));
    }
    let otherwise = FirewallRule::to(match scope.terms.default_action {
        Access::Allow => out,
        Access::Deny => denied(scope, None),
    });
    rules.push(otherwise.meaning(RuleMeaning::DefaultAction));
    rules
}

/// What stands before the rules of a policy, and also before what a rule of an administrator allows.
pub(super) fn admitting(context: &FirewallContext<'_>, scope: &Scope) -> Vec<FirewallRule> {
    let mut rules = kept(context, scope);
    rules.extend(special_use(scope));
    rules
}

/// Where a destination goes that a rule denies, or no rule allows: a policy that only observes counts it and lets it out, as far as
/// what is not the policy's own list lets it.
fn denied(scope: &Scope, rule: Option<&Rule>) -> Target {
    goto(match scope.terms.enforcement {
        TermsEnforcement::Enforce => "refuse".to_owned(),
        TermsEnforcement::Observe => names::observed(&scope.id, rule),
    })
}

/// The counters of what the scope would refuse, if its policy only observes.
pub(super) fn observed_counters(context: &FirewallContext<'_>) -> impl Iterator<Item = String> {
    let scopes = context.body().into_iter().flat_map(|body| &body.firewall);
    scopes.flat_map(counters_of)
}

fn counters_of(scope: &Scope) -> Vec<String> {
    let is_blocked = matches!(scope.way, EgressPath::Blocked { .. });
    if is_blocked || scope.terms.enforcement == TermsEnforcement::Enforce {
        return Vec::new();
    }
    let rules = scope.terms.rules.iter();
    let denying = rules.filter(|rule| rule.action == Access::Deny).map(Some);
    let otherwise = (scope.terms.default_action == Access::Deny).then_some(None);
    let all = denying.chain(otherwise);
    all.map(|rule| names::observed(&scope.id, rule)).collect()
}

/// Does the scope let connections finish that a stricter policy would refuse?
fn keeps(scope: &Scope) -> bool {
    scope.terms.established_flows == TermsEstablishedFlows::Keep
}

/// What the scope let out once goes on, whatever its rules say now: a packet of a connection that the pod opened, that was
/// answered, and that the way out put into the set of this scope. An address whose old flows are not cut yet keeps nothing:
/// they may be those of another pod.
fn kept(context: &FirewallContext<'_>, scope: &Scope) -> Vec<FirewallRule> {
    if !keeps(scope) {
        return Vec::new();
    }
    let uncut = context.inputs.facts.uncut.iter();
    let uncut: Vec<Prefix> = uncut.copied().map(Prefix::host).collect();
    let rule = |family: Family| {
        let rule = FirewallRule::to(goto(way_chain(&scope.id)))
            .meaning(RuleMeaning::KeptFlow)
            .when(MatchField::CtId.within(flows_set(&scope.id)))
            .when(MatchField::CtState.is("established"))
            .when(MatchField::CtDirection.is("original"));
        match &of_family(&uncut, family)[..] {
            [] => rule.when(MatchField::NfProto.is(family)),
            uncut => rule.when(MatchField::Saddr(family).is_not(uncut)),
        }
    };
    Family::BOTH.map(rule).into()
}

/// The way out with rules before its last one, which put the connection of what is let out into the set of the scope.
fn remembering(scope: &Scope, mut way: Vec<FirewallRule>) -> Vec<FirewallRule> {
    if keeps(scope)
        && let Some(accept) = way.pop_if(|last| last.target == Target::Accept)
    {
        let set = flows_set(&scope.id);
        // Answered ones only: a scan would fill the set otherwise.
        let answered = |target: Target, one: MatchField| {
            FirewallRule::to(target)
                .when(alone(one))
                .when(MatchField::CtState.is("established"))
                .when(MatchField::CtDirection.is("original"))
        };
        let keep = |lifetime| Target::KeepFlow(set.clone(), lifetime);
        way.extend([
            answered(keep(FlowLifetime::Lasting), MatchField::Lasting),
            answered(keep(FlowLifetime::Ending), MatchField::Ending),
            // A full set ends each of the two.
            answered(Target::Continue, MatchField::Forgotten(set.clone())).counted(KEEP_FULL),
            accept,
        ]);
    }
    way
}

/// Where a destination goes that is allowed and that no rule names as private.
pub(super) fn out(scope: &Scope) -> Target {
    goto(match scope.terms.lan {
        Access::Deny => public_chain(&scope.id),
        Access::Allow => way_chain(&scope.id),
    })
}

/// A look at what the names of the rule were granted, at the rule's place and for its ports.
fn lower_names(scope: &Scope, rule: &Rule) -> Vec<FirewallRule> {
    if rule.names.is_empty() {
        return Vec::new();
    }
    let look = |service: Vec<Match>| FirewallRule {
        matches: service,
        ..FirewallRule::to(jump(named_chain(&scope.id, rule)))
    };
    services(rule).into_iter().map(look).collect()
}

/// What the names of a rule were granted leaves. When the answer is no longer valid, only what was opened before goes on: a
/// packet of a connection that was answered, towards an address to which one was opened while the answer was valid. The guard
/// lets nothing else of `established` through, and both sets are this rule's own.
fn named(scope: &Scope, position: usize, rule: &Rule) -> Vec<FirewallRule> {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        let (granted, kept) = (
            granted_set(&scope.id, rule, family),
            kept_set(&scope.id, rule, family),
        );
        let opened = |rule: FirewallRule| {
            rule.when(MatchField::CtDirection.is("original"))
                .when(MatchField::CtState.is("established"))
                .when(MatchField::Daddr(family).within(kept.clone()))
        };
        let valid =
            |rule: FirewallRule| rule.when(MatchField::Daddr(family).within(granted.clone()));
        let keep = || FirewallRule::to(Target::Keep(family, kept.clone()));
        let leave = || FirewallRule::to(out(scope)).meaning(RuleMeaning::PolicyRule(position));
        // A full set ends the first rule, and the second one lets the packet out all the same.
        rules.extend([
            valid(keep()),
            valid(leave()),
            opened(keep()),
            opened(leave()),
        ]);
    }
    rules
}

/// A private range that a rule names is the policy's half of the agreement about the exit's LAN, for that range and no
/// other one; the exit's half is judged at the gateway. None: the rule names nothing of the kind.
pub(super) fn by_privacy(rule: &Rule) -> (Option<Rule>, Option<Rule>) {
    let ranges = Family::BOTH.map(lan_ranges).concat();
    let is_private = |prefix: &&Prefix| {
        ranges
            .iter()
            .any(|range| range.net().contains(&prefix.net()))
    };
    let (private, public): (Vec<&Prefix>, Vec<&Prefix>) = rule.to.iter().partition(is_private);
    let with = |to: Vec<&Prefix>| Rule {
        to: to.into_iter().copied().collect(),
        ..rule.clone()
    };
    // A rule without destinations names every one.
    let is_public = !public.is_empty() || rule.is_everywhere();
    (
        (!private.is_empty()).then(|| with(private)),
        is_public.then(|| with(public)),
    )
}

/// Special-use destinations are refused, the scope's exceptions apart.
fn special_use(scope: &Scope) -> Vec<FirewallRule> {
    Family::BOTH
        .into_iter()
        .map(|family| {
            let refuse = FirewallRule::to(goto("refuse")).meaning(RuleMeaning::SpecialUse);
            let exceptions = of_family(&scope.terms.special_use_exceptions, family);
            let rule = refuse.when(MatchField::Daddr(family).within(halved("special", family)));
            if exceptions.is_empty() {
                rule
            } else {
                rule.when(MatchField::Daddr(family).is_not(&exceptions[..]))
            }
        })
        .collect()
}

/// Where names are filtered or blocked, no rule of the policy lets a pod resolve them by itself: over TLS or QUIC (RFC 7858 and RFC
/// 9250, port 853), or by a known resolver over HTTPS.
fn other_resolvers(scope: &Scope) -> Vec<FirewallRule> {
    if scope.terms.dns.mode == TermsDnsMode::Forward {
        return Vec::new();
    }
    let refused = |port: u16| {
        FirewallRule::to(goto("refuse"))
            .counted(OTHER_RESOLVER)
            .when(MatchField::Dport.is(port))
            .when(MatchField::L4Proto.is("{ tcp, udp }"))
    };
    let known = Family::BOTH.map(|family| {
        refused(443).when(MatchField::Daddr(family).within(halved("encrypted", family)))
    });
    [refused(853)].into_iter().chain(known).collect()
}

fn refuse_within(set: &str) -> impl Iterator<Item = FirewallRule> + '_ {
    Family::BOTH.into_iter().map(move |family| {
        FirewallRule::to(goto("refuse")).when(MatchField::Daddr(family).within(halved(set, family)))
    })
}

/// One policy rule: a rule for each family of its destinations and each kind of its ports. The order of a policy's
/// rules is kept, and inside one rule the order does not matter, because all have the same target.
pub(super) fn lower(rule: &Rule, target: &Target) -> Vec<FirewallRule> {
    let destinations: Vec<Option<Match>> = if rule.is_everywhere() {
        vec![None]
    } else {
        Family::BOTH
            .into_iter()
            .filter_map(|family| {
                let prefixes = aggregate(&of_family(&rule.to, family));
                (!prefixes.is_empty()).then(|| Some(MatchField::Daddr(family).one_of(&prefixes)))
            })
            .collect()
    };
    let services = services(rule);
    let mut out = Vec::new();
    for destination in destinations {
        for service in &services {
            let mut lowered = FirewallRule::to(target.clone());
            lowered.matches.extend(destination.iter().cloned());
            lowered.matches.extend(service.iter().cloned());
            out.push(lowered);
        }
    }
    out
}

/// The matches of a rule's ports, one a protocol; one without a match where the rule names no port.
fn services(rule: &Rule) -> Vec<Vec<Match>> {
    if rule.ports.is_empty() {
        return vec![Vec::new()];
    }
    let mut out = Vec::new();
    for (protocol, field) in [
        (RuleProtocol::Tcp, MatchField::TcpDport),
        (RuleProtocol::Udp, MatchField::UdpDport),
        (RuleProtocol::Sctp, MatchField::SctpDport),
    ] {
        let ports = rule.ports.iter().filter(|port| port.protocol == protocol);
        // An anonymous set refuses overlapping ranges.
        let ranges = PortSpan::joined(ports.map(|port| PortSpan {
            from: port.from,
            to: port.to,
        }));
        if !ranges.is_empty() {
            out.push(vec![field.is(&ranges[..])]);
        }
    }
    if rule
        .ports
        .iter()
        .any(|port| port.protocol == RuleProtocol::Icmp)
    {
        out.push(vec![MatchField::L4Proto.is("{ icmp, ipv6-icmp }")]);
    }
    out
}

/// The one way out. What is not there lets nothing out: the device's name is compared, so that a missing device
/// matches nothing.
fn way(context: &FirewallContext<'_>, scope: &Scope) -> Vec<FirewallRule> {
    let refuse = || FirewallRule::to(goto("refuse")).meaning(RuleMeaning::Way);
    let facts = context.inputs.facts;
    if facts.leaves_by_uplink(scope) {
        return match facts.uplink(None) {
            Some(uplink) => by_uplink(&uplink),
            None => vec![refuse()],
        };
    }
    match &scope.way {
        EgressPath::Tunnel => {
            let exit = scope.tunnel_exit().zip(context.body());
            match exit.and_then(|(exit, body)| used_interface(body, exit)) {
                Some(device) => vec![
                    refuse().when(MatchField::Oif.not_named(device)),
                    FirewallRule::to(Target::Accept),
                ],
                None => vec![refuse()],
            }
        }
        EgressPath::LocalExit => {
            let exit = scope.local_exit();
            let Some((exit, served)) = exit.and_then(|exit| Some((exit, served(context, exit)?)))
            else {
                return vec![refuse()];
            };
            let Some(uplink) = facts.uplink(served.uplink.as_ref()) else {
                return vec![refuse()];
            };
            let [others, untranslated, accept] = with_own_address(&uplink);
            let offered = FirewallRule::to(jump(offered_chain(exit)));
            vec![others, untranslated, offered, accept]
        }
        EgressPath::NodeUplink | EgressPath::Blocked { .. } => vec![refuse()],
    }
}

/// Only what the pods open themselves: a reply would leave with the address that its connection was opened to.
fn by_uplink(uplink: &IfName) -> Vec<FirewallRule> {
    let [others, untranslated, accept] = with_own_address(uplink);
    let reply = FirewallRule::to(goto("refuse")).meaning(RuleMeaning::Way);
    let reply = reply.when(MatchField::CtDirection.is("reply"));
    vec![others, untranslated, reply, accept]
}

/// By this uplink and no other device, and nothing that NAT would leave as it is: it would leave with the pod's address.
fn with_own_address(uplink: &IfName) -> [FirewallRule; 3] {
    let refuse = || FirewallRule::to(goto("refuse")).meaning(RuleMeaning::Way);
    [
        refuse().when(MatchField::Oif.not_named(uplink)),
        refuse().when(MatchField::CtState.is("{ invalid, untracked }")),
        FirewallRule::to(Target::Accept),
    ]
}

/// The served exit of this name, if this node serves it.
pub(super) fn served<'a>(
    context: &FirewallContext<'a>,
    exit: &postern_intent::ExitName,
) -> Option<&'a ServedExit> {
    context
        .body()?
        .nat
        .iter()
        .find(|served| &served.exit == exit)
}
