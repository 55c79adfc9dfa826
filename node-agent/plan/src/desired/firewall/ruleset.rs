//! Our tables, put together.

use super::context::{Chains, FirewallContext};
use super::record_point::RecordPoints;
use super::{
    admin, arp, binding, exit_side, guard, isolation, last, names, origin, records, scope, sets,
    steer, translate,
};
use crate::desired::{ClusterView, PlanInputs, classify::Classes};
use crate::ruleset::{Ruleset, Table};

/// Our tables for these inputs, and what they record.
pub(in crate::desired) fn ruleset(
    inputs: &PlanInputs<'_>,
    cluster: &ClusterView,
    classes: &Classes,
) -> (Ruleset, RecordPoints) {
    let context = FirewallContext {
        inputs,
        cluster,
        classes,
    };
    let mut chains = Chains::default();
    origin::chains(&context, &mut chains);
    steer::chains(&context, &mut chains);
    guard::chains(&context, &mut chains);
    scope::chains(&context, &mut chains);
    admin::chains(&context, &mut chains);
    records::finish(&mut chains);
    exit_side::chains(&context, &mut chains);
    last::chains(&context, &mut chains);
    translate::chains(&context, &mut chains);
    isolation::chains(&context, &mut chains);
    let mut sets = sets::fixed(&context);
    sets.extend(sets::keyed(&context));
    let Chains {
        by_name: chains,
        records,
    } = chains;
    let mut inet = Table {
        counters: names::COUNTERS.into_iter().collect(),
        rule_counters: scope::observed_counters(&context)
            .chain(admin::counters(&context))
            .collect(),
        sets,
        chains,
    };
    isolation::complete(&context, &mut inet);
    let ruleset = Ruleset {
        inet,
        bridge: binding::table(inputs.bindings),
        arp: arp::table(inputs.body),
    };
    (ruleset, records)
}
