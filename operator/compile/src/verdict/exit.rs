//! Verdicts on exits.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::NodeName;

use super::{Detail, GatewayLine, GatewayRole, NodeCounts, Verdict, is_programmed};
use crate::compile::Settled;
use crate::lower::Context;
use crate::resolve::{ActiveExit, ExitState};
use crate::snapshot::Exit;

/// The verdict on one exit.
pub(super) fn verdict(
    context: &Context<'_>,
    settled: &BTreeMap<&NodeName, Settled>,
    exit: &Exit,
) -> Verdict {
    let state = context.exits.get(&exit.name);
    let conditions = vec![
        accepted(exit, state),
        resolved(state),
        ready(context, state),
    ];
    let gateways = match state {
        Some(ExitState::Active(active)) => gateways(context, exit, active),
        _ => Vec::new(),
    };
    Verdict {
        kind: "ExitNode",
        namespace: None,
        name: exit.name.to_string(),
        generation: Some(exit.generation),
        conditions,
        detail: Detail::Exit {
            gateways,
            clients: clients(context, settled, exit),
        },
    }
}

fn accepted(exit: &Exit, state: Option<&ExitState<'_>>) -> Finding {
    let kind = ConditionType::Accepted;
    match (&exit.terms, state) {
        (Err(refusal), Some(ExitState::Active(_))) => Finding::no(
            kind,
            refusal.reason,
            format!("{}; what was published stays in force", refusal.message),
        ),
        (Err(refusal), _) => Finding::no(kind, refusal.reason, refusal.message.clone()),
        (Ok(_), Some(ExitState::NoNumber(reason))) => Finding::no(kind, *reason, reason.sentence()),
        (Ok(_), _) => Finding::yes(kind, Reason::Accepted, Reason::Accepted.sentence()),
    }
}

fn resolved(state: Option<&ExitState<'_>>) -> Finding {
    let kind = ConditionType::ResolvedRefs;
    match state {
        Some(ExitState::Active(active)) => Finding::yes(
            kind,
            Reason::Resolved,
            format!("the active gateway is {}", active.gateway),
        ),
        Some(ExitState::NoGateway) => Finding::no(
            kind,
            Reason::NoEligibleNode,
            Reason::NoEligibleNode.sentence(),
        ),
        _ => Finding::unknown(kind, Reason::Pending, "the exit is not accepted"),
    }
}

fn ready(context: &Context<'_>, state: Option<&ExitState<'_>>) -> Finding {
    let kind = ConditionType::Ready;
    let active = match state {
        Some(ExitState::Active(active)) => active,
        Some(ExitState::NoGateway) => {
            let reason = Reason::NoEligibleNode;
            return Finding::no(kind, reason, reason.sentence());
        }
        _ => return Finding::no(kind, Reason::NoExit, "there is no active gateway"),
    };
    if context.keys.get(active.gateway).is_none() {
        return Finding::no(
            kind,
            Reason::NoPeerKey,
            format!("{} has not reported its key", active.gateway),
        );
    }
    let families = [true, false].map(|v4| {
        active
            .offer
            .egress
            .iter()
            .any(|address| address.is_ipv4() == v4)
    });
    match families {
        [true, false] => Finding::yes(
            kind,
            Reason::FamilyBlocked,
            "IPv6 is blocked: no egress IP of it is given",
        ),
        [false, true] => Finding::yes(
            kind,
            Reason::FamilyBlocked,
            "IPv4 is blocked: no egress IP of it is given",
        ),
        _ => Finding::yes(kind, Reason::Ready, format!("leaves by {}", active.gateway)),
    }
}

fn gateways(context: &Context<'_>, exit: &Exit, active: &ActiveExit<'_>) -> Vec<GatewayLine> {
    let endpoint = context.index.nodes.get(active.gateway).and_then(|node| {
        let address = context.index.addresses(node).next()?;
        Some(SocketAddr::new(address, context.numbers.get(&exit.name)?.port).to_string())
    });
    let first = GatewayLine {
        node: active.gateway.to_string(),
        role: GatewayRole::Active,
        endpoint,
    };
    let standbys = active.standbys.iter().map(|node| GatewayLine {
        node: node.to_string(),
        role: GatewayRole::Standby,
        endpoint: None,
    });
    std::iter::once(first).chain(standbys).collect()
}

fn clients(
    context: &Context<'_>,
    settled: &BTreeMap<&NodeName, Settled>,
    exit: &Exit,
) -> NodeCounts {
    let nodes = context.clients.get(&exit.name).into_iter().flatten();
    let mut counts = NodeCounts::default();
    for (node, settled) in nodes.filter_map(|node| settled.get_key_value(node)) {
        counts.desired += 1;
        counts.programmed += u32::from(is_programmed(context, settled, node));
    }
    counts
}
