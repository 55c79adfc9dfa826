//! Routes and rules: by mark into the exit's table, and from each tunnel address into it, so that what the node itself
//! answers for a cut tunnel flow does not leave by the uplink. Below the tunnel's route an unreachable default.

use std::collections::BTreeSet;

use postern_intent::body::Body;
use postern_intent::{IfName, Mark};

use super::PlanInputs;
use crate::host::{Family, KernelRoute, RouteKind, RoutingRule, RuleSelector};
use crate::settings::{FROM_RULE_PRIORITY, MARK_RULE_PRIORITY, TUNNEL_METRIC, UNREACHABLE_METRIC};

/// What leaves by a mark, and by which device.
struct MarkedWay<'a> {
    mark: Mark,
    table: u32,
    interface: &'a IfName,
}

/// Of the exits that the node uses, and of those whose server outside it has a session with.
fn ways(body: &Body) -> impl Iterator<Item = MarkedWay<'_>> {
    let used = body.routes.iter().map(|exit| MarkedWay {
        mark: exit.mark,
        table: exit.table.number(),
        interface: &exit.interface,
    });
    let held = body.external.iter().map(|session| MarkedWay {
        mark: session.mark,
        table: session.table.number(),
        interface: &session.interface,
    });
    used.chain(held)
}

pub(super) fn routes(inputs: &PlanInputs<'_>) -> BTreeSet<KernelRoute> {
    let mut routes = BTreeSet::new();
    for way in inputs.body.into_iter().flat_map(ways) {
        for family in Family::BOTH {
            let base = KernelRoute {
                table: way.table,
                destination: family.everything(),
                metric: UNREACHABLE_METRIC,
                kind: RouteKind::Unreachable,
            };
            if inputs.facts.tunnel_backend.is_some() {
                let kind = RouteKind::Device(way.interface.clone());
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
    for way in ways(body) {
        let mark = inputs.settings.masked(way.mark);
        for family in Family::BOTH {
            rules.insert(RoutingRule {
                priority: MARK_RULE_PRIORITY,
                selector: RuleSelector::Mark {
                    family,
                    value: mark.value,
                    mask: mark.mask,
                },
                table: way.table,
            });
        }
        rules.extend(from_rules(body, &way));
    }
    rules
}

fn from_rules(body: &Body, way: &MarkedWay<'_>) -> Vec<RoutingRule> {
    let tunnels = body.tunnels.iter();
    let own = tunnels.filter(|tunnel| tunnel.interface == *way.interface);
    own.flat_map(|tunnel| &tunnel.addresses)
        .map(|address| RoutingRule {
            priority: FROM_RULE_PRIORITY,
            selector: RuleSelector::From(address.addr()),
            table: way.table,
        })
        .collect()
}
