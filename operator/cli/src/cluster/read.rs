//! What waits for an approval, and the objects that show the state of policies, exits and nodes.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource, ResourceExt as _};
use postern_compile::gate::PendingApproval;
use postern_crds::names::{HELD_ENTRY, MEMORY_CONFIG_MAP};
use postern_crds::{ClusterEgressPolicy, EgressPolicy, ExitNode, NodeIntent, NodeReport};
use serde::de::DeserializeOwned;

use super::ask::ask;
use super::error::ClusterError;
use super::namespace_client::NamespaceClient;
use super::request::ResourceRequest;
use crate::output::chain;

/// How many objects one request lists: intents are up to a megabyte each.
const PAGE: u32 = 50;

/// An object that this program does not understand. It hides no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableObject {
    pub namespace: Option<String>,
    pub name: String,
    pub why: String,
}

/// An object, or why it is none.
pub type ReadResult<K> = Result<K, UnreadableObject>;

/// The objects that show the state of policies, exits and nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterObjects {
    pub policies: Vec<ReadResult<EgressPolicy>>,
    /// None too where the definitions are older than the kind.
    pub cluster_policies: Vec<ReadResult<ClusterEgressPolicy>>,
    pub exits: Vec<ReadResult<ExitNode>>,
    /// What is published for nodes.
    pub intents: Vec<ReadResult<NodeIntent>>,
    pub reports: Vec<ReadResult<NodeReport>>,
    /// What waits for an approval.
    pub held: Vec<PendingApproval>,
}

/// What waits, as the operator last wrote it.
pub(super) async fn held(seat: &NamespaceClient) -> Result<Vec<PendingApproval>, ClusterError> {
    let api: Api<ConfigMap> = Api::namespaced(seat.client.clone(), &seat.namespace);
    let act = ResourceRequest::on_config_map("get", MEMORY_CONFIG_MAP, &seat.namespace);
    let map = ask(act, api.get_opt(MEMORY_CONFIG_MAP)).await?;
    let data = map.and_then(|map| map.data).unwrap_or_default();
    match data.get(HELD_ENTRY) {
        Some(json) => serde_json::from_str(json).map_err(ClusterError::Held),
        None => Err(undecided(seat).await),
    }
}

/// Why there is nothing that an operator wrote. Who may not look at namespaces hears the more general of the two.
async fn undecided(seat: &NamespaceClient) -> ClusterError {
    let namespace = seat.namespace.clone();
    let api: Api<Namespace> = Api::all(seat.client.clone());
    let act = ResourceRequest {
        verb: "get",
        resource: "namespaces".to_owned(),
        name: None,
        namespace: None,
    };
    match ask(act, api.get_opt(&namespace)).await {
        Ok(None) => ClusterError::NotInstalled { namespace },
        Ok(Some(_)) | Err(_) => ClusterError::NothingDecided { namespace },
    }
}

/// Everything that shows the state of policies, exits and nodes. What waits comes first: where nothing is installed, that says so best.
pub(super) async fn objects(seat: &NamespaceClient) -> Result<ClusterObjects, ClusterError> {
    Ok(ClusterObjects {
        held: held(seat).await?,
        policies: list(seat).await?,
        cluster_policies: match list(seat).await {
            Err(ClusterError::NotDefined { .. }) => Vec::new(),
            other => other?,
        },
        exits: list(seat).await?,
        intents: list(seat).await?,
        reports: list(seat).await?,
    })
}

/// All objects of a kind, page by page.
pub(super) async fn list<K>(seat: &NamespaceClient) -> Result<Vec<ReadResult<K>>, ClusterError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::all_with(seat.client.clone(), &resource);
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let act = ResourceRequest {
            verb: "list",
            resource: format!("{}.{}", resource.plural, resource.group),
            name: None,
            namespace: None,
        };
        let list = match ask(act, api.list(&page)).await {
            Err(error) if error.code() == Some(404) => {
                let resource = format!("{}.{}", resource.plural, resource.group);
                return Err(ClusterError::NotDefined { resource });
            }
            other => other?,
        };
        found.extend(list.items.into_iter().map(read));
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() => page = page.continue_token(&token),
            _ => return Ok(found),
        }
    }
}

pub(super) fn read<K: Resource<DynamicType = ()> + DeserializeOwned>(
    object: DynamicObject,
) -> ReadResult<K> {
    let (namespace, name) = (object.namespace(), object.name_any());
    object.try_parse().map_err(|error| UnreadableObject {
        namespace,
        name,
        why: chain(&error),
    })
}
