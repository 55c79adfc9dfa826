//! Verdicts on nodes.

use std::collections::BTreeMap;

use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::NodeName;
use postern_intent::body::{BlockedReason, Way};

use super::{Detail, Verdict, is_programmed};
use crate::compile::{NodeOutcome, Settled};
use crate::lower::Context;
use crate::pins::KeyRefusal;

/// The verdict on one node.
pub(super) fn verdict(context: &Context<'_>, node: &NodeName, settled: &Settled) -> Verdict {
    let blocked: BTreeMap<String, BlockedReason> = settled
        .body
        .firewall
        .iter()
        .filter_map(|scope| match scope.way {
            Way::Blocked { reason } => Some((scope.id.to_string(), reason)),
            Way::Tunnel { .. } | Way::LocalExit { .. } | Way::NodeUplink => None,
        })
        .collect();
    Verdict {
        kind: "Node",
        namespace: None,
        name: node.to_string(),
        generation: None,
        conditions: vec![
            accepted(context, node, settled),
            programmed(context, node, settled),
        ],
        detail: Detail::Node { blocked },
    }
}

/// Is what the node reports accepted, and is everything that it needs published?
fn accepted(context: &Context<'_>, node: &NodeName, settled: &Settled) -> Finding {
    let kind = ConditionType::Accepted;
    if let Some(refusal) = context.keys.refused.get(node) {
        let message = match refusal {
            KeyRefusal::Taken => "it reports the WireGuard key of another node",
            KeyRefusal::TooSoon => {
                "its WireGuard key changed twice in five minutes; the old one stays for now"
            }
        };
        return Finding::no(kind, Reason::Conflict, message);
    }
    if !settled.too_large.is_empty() {
        let scopes: Vec<String> = settled.too_large.iter().map(ToString::to_string).collect();
        return Finding::no(
            kind,
            Reason::TooLarge,
            format!("did not fit and are blocked: {}", scopes.join(", ")),
        );
    }
    Finding::yes(
        kind,
        Reason::Accepted,
        "everything that the node needs is in its intent",
    )
}

fn programmed(context: &Context<'_>, node: &NodeName, settled: &Settled) -> Finding {
    let kind = ConditionType::Programmed;
    match settled.outcome {
        NodeOutcome::Restored => Finding::no(kind, Reason::Restored, Reason::Restored.sentence()),
        _ if is_programmed(context, settled, node) => Finding::yes(
            kind,
            Reason::Programmed,
            format!("serial {}", settled.body.serial),
        ),
        _ => Finding::no(
            kind,
            Reason::Converging,
            format!("serial {} is not reported yet", settled.body.serial),
        ),
    }
}
