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
    let rules = |chain: &str| -> &[FirewallRule] {
        let chain = ruleset.inet.chains.get(chain);
        chain.map(|chain| &chain.rules[..]).unwrap_or_default()
    };
    let way_chain = names::way_chain(&scope.id);
    let ways_out = [way_chain.clone(), names::public_chain(&scope.id)];
    let goes_out = |rule: &FirewallRule| matches!(&rule.target, Target::Goto(chain) if ways_out.contains(chain));
    // A policy that only observes counts what it would refuse, and lets it out behind its counter.
    let counts_out = |rule: &FirewallRule| matches!(&rule.target, Target::Goto(chain) if rules(chain).iter().any(goes_out));
    let mut own = rules(&names::scope_chain(&scope.id)).iter();
    let leads_out = own.any(|rule| goes_out(rule) || counts_out(rule));
    let way = rules(&way_chain);
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
