//! What the kernel lets pass for the pods of a scope, from the rules that were read back, and not from the status of the
//! scope: an exit that is silent changes no rule, so that the chain still lets packets into its device.

use postern_crds::node_report::Posture;
use postern_intent::Body;
use postern_intent::body::{EgressPath, Scope};
use postern_plan::check::Seal;
use postern_plan::desired::names;
use postern_plan::ruleset::{FirewallRule, MatchField, Ruleset, Target};

use crate::scope_reading::{LeaseReading, scope_device};

/// The posture of a scope whose ruleset the kernel was read for.
#[must_use]
pub fn scope_posture(
    body: &Body,
    scope: &Scope,
    ruleset: &Ruleset,
    seal: Seal,
    lease: LeaseReading,
) -> Posture {
    // A guard that was not read back may be none at all: the report never says less than what may leave.
    if seal == Seal::NotSealed {
        return Posture::Open;
    }
    let way_chain = names::way_chain(&scope.id);
    let ways_out = [way_chain.clone(), names::public_chain(&scope.id)];
    let leads_out = leads(ruleset, &names::scope_chain(&scope.id), &ways_out);
    let way = ruleset.inet.chains.get(&way_chain);
    let way = way.map(|chain| &chain.rules[..]).unwrap_or_default();
    let accepts = way.iter().any(|rule| rule.target == Target::Accept);
    // Every chain with a way out asks for the lease first.
    let is_let = matches!(lease, LeaseReading::Stands | LeaseReading::Overdue);
    if !leads_out || !accepts || !is_let {
        return Posture::Sealed;
    }
    if leaves_by_exit(body, scope, way) {
        Posture::TunnelOnly
    } else {
        Posture::Open
    }
}

/// Does a rule of the chain, or of a chain that it leads to, lead to one of these? A policy that only observes lets out behind a
/// counter, a rule with names behind the sets of their addresses, and an administrator before the rules of the policy.
fn leads(ruleset: &Ruleset, chain: &str, ways_out: &[String]) -> bool {
    let chain = ruleset.inet.chains.get(chain);
    let mut rules = chain.into_iter().flat_map(|chain| &chain.rules);
    rules.any(|rule| match &rule.target {
        Target::Goto(next) | Target::Jump(next) => {
            ways_out.contains(next) || leads(ruleset, next, ways_out)
        }
        _ => false,
    })
}

/// Does the chain refuse every device but the exit's, or ask the exit that this node serves?
fn leaves_by_exit(body: &Body, scope: &Scope, way: &[FirewallRule]) -> bool {
    match &scope.way {
        EgressPath::Tunnel => scope_device(body, scope).is_some_and(|device| {
            let others = [MatchField::Oif.not_named(device)];
            way.first()
                .is_some_and(|rule| rule.matches == others && rule.target != Target::Accept)
        }),
        EgressPath::LocalExit => scope.local_exit().is_some_and(|exit| {
            let offered = Target::Jump(names::offered_chain(exit));
            way.iter().any(|rule| rule.target == offered)
        }),
        EgressPath::NodeUplink | EgressPath::Blocked { .. } => false,
    }
}
