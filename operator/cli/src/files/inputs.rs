//! Everything that a compile on files reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use postern_compile::gate::Approval;
use postern_compile::intake;
use postern_compile::publish::CredentialStore;
use postern_compile::snapshot::{CompilerSettings, Definitions, Snapshot, SnapshotReport};
use postern_crds::NodeReport;
use postern_crds::names::{EGRESS_DEFAULT_LABEL, EGRESS_DENY};
use postern_crds::node_report::KeyProof;
use postern_intent::possession::{Claim, is_proved};
use serde::{Deserialize, Serialize};

use super::earlier_runs::EarlierRuns;
use super::error::FilesError;
use super::identity::Registrar;
use super::manifests::ManifestObjects;
use super::state::PublisherState;
use super::write::{entries, read_optional};
use crate::full_name::name_of;

/// Where the inputs are.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Manifests: a file or a folder.
    pub manifests: PathBuf,
    pub reports: Option<PathBuf>,
    pub approvals: Option<PathBuf>,
}

#[derive(Debug)]
pub struct FileInputs {
    pub snapshot: Snapshot,
    /// Credentials of external exits, of which the snapshot has the facts.
    pub credentials: CredentialStore,
    /// Reports that were passed over, with the reason: a node that writes nonsense stops nobody else.
    pub ignored_reports: BTreeMap<PathBuf, String>,
    /// Pods that are bound to no node, or have finished, as `namespace/name`: the snapshot leaves them out.
    pub unbound: BTreeSet<String>,
}

/// The content of `approvals.yaml`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalsFile {
    /// One for each change that a person let through.
    #[serde(default)]
    pub approvals: Vec<Approval>,
}

impl FileInputs {
    /// Reads everything. Identities that objects lack are taken from the state and kept there. Reports prove their keys to
    /// `keys`, the ones that sign; without any, nothing can be published, and what a report proves is taken as good.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn read(
        sources: &Sources,
        known: &mut EarlierRuns,
        settings: CompilerSettings,
        keys: &[SigningKey],
        now: Timestamp,
    ) -> Result<Self, FilesError> {
        let mut objects = ManifestObjects::read(&sources.manifests)?;
        add_namespaces(&mut objects, &known.state);
        identify(&mut objects, &mut known.state);
        let (reports, ignored_reports) = match &sources.reports {
            Some(folder) => read_reports(folder, keys, now)?,
            None => Default::default(),
        };
        let approvals = sources
            .approvals
            .as_deref()
            .map(read_approvals)
            .transpose()?
            .unwrap_or_default();
        let pods = objects
            .pods
            .iter()
            .map(intake::pod)
            .collect::<Result<Vec<_>, _>>()?;
        let unbound = objects.pods.iter().zip(&pods);
        let unbound = unbound.filter(|(_, pod)| pod.is_none());
        let unbound = unbound.map(|(object, _)| name_of(&object.metadata));
        let unbound = unbound.collect();
        let services = objects
            .services
            .iter()
            .map(intake::service)
            .collect::<Result<Vec<_>, _>>()?;
        let policies = objects
            .policies
            .iter()
            .map(|object| intake::policy(object, &settings));
        let tiers = objects.cluster_policies.iter().map(intake::cluster_policy);
        let credentials = objects.credentials;
        let snapshot = Snapshot {
            now,
            credentials: credentials.facts(),
            exits: objects
                .exits
                .iter()
                .map(intake::exit)
                .collect::<Result<_, _>>()?,
            policies: policies.collect::<Result<_, _>>()?,
            cluster_policies: tiers.collect::<Result<_, _>>()?,
            isolations: objects
                .isolations
                .iter()
                .map(intake::isolation)
                .collect::<Result<_, _>>()?,
            nodes: objects
                .nodes
                .iter()
                .map(intake::node)
                .collect::<Result<_, _>>()?,
            pods: pods.into_iter().flatten().collect(),
            namespaces: objects
                .namespaces
                .iter()
                .map(intake::namespace)
                .collect::<Result<_, _>>()?,
            reports,
            services: services.into_iter().flatten().collect(),
            previous: known.published.previous(),
            previous_cluster: known.published.previous_cluster(),
            unreadable: known.published.unreadable(),
            cluster_is_own: false,
            awaited: BTreeSet::new(),
            memory: known.state.memory.clone(),
            approvals,
            definitions: Definitions::Serving,
            admin_definition: Definitions::Serving,
            settings,
        };
        Ok(Self {
            snapshot,
            credentials,
            ignored_reports,
            unbound,
        })
    }
}

/// Files need not say that a namespace exists. One that denied and whose file is gone is taken for one that is going:
/// nothing loosens by a missing file. A file without the label lifts the denial.
fn add_namespaces(objects: &mut ManifestObjects, state: &PublisherState) {
    let named: BTreeSet<String> = objects
        .namespaces
        .iter()
        .filter_map(|namespace| namespace.metadata.name.clone())
        .collect();
    let denied: BTreeSet<&str> = state
        .memory
        .deny
        .iter()
        .map(postern_intent::Namespace::as_str)
        .collect();
    let of_pods = objects
        .pods
        .iter()
        .filter_map(|pod| pod.metadata.namespace.clone());
    let of_policies = objects
        .policies
        .iter()
        .filter_map(|policy| policy.metadata.namespace.clone());
    let missing: BTreeSet<String> = of_pods
        .chain(of_policies)
        .filter(|name| !denied.contains(name.as_str()))
        .collect();
    let missing = missing.into_iter().map(|name| ObjectMeta {
        name: Some(name),
        ..ObjectMeta::default()
    });
    let denying = denied.iter().map(|name| ObjectMeta {
        name: Some((*name).to_owned()),
        labels: Some([(EGRESS_DEFAULT_LABEL.to_owned(), EGRESS_DENY.to_owned())].into()),
        deletion_timestamp: Some(Time(Timestamp::UNIX_EPOCH)),
        ..ObjectMeta::default()
    });
    let absent = |metadata: &ObjectMeta| {
        metadata
            .name
            .as_ref()
            .is_none_or(|name| !named.contains(name))
    };
    let added = missing.chain(denying).filter(absent);
    objects
        .namespaces
        .extend(added.map(|metadata| v1::Namespace {
            metadata,
            ..v1::Namespace::default()
        }));
}

fn identify(objects: &mut ManifestObjects, state: &mut PublisherState) {
    let mut registrar = Registrar::new(&mut state.identities, &mut state.departed);
    for exit in &mut objects.exits {
        registrar.identify("ExitNode", &mut exit.metadata, &exit.spec);
    }
    for policy in &mut objects.policies {
        registrar.identify("EgressPolicy", &mut policy.metadata, &policy.spec);
    }
    for isolation in &mut objects.isolations {
        registrar.identify(
            "InterfaceIsolation",
            &mut isolation.metadata,
            &isolation.spec,
        );
    }
    for node in &mut objects.nodes {
        registrar.identify("Node", &mut node.metadata, &());
    }
    for pod in &mut objects.pods {
        registrar.identify("Pod", &mut pod.metadata, &());
    }
    registrar.finish();
}

type ReadReports = (Vec<SnapshotReport>, BTreeMap<PathBuf, String>);

/// The largest report, in bytes: the schema's bounds keep a real one far below it.
const REPORT_LIMIT: u64 = 256 * 1024;

/// Why a node's file is not read at all: a folder, a pipe that would be waited for, or more than a report can be.
fn unusual(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Some("it is no regular file".to_owned()),
        Ok(found) if found.len() > REPORT_LIMIT => {
            Some(format!("it has more than {REPORT_LIMIT} bytes"))
        }
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Reads `<node>.json` of every node. A file speaks for the node that it is named after and for no other.
fn read_reports(
    folder: &Path,
    keys: &[SigningKey],
    now: Timestamp,
) -> Result<ReadReports, FilesError> {
    let proves = |claim: &Claim<'_>, proofs: &[KeyProof]| {
        let proofs = proofs
            .iter()
            .map(|one| (one.key_id.as_str(), one.mac.as_str()));
        keys.is_empty() || is_proved(keys, claim, proofs)
    };
    let mut reports = Vec::new();
    let mut ignored = BTreeMap::new();
    for path in entries(folder)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
    {
        if let Some(why) = unusual(&path) {
            ignored.insert(path, why);
            continue;
        }
        let Some(json) = read_optional(&path)? else {
            continue;
        };
        let parsed = serde_json::from_slice::<NodeReport>(&json)
            .map_err(|error| error.to_string())
            .and_then(|object| {
                intake::report(&object, now, &proves).map_err(|error| error.to_string())
            });
        match parsed {
            Ok(report)
                if path
                    .file_stem()
                    .is_some_and(|stem| stem == report.node.as_str()) =>
            {
                reports.push(report)
            }
            Ok(report) => {
                ignored.insert(path, format!("it speaks for node {}", report.node));
            }
            Err(reason) => {
                ignored.insert(path, reason);
            }
        }
    }
    Ok((reports, ignored))
}

/// Reads approvals; none if there is no such file.
///
/// # Errors
/// [`FilesError::Read`] or [`FilesError::Yaml`].
pub fn read_approvals(path: &Path) -> Result<Vec<Approval>, FilesError> {
    let Some(yaml) = read_optional(path)? else {
        return Ok(Vec::new());
    };
    let text = String::from_utf8_lossy(&yaml);
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parsed: ApprovalsFile =
        serde_saphyr::from_str(&text).map_err(|source| FilesError::Yaml {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
    Ok(parsed.approvals)
}
