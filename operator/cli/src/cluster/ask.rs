//! One request to the API server in the words of RBAC, and what its failure means for the person who asked.

use std::fmt;

use postern_apiserver::in_time;

use super::error::ClusterError;

/// A request in the words of RBAC, which are also those of the right that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Verb, such as `get`.
    pub verb: &'static str,
    /// Resource with its group, such as `exitnodes.postern.dev`.
    pub resource: String,
    /// The object's name, if it is about one.
    pub name: Option<&'static str>,
    /// Namespace; none for all of them and for what is in none.
    pub namespace: Option<String>,
}

impl Act {
    /// About a ConfigMap.
    pub(super) fn on_config_map(verb: &'static str, name: &'static str, namespace: &str) -> Self {
        Self {
            verb,
            resource: "configmaps".to_owned(),
            // A right to create is never bound to a name (Kubernetes, RBAC: "Referring to resources").
            name: (verb != "create").then_some(name),
            namespace: Some(namespace.to_owned()),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(name) = self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// Waits for an answer, not for ever.
pub(super) async fn ask<T>(
    act: Act,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    in_time(request)
        .await
        .map_err(|problem| ClusterError::of(act, problem))
}
