//! Reading what there is of Postern, and taking it away piece by piece.

use std::fmt::Debug;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use postern_crds::names::{
    AGENT_DAEMON_SET, CTL_FIELD_MANAGER, EGRESS_DEFAULT_LABEL, GROUP, OPERATOR_DEPLOYMENT,
    TUNNEL_DAEMON_SET,
};
use postern_crds::{
    ClusterEgressPolicy, EgressPolicy, ExitNode, InterfaceIsolation, NodeIntent, NodeReport,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::ask::ask;
use super::error::ClusterError;
use super::namespace_client::NamespaceClient;
use super::read::{ReadResult, held, list};
use super::request::ResourceRequest;
use super::survey::{every, lease, operator};
use crate::uninstall::{ObjectMark, RemovalAct, RemovedKind, UninstallReading};

/// Pods of operator, agents and tunnel processes, and those that clean up.
const OUR_PODS: &str = "app.kubernetes.io/part-of=postern";

/// Everything that there is of Postern.
pub(super) async fn uninstall_reading(
    seat: &NamespaceClient,
) -> Result<UninstallReading, ClusterError> {
    let held = match held(seat).await {
        // Nothing was decided, so nothing waits.
        Err(ClusterError::NotInstalled { .. } | ClusterError::NothingDecided { .. }) => Vec::new(),
        other => other?,
    };
    let labelled = every::<Namespace>(seat).await?.into_iter();
    let labelled = labelled.filter(|one| one.labels().contains_key(EGRESS_DEFAULT_LABEL));
    let reports: Vec<ReadResult<NodeReport>> = match list(seat).await {
        Err(ClusterError::NotDefined { .. }) => Vec::new(),
        other => other?,
    };
    let mut definitions = marks::<CustomResourceDefinition>(seat).await?;
    definitions.retain(|one| one.name.ends_with(&format!(".{GROUP}")));
    Ok(UninstallReading {
        policies: marks::<EgressPolicy>(seat).await?,
        labelled: labelled.map(|namespace| namespace.name_any()).collect(),
        held,
        reports,
        operator: operator(seat).await?,
        lease: lease(seat).await?,
        agents: daemon_set(seat, AGENT_DAEMON_SET).await?,
        tunnels: daemon_set(seat, TUNNEL_DAEMON_SET).await?,
        pods: pods(seat).await?,
        exits: marks::<ExitNode>(seat).await?,
        cluster_policies: marks::<ClusterEgressPolicy>(seat).await?,
        isolations: marks::<InterfaceIsolation>(seat).await?,
        intents: marks::<NodeIntent>(seat).await?,
        definitions,
    })
}

fn api<K>(seat: &NamespaceClient) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(seat.client.clone(), &seat.namespace)
}

async fn find<K>(
    seat: &NamespaceClient,
    resource: &str,
    name: &str,
    api: Api<K>,
) -> Result<Option<K>, ClusterError>
where
    K: Clone + Debug + DeserializeOwned,
{
    let act = ResourceRequest::on_object("get", resource, name, Some(&seat.namespace));
    ask(act, api.get_opt(name)).await
}

async fn daemon_set(seat: &NamespaceClient, name: &str) -> Result<Option<DaemonSet>, ClusterError> {
    find(seat, "daemonsets.apps", name, api(seat)).await
}

async fn pods(seat: &NamespaceClient) -> Result<Vec<Pod>, ClusterError> {
    let act = ResourceRequest {
        verb: "list",
        resource: "pods".to_owned(),
        name: None,
        namespace: Some(seat.namespace.clone()),
    };
    let params = ListParams::default().labels(OUR_PODS);
    let found = ask(act, api::<Pod>(seat).list(&params)).await?;
    Ok(found.items)
}

fn mark<K: Resource>(object: &K) -> ObjectMark {
    ObjectMark {
        namespace: object.namespace(),
        name: object.name_any(),
        is_going: object.meta().deletion_timestamp.is_some(),
    }
}

/// The names of all objects of a kind; none where the kind is not defined. Intents and definitions are large, so only their
/// metadata is asked for.
async fn marks<K>(seat: &NamespaceClient) -> Result<Vec<ObjectMark>, ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(seat.client.clone());
    let act = ResourceRequest {
        verb: "list",
        resource: format!("{}.{}", K::plural(&()), K::group(&())),
        name: None,
        namespace: None,
    };
    match ask(act, api.list_metadata(&ListParams::default())).await {
        Ok(found) => Ok(found.items.iter().map(mark).collect()),
        Err(error) if error.code() == Some(404) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Carries out one act. An object that is already gone is no error.
pub(super) async fn remove(seat: &NamespaceClient, act: &RemovalAct) -> Result<(), ClusterError> {
    let done = match act {
        RemovalAct::Delete { kind, object } => delete(seat, *kind, object).await,
        RemovalAct::Unlabel { namespace } => {
            let patch = json!({"metadata": {"labels": {EGRESS_DEFAULT_LABEL: null}}});
            let namespaces: Api<Namespace> = Api::all(seat.client.clone());
            let act = ResourceRequest::on_object("patch", "namespaces", namespace, None);
            let patch = Patch::Merge(patch);
            ask(act, namespaces.patch(namespace, &manager(), &patch))
                .await
                .map(drop)
        }
        RemovalAct::StopOperator => {
            let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
            let name = OPERATOR_DEPLOYMENT;
            let act = in_namespace(seat, "patch", "deployments.apps", name);
            let asking = api::<Deployment>(seat);
            ask(act, asking.patch(name, &manager(), &patch))
                .await
                .map(drop)
        }
        RemovalAct::TakePluginOut { patch } => {
            let name = AGENT_DAEMON_SET;
            let act = in_namespace(seat, "patch", "daemonsets.apps", name);
            let asking = api::<DaemonSet>(seat);
            let patch = Patch::Strategic(patch);
            ask(act, asking.patch(name, &manager(), &patch))
                .await
                .map(drop)
        }
        RemovalAct::CreatePod { pod, .. } => {
            let params = PostParams {
                field_manager: Some(CTL_FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            let act = ResourceRequest {
                name: None,
                ..in_namespace(seat, "create", "pods", "")
            };
            ask(act, api::<Pod>(seat).create(&params, pod))
                .await
                .map(drop)
        }
    };
    match done {
        Err(error) if error.code() == Some(404) => Ok(()),
        other => other,
    }
}

fn manager() -> PatchParams {
    PatchParams {
        field_manager: Some(CTL_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

fn in_namespace(
    seat: &NamespaceClient,
    verb: &'static str,
    resource: &str,
    name: &str,
) -> ResourceRequest {
    ResourceRequest::on_object(verb, resource, name, Some(&seat.namespace))
}

async fn delete(
    seat: &NamespaceClient,
    kind: RemovedKind,
    object: &ObjectMark,
) -> Result<(), ClusterError> {
    let all = || seat.client.clone();
    match kind {
        RemovedKind::EgressPolicy => {
            let namespace = object.namespace.as_deref().unwrap_or_default();
            delete_in(Api::<EgressPolicy>::namespaced(all(), namespace), object).await
        }
        RemovedKind::ExitNode => delete_in(Api::<ExitNode>::all(all()), object).await,
        RemovedKind::ClusterEgressPolicy => {
            delete_in(Api::<ClusterEgressPolicy>::all(all()), object).await
        }
        RemovedKind::InterfaceIsolation => {
            delete_in(Api::<InterfaceIsolation>::all(all()), object).await
        }
        RemovedKind::NodeIntent => delete_in(Api::<NodeIntent>::all(all()), object).await,
        RemovedKind::NodeReport => delete_in(Api::<NodeReport>::all(all()), object).await,
        RemovedKind::CustomResourceDefinition => {
            delete_in(Api::<CustomResourceDefinition>::all(all()), object).await
        }
        RemovedKind::DaemonSet => delete_in(api::<DaemonSet>(seat), object).await,
        RemovedKind::Pod => delete_in(api::<Pod>(seat), object).await,
    }
}

async fn delete_in<K>(api: Api<K>, object: &ObjectMark) -> Result<(), ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let group = K::group(&());
    let plural = K::plural(&());
    let resource = match group.as_ref() {
        "" => plural.into_owned(),
        group => format!("{plural}.{group}"),
    };
    let act = ResourceRequest::on_object(
        "delete",
        &resource,
        &object.name,
        object.namespace.as_deref(),
    );
    ask(act, api.delete(&object.name, &DeleteParams::default()))
        .await
        .map(drop)
}
