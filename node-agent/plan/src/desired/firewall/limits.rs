//! How much each pod may send by its exit. The limits stand behind everything that refuses and before the one way out, so that a pod
//! uses up its limits by what would leave and by nothing else: no packet inside the cluster, no reply, nothing that a rule denies.

use postern_intent::body::TermsLimits;

use super::names::{OVER_BYTES, OVER_CONNECTIONS, OVER_NEW_CONNECTIONS, OVER_PACKETS, limit_set};
use crate::host::Family;
use crate::ruleset::rule::{first_of_flow, over};
use crate::ruleset::{Counter, FirewallRule, LimitMeasure, SourceLimit, Target};

/// The limits of both families. A pod with two addresses has each limit once for each of them: the kernel counts by address.
pub(super) fn of(limits: &TermsLimits) -> impl Iterator<Item = SourceLimit> + use<> {
    let limits = *limits;
    let each = LimitMeasure::EACH.into_iter();
    let set = each.filter_map(move |measure| Some((measure, limit_of(&limits, measure)?)));
    set.flat_map(|(measure, most)| {
        Family::BOTH.map(|family| SourceLimit {
            measure,
            family,
            most,
            set: limit_set(measure, most, family),
        })
    })
}

/// The limit of this measure, if the policy has one.
#[must_use]
pub fn limit_of(limits: &TermsLimits, measure: LimitMeasure) -> Option<u64> {
    match measure {
        LimitMeasure::Connections => limits.connections.map(u64::from),
        LimitMeasure::NewConnections => limits.new_connections_per_second.map(u64::from),
        LimitMeasure::Packets => limits.packets_per_second,
        LimitMeasure::Bytes => limits.bytes_per_second,
    }
}

/// The rules with the limits before their last one, if that lets packets out.
pub(super) fn before_accept(
    mut rules: Vec<FirewallRule>,
    limits: &TermsLimits,
) -> Vec<FirewallRule> {
    if let Some(accept) = rules.pop_if(|last| last.target == Target::Accept) {
        rules.extend(of(limits).map(drop_over));
        rules.push(accept);
    }
    rules
}

fn drop_over(limit: SourceLimit) -> FirewallRule {
    let measure = limit.measure;
    let rule = FirewallRule::to(Target::Drop)
        .counted(counter(measure))
        .when(over(limit));
    match measure {
        LimitMeasure::Connections | LimitMeasure::NewConnections => rule.when(first_of_flow()),
        LimitMeasure::Packets | LimitMeasure::Bytes => rule,
    }
}

const fn counter(measure: LimitMeasure) -> Counter {
    match measure {
        LimitMeasure::Connections => OVER_CONNECTIONS,
        LimitMeasure::NewConnections => OVER_NEW_CONNECTIONS,
        LimitMeasure::Packets => OVER_PACKETS,
        LimitMeasure::Bytes => OVER_BYTES,
    }
}
