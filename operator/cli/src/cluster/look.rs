//! What explains one pod or one policy, read with the rights of the person who asks.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource};
use postern_crds::{EgressPolicy, ExitNode};

use super::ask::{Act, ask};
use super::error::ClusterError;
use super::read::{Readable, read};
use super::seat::Seat;

/// A pod with what decides about it. What could not be read is named.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodView {
    /// The pod.
    pub pod: v1::Pod,
    /// Its namespace; none: it could not be read.
    pub namespace: Option<v1::Namespace>,
    /// The policies of the namespace.
    pub policies: Vec<Readable<EgressPolicy>>,
    /// The exits that these name, by name. One that could not be read is missing here, one that does not exist is none.
    pub exits: BTreeMap<String, Option<ExitNode>>,
    /// What could not be read, and which right is missing.
    pub unread: Vec<String>,
}

/// A policy with the exits that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyView {
    /// The policy.
    pub policy: Readable<EgressPolicy>,
    /// As [`PodView::exits`].
    pub exits: BTreeMap<String, Option<ExitNode>>,
    /// As [`PodView::unread`].
    pub unread: Vec<String>,
}

/// A pod with what decides about it; none: there is no such pod.
pub(super) async fn pod(
    seat: &Seat,
    namespace: &str,
    name: &str,
) -> Result<Option<PodView>, ClusterError> {
    let pods: Api<v1::Pod> = Api::namespaced(seat.client.clone(), namespace);
    let act = Act::on_object("get", "pods", name, Some(namespace));
    let Some(pod) = ask(act, pods.get_opt(name)).await? else {
        return Ok(None);
    };
    let mut view = PodView {
        pod,
        ..PodView::default()
    };
    let namespaces: Api<v1::Namespace> = Api::all(seat.client.clone());
    let act = Act::on_object("get", "namespaces", namespace, None);
    let found = ask(act, namespaces.get_opt(namespace)).await;
    view.namespace = permitted(found, &mut view.unread)?.flatten();
    let policies = permitted(policies(seat, namespace).await, &mut view.unread)?;
    view.policies = policies.unwrap_or_default();
    let readable = view
        .policies
        .iter()
        .filter_map(|policy| policy.as_ref().ok());
    let names: Vec<String> = readable.flat_map(named_exits).collect();
    view.exits = exits(seat, names, &mut view.unread).await?;
    Ok(Some(view))
}

/// A policy with the exits that it names; none: there is no such policy.
pub(super) async fn policy(
    seat: &Seat,
    namespace: &str,
    name: &str,
) -> Result<Option<PolicyView>, ClusterError> {
    let act = Act::on_object("get", POLICIES, name, Some(namespace));
    let api = dynamic::<EgressPolicy>(seat, Some(namespace));
    let Some(object) = ask(act, api.get_opt(name)).await? else {
        return Ok(None);
    };
    let policy: Readable<EgressPolicy> = read(object);
    let mut unread = Vec::new();
    let names = policy.iter().flat_map(named_exits).collect();
    let exits = exits(seat, names, &mut unread).await?;
    Ok(Some(PolicyView {
        policy,
        exits,
        unread,
    }))
}

const POLICIES: &str = "egresspolicies.postern.dev";
const EXITS: &str = "exitnodes.postern.dev";

/// Objects as the API server has them: one that this program does not understand hides no other.
fn dynamic<K: Resource<DynamicType = ()>>(
    seat: &Seat,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    match namespace {
        Some(namespace) => Api::namespaced_with(seat.client.clone(), namespace, &resource),
        None => Api::all_with(seat.client.clone(), &resource),
    }
}

async fn policies(
    seat: &Seat,
    namespace: &str,
) -> Result<Vec<Readable<EgressPolicy>>, ClusterError> {
    let act = Act {
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

fn named_exits(policy: &EgressPolicy) -> Vec<String> {
    let exits = policy.spec.route.exit_nodes.iter();
    exits.map(|exit| exit.name.clone()).collect()
}

async fn exits(
    seat: &Seat,
    mut names: Vec<String>,
    unread: &mut Vec<String>,
) -> Result<BTreeMap<String, Option<ExitNode>>, ClusterError> {
    names.sort();
    names.dedup();
    let mut exits = BTreeMap::new();
    for name in names {
        let act = Act::on_object("get", EXITS, &name, None);
        let asked = ask(act, dynamic::<ExitNode>(seat, None).get_opt(&name)).await;
        match permitted(asked, unread)? {
            Some(Some(object)) => match read::<ExitNode>(object) {
                Ok(exit) => {
                    exits.insert(name, Some(exit));
                }
                Err(bad) => unread.push(format!("ExitNode {name} is not understood: {}", bad.why)),
            },
            Some(None) => {
                exits.insert(name, None);
            }
            None => {}
        }
    }
    Ok(exits)
}

/// A missing right is no failure: the answer says what it leaves out.
fn permitted<T>(
    answer: Result<T, ClusterError>,
    unread: &mut Vec<String>,
) -> Result<Option<T>, ClusterError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error @ ClusterError::Forbidden { .. }) => {
            unread.push(error.to_string());
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
