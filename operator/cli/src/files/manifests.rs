//! Manifests: YAML or JSON files with any number of documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1;
use postern_compile::publish::CredentialStore;
use postern_crds::names::SYSTEM_NAMESPACE;
use postern_crds::{ClusterEgressPolicy, EgressPolicy, ExitNode, InterfaceIsolation};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::FilesError;
use super::unknown::unknown;
use super::write::entries;
use crate::schema::{SchemaError, judge, prune};

/// Everything that manifests hold, of the kinds that are looked at. Others, such as a Deployment beside a policy,
/// are passed over.
#[derive(Debug, Clone, Default)]
pub struct ManifestObjects {
    pub exits: Vec<ExitNode>,
    pub policies: Vec<EgressPolicy>,
    pub cluster_policies: Vec<ClusterEgressPolicy>,
    pub isolations: Vec<InterfaceIsolation>,
    pub nodes: Vec<v1::Node>,
    pub pods: Vec<v1::Pod>,
    pub services: Vec<v1::Service>,
    pub namespaces: Vec<v1::Namespace>,
    /// Of the Secrets in the operator's namespace, or in none.
    pub credentials: CredentialStore,
}

/// One document, its file and its position there.
struct ManifestDocument {
    path: PathBuf,
    position: usize,
    value: Value,
}

impl ManifestObjects {
    /// Reads a file, or every `.yaml`, `.yml` and `.json` file below a folder.
    ///
    /// # Errors
    /// [`FilesError`] of the first file that cannot be read or understood: half of the manifests is not what anybody
    /// asked for.
    pub fn read(path: &Path) -> Result<Self, FilesError> {
        let mut objects = Self::default();
        let mut seen = BTreeSet::new();
        for file in files(path)? {
            for document in documents(&file)? {
                objects.take(document, &mut seen)?;
            }
        }
        Ok(objects)
    }

    fn take(
        &mut self,
        mut document: ManifestDocument,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), FilesError> {
        prune(&mut document.value).map_err(|source| document.invalid(source))?;
        let text = |value: &Value, field: &str| {
            value
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (version, kind) = (
            text(&document.value, "apiVersion"),
            text(&document.value, "kind"),
        );
        let metadata = document.value.get("metadata").cloned().unwrap_or_default();
        let object = format!(
            "{kind} {}/{}",
            text(&metadata, "namespace"),
            text(&metadata, "name")
        );
        let of = |expected: &str| version == expected;
        let own = postern_crds::names::API_VERSION;
        match kind.as_str() {
            "ExitNode" if of(own) => self.exits.push(document.parse(&kind)?),
            "EgressPolicy" if of(own) => self.policies.push(document.parse(&kind)?),
            "ClusterEgressPolicy" if of(own) => {
                self.cluster_policies.push(document.parse(&kind)?);
            }
            "InterfaceIsolation" if of(own) => self.isolations.push(document.parse(&kind)?),
            "Node" if of("v1") => self.nodes.push(document.parse(&kind)?),
            "Pod" if of("v1") => self.pods.push(document.parse(&kind)?),
            "Service" if of("v1") => self.services.push(document.parse(&kind)?),
            "Namespace" if of("v1") => self.namespaces.push(document.parse(&kind)?),
            "Secret" if of("v1") => {
                let namespace = text(&metadata, "namespace");
                if namespace.is_empty() || namespace == SYSTEM_NAMESPACE {
                    let secret = document.parse(&kind)?;
                    self.credentials.add(text(&metadata, "name"), &secret);
                }
            }
            // A typo in the version or the kind would make an object vanish, and what vanishes counts as deleted.
            _ if version.starts_with(postern_crds::names::GROUP) => {
                return Err(document.unknown(&version, &kind));
            }
            _ => return Ok(()),
        }
        document.check(&kind)?;
        let uid = text(&metadata, "uid");
        if !uid.is_empty() && !seen.insert(format!("{kind} with the uid {uid}")) {
            return Err(FilesError::Duplicate {
                object: format!("{kind} with the uid {uid}"),
                path: document.path,
            });
        }
        if seen.insert(object.clone()) {
            Ok(())
        } else {
            Err(FilesError::Duplicate {
                object,
                path: document.path,
            })
        }
    }
}

impl ManifestDocument {
    fn unknown(&self, version: &str, kind: &str) -> FilesError {
        let own = postern_crds::names::API_VERSION;
        let message = format!("{version} {kind} is no kind of {own}");
        FilesError::Document {
            path: self.path.clone(),
            document: self.position,
            kind: kind.to_owned(),
            source: serde::de::Error::custom(message),
        }
    }

    fn check(&self, kind: &str) -> Result<(), FilesError> {
        match unknown(kind, &self.value)? {
            Some(field) => Err(FilesError::Unknown {
                path: self.path.clone(),
                document: self.position,
                kind: kind.to_owned(),
                field,
            }),
            None => judge(&self.value).map_err(|source| self.invalid(source)),
        }
    }

    fn invalid(&self, source: SchemaError) -> FilesError {
        FilesError::Schema {
            path: self.path.clone(),
            document: self.position,
            source,
        }
    }

    fn parse<T: DeserializeOwned>(&self, kind: &str) -> Result<T, FilesError> {
        serde_json::from_value(self.value.clone()).map_err(|source| FilesError::Document {
            path: self.path.clone(),
            document: self.position,
            kind: kind.to_owned(),
            source,
        })
    }
}

/// Manifests below a path. A folder that is not there, or a link that leads nowhere, is an error: an empty answer would
/// count every policy as deleted.
fn files(path: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let found = |path: &Path| {
        fs::metadata(path).map_err(|source| FilesError::Read {
            path: path.to_owned(),
            source,
        })
    };
    if found(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut all = Vec::new();
    for entry in entries(path)? {
        let extension = entry.extension().and_then(|extension| extension.to_str());
        if found(&entry)?.is_dir() {
            all.extend(files(&entry)?);
        } else if matches!(extension, Some("yaml" | "yml" | "json")) {
            all.push(entry);
        }
    }
    Ok(all)
}

fn documents(path: &Path) -> Result<Vec<ManifestDocument>, FilesError> {
    let text = fs::read_to_string(path).map_err(|source| FilesError::Read {
        path: path.to_owned(),
        source,
    })?;
    let values = parse_yaml(&text).map_err(|source| FilesError::Yaml {
        path: path.to_owned(),
        source,
    })?;
    let mut documents = Vec::new();
    for (position, value) in values.into_iter().enumerate() {
        let position = position + 1;
        // `kubectl get -o yaml` puts many objects into one list.
        let is_list = value
            .get("kind")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.ends_with("List"));
        match value.get("items").and_then(Value::as_array) {
            Some(items) if is_list => documents.extend(items.iter().map(|item| ManifestDocument {
                path: path.to_owned(),
                position,
                value: item.clone(),
            })),
            _ => documents.push(ManifestDocument {
                path: path.to_owned(),
                position,
                value,
            }),
        }
    }
    Ok(documents)
}

/// Parses YAML of many documents.
fn parse_yaml(text: &str) -> Result<Vec<Value>, Box<serde_saphyr::Error>> {
    let mut budget = serde_saphyr::Budget::default();
    // A cluster of a few thousand pods in one file passes the default of 250 000 nodes.
    budget.max_nodes = 50_000_000;
    budget.max_events = 100_000_000;
    // Kubernetes reads YAML 1.2 booleans only: the label value `on` is a text.
    let options = serde_saphyr::options! { strict_booleans: true, budget: Some(budget) };
    serde_saphyr::from_multiple_with_options(text, options).map_err(Box::new)
}
