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
use postern_crds::{EgressPolicy, ExitNode, InterfaceIsolation, NodeIntent, NodeReport};

use super::kinds::WatchedKind;
use super::lean;
use super::signals::WatchSignals;
use super::tolerant::Tolerant;
use super::watch::{Wiring, watch};
use crate::metrics::Metrics;

/// Name of the definition of policies.
pub(crate) const DEFINITION: &str = "egresspolicies.postern.dev";

/// What the API server shows, as far as the operator reads it.
#[derive(Clone)]
pub struct WatchedStores {
    pub exits: Store<Tolerant<ExitNode>>,
    pub policies: Store<Tolerant<EgressPolicy>>,
    pub isolations: Store<Tolerant<InterfaceIsolation>>,
    pub intents: Store<Tolerant<NodeIntent>>,
    pub reports: Store<Tolerant<NodeReport>>,
    pub nodes: Store<Tolerant<Node>>,
    pub pods: Store<Tolerant<Pod>>,
    pub namespaces: Store<Tolerant<Namespace>>,
    pub services: Store<Tolerant<Service>>,
    pub service_cidrs: Store<Tolerant<ServiceCIDR>>,
    /// The API server's endpoints.
    pub endpoints: Store<Tolerant<EndpointSlice>>,
    /// The definition of policies.
    pub definitions: Store<Tolerant<PartialObjectMeta<CustomResourceDefinition>>>,
    /// ConfigMaps of the operator's namespace.
    pub config_maps: Store<Tolerant<ConfigMap>>,
}

struct Starter {
    client: Client,
    signals: WatchSignals,
    metrics: Metrics,
    tasks: Vec<BoxFuture<'static, ()>>,
}

impl Starter {
    fn watch<K>(
        &mut self,
        api: Api<Tolerant<K>>,
        config: Config,
        kind: WatchedKind,
        lean: fn(&mut K),
    ) -> Store<Tolerant<K>>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + PartialEq,
        K: serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        self.wire(
            api,
            config,
            Wiring {
                kind,
                lean,
                same: PartialEq::eq,
                seen: |_, _| {},
                listed: |_, _| {},
            },
        )
    }

    fn wire<K>(
        &mut self,
        api: Api<Tolerant<K>>,
        config: Config,
        wiring: Wiring<K>,
    ) -> Store<Tolerant<K>>
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

    fn all<K>(&self) -> Api<Tolerant<K>>
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
    metrics: &Metrics,
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
        isolations: starter.watch(
            starter.all(),
            all(),
            WatchedKind::InterfaceIsolation,
            lean::keep,
        ),
        intents: starter.wire(
            starter.all(),
            all(),
            Wiring {
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
            Wiring {
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
            Wiring {
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
