//! Routes and rules with our protocol number.

use std::collections::BTreeSet;

use crate::desired::Desired;
use crate::host::RoutingRule;
use crate::observed::Observed;
use crate::step::Step;

/// Routes and rules: the unreachable default before the tunnel's route, and rules last, so that no table is looked at
/// before it refuses.
#[must_use]
pub fn additions(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut routes: Vec<_> = desired
        .routes
        .difference(&observed.routes)
        .cloned()
        .collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.metric));
    let have: BTreeSet<&RoutingRule> = observed.rules.iter().collect();
    let rules = desired
        .rules
        .iter()
        .filter(|rule| !have.contains(rule))
        .cloned();
    routes
        .into_iter()
        .map(Step::AddRoute)
        .chain(rules.map(Step::AddRule))
        .collect()
}

/// What goes: rules first, so that no rule leads to an emptied table. The kernel keeps a rule twice when it was added
/// twice with `NLM_F_REPLACE` (`ip rule` shows two identical lines): the second one goes.
#[must_use]
pub fn removals(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut seen = BTreeSet::new();
    let rules = observed
        .rules
        .iter()
        .filter(|rule| !desired.rules.contains(rule) || !seen.insert(*rule));
    let rules: Vec<Step> = rules.cloned().map(Step::RemoveRule).collect();
    let routes = observed
        .routes
        .difference(&desired.routes)
        .cloned()
        .map(Step::RemoveRoute);
    rules.into_iter().chain(routes).collect()
}
