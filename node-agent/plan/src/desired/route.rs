//! Routes and rules: by mark into the exit's table, and from each tunnel address into it, so that what the node itself
//! answers for a cut tunnel flow does not leave by the uplink. Below the tunnel's route an unreachable default.

use std::collections::BTreeSet;

use postern_intent::body::Body;

use super::PlanInputs;
use crate::host::{Family, KernelRoute, RouteKind, RoutingRule, RuleSelector};
use crate::settings::{FROM_RULE_PRIORITY, MARK_RULE_PRIORITY, TUNNEL_METRIC, UNREACHABLE_METRIC};

pub(super) fn routes(inputs: &PlanInputs<'_>) -> BTreeSet<KernelRoute> {
    let mut routes = BTreeSet::new();
    for exit in inputs.body.iter().flat_map(|body| &body.routes) {
        for family in Family::BOTH {
            let base = KernelRoute {
                table: exit.table.number(),
                destination: family.everything(),
                metric: UNREACHABLE_METRIC,
                kind: RouteKind::Unreachable,
            };
            if inputs.facts.tunnel_backend.is_some() {
                let kind = RouteKind::Device(exit.interface.clone());
                routes.insert(KernelRoute {
                    metric: TUNNEL_METRIC,
                    kind,
                    ..base.clone()
                });
            }
            routes.insert(base);
        }
    }
    routes
}

pub(super) fn rules(inputs: &PlanInputs<'_>) -> BTreeSet<RoutingRule> {
    let Some(body) = inputs.body else {
        return BTreeSet::new();
    };
    let mut rules = BTreeSet::new();
    for exit in &body.routes {
        let mark = inputs.settings.masked(exit.mark);
        for family in Family::BOTH {
            rules.insert(RoutingRule {
                priority: MARK_RULE_PRIORITY,
                selector: RuleSelector::Mark {
                    family,
                    value: mark.value,
                    mask: mark.mask,
                },
                table: exit.table.number(),
            });
        }
        rules.extend(from_rules(body, exit));
    }
    rules
}

fn from_rules<'a>(
    body: &'a Body,
    exit: &'a postern_intent::body::ExitRoute,
) -> impl Iterator<Item = RoutingRule> + 'a {
    body.tunnels
        .iter()
        .filter(|tunnel| tunnel.interface == exit.interface)
        .flat_map(|tunnel| {
            tunnel.addresses.iter().map(|address| RoutingRule {
                priority: FROM_RULE_PRIORITY,
                selector: RuleSelector::From(address.addr()),
                table: exit.table.number(),
            })
        })
}
