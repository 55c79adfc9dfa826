//! What explains one pod or one policy, read with the rights of the person who asks.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource};
use postern_crds::{EgressPolicy, ExitNode, NodeIntent};

use super::ask::ask;
use super::error::ClusterError;
use super::namespace_client::NamespaceClient;
use super::read::{ReadResult, read};
use super::request::ResourceRequest;

/// A pod with what decides about it. What could not be read is named.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodView {
    pub pod: v1::Pod,
    /// Its namespace; none: it could not be read.
    pub namespace: Option<v1::Namespace>,
    /// The policies of the namespace.
    pub policies: Vec<ReadResult<EgressPolicy>>,
    /// The exits of the policy that decides; empty until they are read.
    pub exits: ReadExits,
    /// What could not be read, and which right is missing.
    pub unread: Vec<String>,
}

/// The exits that a policy names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadExits {
    /// By name. One that could not be read is missing here, one that does not exist is none.
    pub by_name: BTreeMap<String, Option<ExitNode>>,
    /// The rights that are missing. A tenant has none to exits, and its answer is whole without them.
    pub not_permitted: Vec<String>,
    /// Exits that are not understood.
    pub unread: Vec<String>,
}

/// A policy with the exits that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyView {
    pub policy: ReadResult<EgressPolicy>,
    pub exits: ReadExits,
}

/// A pod with what decides about it; none: there is no such pod.
pub(super) async fn pod(
    seat: &NamespaceClient,
    namespace: &str,
    name: &str,
) -> Result<Option<PodView>, ClusterError> {
    let Some(pod) = bare_pod(seat, namespace, name).await? else {
        return Ok(None);
    };
    let mut view = PodView {
        pod,
        ..PodView::default()
    };
    let namespaces: Api<v1::Namespace> = Api::all(seat.client.clone());
    let act = ResourceRequest::on_object("get", "namespaces", namespace, None);
    let found = ask(act, namespaces.get_opt(namespace)).await;
    view.namespace = permitted(found, &mut view.unread)?.flatten();
    let policies = permitted(policies(seat, namespace).await, &mut view.unread)?;
    view.policies = policies.unwrap_or_default();
    Ok(Some(view))
}

/// A pod alone; none: there is no such pod.
pub(super) async fn bare_pod(
    seat: &NamespaceClient,
    namespace: &str,
    name: &str,
) -> Result<Option<v1::Pod>, ClusterError> {
    let pods: Api<v1::Pod> = Api::namespaced(seat.client.clone(), namespace);
    let act = ResourceRequest::on_object("get", "pods", name, Some(namespace));
    ask(act, pods.get_opt(name)).await
}

/// A policy with the exits that it names; none: there is no such policy.
pub(super) async fn policy(
    seat: &NamespaceClient,
    namespace: &str,
    name: &str,
) -> Result<Option<PolicyView>, ClusterError> {
    let act = ResourceRequest::on_object("get", POLICIES, name, Some(namespace));
    let api = dynamic::<EgressPolicy>(seat, Some(namespace));
    let Some(object) = ask(act, api.get_opt(name)).await? else {
        return Ok(None);
    };
    let policy: ReadResult<EgressPolicy> = read(object);
    let exits = match &policy {
        Ok(policy) => exits(seat, policy).await?,
        Err(_) => ReadExits::default(),
    };
    Ok(Some(PolicyView { policy, exits }))
}

const POLICIES: &str = "egresspolicies.postern.dev";
const EXITS: &str = "exitnodes.postern.dev";
const INTENTS: &str = "nodeintents.postern.dev";

/// Objects as the API server has them: one that this program does not understand hides no other.
fn dynamic<K: Resource<DynamicType = ()>>(
    seat: &NamespaceClient,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    match namespace {
        Some(namespace) => Api::namespaced_with(seat.client.clone(), namespace, &resource),
        None => Api::all_with(seat.client.clone(), &resource),
    }
}

async fn policies(
    seat: &NamespaceClient,
    namespace: &str,
) -> Result<Vec<ReadResult<EgressPolicy>>, ClusterError> {
    let act = ResourceRequest {
        verb: "list",
        resource: POLICIES.to_owned(),
        name: None,
        namespace: Some(namespace.to_owned()),
    };
    let api = dynamic::<EgressPolicy>(seat, Some(namespace));
    let found = ask(act, api.list(&ListParams::default())).await;
    let list = found.map_err(|error| undefined(error, POLICIES))?;
    Ok(list.items.into_iter().map(read).collect())
}

/// The exits that a policy names.
pub(super) async fn exits(
    seat: &NamespaceClient,
    policy: &EgressPolicy,
) -> Result<ReadExits, ClusterError> {
    let mut exits = ReadExits::default();
    let named = policy.spec.route.exit_nodes.iter();
    let names: BTreeSet<&str> = named.map(|exit| exit.name.as_str()).collect();
    for name in names {
        let act = ResourceRequest::on_object("get", EXITS, name, None);
        let asked = ask(act, dynamic::<ExitNode>(seat, None).get_opt(name)).await;
        let Some(found) = permitted(asked, &mut exits.not_permitted)? else {
            continue;
        };
        match found.map(read::<ExitNode>).transpose() {
            Ok(exit) => {
                exits.by_name.insert(name.to_owned(), exit);
            }
            Err(bad) => {
                let why = format!("ExitNode {name} is not understood: {}", bad.why);
                exits.unread.push(why);
            }
        }
    }
    Ok(exits)
}

/// What is published under this name; none: nothing is.
pub(super) async fn intent(
    seat: &NamespaceClient,
    name: &str,
) -> Result<Option<ReadResult<NodeIntent>>, ClusterError> {
    let act = ResourceRequest::on_object("get", INTENTS, name, None);
    let found = ask(act, dynamic::<NodeIntent>(seat, None).get_opt(name)).await?;
    Ok(found.map(read))
}

/// A missing right is no failure: the answer says what it leaves out.
fn permitted<T>(
    answer: Result<T, ClusterError>,
    missing: &mut Vec<String>,
) -> Result<Option<T>, ClusterError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error @ ClusterError::Forbidden { .. }) => {
            missing.push(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn undefined(error: ClusterError, resource: &str) -> ClusterError {
    match error.code() {
        Some(404) => ClusterError::NotDefined {
            resource: resource.to_owned(),
        },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use postern_crds::EgressPolicy;
    use serde_json::json;

    use super::{exits, intent};
    use crate::cluster::answering::{answering, failure};

    #[tokio::test]
    async fn the_rights_to_exits_are_named_where_they_are_missing_and_nothing_is_unread() {
        let (seat, asked) = answering(vec![failure(403, "Forbidden"), failure(404, "NotFound")]);
        let policy = json!({
            "metadata": {"namespace": "shop", "name": "crawler"},
            "spec": {
                "podSelector": {}, "defaultAction": "Allow",
                "route": {"type": "Exit", "exitNodes": [{"name": "eu"}, {"name": "us"}]},
            },
        });
        let policy: EgressPolicy = serde_json::from_value(policy).expect("a policy");
        let found = exits(&seat, &policy).await.expect("exits");
        let [right] = &found.not_permitted[..] else {
            panic!("one missing right, not {found:?}");
        };
        assert!(right.contains("get exitnodes.postern.dev eu"), "{right}");
        assert!(found.unread.is_empty());
        assert_eq!(found.by_name, [("us".to_owned(), None)].into());
        assert_eq!(asked.lock().expect("a list").len(), 2);
    }

    #[tokio::test]
    async fn the_right_to_what_is_published_is_named_with_the_role_that_has_it() {
        let (seat, asked) = answering(vec![failure(403, "Forbidden")]);
        let refused = intent(&seat, "n1").await.expect_err("a missing right");
        let refused = refused.to_string();
        for words in ["get nodeintents.postern.dev n1", "postern-approver"] {
            assert!(refused.contains(words), "{refused}");
        }
        assert_eq!(asked.lock().expect("a list").len(), 1);
    }
}
