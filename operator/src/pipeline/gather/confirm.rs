//! What is gone may have gone with something else: a namespace or the definition, whose own watch has not said so yet.
//! Watches of different kinds keep no order among each other, so the API server is asked before anything loosens.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use postern_compile::intake;
use postern_compile::snapshot::{Labels, Lifecycle, Memory, Namespace};

use super::definition::Definition;
use super::inputs::Inputs;
use crate::api::{Act, ApiError, Failure, within};
use crate::pipeline::memory::MemoryContents;
use crate::pipeline::round::World;

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
pub(super) fn is_doubtful(inputs: &Inputs, memory: &Memory) -> bool {
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

/// Is something gone that was still there, or not yet asked about, at the last compile?
pub(in crate::pipeline) fn is_new_doubt(
    last: &World,
    inputs: &Inputs,
    remembered: &MemoryContents,
    epoch: u64,
) -> bool {
    last.remembered != *remembered
        || last.inputs.policies != inputs.policies
        || last.epoch != epoch
        || labels(&last.inputs.namespaces) != labels(&inputs.namespaces)
}

/// Asks the API server.
///
/// # Errors
/// [`ApiError`].
pub async fn confirm(client: &Client) -> Result<Live, ApiError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = crate::watches::DEFINITION;
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
    let mut namespaces: Vec<Namespace> = listed.items.into_iter().filter_map(namespace).collect();
    namespaces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Live {
        definition,
        revision: revision.and_then(|text| text.parse().ok()),
        namespaces,
    })
}

fn namespace(found: PartialObjectMeta<v1::Namespace>) -> Option<Namespace> {
    intake::namespace(&v1::Namespace {
        metadata: found.metadata,
        ..v1::Namespace::default()
    })
    .ok()
}

/// What of namespaces can loosen something.
fn labels(namespaces: &[Namespace]) -> Vec<(&postern_intent::Namespace, &Labels, Lifecycle)> {
    namespaces
        .iter()
        .map(|found| (&found.name, &found.labels, found.lifecycle))
        .collect()
}
