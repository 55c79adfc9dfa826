//! Reports: only what is read at all. A node may say what it likes about everything else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_crds::conditions::{ConditionType, Finding, Reason, is_true};
use postern_crds::node_report::{
    AddressFamily, IsolationState, KeyProof, PathReport, PathState, ScopeState,
};
use postern_crds::{NodeReport, NodeReportStatus};
use postern_intent::possession::{Claim, KeyPurpose};
use postern_intent::{ExitName, NodeName, NodeUid, SectionDigest, Serial, Uid, WgKey};

use super::error::{IntakeError, Reader};
use crate::snapshot::{
    Freshness, Guard, PathFault, Possession, ReportedExit, ReportedIsolation, ReportedKey,
    ReportedScope, SnapshotReport,
};

/// Says whether one of the proofs in a report is good. It is given, because it takes a private key.
pub type ProofCheck<'a> = &'a dyn Fn(&Claim<'_>, &[KeyProof]) -> bool;

/// Takes in a report as it counts now. A key that cannot be used counts as no key.
///
/// # Errors
/// [`IntakeError`] if it has no usable name or node UID.
pub fn report(
    object: &NodeReport,
    now: Timestamp,
    is_proved: ProofCheck<'_>,
) -> Result<SnapshotReport, IntakeError> {
    let reader = Reader::new("NodeReport", &object.metadata);
    let status = object.status.as_ref();
    let (node, uid) = (reader.name()?, reader.parse(&object.spec.node_uid)?);
    let verified_at = status.and_then(|status| status.verified_at.as_ref());
    let sealed =
        status.is_some_and(|status| is_true(&status.conditions, ConditionType::FailClosed));
    Ok(SnapshotReport {
        key: status.and_then(|status| key(status, &node, &uid, is_proved)),
        credentials_key: status.and_then(|status| credentials_key(status, &node, &uid, is_proved)),
        node,
        uid,
        ledger_serial: status.and_then(|status| status.ledger_serial).map(Serial),
        ledger_cluster_serial: status
            .and_then(|status| status.ledger_cluster_serial)
            .map(Serial),
        applied_serial: status.and_then(|status| status.applied_serial).map(Serial),
        applied_cluster_serial: status
            .and_then(|status| status.applied_cluster_serial)
            .map(Serial),
        freshness: Freshness::of(verified_at.map(|at| at.0), now),
        guard: if sealed {
            Guard::Sealed
        } else {
            Guard::NotSealed
        },
        scopes: status.map(scopes).unwrap_or_default(),
        exits: exits(
            status
                .into_iter()
                .flat_map(|status| &status.exits)
                .map(|one| SaidExit {
                    exit: &one.exit,
                    digest: one.digest.as_ref(),
                    gateway: one.gateway.as_ref(),
                    server: None,
                    mtu: one.mtu,
                    paths: &one.paths,
                }),
        ),
        served: exits(
            status
                .into_iter()
                .flat_map(|status| &status.served)
                .map(|one| SaidExit {
                    exit: &one.exit,
                    digest: one.digest.as_ref(),
                    gateway: None,
                    server: one.server.as_ref(),
                    mtu: one.mtu,
                    paths: &one.paths,
                }),
        ),
        isolation: status.and_then(isolation),
        formats: status
            .map(|status| status.body_formats.iter().copied().collect())
            .unwrap_or_default(),
        conditions: status
            .into_iter()
            .flat_map(|status| &status.conditions)
            .filter_map(finding)
            .collect(),
        unbound: status.and_then(unbound),
    })
}

fn key(
    status: &NodeReportStatus,
    node: &NodeName,
    uid: &NodeUid,
    is_proved: ProofCheck<'_>,
) -> Option<ReportedKey> {
    let said = status.public_keys.as_ref()?;
    let key = said.wireguard.as_ref()?.parse().ok()?;
    let claim = Claim {
        node,
        uid,
        key: &key,
        purpose: KeyPurpose::WireGuard,
    };
    let possession = if said.wireguard_proofs.is_empty() {
        Possession::Unsaid
    } else if is_proved(&claim, &said.wireguard_proofs) {
        Possession::Proved
    } else {
        Possession::Refused
    };
    Some(ReportedKey { key, possession })
}

/// A key that the node does not prove could be another node's, and is none.
fn credentials_key(
    status: &NodeReportStatus,
    node: &NodeName,
    uid: &NodeUid,
    is_proved: ProofCheck<'_>,
) -> Option<WgKey> {
    let said = status.public_keys.as_ref()?;
    let key = said.credentials.as_ref()?.parse().ok()?;
    let claim = Claim {
        node,
        uid,
        key: &key,
        purpose: KeyPurpose::Credentials,
    };
    is_proved(&claim, &said.credentials_proofs).then_some(key)
}

fn scopes(status: &NodeReportStatus) -> BTreeMap<Uid, ReportedScope> {
    let scopes = status.scopes.iter().filter_map(|scope| {
        let uid = scope.policy.as_ref()?.uid.parse().ok()?;
        let reason = scope.reason.as_deref().and_then(Reason::parse);
        let blocked =
            (scope.state == ScopeState::Blocked).then(|| reason.unwrap_or(Reason::NoExit));
        let pods = scope.pods.unwrap_or_default();
        Some((
            uid,
            ReportedScope {
                digest: digest(scope.digest.as_ref()),
                enforced: pods.enforced.saturating_add(pods.observed),
                blocked_pods: pods.blocked,
                resolvers: scope.resolvers,
                silent_resolvers: scope
                    .silent_resolvers
                    .iter()
                    .filter_map(|address| address.parse().ok())
                    .collect(),
                failed_open: scope.state == ScopeState::FailedOpen,
                blocked,
                unenforceable: pods.unenforceable,
            },
        ))
    });
    scopes.collect()
}

fn isolation(status: &NodeReportStatus) -> Option<ReportedIsolation> {
    let said = status.isolation.as_ref()?;
    let is_well = said.state == IsolationState::Compliant;
    Some(ReportedIsolation {
        digest: digest(said.digest.as_ref()),
        state: said.state,
        reason: said.reason.as_deref().and_then(Reason::parse),
        // The message of a state that is well may change with every reading, and would wake the compiler each time.
        message: match is_well {
            true => String::new(),
            false => said.message.clone(),
        },
    })
}

fn digest(said: Option<&String>) -> Option<SectionDigest> {
    said?.parse().ok()
}

/// An exit as a report has it, used or served.
struct SaidExit<'a> {
    exit: &'a String,
    digest: Option<&'a String>,
    gateway: Option<&'a String>,
    mtu: Option<u32>,
    server: Option<&'a String>,
    paths: &'a [PathReport],
}

fn exits<'a>(said: impl Iterator<Item = SaidExit<'a>>) -> BTreeMap<ExitName, ReportedExit> {
    said.filter_map(|said| {
        let of_state = |state| said.paths.iter().filter(move |path| path.state == state);
        let faults = of_state(PathState::Broken).filter_map(|path| {
            let fault = PathFault {
                hop: path.hop?,
                message: path.message.clone(),
            };
            Some((path.family, fault))
        });
        let faults: BTreeMap<AddressFamily, PathFault> = faults.collect();
        let works = of_state(PathState::Works).map(|path| path.family);
        let reported = ReportedExit {
            digest: digest(said.digest),
            gateway: said.gateway.and_then(|name| name.parse().ok()),
            mtu: said.mtu,
            server: said.server.and_then(|text| text.parse().ok()),
            judged: works.chain(faults.keys().copied()).collect(),
            faults,
        };
        Some((said.exit.parse().ok()?, reported))
    })
    .collect()
}

/// A condition as the node writes it. A reason that this version does not know is part of the message.
fn finding(condition: &Condition) -> Option<Finding> {
    let kind = ConditionType::parse(&condition.type_)?;
    let known = Reason::parse(&condition.reason);
    let message = match known {
        // Of what holds the message may move with every reading.
        Some(reason) if condition.status == "True" => reason.sentence().to_owned(),
        Some(_) => condition.message.clone(),
        None => format!("{}: {}", condition.reason, condition.message),
    };
    let reason = known.unwrap_or(Reason::Invalid);
    Some(match condition.status.as_str() {
        "True" => Finding::yes(kind, reason, message),
        "False" => Finding::no(kind, reason, message),
        _ => Finding::unknown(kind, reason, message),
    })
}

/// Only what says that nobody binds sources: while the guard is being put in place nothing is known of them.
fn unbound(status: &NodeReportStatus) -> Option<Reason> {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|one| one.type_ == ConditionType::SourceBinding.as_str())?;
    let reason = Reason::parse(&found.reason)?;
    let is_unbound = matches!(reason, Reason::NoPlugin | Reason::Unbound);
    (found.status == "False" && is_unbound).then_some(reason)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use postern_crds::NodeReport;
    use serde_json::json;

    use super::report;
    use crate::snapshot::{Freshness, Guard};

    fn reported(verified_at: &str, fail_closed: &str) -> NodeReport {
        let object = json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
            "metadata": {"name": "n1"},
            "spec": {"nodeUID": "u1"},
            "status": {
                "verifiedAt": verified_at,
                "conditions": [{
                    "type": "FailClosed", "status": fail_closed, "reason": "Sealed", "message": "it is",
                    "lastTransitionTime": "2026-11-23T04:00:00Z",
                }],
            },
        });
        serde_json::from_value(object).expect("a report")
    }

    #[test]
    fn the_same_report_ages_by_time_alone_and_only_once() {
        let object = reported("2026-11-23T04:00:00.000000Z", "True");
        let at = |time: &str| {
            let now: Timestamp = time.parse().expect("a time");
            report(&object, now, &|_, _| false).expect("a report")
        };
        let fresh = at("2026-11-23T04:00:30Z");
        assert_eq!(fresh.freshness, Freshness::Fresh);
        // What nothing follows from makes no difference, or every report would be a change of the world.
        assert_eq!(fresh, at("2026-11-23T04:02:59Z"));
        let old = at("2026-11-23T04:03:01Z");
        assert_eq!(old.freshness, Freshness::Old);
        assert_eq!(old, at("2026-11-24T04:00:00Z"));
    }

    #[test]
    fn a_condition_that_holds_for_a_reason_of_a_newer_agent_keeps_the_words_of_the_node() {
        let mut object = reported("2026-11-23T04:00:00.000000Z", "True");
        let message = |object: &NodeReport| {
            let report = report(object, Timestamp::UNIX_EPOCH, &|_, _| false).expect("a report");
            report.conditions[0].message.clone()
        };
        assert_eq!(message(&object), "The guard is in place and was read back.");
        let status = object.status.as_mut().expect("a status");
        status.conditions[0].reason = "SealedTwice".to_owned();
        assert_eq!(message(&object), "SealedTwice: it is");
    }

    #[test]
    fn a_guard_is_sealed_where_the_report_says_so_and_nowhere_else() {
        let guard = |said: &str| {
            let object = reported("2026-11-23T04:00:00.000000Z", said);
            report(&object, Timestamp::UNIX_EPOCH, &|_, _| false)
                .expect("a report")
                .guard
        };
        assert_eq!(guard("True"), Guard::Sealed);
        assert_eq!(guard("False"), Guard::NotSealed);
        assert_eq!(guard("Unknown"), Guard::NotSealed);
    }
}
