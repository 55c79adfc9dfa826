//! Bugs, each put into a ruleset: at least one property must fail for each of them.

use postern_plan::desired::names::{
    DENIED, OBSERVED, admin_chain, admin_public_chain, scope_chain, way_chain,
};
use postern_plan::host::Family;
use postern_plan::ruleset::rule::{first_of_flow, goto};
use postern_plan::ruleset::{FirewallRule, Match, MatchField, Operand, Ruleset, Target};

use super::properties::{nothing_leaves_but_by_the_exit, the_policy_means_what_it_says};
use super::{Dice, Scene};
use crate::fixture::scope_id;
use postern_host_testing::generate::{BLOCKED, SELECTED, UNLISTED, packet};

/// How many packets a bug may survive.
const PATIENCE: usize = 200_000;

fn policy(ruleset: &mut Ruleset) -> &mut Vec<FirewallRule> {
    let chain = ruleset.inet.chains.get_mut(&scope_chain(&scope_id()));
    &mut chain.unwrap().rules
}

fn fields_of(rule: &FirewallRule) -> impl Iterator<Item = &MatchField> {
    rule.matches.iter().flat_map(|one| &one.fields)
}

fn default_action_swapped(ruleset: &mut Ruleset) {
    let last = policy(ruleset).last_mut().unwrap();
    last.target = match &last.target {
        Target::Goto(chain) if chain == "refuse" => goto(way_chain(&scope_id())),
        _ => goto("refuse"),
    };
}

/// The rules of the policy itself stand between the special-use rules and the default action.
fn rules_of_the_policy(rules: &[FirewallRule]) -> std::ops::Range<usize> {
    let is_special = |rule: &FirewallRule| {
        rule.matches
            .iter()
            .any(|one| matches!(&one.operand, Operand::In(set) if set.starts_with("special")))
    };
    let after = rules
        .iter()
        .rposition(is_special)
        .map_or(0, |index| index + 1);
    after..rules.len() - 1
}

fn rule_order_reversed(ruleset: &mut Ruleset) {
    let rules = policy(ruleset);
    let range = rules_of_the_policy(rules);
    rules[range].reverse();
}

fn udp_lowered_as_tcp(ruleset: &mut Ruleset) {
    for rule in policy(ruleset) {
        for one in &mut rule.matches {
            for field in &mut one.fields {
                if *field == MatchField::UdpDport {
                    *field = MatchField::TcpDport;
                }
            }
        }
    }
}

fn exceptions_ignored(ruleset: &mut Ruleset) {
    for rule in policy(ruleset) {
        rule.matches
            .retain(|one| !matches!(one.operand, Operand::Not(_)));
    }
}

fn lan_inverted(ruleset: &mut Ruleset) {
    let way = way_chain(&scope_id());
    let public = postern_plan::desired::names::public_chain(&scope_id());
    let has_public = ruleset.inet.chains.contains_key(&public);
    for rule in policy(ruleset) {
        if let Target::Goto(chain) = &mut rule.target {
            if *chain == public {
                chain.clone_from(&way);
            } else if *chain == way && has_public {
                chain.clone_from(&public);
            }
        }
    }
}

fn special_use_dropped(ruleset: &mut Ruleset) {
    policy(ruleset).retain(|rule| {
        !rule
            .matches
            .iter()
            .any(|one| matches!(&one.operand, Operand::In(set) if set.starts_with("special")))
    });
}

fn lease_rule_missing(ruleset: &mut Ruleset) {
    policy(ruleset).retain(|rule| rule.target != goto("refuse_lease"));
}

fn release_rule_first(ruleset: &mut Ruleset) {
    policy(ruleset).insert(0, FirewallRule::to(goto("released")));
}

fn wrong_family(ruleset: &mut Ruleset) {
    for rule in policy(ruleset) {
        let is_special = fields_of(rule).any(|field| *field == MatchField::Daddr(Family::V6));
        if is_special {
            for one in &mut rule.matches {
                swap_family(one);
            }
        }
    }
}

fn swap_family(one: &mut Match) {
    for field in &mut one.fields {
        if *field == MatchField::Daddr(Family::V6) {
            *field = MatchField::Daddr(Family::V4);
        }
    }
}

fn wrong_interface(ruleset: &mut Ruleset) {
    let way = way_chain(&scope_id());
    let rules = &mut ruleset.inet.chains.get_mut(&way).unwrap().rules;
    for rule in rules {
        rule.matches.retain(|one| one.fields != [MatchField::Oif]);
    }
}

fn named(ruleset: &mut Ruleset) -> impl Iterator<Item = &mut FirewallRule> {
    let chains = ruleset.inet.chains.iter_mut();
    let chains = chains.filter(|(name, _)| name.starts_with("named_"));
    chains.flat_map(|(_, chain)| &mut chain.rules)
}

fn every_packet_outlives_a_grant(ruleset: &mut Ruleset) {
    for rule in named(ruleset) {
        rule.matches
            .retain(|one| one.fields != [MatchField::CtState]);
    }
}

fn no_answer_grants(ruleset: &mut Ruleset) {
    for rule in named(ruleset) {
        let is_granted =
            |one: &Match| matches!(&one.operand, Operand::In(set) if set.starts_with("granted_"));
        if rule.matches.iter().any(is_granted) {
            rule.target = Target::Continue;
        }
    }
}

fn first_packets_are_kept(ruleset: &mut Ruleset) {
    for rule in policy(ruleset) {
        let keeps = fields_of(rule).any(|field| *field == MatchField::CtId);
        rule.matches
            .retain(|one| !keeps || one.fields != [MatchField::CtState]);
    }
}

fn observed(ruleset: &mut Ruleset) -> impl Iterator<Item = &mut FirewallRule> {
    let chains = ruleset.inet.chains.iter_mut();
    let chains = chains.filter(|(name, _)| name.starts_with(OBSERVED));
    chains.flat_map(|(_, chain)| &mut chain.rules)
}

fn what_is_observed_is_refused(ruleset: &mut Ruleset) {
    for rule in observed(ruleset) {
        if matches!(rule.target, Target::Goto(_)) {
            rule.target = goto("refuse");
        }
    }
}

fn what_is_observed_is_not_counted(ruleset: &mut Ruleset) {
    for rule in observed(ruleset) {
        if matches!(rule.target, Target::Count(_)) {
            rule.target = Target::Continue;
        }
    }
}

fn what_is_observed_reaches_the_lan(ruleset: &mut Ruleset) {
    for rule in observed(ruleset) {
        if matches!(rule.target, Target::Goto(_)) {
            rule.target = goto(way_chain(&scope_id()));
        }
    }
}

fn administrators_are_not_asked(ruleset: &mut Ruleset) {
    policy(ruleset).retain(
        |rule| !matches!(&rule.target, Target::Jump(to) if *to == admin_chain(&scope_id())),
    );
}

fn what_administrators_pass_leaves(ruleset: &mut Ruleset) {
    if let Some(chain) = ruleset.inet.chains.get_mut(&admin_chain(&scope_id())) {
        for rule in &mut chain.rules {
            if rule.target == Target::Return {
                rule.target = goto(admin_public_chain(&scope_id()));
            }
        }
    }
}

fn administrators_allow_special_use(ruleset: &mut Ruleset) {
    if let Some(chain) = ruleset
        .inet
        .chains
        .get_mut(&admin_public_chain(&scope_id()))
    {
        let way = chain.rules.pop();
        chain.rules = way.into_iter().collect();
    }
}

fn what_administrators_deny_is_not_counted(ruleset: &mut Ruleset) {
    let chains = ruleset.inet.chains.iter_mut();
    let denied = chains.filter(|(name, _)| name.starts_with(DENIED));
    for rule in denied.flat_map(|(_, chain)| &mut chain.rules) {
        if matches!(rule.target, Target::Count(_)) {
            rule.target = Target::Continue;
        }
    }
}

fn is_limit(rule: &FirewallRule) -> bool {
    fields_of(rule).any(|field| matches!(field, MatchField::Over(_)))
}

fn limits_of_first_packets_only(ruleset: &mut Ruleset) {
    let way = ruleset.inet.chains.get_mut(&way_chain(&scope_id()));
    for rule in &mut way.unwrap().rules {
        let has = fields_of(rule).any(|field| *field == MatchField::Unconfirmed);
        if is_limit(rule) && !has {
            rule.matches
                .extend(FirewallRule::to(Target::Drop).when(first_of_flow()).matches);
        }
    }
}

fn limits_count_what_is_refused(ruleset: &mut Ruleset) {
    let way = ruleset.inet.chains.get_mut(&way_chain(&scope_id()));
    let limits: Vec<_> = way
        .unwrap()
        .rules
        .iter()
        .filter(|rule| is_limit(rule))
        .cloned()
        .collect();
    let rules = policy(ruleset);
    rules.splice(0..0, limits);
}

type Bug = fn(&mut Ruleset);

/// Does any property see the bug within some packets?
fn is_seen(bug: Bug) -> bool {
    let mut dice = Dice::new(7);
    let mut tried = 0;
    while tried < PATIENCE {
        let scene = Scene::new(&mut dice);
        let mut ruleset = scene.desired.ruleset.clone();
        bug(&mut ruleset);
        for _ in 0..400 {
            tried += 1;
            let packet = packet(&mut dice, &[SELECTED, BLOCKED, UNLISTED].concat());
            let selected = SELECTED.contains(&packet.source.to_string().as_str());
            let seen = nothing_leaves_but_by_the_exit(&scene, &ruleset, &packet).is_err()
                || selected && the_policy_means_what_it_says(&scene, &ruleset, &packet).is_err();
            if seen {
                return true;
            }
        }
    }
    false
}

#[test]
fn each_of_these_bugs_in_the_ruleset_is_seen_by_a_property() {
    let bugs: [(&str, Bug); 22] = [
        ("default action swapped", default_action_swapped),
        ("rule order reversed", rule_order_reversed),
        ("UDP lowered as TCP", udp_lowered_as_tcp),
        ("exceptions ignored", exceptions_ignored),
        ("LAN inverted", lan_inverted),
        ("special use dropped", special_use_dropped),
        ("lease rule missing", lease_rule_missing),
        ("release rule first", release_rule_first),
        ("wrong family", wrong_family),
        ("wrong interface", wrong_interface),
        (
            "every packet outlives a grant",
            every_packet_outlives_a_grant,
        ),
        ("no answer grants", no_answer_grants),
        ("first packets are kept", first_packets_are_kept),
        ("what is observed is refused", what_is_observed_is_refused),
        (
            "what is observed is not counted",
            what_is_observed_is_not_counted,
        ),
        (
            "what is observed reaches the LAN",
            what_is_observed_reaches_the_lan,
        ),
        ("administrators are not asked", administrators_are_not_asked),
        (
            "what administrators pass leaves",
            what_administrators_pass_leaves,
        ),
        (
            "administrators allow special use",
            administrators_allow_special_use,
        ),
        (
            "what administrators deny is not counted",
            what_administrators_deny_is_not_counted,
        ),
        ("limits of first packets only", limits_of_first_packets_only),
        ("limits count what is refused", limits_count_what_is_refused),
    ];
    let unseen: Vec<&str> = bugs
        .into_iter()
        .filter(|(_, bug)| !is_seen(*bug))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(unseen, [""; 0]);
    assert!(
        !is_seen(|_| {}),
        "a ruleset without a bug is taken for one with a bug"
    );
}
