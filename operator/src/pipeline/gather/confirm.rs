//! What is gone may have gone with something else: a namespace or the definition, whose own watch has not said so yet.
//! Watches of different kinds keep no order among each other, so the API server is asked before anything loosens.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use postern_compile::intake;
use postern_compile::snapshot::{Memory, Namespace};

use super::definition::Definition;
use super::inputs::Inputs;
use crate::api::{Act, ApiError, Failure, within};

/// What the API server says when it is asked, not what a watch has shown.
#[derive(Debug, Clone)]
pub struct Live {
    /// The definition.
    pub definition: Definition,
    /// All namespaces.
    pub namespaces: Vec<Namespace>,
    /// The store's revision, as far as it is a number.
    pub revision: Option<u64>,
}

/// Is something gone, so that a release could follow: a policy that was remembered, or a namespace's `deny`?
#[must_use]
pub fn is_doubtful(inputs: &Inputs, memory: &Memory) -> bool {
    let there: BTreeMap<_, _> = inputs
        .policies
        .iter()
        .map(|policy| (&policy.uid, policy))
        .collect();
    let gone = memory
        .policies
        .values()
        .flat_map(BTreeMap::keys)
        .any(|uid| !there.contains_key(uid));
    let denying = |name: &postern_intent::Namespace| {
        inputs
            .namespaces
            .iter()
            .any(|namespace| namespace.name == *name && namespace.denies())
    };
    gone || memory.deny.iter().any(|name| !denying(name))
}

/// Asks.
///
/// # Errors
/// [`ApiError`].
pub async fn confirm(client: &Client) -> Result<Live, ApiError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = crate::controllers::DEFINITION;
    let found = within(
        Act::Get,
        "the definition of policies",
        definitions.get_metadata(name),
    )
    .await;
    let definition = match found {
        Ok(found) => Definition::of(Some(&found.metadata)),
        Err(error) if error.failure() == Failure::Missing => Definition::of(None),
        Err(error) => return Err(error),
    };
    let api: Api<v1::Namespace> = Api::all(client.clone());
    let everything = ListParams::default();
    let request = api.list_metadata(&everything);
    let listed = within(Act::List, "Namespaces", request).await?;
    let revision = listed.metadata.resource_version.as_deref();
    Ok(Live {
        definition,
        revision: revision.and_then(|text| text.parse().ok()),
        namespaces: listed.items.into_iter().filter_map(namespace).collect(),
    })
}

fn namespace(found: PartialObjectMeta<v1::Namespace>) -> Option<Namespace> {
    intake::namespace(&v1::Namespace {
        metadata: found.metadata,
        ..v1::Namespace::default()
    })
    .ok()
}
