//! A request to the API server in the words of RBAC.

use std::fmt;

/// A request in the words of RBAC, which are also those of the right that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRequest {
    /// Verb, such as `get`.
    pub verb: &'static str,
    /// Resource with its group, such as `exitnodes.postern.dev`.
    pub resource: String,
    /// The object's name, if it is about one.
    pub name: Option<String>,
    /// Namespace; none for all of them and for what is in none.
    pub namespace: Option<String>,
}

impl ResourceRequest {
    pub(super) fn on_object(
        verb: &'static str,
        resource: &str,
        name: &str,
        namespace: Option<&str>,
    ) -> Self {
        Self {
            verb,
            resource: resource.to_owned(),
            name: Some(name.to_owned()),
            namespace: namespace.map(str::to_owned),
        }
    }

    /// The role that has the right, as an administrator binds it.
    pub(super) fn role(&self) -> &'static str {
        match (self.resource.as_str(), &self.name, &self.namespace) {
            ("exitnodes.postern.dev", Some(_), _) => {
                "the ClusterRole `postern-exit-viewer`, which has it"
            }
            ("pods" | "egresspolicies.postern.dev", _, Some(_)) | ("namespaces", Some(_), _) => {
                "the ClusterRole `view` in the namespace, which has it"
            }
            ("nodeintents.postern.dev", Some(_), _) => {
                "the ClusterRole `postern-approver`, which has it"
            }
            _ => "the roles `postern-approver`, which have it",
        }
    }

    pub(super) fn on_config_map(verb: &'static str, name: &'static str, namespace: &str) -> Self {
        Self {
            verb,
            resource: "configmaps".to_owned(),
            // A right to create is never bound to a name (Kubernetes, RBAC: "Referring to resources").
            name: (verb != "create").then(|| name.to_owned()),
            namespace: Some(namespace.to_owned()),
        }
    }
}

impl fmt::Display for ResourceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}
