//! Everything that a compile depends on but the time, the published bodies and the memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::runtime::reflector::{ObjectRef, Store};
use postern_compile::gate::Approval;
use postern_compile::intake;
use postern_compile::snapshot::{
    Exit, Isolation, Namespace, Node, Pod, Policy, Report, Service, Settings,
};
use postern_crds::NodeReport;
use postern_crds::conditions::{ConditionType, is_true};
use postern_crds::names::APPROVALS_CONFIG_MAP;
use postern_intent::NodeName;

use super::approvals::approvals;
use super::definition::Definition;
use super::poison;
use super::ranges::{Unknown, found, join};
use super::taken::{Problem, Taking, sorted, take};
use super::trust::trust;
use crate::signer::NodeTrust;
use crate::watches::{Kind, Stores, Tolerant};

/// What the stores say, in a fixed order, so that two looks can be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// The settings, joined with the ranges that were found.
    pub settings: Settings,
    /// Ranges that nobody knows.
    pub unknown: Vec<Unknown>,
    /// All exits.
    pub exits: Vec<Exit>,
    /// All policies.
    pub policies: Vec<Policy>,
    /// All isolations.
    pub isolations: Vec<Isolation>,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All pods that are bound.
    pub pods: Vec<Pod>,
    /// All namespaces.
    pub namespaces: Vec<Namespace>,
    /// Services that the outside reaches.
    pub services: Vec<Service>,
    /// What the nodes report.
    pub reports: Vec<Report>,
    /// Which keys the nodes trust.
    pub trust: Vec<NodeTrust>,
    /// Nodes whose kernel was read back and agreed, as they last reported.
    pub verified: BTreeSet<NodeName>,
    /// Nodes whose guard is in place, as they last reported.
    pub sealed: BTreeSet<NodeName>,
    /// What people approved.
    pub approvals: Vec<Approval>,
    /// The definition of policies.
    pub definition: Definition,
    /// What cannot be read.
    pub problems: Vec<Problem>,
}

/// Looks at the stores.
#[must_use]
pub(super) fn gather(stores: &Stores, settings: &Settings, namespace: &str) -> Inputs {
    let mut problems = Vec::new();
    let nodes = nodes(stores, &mut problems);
    let (settings, unknown) = join_ranges(stores, settings, &nodes);
    let approvals = approvals(
        config_map(stores, namespace, APPROVALS_CONFIG_MAP).as_ref(),
        &mut problems,
    );
    let definition = sorted_definition(stores);
    Inputs {
        unknown,
        exits: exits(stores, &mut problems),
        policies: policies(stores, &settings, &mut problems),
        isolations: isolations(stores, &mut problems),
        nodes,
        pods: pods(stores, &mut problems),
        namespaces: namespaces(stores, &mut problems),
        services: services(stores, &mut problems),
        reports: reports(stores, Timestamp::now(), &mut problems),
        trust: trust(&sorted(&stores.nodes), &sorted(&stores.reports)),
        verified: holding(stores, ConditionType::Verified),
        sealed: holding(stores, ConditionType::FailClosed),
        approvals,
        definition,
        settings,
        problems,
    }
}

/// A ConfigMap of the operator's namespace.
#[must_use]
pub(crate) fn config_map(stores: &Stores, namespace: &str, name: &str) -> Option<ConfigMap> {
    let key = ObjectRef::new(name).within(namespace);
    let found: Arc<Tolerant<ConfigMap>> = stores.config_maps.get(&key)?;
    found.good().cloned()
}

fn sorted_definition(stores: &Stores) -> Definition {
    Definition::of(
        stores
            .definitions
            .state()
            .first()
            .map(|found| kube::Resource::meta(&**found)),
    )
}

fn join_ranges(stores: &Stores, settings: &Settings, nodes: &[Node]) -> (Settings, Vec<Unknown>) {
    fn good<K>(objects: &[Arc<Tolerant<K>>]) -> impl Iterator<Item = &K> {
        objects.iter().filter_map(|object| object.good())
    }
    let ranges = sorted(&stores.service_cidrs);
    let slices = sorted(&stores.endpoints);
    let services = sorted(&stores.services);
    let found = found(nodes, good(&ranges), good(&slices), good(&services));
    join(settings, &found)
}

fn exits(stores: &Stores, problems: &mut Vec<Problem>) -> Vec<Exit> {
    let taking = Taking {
        kind: Kind::ExitNode,
        read: intake::exit,
        rescue: poison::exit,
    };
    take(&stores.exits, &taking, problems)
}

fn policies(stores: &Stores, settings: &Settings, problems: &mut Vec<Problem>) -> Vec<Policy> {
    let mut taken = Vec::with_capacity(stores.policies.len());
    for object in sorted(&stores.policies) {
        let found = match &*object {
            Tolerant::Good(good) => {
                intake::policy(good, &settings.ceiling).map_err(|error| crate::error::chain(&error))
            }
            Tolerant::Poison(bad) => {
                taken.extend(poison::policy(bad));
                Err(bad.problem.clone())
            }
        };
        match found {
            Ok(policy) => taken.push(policy),
            Err(what) => problems.push(Problem {
                kind: Kind::EgressPolicy,
                namespace: object.namespace(),
                name: object.name_any(),
                uid: object.uid(),
                what,
            }),
        }
    }
    taken
}

fn isolations(stores: &Stores, problems: &mut Vec<Problem>) -> Vec<Isolation> {
    let taking = Taking {
        kind: Kind::InterfaceIsolation,
        read: intake::isolation,
        rescue: poison::isolation,
    };
    take(&stores.isolations, &taking, problems)
}

fn nodes(stores: &Stores, problems: &mut Vec<Problem>) -> Vec<Node> {
    let taking = Taking {
        kind: Kind::Node,
        read: intake::node,
        rescue: poison::nothing,
    };
    take(&stores.nodes, &taking, problems)
}

fn pods(stores: &Stores, problems: &mut Vec<Problem>) -> Vec<Pod> {
    let taking = Taking {
        kind: Kind::Pod,
        read: intake::pod,
        rescue: poison::nothing,
    };
    let pods = take(&stores.pods, &taking, problems);
    pods.into_iter().flatten().collect()
}

fn namespaces(stores: &Stores, problems: &mut Vec<Problem>) -> Vec<Namespace> {
    let taking = Taking {
        kind: Kind::Namespace,
        read: intake::namespace,
        rescue: poison::namespace,
    };
    take(&stores.namespaces, &taking, problems)
}

fn services(stores: &Stores, problems: &mut Vec<Problem>) -> Vec<Service> {
    let taking = Taking {
        kind: Kind::Service,
        read: intake::service,
        rescue: poison::nothing,
    };
    let services = take(&stores.services, &taking, problems);
    services.into_iter().flatten().collect()
}

/// What the nodes report, as it counts now.
fn reports(stores: &Stores, now: Timestamp, problems: &mut Vec<Problem>) -> Vec<Report> {
    let taking = Taking {
        kind: Kind::NodeReport,
        read: |object: &NodeReport| intake::report(object, now),
        rescue: poison::nothing,
    };
    take(&stores.reports, &taking, problems)
}

/// Nodes whose report says that a condition holds.
fn holding(stores: &Stores, kind: ConditionType) -> BTreeSet<NodeName> {
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
pub(crate) fn sizes(stores: &Stores) -> Vec<(Kind, usize, usize)> {
    fn size<K>(kind: Kind, store: &Store<Tolerant<K>>) -> (Kind, usize, usize)
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
        size(Kind::ExitNode, &stores.exits),
        size(Kind::EgressPolicy, &stores.policies),
        size(Kind::InterfaceIsolation, &stores.isolations),
        size(Kind::NodeIntent, &stores.intents),
        size(Kind::NodeReport, &stores.reports),
        size(Kind::Node, &stores.nodes),
        size(Kind::Pod, &stores.pods),
        size(Kind::Namespace, &stores.namespaces),
    ]
}
