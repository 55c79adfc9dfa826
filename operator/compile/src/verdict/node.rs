use std::collections::BTreeMap;

use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::NodeName;
use postern_intent::body::{BlockedReason, EgressPath, FORMAT_VERSION};

use super::{Detail, Progress, Verdict};
use crate::budget::BudgetResult;
use crate::lower::LoweringContext;
use crate::pins::KeyRefusal;
use crate::serial::unbelieved;
use crate::settled::{NodeOutcome, SettledNode};
use crate::shared::SettledCluster;
use crate::snapshot::{Freshness, Guard};

/// The verdict on one node.
pub(super) fn verdict(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    cluster: &SettledCluster,
    (node, of_node): (&NodeName, &SettledNode),
) -> Verdict {
    let blocked: BTreeMap<String, BlockedReason> = of_node
        .document
        .firewall
        .iter()
        .filter_map(|scope| match scope.way {
            EgressPath::Blocked { reason } => Some((scope.id.to_string(), reason)),
            EgressPath::Tunnel | EgressPath::LocalExit | EgressPath::NodeUplink => None,
        })
        .collect();
    Verdict {
        kind: "Node",
        namespace: None,
        name: node.to_string(),
        generation: None,
        conditions: vec![
            accepted(context, cluster, node, of_node),
            programmed(context, Progress::of(context, settled, node), node, of_node),
        ],
        detail: Detail::Node {
            blocked,
            reported: reported(context, node),
            applied: context
                .index
                .reports
                .get(node)
                .and_then(|report| report.applied_serial),
            published: match of_node.outcome {
                NodeOutcome::Keep | NodeOutcome::Publish(_) => {
                    Some((of_node.document.serial, of_node.document.issued_at))
                }
                NodeOutcome::Restored | NodeOutcome::Awaited => None,
            },
        },
    }
}

/// What the node says of itself. Where its report no longer counts, each of it is unknown.
fn reported(context: &LoweringContext<'_>, node: &NodeName) -> Vec<Finding> {
    let Some(report) = context.index.reports.get(node) else {
        return Vec::new();
    };
    let said = report.conditions.iter();
    match report.freshness {
        Freshness::Fresh | Freshness::Unsaid => said.cloned().collect(),
        Freshness::Old | Freshness::Ahead => said
            .map(|said| Finding::unknown(said.kind, Reason::Stale, silence(context, node)))
            .collect(),
    }
}

/// Is what the node reports accepted, and is everything that it needs published?
fn accepted(
    context: &LoweringContext<'_>,
    cluster: &SettledCluster,
    node: &NodeName,
    settled: &SettledNode,
) -> Finding {
    let kind = ConditionType::Accepted;
    let problems: Vec<(Reason, String)> = [
        format(context, node),
        key(context, node),
        addresses(context, node),
        serial(context, node),
        size(settled, cluster),
    ]
    .into_iter()
    .flatten()
    .collect();
    let Some((reason, _)) = problems.first() else {
        let message = "everything that the node needs is in its intent";
        return Finding::yes(kind, Reason::Accepted, message);
    };
    let messages: Vec<&str> = problems
        .iter()
        .map(|(_, message)| message.as_str())
        .collect();
    Finding::no(kind, *reason, messages.join("; "))
}

type Problem = Option<(Reason, String)>;

fn format(context: &LoweringContext<'_>, node: &NodeName) -> Problem {
    let read = &context.index.reports.get(node)?.formats;
    (!read.is_empty() && !read.contains(&FORMAT_VERSION)).then(|| {
        let message = format!(
            "its agent does not read intents of format {FORMAT_VERSION}, which this operator writes; upgrade the agent"
        );
        (Reason::FormatVersion, message)
    })
}

fn key(context: &LoweringContext<'_>, node: &NodeName) -> Problem {
    let (reason, message) = match context.keys.refused.get(node)? {
        KeyRefusal::Unproved => (
            Reason::KeyNotProved,
            "its report does not prove that its WireGuard key is its own; upgrade its agent. One of this version \
             trusts no key: put the operator's public keys into its trust folder, and if that changes nothing, run \
             postern-agent trust-keys on the node",
        ),
        KeyRefusal::BadProof => (
            Reason::KeyNotProved,
            "its report proves its WireGuard key to none of the signing keys; if it trusts former keys alone, run \
             postern-agent trust-keys on the node once the present ones are in its trust folder, else find out who else \
             writes with its agent's token",
        ),
        KeyRefusal::Taken => (
            Reason::Conflict,
            "it reports the WireGuard key of another node; remove wireguard.key from its state folder and restart its agent",
        ),
        KeyRefusal::TooSoon => (
            Reason::Conflict,
            "its WireGuard key changed twice in five minutes; the old one stays for now",
        ),
    };
    let pinned = match context.keys.get(node) {
        Some(_) if reason == Reason::KeyNotProved => "; the key that is pinned stays",
        None if reason == Reason::KeyNotProved => "; it has no tunnel until then",
        _ => "",
    };
    Some((reason, format!("{message}{pinned}")))
}

/// What a node claims outside of the node ranges counts as nobody's.
fn addresses(context: &LoweringContext<'_>, node: &NodeName) -> Problem {
    let node = context.index.nodes.get(node)?;
    let outside = context.index.strangers(node);
    let outside: Vec<String> = outside.map(|address| address.to_string()).collect();
    (!outside.is_empty()).then(|| {
        let message = format!(
            "it claims {}, outside of the node ranges, which counts for nothing; widen the node ranges if it is right",
            outside.join(", ")
        );
        (Reason::NotPermitted, message)
    })
}

fn serial(context: &LoweringContext<'_>, node: &NodeName) -> Problem {
    let index = context.index;
    let said = unbelieved(index.snapshot.now, index.reports.get(node).copied())?;
    let message = format!(
        "it reports serial {said}, which lies more than an hour ahead and is not believed; look at its clock and ledger, it \
         refuses what is below"
    );
    Some((Reason::Invalid, message))
}

fn size(settled: &SettledNode, cluster: &SettledCluster) -> Problem {
    let shed = &settled.shed;
    let scopes: Vec<String> = shed.scopes.iter().map(ToString::to_string).collect();
    let scopes =
        (!scopes.is_empty()).then(|| format!("did not fit and are blocked: {}", scopes.join(", ")));
    let addresses = (cluster.shed.addresses > 0).then(|| {
        let count = cluster.shed.addresses;
        format!("did not fit: {count} addresses of Services, so who comes in by one of them gets no answer")
    });
    let rest = matches!(shed.rest, BudgetResult::TooLarge).then(|| {
        "the intent is too large without them too; spread its pods over more nodes".to_owned()
    });
    let all_nodes = matches!(cluster.shed.rest, BudgetResult::TooLarge).then(|| {
        "the cluster document is too large without them too; guard fewer namespaces, or split the cluster".to_owned()
    });
    let messages: Vec<String> = [scopes, addresses, rest, all_nodes]
        .into_iter()
        .flatten()
        .collect();
    (!messages.is_empty()).then(|| (Reason::TooLarge, messages.join("; ")))
}

fn programmed(
    context: &LoweringContext<'_>,
    progress: Progress,
    node: &NodeName,
    settled: &SettledNode,
) -> Finding {
    let kind = ConditionType::Programmed;
    match settled.outcome {
        NodeOutcome::Restored if context.index.snapshot.unreadable.contains(node) => Finding::no(
            kind,
            Reason::Restored,
            "what is published for it cannot be read; it keeps what it has until that is put right or a person approves (posternctl approve)",
        ),
        NodeOutcome::Restored => Finding::no(
            kind,
            Reason::Restored,
            format!(
                "{} Look at the policies, then: posternctl approve node {node}",
                Reason::Restored.sentence()
            ),
        ),
        NodeOutcome::Awaited => Finding::unknown(
            kind,
            Reason::Pending,
            "there is something new for it, which is published once its agent has said what it has seen",
        ),
        _ => match progress {
            Progress::Programmed => Finding::yes(
                kind,
                Reason::Programmed,
                format!("serial {}", settled.document.serial),
            ),
            Progress::Converging if says_unsealed(context, node) => {
                Finding::no(kind, Reason::NotSealed, Reason::NotSealed.sentence())
            }
            Progress::Converging => {
                Finding::no(kind, Reason::Converging, missing(context, node, settled))
            }
            Progress::Stale => Finding::unknown(kind, Reason::Stale, silence(context, node)),
        },
    }
}

/// Which of the two documents the node does not report yet.
fn missing(context: &LoweringContext<'_>, node: &NodeName, settled: &SettledNode) -> String {
    let applied = context
        .index
        .reports
        .get(node)
        .map(|one| one.applied_serial);
    if settled.outcome == NodeOutcome::Keep && applied.flatten() >= Some(settled.document.serial) {
        let facts = settled.facts;
        return format!("the cluster document of serial {facts} is not reported yet");
    }
    format!("serial {} is not reported yet", settled.document.serial)
}

/// Does it say, and may it be believed, that its guard is not in place?
fn says_unsealed(context: &LoweringContext<'_>, node: &NodeName) -> bool {
    let report = context.index.reports.get(node);
    report.is_some_and(|one| one.freshness == Freshness::Fresh && one.guard == Guard::NotSealed)
}

/// Why the node's word no longer counts.
fn silence(context: &LoweringContext<'_>, node: &NodeName) -> &'static str {
    match context.index.reports.get(node).map(|one| one.freshness) {
        Some(Freshness::Ahead) => {
            "it says that its kernel was read back more than a minute from now; look at its clock"
        }
        _ => {
            "its kernel was last read back, and agreed, more than three minutes ago; its agent is away, or its report \
             says what is wrong"
        }
    }
}
