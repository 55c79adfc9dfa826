//! The rules of administrators for a scope, in a chain that the chain of the scope asks before its own rules. What they deny is
//! refused and counted by rule, what they allow goes out as what the scope itself allows does, and what they pass comes back.

use postern_intent::body::{AdminAction, EgressPath, Scope};

use super::context::{Chains, FirewallContext};
use super::names::{admin_chain, admin_private_chain, admin_public_chain, denied, way_chain};
use super::records;
use super::scope::{admitting, by_privacy, lower, out};
use crate::ruleset::rule::goto;
use crate::ruleset::{FirewallRule, RuleMeaning, Target};

pub(super) fn chains(context: &FirewallContext<'_>, chains: &mut Chains) {
    for scope in governed(context) {
        let way = goto(way_chain(&scope.id));
        for (chain, target) in [
            (admin_private_chain(&scope.id), way),
            (admin_public_chain(&scope.id), out(scope)),
        ] {
            let mut rules = admitting(context, scope);
            rules.push(FirewallRule::to(target));
            records::add(context, scope, chains, chain, rules);
        }
        let rules = scope_rules(scope, chains);
        records::add(context, scope, chains, admin_chain(&scope.id), rules);
    }
}

/// The counters of what rules of administrators deny.
pub(super) fn counters(context: &FirewallContext<'_>) -> impl Iterator<Item = String> {
    governed(context).flat_map(|scope| {
        let policies = scope.terms.admin.iter();
        policies.flat_map(|policy| {
            let rules = policy.denying();
            rules.map(|rule| denied(&scope.id, policy, rule))
        })
    })
}

/// The scopes that have such rules and a way out.
fn governed<'a>(context: &FirewallContext<'a>) -> impl Iterator<Item = &'a Scope> {
    let scopes = context.body().into_iter().flat_map(|body| &body.firewall);
    scopes.filter(|scope| {
        !scope.terms.admin.is_empty() && !matches!(scope.way, EgressPath::Blocked { .. })
    })
}

fn scope_rules(scope: &Scope, chains: &mut Chains) -> Vec<FirewallRule> {
    let mut rules = Vec::new();
    for (place, policy) in scope.terms.admin.iter().enumerate() {
        for (position, rule) in policy.rules.iter().enumerate() {
            let meaning = RuleMeaning::AdminRule(place, position);
            let named = rule.allowing();
            let lowered = match rule.action {
                AdminAction::Allow => {
                    let (private, public) = by_privacy(&named);
                    let private = private.map(|rule| (rule, admin_private_chain(&scope.id)));
                    let public = public.map(|rule| (rule, admin_public_chain(&scope.id)));
                    let both = private.into_iter().chain(public);
                    both.flat_map(|(rule, chain)| lower(&rule, &goto(chain)))
                        .collect()
                }
                AdminAction::Deny => {
                    let counter = denied(&scope.id, policy, rule);
                    let refuse = FirewallRule::to(goto("refuse")).meaning(meaning);
                    let count = FirewallRule::to(Target::Count(counter.clone()));
                    chains.plain(counter.clone(), vec![count, refuse]);
                    lower(&named, &goto(counter))
                }
                AdminAction::Pass => lower(&named, &Target::Return),
            };
            rules.extend(lowered.into_iter().map(|rule| rule.meaning(meaning)));
        }
    }
    rules
}
