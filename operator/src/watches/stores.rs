//! The stores, one for each kind.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource as _};
use postern_crds::{
    ClusterEgressPolicy, EgressPolicy, ExitNode, InterfaceIsolation, NodeIntent, NodeReport,
};

use super::kinds::WatchedKind;
use super::lean;
use super::object::WatchedObject;
use super::signals::WatchSignals;
use super::watch::{WatchRules, watch};
use crate::metrics::OperatorMetrics;

/// Name of the definition of policies.
pub(crate) const DEFINITION: &str = "egresspolicies.postern.dev";

/// Name of the definition of policies of administrators.
pub(crate) const ADMIN_DEFINITION: &str = "clusteregresspolicies.postern.dev";

/// What the API server shows, as far as the operator reads it.
#[derive(Clone)]
pub struct WatchedStores {
    pub exits: Store<WatchedObject<ExitNode>>,
    pub policies: Store<WatchedObject<EgressPolicy>>,
    pub cluster_policies: Store<WatchedObject<ClusterEgressPolicy>>,
    pub isolations: Store<WatchedObject<InterfaceIsolation>>,
    pub intents: Store<WatchedObject<NodeIntent>>,
    pub reports: Store<WatchedObject<NodeReport>>,
    pub nodes: Store<WatchedObject<Node>>,
    pub pods: Store<WatchedObject<Pod>>,
    pub namespaces: Store<WatchedObject<Namespace>>,
    pub services: Store<WatchedObject<Service>>,
    pub service_cidrs: Store<WatchedObject<ServiceCIDR>>,
    /// The API server's endpoints.
    pub endpoints: Store<WatchedObject<EndpointSlice>>,
    /// The definition of policies.
    pub definitions: Store<WatchedObject<PartialObjectMeta<CustomResourceDefinition>>>,
    /// ConfigMaps of the operator's namespace.
    pub config_maps: Store<WatchedObject<ConfigMap>>,
}

struct Starter {
    client: Client,
    signals: WatchSignals,
    metrics: OperatorMetrics,
    tasks: Vec<BoxFuture<'static, ()>>,
}

impl Starter {
    fn watch<K>(
        &mut self,
        api: Api<WatchedObject<K>>,
        config: Config,
        kind: WatchedKind,
        lean: fn(&mut K),
    ) -> Store<WatchedObject<K>>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + PartialEq,
        K: serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        self.wire(
            api,
            config,
            WatchRules {
                kind,
                lean,
                same: PartialEq::eq,
                seen: |_, _| {},
                listed: |_, _| {},
            },
        )
    }

    /// All objects of a kind, with everything that they hold.
    fn watch_whole<K>(&mut self, kind: WatchedKind) -> Store<WatchedObject<K>>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + PartialEq,
        K: serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let api = self.all();
        self.watch(api, Config::default(), kind, lean::keep)
    }

    fn wire<K>(
        &mut self,
        api: Api<WatchedObject<K>>,
        config: Config,
        wiring: WatchRules<K>,
    ) -> Store<WatchedObject<K>>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug,
        K: serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let (store, task) = watch(
            api,
            config,
            wiring,
            self.signals.clone(),
            self.metrics.clone(),
        );
        self.tasks.push(task.boxed());
        store
    }

    fn all<K>(&self) -> Api<WatchedObject<K>>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }
}

/// The stores and the tasks that fill them; the tasks never end.
#[must_use]
pub fn start(
    client: &Client,
    namespace: &str,
    signals: &WatchSignals,
    metrics: &OperatorMetrics,
) -> (WatchedStores, Vec<BoxFuture<'static, ()>>) {
    let mut starter = Starter {
        client: client.clone(),
        signals: signals.clone(),
        metrics: metrics.clone(),
        tasks: Vec::new(),
    };
    let all = Config::default;
    // The endpoints that clients of `kubernetes.default` get.
    let own_endpoints = Config::default().labels("kubernetes.io/service-name=kubernetes");
    // Only its metadata, since a definition is large and only its end is of interest.
    let definition = Config::default().fields(&format!("metadata.name={DEFINITION}"));
    let stores = WatchedStores {
        exits: starter.watch(starter.all(), all(), WatchedKind::ExitNode, lean::keep),
        policies: starter.watch(starter.all(), all(), WatchedKind::EgressPolicy, lean::keep),
        cluster_policies: starter.watch_whole(WatchedKind::ClusterEgressPolicy),
        isolations: starter.watch_whole(WatchedKind::InterfaceIsolation),
        intents: starter.wire(
            starter.all(),
            all(),
            WatchRules {
                kind: WatchedKind::NodeIntent,
                lean: lean::keep,
                same: lean::same_intent,
                seen: |_, _| {},
                listed: |_, _| {},
            },
        ),
        reports: starter.wire(
            starter.all(),
            all(),
            WatchRules {
                kind: WatchedKind::NodeReport,
                lean: lean::report,
                same: lean::same_report,
                seen: note_report,
                listed: |_, _| {},
            },
        ),
        nodes: starter.watch(starter.all(), all(), WatchedKind::Node, lean::node),
        pods: starter.watch(starter.all(), all(), WatchedKind::Pod, lean::pod),
        namespaces: starter.watch(
            starter.all(),
            all(),
            WatchedKind::Namespace,
            lean::namespace,
        ),
        services: starter.watch(starter.all(), all(), WatchedKind::Service, lean::service),
        service_cidrs: starter.watch(starter.all(), all(), WatchedKind::ServiceCidr, lean::keep),
        endpoints: starter.watch(
            Api::namespaced(client.clone(), "default"),
            own_endpoints,
            WatchedKind::EndpointSlice,
            lean::keep,
        ),
        definitions: starter.wire(
            starter.all(),
            definition,
            WatchRules {
                kind: WatchedKind::Definition,
                lean: lean::keep,
                same: |a, b| a.meta() == b.meta(),
                seen: note_definition,
                // The definition may have changed while it was not watched.
                listed: note_definition,
            },
        ),
        config_maps: starter.watch(
            Api::namespaced(client.clone(), namespace),
            all(),
            WatchedKind::ConfigMap,
            lean::config_map,
        ),
    };
    (stores, starter.tasks)
}

fn note_definition(
    signals: &WatchSignals,
    definition: &PartialObjectMeta<CustomResourceDefinition>,
) {
    signals.defined(definition.metadata.generation.unwrap_or(0));
}

/// A node has reported when its report has a status; the operator itself makes reports without one.
fn note_report(signals: &WatchSignals, report: &NodeReport) {
    if let (Some(name), Some(_)) = (&report.metadata.name, &report.status) {
        signals.report_arrived(name);
    }
}
