//! Conditions of policies and exits, and releases that wait for an approval.

use postern_compile::gate::{ApprovalCause, ApprovalSubject};
use postern_crds::conditions::{ConditionType, Reason};

use super::action;
use super::finding::{DoctorFinding, Gravity};
use super::snapshot::DoctorSnapshot;
use crate::cluster::{ReadResult, UnreadableObject};
use crate::full_name::{full_name, name_of};
use crate::overview::{Conditions, LineFinding};

pub(super) const UNREADABLE: &str =
    "use a posternctl as new as the definitions, or correct the object";

const OF_POLICIES: [ConditionType; 5] = [
    ConditionType::Accepted,
    ConditionType::ResolvedRefs,
    ConditionType::Programmed,
    ConditionType::Ready,
    ConditionType::FullyEnforced,
];

const OF_CLUSTER_POLICIES: [ConditionType; 3] = [
    ConditionType::Accepted,
    ConditionType::Programmed,
    ConditionType::FullyEnforced,
];

const OF_EXITS: [ConditionType; 5] = [
    ConditionType::Accepted,
    ConditionType::ResolvedRefs,
    ConditionType::Programmed,
    ConditionType::Ready,
    ConditionType::SettingsAccepted,
];

pub(super) fn findings(snapshot: &DoctorSnapshot) -> Vec<DoctorFinding> {
    let policies = snapshot.objects.policies.iter().flat_map(|policy| {
        let policy = match policy {
            Ok(policy) => policy,
            Err(bad) => return vec![unreadable("EgressPolicy", bad)],
        };
        let metadata = &policy.metadata;
        let name = name_of(metadata);
        let status = policy.status.clone().unwrap_or_default();
        let conditions = Conditions {
            all: &status.conditions,
            generation: metadata.generation,
        };
        let unseen = LineFinding::unseen(status.observed_generation, conditions.all);
        of_conditions(("EgressPolicy", &name), unseen, &conditions, &OF_POLICIES)
    });
    let tiers = snapshot.objects.cluster_policies.iter().flat_map(|policy| {
        let kind = "ClusterEgressPolicy";
        let policy = match policy {
            Ok(policy) => policy,
            Err(bad) => return vec![unreadable(kind, bad)],
        };
        let name = policy.metadata.name.clone().unwrap_or_default();
        let status = policy.status.clone().unwrap_or_default();
        let conditions = Conditions {
            all: &status.conditions,
            generation: policy.metadata.generation,
        };
        let unseen = LineFinding::unseen(status.observed_generation, conditions.all);
        of_conditions((kind, &name), unseen, &conditions, &OF_CLUSTER_POLICIES)
    });
    let exits = snapshot.objects.exits.iter().flat_map(|exit| {
        let exit = match exit {
            Ok(exit) => exit,
            Err(bad) => return vec![unreadable("ExitNode", bad)],
        };
        let name = exit.metadata.name.clone().unwrap_or_default();
        let status = exit.status.clone().unwrap_or_default();
        let conditions = Conditions {
            all: &status.conditions,
            generation: exit.metadata.generation,
        };
        let unseen = LineFinding::unseen(status.observed_generation, conditions.all);
        of_conditions(("ExitNode", &name), unseen, &conditions, &OF_EXITS)
    });
    policies
        .chain(tiers)
        .chain(exits)
        .chain(held(snapshot))
        .collect()
}

pub(super) fn unreadable(kind: &'static str, bad: &UnreadableObject) -> DoctorFinding {
    let name = full_name(bad.namespace.as_deref(), &bad.name);
    let reason = Reason::Invalid.as_str();
    DoctorFinding::of(
        Gravity::Degraded,
        reason,
        (kind, &name),
        &bad.why,
        UNREADABLE,
    )
}

/// A finding for each condition that does not hold and explains something, or for the first one.
pub(super) fn of_conditions(
    object: (&'static str, &str),
    unseen: Option<LineFinding>,
    conditions: &Conditions<'_>,
    kinds: &[ConditionType],
) -> Vec<DoctorFinding> {
    let found = match unseen {
        Some(unseen) => vec![unseen],
        None => conditions.explaining(kinds),
    };
    found.iter().map(|one| of_line(object, one)).collect()
}

pub(super) fn of_line(object: (&'static str, &str), line: &LineFinding) -> DoctorFinding {
    let unknown = (
        Gravity::Degraded,
        "use a posternctl as new as the operator, which knows this reason",
    );
    let (gravity, action) = Reason::parse(&line.reason).map_or(unknown, action::of);
    DoctorFinding::of(gravity, &line.reason, object, &line.message, action)
}

/// What waits about policies and namespaces; the lines of nodes have what waits about those.
fn held(snapshot: &DoctorSnapshot) -> impl Iterator<Item = DoctorFinding> {
    snapshot.objects.held.iter().filter_map(|held| {
        let (kind, name) = match &held.subject {
            ApprovalSubject::Policy(name) => ("EgressPolicy", name.clone()),
            ApprovalSubject::Namespace(name) => ("Namespace", name.to_string()),
            ApprovalSubject::Node(_) => return None,
        };
        let reason = match held.cause {
            ApprovalCause::Restored => Reason::Restored,
            _ => Reason::ReleaseHeld,
        };
        let (gravity, action) = action::of(reason);
        let message = format!(
            "{} pods wait since {} ({}): posternctl approve {}",
            held.pods, held.since, held.cause, held.subject
        );
        let object = (kind, name.as_str());
        Some(DoctorFinding::of(
            gravity,
            reason.as_str(),
            object,
            message,
            action,
        ))
    })
}

/// The readable ones of a list.
pub(super) fn good<K>(objects: &[ReadResult<K>]) -> impl Iterator<Item = &K> {
    objects.iter().filter_map(|object| object.as_ref().ok())
}
