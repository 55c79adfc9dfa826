//! What is gone may have gone with something else: a namespace or the definition, whose own watch has not said so yet.
//! Watches of different kinds keep no order among each other, so objects are read from the API server before anything loosens.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use postern_apiserver::{ApiError, ApiVerb, Failure, within};
use postern_compile::snapshot::{
    CompilerMemory, Definitions, Labels, Lifecycle, SnapshotNamespace,
};
use postern_compile::{baseline_of, baseline_policies, intake};
use postern_crds::cluster_egress_policy::Tier;
use postern_intent::{NodeDocument, Uid};

use super::definition::PolicyDefinition;
use super::inputs::ClusterInputs;
use crate::lease::LEASE;
use crate::pipeline::error::PipelineError;
use crate::pipeline::gathered::GatheredState;
use crate::pipeline::memory::MemoryContents;
use crate::watches::{ADMIN_DEFINITION, DEFINITION};

/// Objects as the API server has them, not as a watch has shown them.
#[derive(Debug, Clone)]
pub struct LiveObjects {
    pub definition: PolicyDefinition,
    pub namespaces: Vec<SnapshotNamespace>,
    /// The version of the list of namespaces.
    pub revision: Option<String>,
}

/// Is something gone, so that a release could follow: a policy that was remembered, or a namespace's `deny`?
#[must_use]
pub(super) fn is_doubtful(inputs: &ClusterInputs, memory: &CompilerMemory) -> bool {
    let there: BTreeMap<_, _> = inputs
        .policies
        .iter()
        .map(|policy| (&policy.uid, policy))
        .collect();
    let namespaces = inputs.namespaces.iter();
    let baselines: BTreeSet<Uid> = namespaces
        .filter_map(|one| baseline_of(&inputs.settings, &inputs.cluster_policies, one))
        .collect();
    let gone = memory
        .policies
        .values()
        .flat_map(BTreeMap::keys)
        .any(|uid| !there.contains_key(uid) && !baselines.contains(uid));
    let denying = |name: &postern_intent::Namespace| {
        inputs
            .namespaces
            .iter()
            .any(|namespace| namespace.name == *name && namespace.denies())
    };
    gone || memory.deny.iter().any(|name| !denying(name))
}

/// Does a published document carry rules of administrators whose policy is gone, so that they could go with its definition?
pub(super) fn lacks_administrators<'a>(
    published: impl Iterator<Item = &'a NodeDocument>,
    inputs: &ClusterInputs,
) -> bool {
    let there = |tier| -> BTreeSet<&str> {
        let policies = inputs.cluster_policies.iter();
        let of_tier = policies.filter(|policy| policy.tier == tier || policy.rules.is_err());
        of_tier.map(|policy| policy.name.as_str()).collect()
    };
    let (admin, baseline) = (there(Tier::Admin), there(Tier::Baseline));
    let mut scopes = published.flat_map(|document| &document.firewall);
    scopes.any(|scope| {
        let mut carried = scope.terms.admin.iter();
        carried.any(|policy| !admin.contains(policy.name.as_str()))
            || !baseline_policies(scope).is_subset(&baseline)
    })
}

/// Whether the definition of policies of administrators is there, as the API server has it.
///
/// # Errors
/// [`PipelineError::Api`].
pub(super) async fn confirm_administrators(client: &Client) -> Result<Definitions, PipelineError> {
    let found = ask_definition(client, ADMIN_DEFINITION).await;
    Ok(found.map_err(PipelineError::Api)?.state)
}

/// Is something gone that was still there, or not yet asked about, at the last compile?
pub(in crate::pipeline) fn is_new_doubt(
    last: &GatheredState,
    inputs: &ClusterInputs,
    remembered: &MemoryContents,
    epoch: u64,
) -> bool {
    last.remembered != *remembered
        || last.inputs.policies != inputs.policies
        || last.epoch != epoch
        || labels(&last.inputs.namespaces) != labels(&inputs.namespaces)
}

/// The newest revisions that were known before the objects were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownRevisions {
    /// Of the operator's lease, which is written every few seconds: a store that went back shows an older one.
    pub lease: Option<u64>,
    /// Of the namespaces, for a cluster whose leases are in another store.
    pub namespaces: Option<u64>,
}

/// Asks the API server.
///
/// # Errors
/// [`PipelineError::WentBack`]: what it shows is older than what it has shown. [`PipelineError::Api`].
pub async fn confirm(
    client: &Client,
    namespace: &str,
    known: KnownRevisions,
) -> Result<LiveObjects, PipelineError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let request = leases.get_metadata_opt(LEASE);
    let lease = within(ApiVerb::Get, "the operator's lease", request).await;
    let lease = lease.map_err(PipelineError::Api)?;
    let lease = lease.and_then(|lease| lease.metadata.resource_version);
    refuse_older("leases", lease.as_deref(), known.lease)?;
    let definition = ask_definition(client, DEFINITION).await;
    let definition = definition.map_err(PipelineError::Api)?;
    let api: Api<v1::Namespace> = Api::all(client.clone());
    let everything = ListParams::default();
    let request = api.list_metadata(&everything);
    let listed = within(ApiVerb::List, "Namespaces", request).await;
    let listed = listed.map_err(PipelineError::Api)?;
    let revision = listed.metadata.resource_version;
    refuse_older("namespaces", revision.as_deref(), known.namespaces)?;
    let mut namespaces: Vec<SnapshotNamespace> =
        listed.items.into_iter().filter_map(namespace_of).collect();
    namespaces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(LiveObjects {
        definition,
        revision,
        namespaces,
    })
}

/// Only versions of one resource are compared. A version that is no number is skipped.
fn refuse_older(
    resource: &'static str,
    found: Option<&str>,
    newest: Option<u64>,
) -> Result<(), PipelineError> {
    let found = found.and_then(|text| text.parse::<u64>().ok());
    match (found, newest) {
        (Some(found), Some(newest)) if found < newest => Err(PipelineError::WentBack {
            resource,
            found,
            newest,
        }),
        _ => Ok(()),
    }
}

async fn ask_definition(client: &Client, name: &str) -> Result<PolicyDefinition, ApiError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let request = definitions.get_metadata(name);
    match within(ApiVerb::Get, "a definition of policies", request).await {
        Ok(found) => Ok(PolicyDefinition::of(Some(&found.metadata))),
        Err(error) if error.failure() == Failure::Missing => Ok(PolicyDefinition::of(None)),
        Err(error) => Err(error),
    }
}

fn namespace_of(found: PartialObjectMeta<v1::Namespace>) -> Option<SnapshotNamespace> {
    intake::namespace(&v1::Namespace {
        metadata: found.metadata,
        ..v1::Namespace::default()
    })
    .ok()
}

/// What of namespaces can loosen something.
fn labels(
    namespaces: &[SnapshotNamespace],
) -> Vec<(&postern_intent::Namespace, &Labels, Lifecycle)> {
    namespaces
        .iter()
        .map(|found| (&found.name, &found.labels, found.lifecycle))
        .collect()
}
