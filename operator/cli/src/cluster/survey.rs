//! What decides whether a cluster can have Postern, with the rights of the caller.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Service};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::{ListParams, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use postern_crds::NodeReport;
use postern_crds::names::OPERATOR_DEPLOYMENT;
use serde::de::DeserializeOwned;

use super::ask::ask;
use super::error::ClusterError;
use super::namespace_client::NamespaceClient;
use super::read::{ReadResult, list, objects};
use super::request::ResourceRequest;
use crate::doctor::{DoctorSnapshot, KnownNode};
use crate::install::{AccessRight, InstallReading, ReadPart, RightAnswer, wanted_rights};

/// How many objects one request lists.
const PAGE: u32 = 500;

/// Reads everything that an installation depends on. What may not be read is in the answer.
pub(super) async fn install_reading(
    seat: &NamespaceClient,
) -> Result<InstallReading, ClusterError> {
    let client = &seat.client;
    let proxy: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let act = ResourceRequest::on_object("get", "configmaps", "kube-proxy", Some("kube-system"));
    let proxy_configuration = part(ask(act, proxy.get_opt("kube-proxy")).await)?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let act = ResourceRequest::on_object("get", "namespaces", &seat.namespace, None);
    let namespace = part(ask(act, namespaces.get_opt(&seat.namespace)).await)?;
    Ok(InstallReading {
        namespace_name: seat.namespace.clone(),
        server_version: part(server_version(seat).await)?,
        nodes: part(every::<Node>(seat).await)?,
        daemon_sets: part(every::<DaemonSet>(seat).await)?,
        proxy_configuration,
        services: part(every::<Service>(seat).await)?,
        service_ranges: part(every::<ServiceCIDR>(seat).await)?,
        definitions: part(every(seat).await)?,
        namespace,
        operator: part(operator(seat).await)?,
        reports: part(reports(seat).await)?,
        rights: part(rights(seat).await)?,
    })
}

/// What shows how a cluster is: its objects, the operators' Lease, and which nodes there are.
pub(super) async fn snapshot(
    seat: &NamespaceClient,
    now: Timestamp,
) -> Result<DoctorSnapshot, ClusterError> {
    let objects = objects(seat).await?;
    let nodes = part(every::<Node>(seat).await)?;
    let nodes = nodes.map(|nodes| nodes.iter().map(known).collect());
    Ok(DoctorSnapshot {
        objects,
        lease: part(lease(seat).await)?,
        nodes,
        now,
    })
}

fn known(node: &Node) -> KnownNode {
    let info = node
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref());
    KnownNode {
        name: node.name_any(),
        // A node without an operating system in its status counts as one that needs an agent.
        is_linux: info.is_none_or(|info| matches!(info.operating_system.as_str(), "linux" | "")),
    }
}

/// The Lease by which one operator leads; none: there is none.
pub(super) async fn lease(seat: &NamespaceClient) -> Result<Option<Lease>, ClusterError> {
    let api: Api<Lease> = Api::namespaced(seat.client.clone(), &seat.namespace);
    let (name, resource) = (OPERATOR_DEPLOYMENT, "leases.coordination.k8s.io");
    let act = ResourceRequest::on_object("get", resource, name, Some(&seat.namespace));
    ask(act, api.get_opt(name)).await
}

/// A missing right, or a kind that this API server does not have, leaves one part unknown and no other.
fn part<T>(answer: Result<T, ClusterError>) -> Result<ReadPart<T>, ClusterError> {
    match answer {
        Ok(found) => Ok(Ok(found)),
        Err(
            error @ (ClusterError::Forbidden { .. }
            | ClusterError::Refused { .. }
            | ClusterError::NotDefined { .. }),
        ) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

async fn server_version(seat: &NamespaceClient) -> Result<String, ClusterError> {
    let act = request("get", "the version".to_owned());
    let info = ask(act, seat.client.apiserver_version()).await?;
    Ok(info.git_version)
}

pub(super) async fn operator(seat: &NamespaceClient) -> Result<Option<Deployment>, ClusterError> {
    let api: Api<Deployment> = Api::namespaced(seat.client.clone(), &seat.namespace);
    let act = ResourceRequest::on_object(
        "get",
        "deployments.apps",
        OPERATOR_DEPLOYMENT,
        Some(&seat.namespace),
    );
    ask(act, api.get_opt(OPERATOR_DEPLOYMENT)).await
}

/// The reports; none where their kind is not defined yet. A report that cannot be parsed gives no fact about its node.
async fn reports(seat: &NamespaceClient) -> Result<Vec<NodeReport>, ClusterError> {
    let found: Vec<ReadResult<NodeReport>> = match list(seat).await {
        Err(ClusterError::NotDefined { .. }) => Vec::new(),
        other => other?,
    };
    Ok(found.into_iter().flatten().collect())
}

fn request(verb: &'static str, resource: String) -> ResourceRequest {
    ResourceRequest {
        verb,
        resource,
        name: None,
        namespace: None,
    }
}

/// All objects of a kind of the cluster, page by page.
pub(super) async fn every<K>(seat: &NamespaceClient) -> Result<Vec<K>, ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let group = K::group(&());
    let resource = match group.as_ref() {
        "" => K::plural(&()).into_owned(),
        group => format!("{}.{group}", K::plural(&())),
    };
    let api: Api<K> = Api::all(seat.client.clone());
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = ask(request("list", resource.clone()), api.list(&page)).await?;
        found.extend(list.items);
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() => page = page.continue_token(&token),
            _ => return Ok(found),
        }
    }
}

async fn rights(seat: &NamespaceClient) -> Result<Vec<RightAnswer>, ClusterError> {
    let mut answers = Vec::new();
    for right in wanted_rights() {
        let is_allowed = may(seat, &right).await?;
        answers.push(RightAnswer { right, is_allowed });
    }
    Ok(answers)
}

async fn may(seat: &NamespaceClient, right: &AccessRight) -> Result<bool, ClusterError> {
    let api: Api<SelfSubjectAccessReview> = Api::all(seat.client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(right.verb.to_owned()),
                group: Some(right.group.to_owned()),
                resource: Some(right.resource.to_owned()),
                namespace: right.is_namespaced.then(|| seat.namespace.clone()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let resource = "selfsubjectaccessreviews.authorization.k8s.io".to_owned();
    let params = PostParams::default();
    let answer = ask(request("create", resource), api.create(&params, &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
