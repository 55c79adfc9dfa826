//! From verdicts to statuses, and whether a status differs from what is there. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_compile::verdict::{Detail, GatewayLine, Verdict};
use postern_crds::conditions::{ConditionStatus, ConditionType, Finding, Reason};
use postern_crds::egress_policy::{EgressPolicyStatus, PodCounts};
use postern_crds::exit_node::{ClientCounts, ExitNodeStatus, GatewayRole, GatewayStatus};
use postern_crds::{ClusterEgressPolicyStatus, InterfaceIsolationStatus, NodeIntentStatus};
use serde::Serialize;

use super::fold::folded;
use super::node_status;
use crate::pipeline::object_key::ObjectKey;

/// The kind in the key of the status of a NodeIntent.
pub(super) const NODE_INTENT_STATUS: &str = "NodeIntent/status";

/// A status of one of the users' kinds, or of a node's intent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum StatusBody {
    Policy(EgressPolicyStatus),
    Exit(ExitNodeStatus),
    ClusterPolicy(ClusterEgressPolicyStatus),
    Isolation(InterfaceIsolationStatus),
    Node(NodeIntentStatus),
}

impl StatusBody {
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        match self {
            Self::Policy(status) => &status.conditions,
            Self::Exit(status) => &status.conditions,
            Self::ClusterPolicy(status) => &status.conditions,
            Self::Isolation(status) => &status.conditions,
            Self::Node(status) => &status.conditions,
        }
    }
}

/// A status that an object should have.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredStatus {
    pub key: ObjectKey,
    pub status: StatusBody,
}

/// How many gateways a status lists: the definition's `maxItems`. A longer list would be refused, and with it the whole
/// status.
const GATEWAYS_LISTED: usize = 64;

/// Every condition that objects of a kind have from the first visit on.
#[must_use]
pub fn known(kind: &str) -> &'static [ConditionType] {
    use ConditionType::{
        Accepted, FullyEnforced, Programmed, Ready, ResolvedRefs, RolledBack, SettingsAccepted,
    };
    match kind {
        "EgressPolicy" => &[Accepted, ResolvedRefs, Programmed, Ready, FullyEnforced],
        "ExitNode" => &[Accepted, ResolvedRefs, Programmed, Ready, SettingsAccepted],
        "ClusterEgressPolicy" => &[Accepted, Programmed, FullyEnforced],
        "InterfaceIsolation" => &[Accepted, Programmed, Ready, RolledBack],
        _ => &[],
    }
}

/// The status that a verdict asks for, given the one that is there and the object's generation. None: objects of this kind
/// have no status of ours.
#[must_use]
pub fn desired(
    verdict: &Verdict,
    there: Option<&StatusBody>,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<DesiredStatus> {
    let old = there.map(StatusBody::conditions).unwrap_or_default();
    let conditions = conditions(verdict, old, now);
    let status = match (verdict.kind, &verdict.detail) {
        ("EgressPolicy", Detail::Policy { .. }) => policy(verdict, conditions),
        ("ExitNode", Detail::Exit { .. }) => exit(verdict, conditions),
        (
            "ClusterEgressPolicy",
            Detail::ClusterPolicy {
                namespaces,
                pods,
                nodes,
            },
        ) => StatusBody::ClusterPolicy(ClusterEgressPolicyStatus {
            conditions,
            observed_generation: verdict.generation,
            namespaces: Some(*namespaces),
            pods: Some(*pods),
            nodes: Some(*nodes),
        }),
        ("InterfaceIsolation", Detail::Isolation { nodes }) => {
            StatusBody::Isolation(InterfaceIsolationStatus {
                conditions,
                observed_generation: verdict.generation,
                nodes: Some(*nodes),
            })
        }
        ("Node", Detail::Node { .. }) => {
            let there = there.and_then(|status| match status {
                StatusBody::Node(status) => Some(status),
                StatusBody::Policy(_)
                | StatusBody::Exit(_)
                | StatusBody::ClusterPolicy(_)
                | StatusBody::Isolation(_) => None,
            });
            StatusBody::Node(node_status::status(verdict, there, generation, now))
        }
        _ => return None,
    };
    Some(DesiredStatus {
        key: key(verdict),
        status,
    })
}

/// The object whose status a verdict is for. A node's is that of its intent, under a name of its own, so that an intent never
/// waits because its status was refused.
pub(super) fn key(verdict: &Verdict) -> ObjectKey {
    match verdict.kind {
        "Node" => ObjectKey::cluster(NODE_INTENT_STATUS, &verdict.name),
        _ => ObjectKey::of(verdict),
    }
}

/// Every known condition, in a fixed order; one that nothing was found about is unknown.
fn conditions(verdict: &Verdict, old: &[Condition], now: Timestamp) -> Vec<Condition> {
    let kinds = known(verdict.kind);
    let findings = kinds.iter().map(|kind| {
        let finding = verdict
            .conditions
            .iter()
            .find(|finding| finding.kind == *kind)
            .cloned()
            .unwrap_or_else(|| not_found(verdict, *kind));
        with_count(verdict, finding)
    });
    folded(kinds, findings, (old, verdict.generation), now)
}

/// The finding that says which nodes carry an exit says too how many of them the status does not list.
fn with_count(verdict: &Verdict, finding: Finding) -> Finding {
    let Detail::Exit { gateways, .. } = &verdict.detail else {
        return finding;
    };
    let left_out = gateways.len().saturating_sub(GATEWAYS_LISTED);
    if left_out == 0 || finding.kind != ConditionType::Programmed {
        return finding;
    }
    let message = format!(
        "{}; {left_out} more gateways are not listed",
        finding.message
    );
    Finding { message, ..finding }
}

fn not_found(verdict: &Verdict, kind: ConditionType) -> Finding {
    let refused = verdict.conditions.iter().any(|finding| {
        finding.kind == ConditionType::Accepted && finding.state == ConditionStatus::False
    });
    let message = if refused {
        "the object is not accepted"
    } else {
        Reason::Pending.sentence()
    };
    Finding::unknown(kind, Reason::Pending, message)
}

fn policy(verdict: &Verdict, conditions: Vec<Condition>) -> StatusBody {
    let (exit, pods, nodes) = match &verdict.detail {
        Detail::Policy { exit, pods, nodes } => (
            exit.as_ref().map(ToString::to_string),
            Some(PodCounts {
                selected: pods.selected,
                enforced: pods.enforced,
                observed: pods.observed,
                blocked: pods.blocked,
                overridden: pods.overridden,
                unenforceable: pods.unenforceable,
            }),
            Some(*nodes),
        ),
        _ => (None, None, None),
    };
    StatusBody::Policy(EgressPolicyStatus {
        conditions,
        observed_generation: verdict.generation,
        exit_node: exit,
        pods,
        nodes,
    })
}

fn exit(verdict: &Verdict, conditions: Vec<Condition>) -> StatusBody {
    let Detail::Exit { gateways, clients } = &verdict.detail else {
        return StatusBody::Exit(ExitNodeStatus {
            conditions,
            observed_generation: verdict.generation,
            ..ExitNodeStatus::default()
        });
    };
    // A gateway that traffic leaves by is never left out.
    let mut listed: Vec<&GatewayLine> = gateways.iter().collect();
    listed.sort_by_key(|line| line.role != GatewayRole::Active);
    let gateways = listed
        .into_iter()
        .take(GATEWAYS_LISTED)
        .map(|line| GatewayStatus {
            node: line.node.clone(),
            role: line.role,
            endpoint: line.endpoint.clone(),
            mtu: line.mtu,
            egress_ips: line.egress.iter().map(ToString::to_string).collect(),
            healthy: line.healthy,
        });
    StatusBody::Exit(ExitNodeStatus {
        conditions,
        observed_generation: verdict.generation,
        gateways: gateways.collect(),
        clients: Some(ClientCounts {
            desired: clients.nodes.desired,
            programmed: clients.nodes.programmed,
            sealed: clients.sealed,
        }),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use postern_compile::PolicyPodCounts;
    use postern_compile::verdict::{Detail, ExitClientCounts, GatewayLine, Verdict};
    use postern_crds::conditions::{ConditionType, Finding, Reason};
    use postern_crds::egress_policy::NodeCounts;
    use postern_crds::exit_node::GatewayRole;
    use postern_crds::interface_isolation::IsolationCounts;
    use serde_json::json;

    use super::{StatusBody, desired};

    fn verdict(finding: Finding, generation: i64) -> Verdict {
        Verdict {
            kind: "EgressPolicy",
            namespace: Some("shop".to_owned()),
            name: "p".to_owned(),
            generation: Some(generation),
            conditions: vec![finding],
            detail: Detail::Policy {
                exit: None,
                pods: PolicyPodCounts::default(),
                nodes: NodeCounts::default(),
            },
        }
    }

    fn status(verdict: &Verdict, there: Option<&StatusBody>, second: i64) -> StatusBody {
        let now = Timestamp::from_second(second).expect("a time");
        desired(verdict, there, verdict.generation, now)
            .expect("a status")
            .status
    }

    fn well() -> Finding {
        Finding::yes(ConditionType::Ready, Reason::Ready, "well")
    }

    #[test]
    fn every_known_condition_is_there_from_the_first_visit_on() {
        let first = status(&verdict(well(), 1), None, 100);
        let types: Vec<(&str, &str)> = first
            .conditions()
            .iter()
            .map(|entry| (entry.type_.as_str(), entry.status.as_str()))
            .collect();
        let expected = [
            ("Accepted", "Unknown"),
            ("ResolvedRefs", "Unknown"),
            ("Programmed", "Unknown"),
            ("Ready", "True"),
            ("FullyEnforced", "Unknown"),
        ];
        assert_eq!(types, expected);
        let generations = first.conditions().iter().map(|one| one.observed_generation);
        assert!(generations.into_iter().all(|one| one == Some(1)));
    }

    #[test]
    fn every_kind_names_the_generation_that_its_status_is_about() {
        let exit = Detail::Exit {
            gateways: Vec::new(),
            clients: ExitClientCounts::default(),
        };
        for (kind, detail) in [
            ("EgressPolicy", verdict(well(), 7).detail),
            ("ExitNode", exit),
            (
                "ClusterEgressPolicy",
                Detail::ClusterPolicy {
                    namespaces: Default::default(),
                    pods: Default::default(),
                    nodes: NodeCounts::default(),
                },
            ),
            (
                "InterfaceIsolation",
                Detail::Isolation {
                    nodes: IsolationCounts::default(),
                },
            ),
        ] {
            let verdict = Verdict {
                kind,
                detail,
                ..verdict(well(), 7)
            };
            let shown = serde_json::to_value(status(&verdict, None, 100)).expect("JSON");
            assert_eq!(shown["observedGeneration"], 7, "{kind}");
        }
    }

    /// Three nodes, of which one carries it and of one nobody knows.
    const NODES: NodeCounts = NodeCounts {
        desired: 3,
        programmed: 1,
        stale: 1,
    };

    #[test]
    fn nodes_that_are_heard_no_more_are_counted_in_the_policy() {
        let verdict = Verdict {
            detail: Detail::Policy {
                exit: None,
                pods: PolicyPodCounts::default(),
                nodes: NODES,
            },
            ..verdict(well(), 1)
        };
        let shown = serde_json::to_value(status(&verdict, None, 100)).expect("JSON");
        let expected = json!({"desired": 3, "programmed": 1, "stale": 1});
        assert_eq!(shown["nodes"], expected);
    }

    #[test]
    fn an_exit_shows_its_sealed_clients_and_what_its_gateways_carry_with_which_mtu() {
        let gateway = |node: &str, role, egress: &[&str]| GatewayLine {
            node: node.to_owned(),
            role,
            endpoint: None,
            mtu: (role == GatewayRole::Active).then_some(1420),
            egress: egress
                .iter()
                .map(|address| address.parse().expect("an address"))
                .collect(),
            healthy: role == GatewayRole::Active,
        };
        let verdict = Verdict {
            kind: "ExitNode",
            namespace: None,
            detail: Detail::Exit {
                gateways: vec![
                    gateway("a", GatewayRole::Active, &["203.0.113.10", "2001:db8::10"]),
                    gateway("b", GatewayRole::Standby, &[]),
                ],
                clients: ExitClientCounts {
                    nodes: NODES,
                    sealed: 2,
                },
            },
            ..verdict(well(), 1)
        };
        let shown = serde_json::to_value(status(&verdict, None, 100)).expect("JSON");
        let clients = json!({"desired": 3, "programmed": 1, "sealed": 2});
        assert_eq!(shown["clients"], clients);
        let gateways = json!([
            {"node": "a", "role": "Active", "mtu": 1420, "egressIPs": ["203.0.113.10", "2001:db8::10"], "healthy": true},
            {"node": "b", "role": "Standby", "healthy": false},
        ]);
        assert_eq!(shown["gateways"], gateways);
    }

    #[test]
    fn the_same_verdict_asks_for_the_same_status_whenever_it_is_given() {
        let first = status(&verdict(well(), 1), None, 100);
        assert_eq!(status(&verdict(well(), 1), Some(&first), 200), first);
    }

    #[test]
    fn a_transition_time_moves_with_the_status_and_with_nothing_else() {
        let first = status(&verdict(well(), 1), None, 100);
        let again = Finding::yes(ConditionType::Ready, Reason::Unused, "other words");
        let second = status(&verdict(again, 2), Some(&first), 200);
        let ready = |status: &StatusBody| status.conditions()[3].clone();
        assert_eq!(
            ready(&second).last_transition_time,
            ready(&first).last_transition_time
        );
        assert_eq!(ready(&second).observed_generation, Some(2));
        let ill = Finding::no(ConditionType::Ready, Reason::NoExit, "ill");
        let third = status(&verdict(ill, 2), Some(&second), 300);
        assert_eq!(ready(&third).last_transition_time.0.as_second(), 300);
    }

    #[test]
    fn an_exit_on_more_nodes_than_a_status_lists_names_the_active_one_and_counts_the_others() {
        let line = |number: usize| GatewayLine {
            node: format!("n{number}"),
            role: if number == 69 {
                GatewayRole::Active
            } else {
                GatewayRole::Standby
            },
            endpoint: None,
            mtu: None,
            egress: Vec::new(),
            healthy: true,
        };
        let finding = Finding::yes(ConditionType::Programmed, Reason::Programmed, "on 3 nodes");
        let verdict = Verdict {
            kind: "ExitNode",
            namespace: None,
            detail: Detail::Exit {
                gateways: (0..70).map(line).collect(),
                clients: ExitClientCounts::default(),
            },
            ..verdict(finding, 1)
        };
        let Some(StatusBody::Exit(status)) =
            desired(&verdict, None, Some(1), Timestamp::UNIX_EPOCH).map(|desired| desired.status)
        else {
            panic!("a status of an exit");
        };
        assert_eq!(status.gateways.len(), 64, "the definition takes no more");
        assert_eq!(
            status.gateways[0].node, "n69",
            "the active one is listed first"
        );
        let messages: Vec<&str> = status
            .conditions
            .iter()
            .map(|condition| condition.message.as_str())
            .collect();
        assert!(
            messages.contains(&"on 3 nodes; 6 more gateways are not listed"),
            "{messages:?}"
        );
    }
}
