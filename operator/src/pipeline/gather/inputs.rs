//! Everything that a compile depends on but the time, the published documents and the memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::runtime::reflector::{ObjectRef, Store};
use postern_compile::gate::Approval;
use postern_compile::intake;
use postern_compile::publish::CredentialStore;
use postern_compile::snapshot::{
    CompilerSettings, Definitions, SnapshotClusterPolicy, SnapshotExit, SnapshotIsolation,
    SnapshotNamespace, SnapshotNode, SnapshotPod, SnapshotPolicy, SnapshotReport, SnapshotService,
};
use postern_crds::conditions::{ConditionType, is_true};
use postern_crds::names::APPROVALS_CONFIG_MAP;
use postern_crds::node_report::KeyProof;
use postern_crds::{EgressPolicy, NodeReport};
use postern_intent::NodeName;
use postern_intent::possession::Claim;

use super::approvals::approvals;
use super::definition::PolicyDefinition;
use super::poison;
use super::possession::ProvedKeys;
use super::ranges::{UnknownRange, found, join};
use super::taken::{ObjectIntake, ReadProblem, sorted, take};
use super::trust::trust;
use crate::signer::{KeyRing, NodeTrust};
use crate::watches::{WatchedKind, WatchedObject, WatchedStores};

/// What the stores say, in a fixed order, so that two looks can be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterInputs {
    /// The settings, joined with the ranges that were found.
    pub settings: CompilerSettings,
    /// Ranges that nobody knows.
    pub unknown: Vec<UnknownRange>,
    pub exits: Vec<SnapshotExit>,
    /// Credentials of external exits.
    pub credentials: CredentialStore,
    pub policies: Vec<SnapshotPolicy>,
    pub cluster_policies: Vec<SnapshotClusterPolicy>,
    pub isolations: Vec<SnapshotIsolation>,
    pub nodes: Vec<SnapshotNode>,
    /// All pods that are bound.
    pub pods: Vec<SnapshotPod>,
    pub namespaces: Vec<SnapshotNamespace>,
    /// Services that the outside reaches.
    pub services: Vec<SnapshotService>,
    /// What the nodes report.
    pub reports: Vec<SnapshotReport>,
    /// Which keys the nodes trust.
    pub trust: Vec<NodeTrust>,
    /// Nodes whose kernel was read back and agreed, as they last reported.
    pub verified: BTreeSet<NodeName>,
    /// Nodes whose guard is in place, as they last reported.
    pub sealed: BTreeSet<NodeName>,
    pub approvals: Vec<Approval>,
    /// The definition of policies.
    pub definition: PolicyDefinition,
    /// The state of the definition of policies of administrators, asked for where one of them is gone.
    pub admin_definition: Definitions,
    /// What cannot be read.
    pub problems: Vec<ReadProblem>,
}

/// Looks at the stores.
#[must_use]
pub(super) fn gather(
    stores: &WatchedStores,
    settings: &CompilerSettings,
    namespace: &str,
    (proved, ring): (&mut ProvedKeys, &KeyRing),
) -> ClusterInputs {
    let mut problems = Vec::new();
    let nodes = nodes(stores, &mut problems);
    let (mut settings, unknown) = join_ranges(stores, settings, &nodes);
    // An operator whose own pod waits for its node's intent would never write one.
    settings.exempt_namespaces.extend(namespace.parse().ok());
    let approvals = approvals(
        config_map(stores, namespace, APPROVALS_CONFIG_MAP).as_ref(),
        &mut problems,
    );
    let definition = policy_definition(stores);
    proved.look(&sorted(&stores.reports), ring);
    ClusterInputs {
        unknown,
        exits: exits(stores, &mut problems),
        credentials: CredentialStore::default(),
        policies: policies(stores, &settings, &mut problems),
        cluster_policies: cluster_policies(stores, &mut problems),
        isolations: isolations(stores, &mut problems),
        nodes,
        pods: pods(stores, &mut problems),
        namespaces: namespaces(stores, &mut problems),
        services: services(stores, &mut problems),
        reports: reports(stores, Timestamp::now(), proved, &mut problems),
        trust: trust(&sorted(&stores.nodes), &sorted(&stores.reports)),
        verified: holding(stores, ConditionType::Verified),
        sealed: holding(stores, ConditionType::FailClosed),
        approvals,
        definition,
        admin_definition: Definitions::Serving,
        settings,
        problems,
    }
}

/// A ConfigMap of the operator's namespace.
#[must_use]
pub(crate) fn config_map(stores: &WatchedStores, namespace: &str, name: &str) -> Option<ConfigMap> {
    let key = ObjectRef::new(name).within(namespace);
    let found: Arc<WatchedObject<ConfigMap>> = stores.config_maps.get(&key)?;
    found.good().cloned()
}

fn policy_definition(stores: &WatchedStores) -> PolicyDefinition {
    PolicyDefinition::of(
        stores
            .definitions
            .state()
            .first()
            .map(|found| kube::Resource::meta(&**found)),
    )
}

fn join_ranges(
    stores: &WatchedStores,
    settings: &CompilerSettings,
    nodes: &[SnapshotNode],
) -> (CompilerSettings, Vec<UnknownRange>) {
    fn good<K>(objects: &[Arc<WatchedObject<K>>]) -> impl Iterator<Item = &K> {
        objects.iter().filter_map(|object| object.good())
    }
    let ranges = sorted(&stores.service_cidrs);
    let slices = sorted(&stores.endpoints);
    let services = sorted(&stores.services);
    let found = found(nodes, good(&ranges), good(&slices), good(&services));
    join(settings, &found)
}

fn exits(stores: &WatchedStores, problems: &mut Vec<ReadProblem>) -> Vec<SnapshotExit> {
    let taking = ObjectIntake {
        kind: WatchedKind::ExitNode,
        read: intake::exit,
        rescue: poison::exit,
    };
    take(&stores.exits, &taking, problems)
}

fn policies(
    stores: &WatchedStores,
    settings: &CompilerSettings,
    problems: &mut Vec<ReadProblem>,
) -> Vec<SnapshotPolicy> {
    let taking = ObjectIntake {
        kind: WatchedKind::EgressPolicy,
        read: |object: &EgressPolicy| intake::policy(object, settings),
        rescue: poison::policy,
    };
    take(&stores.policies, &taking, problems)
}

fn cluster_policies(
    stores: &WatchedStores,
    problems: &mut Vec<ReadProblem>,
) -> Vec<SnapshotClusterPolicy> {
    let taking = ObjectIntake {
        kind: WatchedKind::ClusterEgressPolicy,
        read: intake::cluster_policy,
        rescue: poison::cluster_policy,
    };
    take(&stores.cluster_policies, &taking, problems)
}

fn isolations(stores: &WatchedStores, problems: &mut Vec<ReadProblem>) -> Vec<SnapshotIsolation> {
    let taking = ObjectIntake {
        kind: WatchedKind::InterfaceIsolation,
        read: intake::isolation,
        rescue: poison::isolation,
    };
    take(&stores.isolations, &taking, problems)
}

fn nodes(stores: &WatchedStores, problems: &mut Vec<ReadProblem>) -> Vec<SnapshotNode> {
    let taking = ObjectIntake {
        kind: WatchedKind::Node,
        read: intake::node,
        rescue: poison::nothing,
    };
    take(&stores.nodes, &taking, problems)
}

fn pods(stores: &WatchedStores, problems: &mut Vec<ReadProblem>) -> Vec<SnapshotPod> {
    let taking = ObjectIntake {
        kind: WatchedKind::Pod,
        read: intake::pod,
        rescue: poison::nothing,
    };
    let pods = take(&stores.pods, &taking, problems);
    pods.into_iter().flatten().collect()
}

fn namespaces(stores: &WatchedStores, problems: &mut Vec<ReadProblem>) -> Vec<SnapshotNamespace> {
    let taking = ObjectIntake {
        kind: WatchedKind::Namespace,
        read: intake::namespace,
        rescue: poison::namespace,
    };
    take(&stores.namespaces, &taking, problems)
}

fn services(stores: &WatchedStores, problems: &mut Vec<ReadProblem>) -> Vec<SnapshotService> {
    let taking = ObjectIntake {
        kind: WatchedKind::Service,
        read: intake::service,
        rescue: poison::nothing,
    };
    let services = take(&stores.services, &taking, problems);
    services.into_iter().flatten().collect()
}

/// What the nodes report, as it counts now.
fn reports(
    stores: &WatchedStores,
    now: Timestamp,
    proved: &ProvedKeys,
    problems: &mut Vec<ReadProblem>,
) -> Vec<SnapshotReport> {
    let is_proved = |claim: &Claim<'_>, proofs: &[KeyProof]| proved.is_proved(claim, proofs);
    let taking = ObjectIntake {
        kind: WatchedKind::NodeReport,
        read: |object: &NodeReport| intake::report(object, now, &is_proved),
        rescue: poison::nothing,
    };
    take(&stores.reports, &taking, problems)
}

/// Nodes whose report says that a condition holds.
fn holding(stores: &WatchedStores, kind: ConditionType) -> BTreeSet<NodeName> {
    let reports = stores.reports.state();
    reports
        .iter()
        .filter_map(|object| object.good())
        .filter(|report| {
            let conditions = report.status.as_ref().map(|status| &status.conditions);
            conditions.is_some_and(|conditions| is_true(conditions, kind))
        })
        .filter_map(|report| report.name_any().parse().ok())
        .collect()
}

/// The store of a kind with its size and the number of objects that cannot be read.
pub(crate) fn sizes(stores: &WatchedStores) -> Vec<(WatchedKind, usize, usize)> {
    fn size<K>(kind: WatchedKind, store: &Store<WatchedObject<K>>) -> (WatchedKind, usize, usize)
    where
        K: kube::Resource<DynamicType = ()> + Clone + 'static,
    {
        let objects = store.state();
        let poison = objects
            .iter()
            .filter(|object| object.poison().is_some())
            .count();
        (kind, objects.len(), poison)
    }
    vec![
        size(WatchedKind::ExitNode, &stores.exits),
        size(WatchedKind::EgressPolicy, &stores.policies),
        size(WatchedKind::ClusterEgressPolicy, &stores.cluster_policies),
        size(WatchedKind::InterfaceIsolation, &stores.isolations),
        size(WatchedKind::NodeIntent, &stores.intents),
        size(WatchedKind::NodeReport, &stores.reports),
        size(WatchedKind::Node, &stores.nodes),
        size(WatchedKind::Pod, &stores.pods),
        size(WatchedKind::Namespace, &stores.namespaces),
    ]
}
